import { BSON, type Document, MongoClient, type MongoClientOptions, MongoServerError } from 'mongodb';
import type { DriverAnswer, DriverCommand, DriverLogin, DriverQuestion } from './core/command.ts';
import { DbstashError, DumpError } from './core/errors.ts';

const OPTIONS: MongoClientOptions = {
  appName: 'dbstash',
  serverSelectionTimeoutMS: 15_000,
  connectTimeoutMS: 10_000,
  maxPoolSize: 1,
};

/** Asks a MongoDB server through the official driver. Throws `DumpError` with one clear sentence. */
export async function askMongo<T>(question: DriverQuestion<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { login, commands, parse } = question;
  const stopped = Promise.withResolvers<never>();
  stopped.promise.catch(() => {});
  const abort = () => stopped.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  let client: MongoClient | undefined;
  try {
    client = new MongoClient(login.uri, { ...OPTIONS, ...(login.tlsCa !== undefined && { ca: login.tlsCa }) });
    const answers = await Promise.race([runAll(client, commands), stopped.promise]);
    return parse(answers, { authSource: client.options.credentials?.source });
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw error instanceof DbstashError ? error : explain(error, login, client);
  } finally {
    signal.removeEventListener('abort', abort);
    // Its answer changes nothing, and a server that is gone gives none.
    client?.close(true).catch(() => {});
  }
}

async function runAll(client: MongoClient, commands: readonly DriverCommand[]): Promise<readonly DriverAnswer[]> {
  const answers: DriverAnswer[] = [];
  for (const command of commands) answers.push(await run(client, command));
  return answers;
}

async function run(client: MongoClient, { database, command, mayFail }: DriverCommand): Promise<DriverAnswer> {
  try {
    return { document: BSON.EJSON.serialize(await client.db(database).command(command as Document)) };
  } catch (error) {
    if (!mayFail || !(error instanceof MongoServerError) || isLoginError(error)) throw error;
    return { failure: error.message };
  }
}

/** AuthenticationFailed, and what SCRAM says of a user that is not there. */
const isLoginError = (error: unknown): boolean =>
  error instanceof MongoServerError && (error.code === 18 || error.code === 11);

/** What the driver says of a connection, and what that means. */
const HINTS: readonly (readonly [RegExp, string])[] = [
  [/ECONNREFUSED/, 'nothing listens there'],
  [/ENOTFOUND|EAI_AGAIN|querySrv|queryTxt/, 'its name is not known (DNS)'],
  [
    /self[- ]signed|unable to (verify|get)|certificate/i,
    'its certificate is not trusted; DB_TLS_CA names whom to trust',
  ],
  [/altnames|Hostname\/IP/i, 'its certificate is for another name'],
  [/wrong version number|SSL routines|packet length too long|before secure TLS/i, 'it does not speak TLS'],
  [/ETIMEDOUT|timed out/i, 'it does not answer'],
  [/ECONNRESET|connection .* closed/i, 'it closes the connection; it may want TLS (DB_TLS=verify)'],
];

function explain(error: unknown, { place }: DriverLogin, client: MongoClient | undefined): DumpError {
  const message = error instanceof Error ? error.message : String(error);
  const credentials = client?.options.credentials;
  if (isLoginError(error)) {
    const user = JSON.stringify(credentials?.username ?? '');
    return new DumpError(
      `MongoDB at ${place} refuses the login of ${user} at the database ${credentials?.source}: wrong user or password, or the user ` +
        `belongs to another database (authSource): ${message}`,
    );
  }
  if (error instanceof MongoServerError) return new DumpError(`MongoDB at ${place} refuses: ${message}`);
  const hint = HINTS.find(([pattern]) => pattern.test(message))?.[1];
  return new DumpError(`MongoDB at ${place} cannot be reached${hint === undefined ? '' : `: ${hint}`} (${message})`);
}
