import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BSON, type Db, type Document, MongoClient, type MongoClientOptions } from 'mongodb';
import { freePort, scratchFolder } from './scratch.ts';
import { isListening, type ServerOptions, startServer } from './server.ts';
import { mongoJavaServer, requireTool } from './tools.ts';

interface MongoLogin {
  readonly user?: string;
  readonly password?: string;
  /** After the slash. */
  readonly database?: string;
  /** After the question mark. */
  readonly query?: string;
}

export interface MongoTestServer extends AsyncDisposable {
  /** What it is, for the names of tests. */
  readonly title: string;
  readonly host: string;
  readonly port: number;
  /** Connected, and logged in as whoever may do everything. */
  readonly client: MongoClient;
  uri(login?: MongoLogin): string;
  stop(): Promise<void>;
}

/** Starts mongo-java-server, in memory: nearly all BSON types and kinds of index; no login. */
export async function startMongoJava(): Promise<MongoTestServer> {
  const jars = mongoJavaServer();
  if (!jars) throw new Error('mongo-java-server is missing (sh .ci/prepare test gets it)');
  const port = await freePort();
  const main = join(import.meta.dirname, 'MongoJavaServer.java');
  const args = ['-Xmx256m', '-XX:TieredStopAtLevel=1', '-cp', join(jars, '*'), main, String(port)];
  return await start('mongo-java-server 1.47', { file: requireTool('java'), args, env: {} }, { port });
}

export interface FerretOptions {
  /** SCRAM logins, beginning with this one. */
  readonly login?: { readonly user: string; readonly password: string };
  /** Says that it is a replica set, and has an oplog. */
  readonly replicaSet?: string;
  /** Files of a certificate and its key: TLS only. */
  readonly tls?: { readonly certificate: string; readonly key: string };
}

/** Starts FerretDB on SQLite: logins, TLS, capped collections; no views, and few options of indexes. */
export async function startFerret({ login, replicaSet, tls }: FerretOptions = {}): Promise<MongoTestServer> {
  await using starting = new AsyncDisposableStack();
  const scratch = starting.use(scratchFolder());
  const port = await freePort();
  const data = join(scratch.path, 'data');
  mkdirSync(data);
  const address = `127.0.0.1:${port}`;
  const options = {
    handler: 'sqlite',
    'sqlite-url': `file:${data}/`,
    'state-dir': scratch.path,
    'debug-addr': '-',
    telemetry: 'disable',
    'log-level': 'error',
    'listen-addr': tls ? '' : address,
    ...(tls && { 'listen-tls': address, 'listen-tls-cert-file': tls.certificate, 'listen-tls-key-file': tls.key }),
    ...(replicaSet !== undefined && { 'repl-set-name': replicaSet }),
    ...(login && { 'setup-database': 'admin', 'setup-username': login.user, 'setup-password': login.password }),
  };
  const args = [
    ...Object.entries(options).map(([name, value]) => `--${name}=${value}`),
    ...(login ? ['--test-enable-new-auth'] : []),
  ];
  const server = { file: requireTool('ferretdb'), args, env: { HOME: scratch.path, DO_NOT_TRACK: '1' } };
  const running = await start('FerretDB 1.24', server, { port, login, tls });
  starting.defer(running.stop);
  const stack = starting.move();
  const stop = () => stack.disposeAsync();
  return { ...running, stop, [Symbol.asyncDispose]: stop };
}

interface Address {
  readonly port: number;
  readonly login?: FerretOptions['login'] | undefined;
  readonly tls?: FerretOptions['tls'] | undefined;
}

async function start(
  title: string,
  server: Pick<ServerOptions, 'file' | 'args' | 'env'>,
  { port, login, tls }: Address,
): Promise<MongoTestServer> {
  const running = await startServer({ ...server, isReady: () => isListening(port) });
  const uri = ({ user = login?.user, password = login?.password, database = '', query = '' }: MongoLogin = {}) => {
    const who = user === undefined ? '' : `${encodeURIComponent(user)}:${encodeURIComponent(password ?? '')}@`;
    return `mongodb://${who}127.0.0.1:${port}/${encodeURIComponent(database)}${query === '' ? '' : `?${query}`}`;
  };
  const options: MongoClientOptions = {
    directConnection: true,
    ...(tls && { tls: true, tlsAllowInvalidCertificates: true }),
  };
  const client = new MongoClient(uri(), options);
  const stop = async () => {
    await client.close();
    await running.stop();
  };
  try {
    await client.connect();
  } catch (error) {
    await stop();
    throw error;
  }
  return { title, host: '127.0.0.1', port, client, uri, stop, [Symbol.asyncDispose]: stop };
}

/**
 * All that a database holds, to be compared: documents byte by byte in BSON (so that types, the order of fields and odd
 * doubles count), indexes and options of each collection. In the order of `_id` in BSON.
 */
export async function describeDatabase(db: Db): Promise<Record<string, unknown>> {
  const described: Record<string, unknown> = {};
  for (const { name, options = {} } of await db
    .listCollections<Document & { name: string; options?: Document }>()
    .toArray()) {
    const collection = db.collection(name);
    const documents = await collection.find({}, { raw: true }).toArray();
    const indexes = await collection.indexes();
    const plain = indexes.map(({ ns: _ns, name, key, ...index }) => [name, JSON.stringify(Object.entries(key)), index]);
    const bytes = documents.map((document) => Buffer.from(document as unknown as Uint8Array).toString('hex'));
    described[name] = {
      documents: bytes.sort(),
      indexes: plain.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
      options: BSON.EJSON.serialize(options),
    };
  }
  return described;
}

/** A certificate for `name` and 127.0.0.1 that signs itself, and its key, in files of `folder`. */
export function makeCertificate(folder: string, name = 'localhost'): { certificate: string; key: string; pem: string } {
  const [certificate, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name},IP:127.0.0.1`];
  const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject];
  execFileSync(requireTool('openssl'), [...args, '-keyout', key, '-out', certificate], { stdio: 'pipe' });
  return { certificate, key, pem: readFileSync(certificate, 'utf8') };
}
