import { ConfigError, DbstashError, DumpError, describeError } from '../core/errors.ts';
import type { KeyCopy } from '../engines/engine.ts';
import { createCrc64 } from '../engines/redisCrc.ts';
import { connectRedis, type RedisClient } from './redisClient.ts';

interface Watch {
  readonly signal: AbortSignal;
  /** Keys went over. */
  readonly onMove: () => void;
  /** From now on the target is not what it was. */
  readonly onTouch: () => void;
}

/** Keys that are asked for at once. */
const SCAN_COUNT = 500;
/** Values that are in memory at once, but for a single one that is larger. */
const BATCH_BYTES = 16 * 1024 * 1024;

/**
 * Copies every database and the functions from the server behind `socket` into the target. What can be found out of whether
 * it will work, is found out before the target is touched; then it is emptied, where that was asked for.
 */
export async function pumpKeys(socket: string, copy: KeyCopy, { signal, onMove, onTouch }: Watch): Promise<void> {
  await using open = new AsyncDisposableStack();
  const keep = (client: RedisClient) => open.adopt(client, async ({ destroy }) => destroy());
  const source = keep(
    await connectRedis({ place: { path: socket }, user: undefined, password: undefined, tls: undefined }),
  );
  const target = keep(await connectRedis(copy.target));
  const stop = () => {
    source.destroy();
    target.destroy();
  };
  signal.addEventListener('abort', stop, { once: true });
  try {
    signal.throwIfAborted();
    const databases = await readKeyspace(source);
    const functions = await source.send<Buffer>('FUNCTION', 'DUMP').catch((cause: Error) => {
      throw new DumpError('the redis-server here is older than 7, which a restore needs', { cause });
    });
    await expectFit(target, copy, databases, functions);
    onTouch();
    if (copy.replace) await emptyTarget(target);
    if (hasFunctions(functions)) await target.send('FUNCTION', 'RESTORE', functions);
    for (const { number } of databases) await copyDatabase(source, target, number, onMove);
    await expectAll(target, databases);
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof DbstashError ? error : new DumpError(describeError(error), { cause: error });
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

interface Database {
  readonly number: number;
  readonly keys: number;
  /** How many of them go some day. */
  readonly expires: number;
}

async function readKeyspace(client: RedisClient): Promise<readonly Database[]> {
  const info = (await client.send<Buffer>('INFO', 'keyspace')).toString();
  return [...info.matchAll(/^db(\d+):keys=(\d+),expires=(\d+)/gm)].map(([, number, keys, expires]) => ({
    number: Number(number),
    keys: Number(keys),
    expires: Number(expires),
  }));
}

/** The version of the format, two bytes, and a checksum. */
const FOOTER_BYTES = 10;
const hasFunctions = (dump: Buffer): boolean => dump.length > FOOTER_BYTES;

/** Every command that will be needed, in a form that changes nothing. */
async function expectFit(
  target: RedisClient,
  { replace, origin }: KeyCopy,
  databases: readonly Database[],
  functions: Buffer,
): Promise<void> {
  if (!replace && (await readKeyspace(target)).length > 0)
    throw new ConfigError(
      'keys came into the target while the backup was fetched: stop what writes there, or use --replace',
    );
  const last = databases.at(-1)?.number ?? 0;
  await expectAnswer(target, /^OK$/, ['SELECT', String(last)], `the dump has a database ${last}`);
  await expectVersion(target, functions.subarray(-FOOTER_BYTES, -8), origin);
  if (hasFunctions(functions))
    await expectAnswer(target, /payload/, ['FUNCTION', 'RESTORE', 'x'], 'the dump holds functions');
  if (replace) await expectAnswer(target, /syntax/, ['FLUSHALL', 'x'], '--replace empties the target');
}

async function expectAnswer(target: RedisClient, pattern: RegExp, args: readonly string[], why: string): Promise<void> {
  const said = await sayOf(target, args);
  if (!pattern.test(said)) throw new ConfigError(`${why}, and the target says to ${args[0]}: ${said}`);
}

const sayOf = async (client: RedisClient, args: readonly (string | Buffer)[]): Promise<string> =>
  String(await client.send<unknown>(...args).catch((error: Error) => error.message));

/** A value of no known type, in an envelope that is right: whoever takes the envelope finds fault with what is in it. */
async function expectVersion(target: RedisClient, version: Buffer, origin: string): Promise<void> {
  const body = Buffer.concat([Buffer.from([0xf0]), version]);
  const crc = createCrc64();
  crc.add(body);
  const probe = ['RESTORE', 'dbstash:probe', '0', Buffer.concat([body, crc.digest()])];
  const said = await sayOf(target, probe);
  if (/bad data format/i.test(said)) return;
  if (!/payload version/i.test(said)) throw new ConfigError(`the target says to RESTORE: ${said}`);
  throw new ConfigError(
    `the target does not take values of RDB version ${version.readUInt16LE()}, which the redis-server here writes (the dump is of ${origin}): ` +
      'restore with a redis-server no newer than the target, and of its kind',
  );
}

async function emptyTarget(target: RedisClient): Promise<void> {
  await target.send('FLUSHALL');
  // Servers before 7 have none.
  const said = await sayOf(target, ['FUNCTION', 'FLUSH']);
  if (!/^OK$|unknown command/i.test(said)) throw new DumpError(`the target says to FUNCTION FLUSH: ${said}`);
}

async function copyDatabase(
  source: RedisClient,
  target: RedisClient,
  number: number,
  onMove: () => void,
): Promise<void> {
  for (const client of [source, target]) await client.send('SELECT', String(number));
  let cursor = '0';
  do {
    const [next, keys] = await source.send<[Buffer, Buffer[]]>('SCAN', cursor, 'COUNT', String(SCAN_COUNT));
    cursor = next.toString();
    for (let done = 0; done < keys.length; ) {
      done += await copyBatch(source, target, keys.slice(done));
      onMove();
    }
  } while (cursor !== '0');
}

/** Reads the first of some keys, until they are enough; at what time (ms, -1 never, -2 gone) each goes, and its value. */
const READ_SCRIPT = `
local found, bytes = {}, 0
for i, key in ipairs(KEYS) do
  local at, value = redis.call('PEXPIRETIME', key), redis.call('DUMP', key)
  found[i] = {at, value}
  bytes = bytes + (value and #value or 0)
  if bytes > tonumber(ARGV[1]) then break end
end
return found`;

/** Returns how many keys went over, or are gone. */
async function copyBatch(source: RedisClient, target: RedisClient, keys: readonly Buffer[]): Promise<number> {
  const count = String(keys.length);
  const found = await source.send<[number, Buffer | null][]>('EVAL', READ_SCRIPT, count, ...keys, String(BATCH_BYTES));
  const restored = found.map(async ([at, value], index) => {
    const key = keys[index]!;
    if (value === null || at === -2) return;
    // SCAN may name a key twice.
    await target
      .send('RESTORE', key, String(Math.max(at, 0)), value, 'ABSTTL', 'REPLACE')
      .catch((error: unknown) => Promise.reject(explainRefusal(error, key, value)));
  });
  await Promise.all(restored);
  return found.length;
}

/** Servers take no longer argument unless told so. */
const BULK_BYTES = 512 * 1024 * 1024;

function explainRefusal(error: unknown, key: Buffer, value: Buffer): DumpError {
  const name = JSON.stringify(key.toString().slice(0, 100));
  const advice = value.length > BULK_BYTES ? '; raise its proto-max-bulk-len' : '';
  return new DumpError(
    `the target does not take the key ${name}, ${value.length} bytes: ${describeError(error)}${advice}`,
    {
      cause: error,
    },
  );
}

/** Of keys that never go none may be missing: a target that is full may throw them out as they come. */
async function expectAll(target: RedisClient, databases: readonly Database[]): Promise<void> {
  const there = new Map((await readKeyspace(target)).map((database) => [database.number, database]));
  for (const { number, keys, expires } of databases) {
    const found = there.get(number) ?? { keys: 0, expires: 0 };
    const missing = keys - expires - (found.keys - found.expires);
    if (missing > 0)
      throw new DumpError(
        `${missing} keys of database ${number} are not in the target: perhaps it is full and evicts them (maxmemory)`,
      );
  }
}
