import { type Question, SCRATCH } from '../core/command.ts';
import { DumpError } from '../core/errors.ts';
import type { Counts, Drill } from './engine.ts';
import { dotText, SHELL_ARGS } from './sqliteShell.ts';

const COUNTS = `SELECT coalesce(group_concat('SELECT count(*) AS n FROM "' || replace(name, '"', '""') || '"', ' UNION ALL '),
  'SELECT 0 AS n WHERE false') FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'`;

/** The shell runs what it wrote itself: statements cannot be put together in SQL alone. */
export const sqliteDrill: Drill = {
  count: ({ database }): Question<Counts> => ({
    command: {
      file: 'sqlite3',
      args: [
        '-readonly',
        ...SHELL_ARGS,
        '-init',
        '/dev/null',
        '-list',
        '-noheader',
        database,
        `.output ${dotText(`${SCRATCH}/count.sql`)}`,
        `SELECT 'SELECT count(*), coalesce(sum(n), 0) FROM (' || (${COUNTS}) || ');'`,
        '.output',
        `.read ${dotText(`${SCRATCH}/count.sql`)}`,
      ],
    },
    parse: ({ stdout }) => {
      const [, tables, rows] = /^(\d+)\|(\d+)$/m.exec(stdout) ?? [];
      if (tables === undefined) throw new DumpError(`sqlite3 answers ${JSON.stringify(stdout.slice(0, 100))}`);
      return { tables: Number(tables), rows: Number(rows) };
    },
  }),
};
