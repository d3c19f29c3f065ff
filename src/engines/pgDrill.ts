import * as z from 'zod';
import type { Question } from '../core/command.ts';
import type { Counts, Drill } from './engine.ts';
import { pgName, psql } from './pgConnection.ts';
import { parseLine } from './pgInspect.ts';

/** Counted one by one: what the statistics say of a database that was just filled is nothing. */
const COUNT = `
SELECT json_build_object('tables', count(*), 'rows', coalesce(sum((xpath('/row/n/text()', query_to_xml(
  format('SELECT count(*) AS n FROM %I.%I', nspname, relname), false, true, '')))[1]::text::bigint), 0))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE relkind = 'r' AND nspname <> 'information_schema' AND nspname !~ '^pg_';
`;

export const pgDrill: Drill = {
  count: (connection): Question<Counts> => ({
    command: { ...psql(connection, connection.database), input: COUNT },
    parse: ({ stdout }) => parseLine(z.object({ tables: z.number(), rows: z.number() }), stdout),
  }),
  drop: (connection): Question<void> => ({
    command: {
      ...psql(connection, 'postgres'),
      input: `DROP DATABASE IF EXISTS ${pgName(connection.database)} WITH (FORCE);\n`,
    },
    parse: () => undefined,
  }),
};
