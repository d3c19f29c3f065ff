import type { Recognised } from './engine.ts';
import { isSystemDatabase, type MongoFacts } from './mongoAnswers.ts';
import { readArchiveHead } from './mongoArchive.ts';
import { ARCHIVE_MARKS } from './mongoDump.ts';

/** What `--archive` wrote. It begins with what tool, server and every collection are called. */
export function recogniseMongo(head: string): Recognised | undefined {
  if (!ARCHIVE_MARKS.begins!.test(head)) return undefined;
  const dump = { mode: 'stream', format: 'archive', marks: ARCHIVE_MARKS } as const;
  const found = readHead(Buffer.from(head, 'latin1'));
  if (!found) {
    const nothing = { facts: {}, tool: undefined, server: undefined, databases: undefined };
    return { ...dump, ...nothing, refusal: 'which databases it is of is not to be found in its first MiB' };
  }
  const { tool, server, collections } = found;
  // The oplog is a collection of no database.
  const databases = [...new Set(collections.map(({ scope = '' }) => scope))].filter((name) => name !== '');
  const isWithOplog = collections.some(({ scope, name }) => scope === '' && name === 'oplog');
  const facts: MongoFacts =
    databases.length === 1
      ? { database: databases[0]! }
      : { database: null, databases: databases.filter((name) => !isSystemDatabase(name)), oplog: isWithOplog };
  return {
    ...dump,
    facts,
    tool: tool && `mongodump ${tool}`,
    server: server && `MongoDB ${server}`,
    databases: databases.length === 0 ? undefined : databases,
  };
}

/** Undefined where it does not end there: a database could be overlooked, and a restore would write into it. */
function readHead(head: Buffer): ReturnType<typeof readArchiveHead> | undefined {
  try {
    return readArchiveHead(head);
  } catch {
    return undefined;
  }
}
