import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { freePort, scratchFolder } from './scratch.ts';
import { isListening, startServer } from './server.ts';
import { cachedFolder, findTool, requireTool } from './tools.ts';

export interface MysqlOptions {
  readonly password?: string;
  /** Further options of the server, without the dashes. */
  readonly settings?: readonly string[];
}

interface Login {
  readonly database?: string;
  readonly user?: string;
  readonly password?: string;
}

/** A server of its own, whose root needs a password, on TCP and on a socket. */
export interface MysqlServer extends AsyncDisposable {
  readonly engine: 'mysql' | 'mariadb';
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly socket: string;
  /** PATH with the clients of this server's kind first: Debian's mysqldump is MariaDB's. */
  readonly path: string;
  /** Runs SQL, stops at the first error and throws it. The lines of the answer, columns parted by tabs. */
  sql(statements: string, login?: Login): Promise<string[]>;
  createDatabase(name: string): Promise<void>;
  uri(database: string, login?: Omit<Login, 'database'>): string;
  stop(): Promise<void>;
}

/** What makes a server fast that need not survive a crash. */
const SETTINGS = [
  'bind-address=127.0.0.1',
  'innodb-flush-log-at-trx-commit=0',
  'innodb-buffer-pool-size=64M',
  'skip-innodb-doublewrite',
  'max-allowed-packet=256M',
  'performance-schema=OFF',
  'event-scheduler=OFF',
];

interface Kind {
  readonly engine: MysqlServer['engine'];
  readonly server: string;
  readonly client: string;
  readonly path: string;
  /** Arguments of the server, the first among them. */
  readonly args: readonly string[];
  readonly install: (data: string) => void;
}

/** The folder with MySQL's own programs, where there is one: Debian has links of these names to MariaDB's. */
export function findMysql(): string | undefined {
  const folders = [cachedFolder('mysql/bin'), ...[findTool('mysqld')].flatMap((file) => (file ? [dirname(file)] : []))];
  return folders.find((folder) => {
    const { status, stdout } = spawnSync(join(folder, 'mysqld'), ['--version'], { encoding: 'utf8' });
    return status === 0 && !/mariadb/i.test(stdout);
  });
}

function mysqlKind(): Kind {
  const folder = findMysql();
  if (folder === undefined) throw new Error('MySQL is missing (sh .ci/prepare test says how to get it)');
  return {
    engine: 'mysql',
    server: join(folder, 'mysqld'),
    client: join(folder, 'mysql'),
    path: [folder, process.env.PATH].join(delimiter),
    args: ['--mysqlx=OFF', '--secure-file-priv='],
    install: (data) =>
      void execFileSync(
        join(folder, 'mysqld'),
        ['--no-defaults', '--initialize-insecure', `--datadir=${data}`, ...asRoot()],
        {
          stdio: 'pipe',
        },
      ),
  };
}

const mariadbKind = (): Kind => ({
  engine: 'mariadb',
  server: requireTool('mariadbd'),
  client: requireTool('mariadb'),
  path: process.env.PATH ?? '',
  args: [],
  install: (data) =>
    void execFileSync(
      requireTool('mariadb-install-db'),
      ['--no-defaults', `--datadir=${data}`, '--skip-test-db', '--auth-root-authentication-method=normal', ...asRoot()],
      { stdio: 'pipe' },
    ),
});

/** Made ready as `mariadb-install-db` does it, which finds nothing where `.ci/prepare` unpacked the programs. */
function newMariadbKind(): Kind {
  const server = requireTool('mariadbd-11.8');
  const folder = dirname(server);
  return {
    engine: 'mariadb',
    server,
    client: join(folder, 'mariadb'),
    path: [folder, process.env.PATH].join(delimiter),
    args: [],
    install: (data) => {
      const tables = ['system_tables', 'performance_tables', 'system_tables_data', 'sys_schema'].map((name) =>
        readFileSync(globSync(join(folder, `../usr/share/*/mariadb_${name}.sql`))[0] ?? name, 'utf8'),
      );
      const input = ['CREATE DATABASE mysql;', 'USE mysql;', 'SET @auth_root_socket = NULL;', ...tables].join('\n');
      mkdirSync(data);
      const args = ['--no-defaults', '--bootstrap', `--datadir=${data}`, ...asRoot()];
      execFileSync(server, args, { input, stdio: 'pipe' });
    },
  };
}

/** Neither runs as root unless told to. */
const asRoot = (): string[] => (process.getuid?.() === 0 ? ['--user=root'] : []);

export const startMariadb = (options?: MysqlOptions): Promise<MysqlServer> => start(mariadbKind(), options);
/** 11.8, where `startMariadb` starts the machine's own. */
export const startNewMariadb = (options?: MysqlOptions): Promise<MysqlServer> => start(newMariadbKind(), options);
export const startMysql = (options?: MysqlOptions): Promise<MysqlServer> => start(mysqlKind(), options);

async function start(kind: Kind, options: MysqlOptions = {}): Promise<MysqlServer> {
  await using starting = new AsyncDisposableStack();
  const scratch = starting.use(scratchFolder());
  const { password = 'mysql-test-password', settings = [] } = options;
  const [data, socket, init] = ['data', 'mysqld.sock', 'init.sql'].map((name) => join(scratch.path, name)) as [
    string,
    string,
    string,
  ];
  kind.install(data);
  const port = await freePort();
  const secret = quote(password);
  const accounts = [
    `ALTER USER root@localhost IDENTIFIED BY ${secret};`,
    `CREATE USER root@'%' IDENTIFIED BY ${secret};`,
    `GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;`,
  ];
  writeFileSync(init, `${accounts.join('\n')}\n`, { mode: 0o600 });
  const own = [`datadir=${data}`, `socket=${socket}`, `port=${port}`, `init-file=${init}`, `pid-file=${data}.pid`];
  const server = await startServer({
    file: kind.server,
    args: [
      '--no-defaults',
      ...asRoot(),
      ...kind.args,
      ...[...SETTINGS, ...own, ...settings].map((setting) => `--${setting}`),
    ],
    env: { TZ: 'UTC' },
    isReady: () => isListening(port),
    stopSignal: 'SIGKILL',
  });
  starting.defer(server.stop);
  return describeServer(kind, { host: '127.0.0.1', port, user: 'root', password, socket }, starting.move());
}

type Address = Pick<MysqlServer, 'host' | 'port' | 'user' | 'password' | 'socket'>;

function describeServer(kind: Kind, address: Address, running: AsyncDisposableStack): MysqlServer {
  const sql: MysqlServer['sql'] = (statements, login) => runClient(kind.client, statements, { ...address, ...login });
  const stop = () => running.disposeAsync();
  return {
    ...address,
    engine: kind.engine,
    path: kind.path,
    sql,
    createDatabase: async (name) => void (await sql(`CREATE DATABASE \`${name.replaceAll('`', '``')}\``)),
    uri: (database, login) => uriOf(kind.engine, { ...address, ...login }, database),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function runClient(file: string, statements: string, login: Address & Login): Promise<string[]> {
  const { host, port, user, password, database } = login;
  const args = [
    '--no-defaults',
    '--batch',
    '--skip-column-names',
    '--binary-mode',
    '--protocol=tcp',
    `--host=${host}`,
    `--port=${port}`,
    `--user=${user}`,
    '--default-character-set=utf8mb4',
    '--max-allowed-packet=256M',
    ...(database === undefined ? [] : [`--database=${database}`]),
  ];
  const child = spawn(file, args, { env: { PATH: process.env.PATH, MYSQL_PWD: password } });
  child.stdin.on('error', () => {}).end(statements);
  const exit = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), exit]);
  if (code !== 0) throw new Error(`${file} exited with ${code}: ${stderr.trim()}`);
  return stdout === '' ? [] : stdout.replace(/\n$/, '').split('\n');
}

const quote = (value: string): string => `'${value.replaceAll(/[\\']/g, '\\$&')}'`;

function uriOf(scheme: string, { host, port, user, password }: Address, database: string): string {
  const [name, secret, path] = [user, password, database].map(encodeURIComponent);
  return `${scheme}://${name}:${secret}@${host}:${port}/${path}`;
}
