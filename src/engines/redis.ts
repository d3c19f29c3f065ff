import type { Engine } from './engine.ts';
import { planRedisDump, RDB_MARKS, redisCliVersion } from './redisDump.ts';
import { examineRdb } from './redisExamine.ts';
import { recogniseRedis } from './redisForeign.ts';
import { inspectRedis, inspectRedisTarget } from './redisInspect.ts';
import { planRedisRestore, refuseRedisTables } from './redisRestore.ts';

export const redis = {
  name: 'redis',
  title: 'Redis',
  defaultPort: 6379,
  defaultUser: undefined,
  uriSchemes: ['redis', 'rediss'],
  tlsScheme: 'rediss',
  isWhole: true,
  modes: ['stream', 'file'],
  tool: redisCliVersion,
  inspect: inspectRedis,
  planDump: planRedisDump,
  inspectTarget: inspectRedisTarget,
  planContents: refuseRedisTables,
  planRestore: planRedisRestore,
  planCheck: () => ({ marks: RDB_MARKS, examine: examineRdb, commands: [] }),
  recognise: recogniseRedis,
} satisfies Engine;
