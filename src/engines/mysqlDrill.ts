import type { Question } from '../core/command.ts';
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
      ...mysqlClient(flavor, connection),
      input: `DROP DATABASE IF EXISTS ${mysqlName(connection.database)};\n`,
    },
    parse: () => undefined,
  }),
});
