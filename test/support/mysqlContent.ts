import { createHash } from 'node:crypto';
import type { MysqlServer } from './mysql.ts';

/** What the server itself says of a database, object by object and row by row; nothing of it goes through a dump tool. */
export async function contentOf(server: MysqlServer, database: string): Promise<Record<string, string>> {
  const ask = (sql: string) => server.sql(`SET SESSION sql_mode = ''; ${sql}`, { database });
  const name = (text: string) => `\`${text.replaceAll('`', '``')}\``;
  const content: Record<string, string> = { database: (await ask('SELECT @@collation_database')).join() };
  // What MySQL says twice of some columns, and the counter of MyISAM, which every row moves on.
  const note = async (key: string, sql: string) => {
    const text = (await ask(sql))
      .join('\n')
      .replaceAll(`\`${database}\`.`, '')
      .replaceAll(/ AUTO_INCREMENT=\d+| CHARACTER SET latin1(?= COLLATE)/g, '');
    content[key] = text.length > 500 ? createHash('sha256').update(text).digest('hex') : text;
  };
  for (const line of await ask('SHOW FULL TABLES')) {
    const [table = '', type] = line.split('\t');
    await note(`${type} ${table}`, `SHOW CREATE TABLE ${name(table)}`);
    const columns = await ask(
      `SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = '${table.replaceAll("'", "''")}' ORDER BY ordinal_position`,
    );
    const values = columns.map((column) => `COALESCE(HEX(${name(column)}), 'NULL')`).join(", ',', ");
    await note(`rows of ${table}`, `SELECT CONCAT(${values}, '') FROM ${name(table)} ORDER BY 1`);
  }
  for (const [kind, list] of [
    ['TRIGGER', 'SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()'],
    ['EVENT', 'SELECT event_name FROM information_schema.events WHERE event_schema = DATABASE()'],
    [
      'PROCEDURE',
      `SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type = 'PROCEDURE'`,
    ],
    [
      'FUNCTION',
      `SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type = 'FUNCTION'`,
    ],
  ] as const) {
    // The moment at which a trigger was made is the only thing that differs.
    for (const object of await ask(list)) await note(`${kind} ${object}`, `SHOW CREATE ${kind} ${name(object)}`);
  }
  return Object.fromEntries(
    Object.entries(content).map(([key, text]) => [
      key,
      text.replaceAll(/\t\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d\d$/gm, ''),
    ]),
  );
}
