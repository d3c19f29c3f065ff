import type { Recognised } from './engine.ts';
import { RDB_MARKS } from './redisDump.ts';

/** An RDB file, whoever wrote it. */
export function recogniseRedis(head: string): Recognised | undefined {
  if (!RDB_MARKS.begins!.test(head)) return undefined;
  // A field of its head: key and value, each behind a byte of its length.
  const [, kind, version] = /(redis|valkey)-ver[\s\S](\d+\.\d+\.\d+)/.exec(head) ?? [];
  return {
    mode: 'stream',
    format: 'rdb',
    facts: {},
    marks: RDB_MARKS,
    tool: undefined,
    server: version && `${kind === 'valkey' ? 'Valkey' : 'Redis'} ${version}`,
    databases: undefined,
  };
}
