import type { Question } from '../core/command.ts';
import { DumpError } from '../core/errors.ts';
import type { Counts, Drill } from './engine.ts';
import { readRows } from './mysqlAnswer.ts';
import { mysqlClient, mysqlName, mysqlText } from './mysqlConnection.ts';
import type { Flavor } from './mysqlFlavor.ts';

/** Counted one by one: what the server's statistics say of rows is a guess. */
const count = (database: string): string => `
SELECT 'version', VERSION();
SET SESSION group_concat_max_len = 1073741824;
SET @counts = (SELECT GROUP_CONCAT(CONCAT('SELECT COUNT(*) AS n FROM \`', REPLACE(table_schema, '\`', '\`\`'), '\`.\`',
  REPLACE(table_name, '\`', '\`\`'), '\`') SEPARATOR ' UNION ALL ')
  FROM information_schema.tables WHERE table_schema = ${database} AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED'));
SET @query = CONCAT('SELECT ''content'', COUNT(*), COALESCE(SUM(n), 0) FROM (', COALESCE(@counts, 'SELECT 0 AS n FROM DUAL WHERE 1 = 0'), ') AS t');
PREPARE query FROM @query;
EXECUTE query;
`;

/** Of a client that was killed the server may go on with what it was told, for hours, and hold what is to be dropped. */
const KILL = (database: string): string => `
SET @id = (SELECT MIN(id) FROM information_schema.processlist WHERE db = ${database} AND id > @last AND id <> CONNECTION_ID());
SET @last = COALESCE(@id, @last);
SET @kill = IF(@id IS NULL, 'DO 0', CONCAT('KILL ', @id));
PREPARE victim FROM @kill;
EXECUTE victim;
`;

/** As many as a parallel restore may have. */
const MOST_CLIENTS = 32;

/** The client goes on after an error: whoever was to be killed may be gone. */
const drop = (text: string, name: string): string => `
SELECT 'version', VERSION();
SET @last = 0;
${KILL(text).repeat(MOST_CLIENTS)}
DROP DATABASE IF EXISTS ${name};
SELECT 'left', COUNT(*) FROM information_schema.schemata WHERE schema_name = ${text};
`;

export const mysqlDrill = (flavor: Flavor): Drill => ({
  count: (connection): Question<Counts> => ({
    command: { ...mysqlClient(flavor, connection), input: count(mysqlText(connection.database)) },
    parse: (answer) => {
      const [tables, rows] = readRows(answer, flavor.client).first('content').map(Number);
      return { tables: tables ?? 0, rows: rows ?? 0 };
    },
  }),
  drop: (connection): Question<void> => ({
    command: {
      ...mysqlClient(flavor, connection, ['--force']),
      input: drop(mysqlText(connection.database), mysqlName(connection.database)),
    },
    parse: (answer) => {
      if (readRows(answer, flavor.client).first('left')[0] !== '0') throw new DumpError(answer.stderr.trim());
    },
  }),
});
