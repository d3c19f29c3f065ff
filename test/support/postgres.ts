import { execFileSync, spawn } from 'node:child_process';
import { chownSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { freePort, scratchFolder } from './scratch.ts';
import { startServer } from './server.ts';
import { requireTool } from './tools.ts';

export interface PostgresOptions {
  /** The folder with initdb and postgres; the newest that the machine has if absent. */
  readonly bin?: string;
  readonly password?: string;
  /** A free one if absent. */
  readonly port?: number;
  /** For postgresql.conf, as `{ max_connections: '10' }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

interface Login {
  readonly database?: string;
  readonly user?: string;
  readonly password?: string;
}

/** A PostgreSQL server of its own, with a superuser `postgres` who needs a password, on TCP and on a socket. */
export interface PostgresServer extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly socketFolder: string;
  readonly major: number;
  /** Runs SQL through psql, stops at the first error and throws it. The lines of the answer, columns parted by `|`. */
  sql(statements: string, login?: Login): Promise<string[]>;
  createDatabase(name: string): Promise<void>;
  uri(database: string, login?: Omit<Login, 'database'>): string;
  stop(): Promise<void>;
}

/** What makes a server fast that need not survive a crash. */
const SETTINGS: Readonly<Record<string, string>> = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '4GB',
  shared_buffers: '64MB',
  listen_addresses: '127.0.0.1',
};

export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  await using starting = new AsyncDisposableStack();
  const scratch = starting.use(scratchFolder());
  const { bin = dirname(requireTool('postgres')), password = 'postgres-test-password', settings = {} } = options;
  const data = join(scratch.path, 'data');
  const owner = serverUser();
  if (owner) chownSync(scratch.path, owner.uid, owner.gid);
  createCluster(bin, data, password, owner);
  const port = options.port ?? (await freePort());
  const all = { ...SETTINGS, port: String(port), unix_socket_directories: scratch.path, ...settings };
  const server = await startServer({
    file: join(bin, 'postgres'),
    args: ['-D', data, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    env: { LC_ALL: 'C.UTF-8', TZ: 'UTC' },
    user: owner,
    isReady: () => isReady(data),
    stopSignal: 'SIGQUIT',
  });
  starting.defer(server.stop);
  const major = Number(readFileSync(join(data, 'PG_VERSION'), 'utf8'));
  const address = { host: '127.0.0.1', port, user: 'postgres', password, socketFolder: scratch.path, major };
  return describeServer(address, starting.move());
}

type Address = Pick<PostgresServer, 'host' | 'port' | 'user' | 'password' | 'socketFolder' | 'major'>;

function describeServer(address: Address, running: AsyncDisposableStack): PostgresServer {
  const sql: PostgresServer['sql'] = (statements, login) => runPsql(statements, { ...address, ...login });
  const stop = () => running.disposeAsync();
  return {
    ...address,
    sql,
    createDatabase: async (name) => void (await sql(`CREATE DATABASE "${name.replaceAll('"', '""')}"`)),
    uri: (database, login) => uriOf({ ...address, ...login }, database),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** PostgreSQL refuses to run as root. */
function serverUser(): Owner | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  const found = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody');
  return found && { uid: Number(found[2]), gid: Number(found[3]) };
}

function createCluster(bin: string, data: string, password: string, owner: Owner | undefined): void {
  const passwordFile = `${data}.password`;
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (owner) chownSync(passwordFile, owner.uid, owner.gid);
  const args = [
    '-D',
    data,
    '-U',
    'postgres',
    '--auth=scram-sha-256',
    '--pwfile',
    passwordFile,
    '--no-sync',
    '-E',
    'UTF8',
  ];
  const env = { PATH: process.env.PATH };
  execFileSync(join(bin, 'initdb'), [...args, '--locale=C.UTF-8'], { ...owner, env, stdio: 'pipe' });
}

/** The last line of postmaster.pid says how far the server is. */
function isReady(data: string): boolean {
  const file = join(data, 'postmaster.pid');
  return existsSync(file) && readFileSync(file, 'utf8').split('\n')[7]?.trim() === 'ready';
}

async function runPsql(statements: string, login: Address & Login): Promise<string[]> {
  const { host, port, user, password, database = 'postgres' } = login;
  const env = { PATH: process.env.PATH, PGHOST: host, PGPORT: String(port), PGUSER: user, PGPASSWORD: password };
  const args = ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1'];
  const child = spawn(requireTool('psql'), args, { env: { ...env, PGDATABASE: database, PGCLIENTENCODING: 'UTF8' } });
  child.stdin.on('error', () => {}).end(statements);
  const exit = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), exit]);
  if (code !== 0) throw new Error(`psql exited with ${code}: ${stderr.trim()}`);
  return stdout === '' ? [] : stdout.replace(/\n$/, '').split('\n');
}

function uriOf({ host, port, user, password }: Address, database: string): string {
  const [name, secret, path] = [user, password, database].map(encodeURIComponent);
  return `postgresql://${name}:${secret}@${host}:${port}/${path}`;
}
