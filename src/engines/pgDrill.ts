import * as z from 'zod';
import type { Question } from '../core/command.ts';
import type { Counts, Drill } from './engine.ts';
import { pgName, pgText, psql } from './pgConnection.ts';
import { parseLine } from './pgInspect.ts';

/** Counted one by one: what the statistics say of a database that was just filled is nothing. */
const COUNT = `
SELECT json_build_object('tables', count(*), 'rows', coalesce(sum((xpath('/row/n/text()', query_to_xml(
  format('SELECT count(*) AS n FROM %I.%I', nspname, relname), false, true, '')))[1]::text::bigint), 0))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE relkind = 'r' AND nspname <> 'information_schema' AND nspname !~ '^pg_';
`;

/** A subscription, which a dump brings along asleep, holds its database fast; nothing is to be done where that publishes. */
const dropDatabase = (database: string): string => `
SELECT count(*) > 0 AS there FROM pg_catalog.pg_database WHERE datname = ${pgText(database)} \\gset
\\if :there
\\connect ${pgName(database)}
SELECT format('ALTER SUBSCRIPTION %I DISABLE', subname), format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', subname),
  format('DROP SUBSCRIPTION %I', subname)
FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE datname = ${pgText(database)} \\gexec
\\connect postgres
DROP DATABASE IF EXISTS ${pgName(database)} WITH (FORCE);
\\endif
`;

export const pgDrill: Drill = {
  count: (connection): Question<Counts> => ({
    command: { ...psql(connection, connection.database), input: COUNT },
    parse: ({ stdout }) => parseLine(z.object({ tables: z.number(), rows: z.number() }), stdout),
  }),
  drop: (connection): Question<void> => ({
    command: {
      ...psql(connection, 'postgres'),
      input: dropDatabase(connection.database),
    },
    parse: () => undefined,
  }),
};
