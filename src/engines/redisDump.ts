import type { Question } from '../core/command.ts';
import { DumpError } from '../core/errors.ts';
import { DUMP, type DumpPlan, type DumpRequest, type Marks } from './engine.ts';
import { checkRedisArgs } from './redisArgs.ts';
import { ignoredParams, redisCli } from './redisConnection.ts';
import { examineRdb } from './redisExamine.ts';

/** Valkey's own is called redis-cli too, where it stands in for that. */
export const redisCliVersion: Question<string> = {
  command: { file: 'redis-cli', args: ['--version'] },
  parse: ({ stdout }) => {
    const [, name, version] = /^(redis-cli|valkey-cli) (\d\S*)/.exec(stdout) ?? [];
    if (version === undefined)
      throw new DumpError(`redis-cli --version answers ${JSON.stringify(stdout.slice(0, 100))}`);
    return `${name} ${version}`;
  },
};

const NO_COMPRESSION =
  'BACKUP_COMPRESS=true changes nothing: redis-cli has no compression of its own; gzip and zstd do it';

export const RDB_MARKS: Marks = { begins: /^(?:REDIS\d{4}|VALKEY\d{3})/, title: 'an RDB file' };

/** The whole server, as a replica gets it: every database, functions, expiry times; no users and no configuration. */
export function planRedisDump({ connection, mode, compress, extraArgs }: DumpRequest): DumpPlan {
  const ignored = ignoredParams(connection);
  return {
    prepare: [],
    dump: redisCli(connection, ['--rdb', mode === 'stream' ? '-' : DUMP, ...checkRedisArgs(extraArgs)]),
    format: 'rdb',
    compression: null,
    container: null,
    extension: '.rdb',
    // Valkey has a name of its own since 9.
    marks: RDB_MARKS,
    examine: examineRdb,
    warnings: [
      ...(compress ? [NO_COMPRESSION] : []),
      ...(ignored.length > 0
        ? [`parameters of DB_URI say nothing to redis and are ignored: ${ignored.join(', ')}`]
        : []),
    ],
  };
}
