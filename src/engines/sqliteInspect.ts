import { posix } from 'node:path';
import * as z from 'zod';
import type { Answer, Command, Question } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import { DumpError } from '../core/errors.ts';
import type { Server, Target } from './engine.ts';
import { dotText, sqlText } from './sqliteShell.ts';

/** What the manifest carries; a restore wants the journal mode back, the rest stands in the dump too. */
export const sqliteFacts = z
  .object({
    journalMode: z.string(),
    encoding: z.string(),
    pageSize: z.number(),
    autoVacuum: z.number(),
    userVersion: z.number(),
    applicationId: z.number(),
    /** Tables, indexes, views and triggers, SQLite's own among them. */
    objects: z.number(),
  })
  .partial();
export type SqliteFacts = z.infer<typeof sqliteFacts>;

const database = z.object({
  version: z.string(),
  pages: z.number(),
  facts: sqliteFacts.required(),
  tables: z.array(z.string()),
  holds: z.array(z.object({ kind: z.string(), count: z.number() })),
});

/** What there is to see of a file: which of folder, file and journal exist, and the database or why there is none. */
interface Sight {
  readonly path: string;
  readonly seen: ReadonlySet<string>;
  readonly database: z.infer<typeof database> | undefined;
  readonly stderr: string;
}

export function inspectSqlite(connection: Connection): Question<Server> {
  return {
    command: look(connection.database),
    exitCodes: [0, 1],
    parse: (answer) => {
      const sight = readSight(connection.database, answer);
      if (!sight.database) throw new DumpError(explain(sight));
      const { version, pages, facts, tables } = sight.database;
      return {
        title: `SQLite ${version}`,
        serverId: null,
        bytes: pages * facts.pageSize,
        target: facts,
        major: undefined,
        needsCopy: facts.journalMode !== 'wal',
        tables: { kind: 'table', names: tables },
        warnings: pages === 0 ? [`${connection.database} is an empty database`] : [],
      };
    },
  };
}

/** A file that is no database, or a damaged one, holds something too: it can be replaced, knowingly. */
export function inspectSqliteTarget(connection: Connection): Question<Target> {
  return {
    command: look(connection.database),
    exitCodes: [0, 1],
    parse: (answer) => {
      const sight = readSight(connection.database, answer);
      const exists = sight.seen.has('file');
      if (!sight.seen.has('folder')) throw new DumpError(`the folder ${posix.dirname(sight.path)} is not there`);
      const isBroken = exists && !sight.database && /file is not a database|malformed/.test(sight.stderr);
      if (exists && !sight.database && !isBroken) throw new DumpError(explain(sight));
      return {
        exists,
        holds: isBroken ? 'a file that is no sound SQLite database' : describeContent(sight),
        missingRoles: [],
        title: 'SQLite',
        major: undefined,
        notes: { isBroken },
      };
    },
  };
}

const describeContent = ({ database: found }: Sight): string =>
  (found?.holds ?? [])
    .map(({ kind, count }) => `${count} ${count === 1 ? kind : kind.replace(/x?$/, kind.endsWith('x') ? 'xes' : 's')}`)
    .join(', ');

/**
 * Starts on no database, so as to look at the files around first: SQLite has one message for several causes. Without
 * -bail, since each line has something to tell.
 */
function look(path: string): Command {
  const see = (word: string, file: string) => `SELECT '${word}' FROM fsdir(${sqlText(file)}) LIMIT 1;`;
  return {
    file: 'sqlite3',
    args: ['-batch', '-init', '/dev/null', '-list', '-noheader', ':memory:'],
    input: [
      see('folder', posix.dirname(path)),
      see('file', path),
      see('journal', `${path}-journal`),
      `.open --readonly ${dotText(path)}`,
      '.timeout 10000',
      DESCRIBE,
    ].join('\n'),
  };
}

const DESCRIBE = `SELECT json_object('version', sqlite_version(), 'pages', (SELECT page_count FROM pragma_page_count),
  'facts', json_object(
    'journalMode', (SELECT journal_mode FROM pragma_journal_mode),
    'encoding', (SELECT encoding FROM pragma_encoding),
    'pageSize', (SELECT page_size FROM pragma_page_size),
    'autoVacuum', (SELECT auto_vacuum FROM pragma_auto_vacuum),
    'userVersion', (SELECT user_version FROM pragma_user_version),
    'applicationId', (SELECT application_id FROM pragma_application_id),
    'objects', (SELECT count(*) FROM sqlite_master)),
  'tables', (SELECT json_group_array(name) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'),
  'holds', (SELECT json_group_array(json_object('kind', type, 'count', count)) FROM
    (SELECT type, count(*) AS count FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' GROUP BY type ORDER BY type = 'table' DESC, type)));
`;

function readSight(path: string, { stdout, stderr }: Answer): Sight {
  const lines = stdout.split('\n');
  const json = lines.find((line) => line.startsWith('{'));
  const isOpen = json !== undefined && !/^Error: unable to open database/m.test(stderr);
  return { path, seen: new Set(lines), database: isOpen ? parseDatabase(json) : undefined, stderr };
}

function parseDatabase(json: string): z.infer<typeof database> {
  try {
    return database.parse(JSON.parse(json));
  } catch (cause) {
    throw new DumpError(`sqlite3 answers what makes no sense: ${JSON.stringify(json.slice(0, 200))}`, { cause });
  }
}

/** SQLite's message, and what of the surroundings is behind it. */
const CAUSES: readonly { when: RegExp; file?: string; say: (path: string) => string }[] = [
  {
    when: /attempt to write a readonly database/,
    file: 'journal',
    say: (path) =>
      `a writer of ${path} crashed and left a journal that must be rolled back: open it once with its application, ` +
      `or with sqlite3 ${path} 'SELECT count(*) FROM sqlite_schema'`,
  },
  {
    when: /attempt to write a readonly database|query: unable to open database file|unable to open database file \(14\)/,
    say: (path) =>
      `${path} is in WAL mode, which needs the file ${path}-shm, and its folder cannot be written by us: ` +
      'give us the folder writable, or keep the application running during the backup',
  },
  { when: /file is not a database/, say: (path) => `${path} is not a SQLite database, or it is encrypted` },
  { when: /malformed/, say: (path) => `${path} is damaged: SQLite finds it malformed` },
  { when: /database is locked/, say: (path) => `${path} is locked by another process for more than 10 seconds` },
  { when: /unable to open database/, say: (path) => `${path} cannot be opened: we may not read it, or it is no file` },
];

function explain({ path, seen, stderr }: Sight): string {
  if (!seen.has('file') && !/no such table: fsdir/.test(stderr)) return `the database ${path} is not there`;
  const cause = CAUSES.find(({ when, file }) => when.test(stderr) && (file === undefined || seen.has(file)));
  return cause?.say(path) ?? `${path} cannot be read: ${stderr.trim().split('\n').at(-1)}`;
}
