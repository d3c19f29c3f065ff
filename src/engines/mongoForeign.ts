import type { Recognised } from './engine.ts';
import { ARCHIVE_MARKS } from './mongoDump.ts';

/** What `--archive` wrote. Its prelude names tool, server and every collection, as BSON. */
export function recogniseMongo(head: string): Recognised | undefined {
  if (!ARCHIVE_MARKS.begins!.test(head)) return undefined;
  const read = (key: string) =>
    [...head.matchAll(new RegExp(`\\x02${key}\\0[\\s\\S]{4}([^\\0]+)\\0`, 'g'))].map(([, text]) => text!);
  const databases = [...new Set(read('db').map((name) => Buffer.from(name, 'latin1').toString('utf8')))];
  const [[tool], [server]] = [read('tool_version'), read('server_version')];
  const [database] = databases;
  return {
    mode: 'stream',
    format: 'archive',
    facts: databases.length === 1 ? { database } : { database: null },
    marks: ARCHIVE_MARKS,
    tool: tool && `mongodump ${tool}`,
    server: server && `MongoDB ${server}`,
    databases: databases.length === 0 ? undefined : databases,
  };
}
