import { SCRATCH } from '../core/command.ts';
import { ConfigError } from '../core/errors.ts';
import { type ContentsRequest, DUMP, type RestorePlan, type RestoreRequest } from './engine.ts';
import { redisEndpoint } from './redisConnection.ts';
import { redisFacts } from './redisInspect.ts';

/** Numbers of databases that the private server knows: it refuses a dump that has a higher one. */
const DATABASES = 16_384;

/**
 * No client can load an RDB file into a running server. It becomes a private file; when that proved whole a server of our
 * own is started on it, behind a socket in the scratch folder, and its keys go into the target one by one.
 */
export function planRedisRestore({ connection, facts, format, replace }: RestoreRequest): RestorePlan {
  if (format !== 'rdb')
    throw new ConfigError(`a redis dump of the format ${format} cannot be restored by this version`);
  const { product, version } = redisFacts.parse(facts);
  const socket = `${SCRATCH}/redis.sock`;
  return {
    // Whether there is one, is known before the first byte.
    prepare: [{ file: 'redis-server', args: ['--version'] }],
    filters: [],
    load: {
      file: 'dd',
      args: [`of=${DUMP}`, 'bs=1M', 'iflag=fullblock', 'status=none'],
      // The mode of a file that is there stays.
      files: { dump: '' },
    },
    isAtomic: false,
    finish: [],
    copy: {
      server: { file: 'redis-server', args: serverArgs(socket) },
      socket,
      target: redisEndpoint(connection),
      origin: product === undefined || version === undefined ? 'another server' : `${product} ${version}`,
      replace,
    },
  };
}

const serverArgs = (socket: string): readonly string[] =>
  Object.entries({
    port: '0',
    unixsocket: socket,
    unixsocketperm: '700',
    dir: SCRATCH,
    dbfilename: DUMP.slice(SCRATCH.length + 1),
    databases: String(DATABASES),
    daemonize: 'no',
    save: '',
    appendonly: 'no',
    maxmemory: '0',
    loglevel: 'notice',
    logfile: '',
  }).flatMap(([name, value]) => [`--${name}`, value]);

export function refuseRedisTables({ path }: ContentsRequest): never {
  throw new ConfigError(
    `--table: there are no tables in Redis, and no single keys are restored: restore all of it into another server (dbstash restore ${path} --to redis://other:6379), and copy from there, as with MIGRATE`,
  );
}
