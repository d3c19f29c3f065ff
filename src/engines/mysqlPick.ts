import * as z from 'zod';
import type { Command, Question } from '../core/command.ts';
import { ConfigError } from '../core/errors.ts';
import { type Contents, type ContentsRequest, DUMP, type TableName, type TablePick, type Target } from './engine.ts';
import type { Rows } from './mysqlAnswer.ts';
import { mysqlName, mysqlText } from './mysqlConnection.ts';
import type { Flavor } from './mysqlFlavor.ts';
import { mysqlFacts } from './mysqlInspect.ts';

/** Lists a folder of mydumper, which has files of their own for each table. A script has not. */
export const planMysqlContents =
  (flavor: Flavor) =>
  ({ format, facts, path, wanted, connection }: ContentsRequest): Question<Contents> => {
    const source = mysqlFacts.parse(facts).sourceDatabase;
    if (format !== 'mydumper' || source === undefined)
      throw new ConfigError(
        `${path} is one script of SQL, out of which no table can be taken safely: ${explainCopy(flavor, path, wanted, connection.database)}; ` +
          'backups made with BACKUP_MODE=directory or tar can be taken apart',
      );
    return {
      command: { file: 'find', args: [DUMP, '-name', '*-schema*.sql*', '-printf', '%f\\n'] },
      parse: ({ stdout }) => {
        const names = stdout.split('\n').map((name) => name.replace(/\.(gz|zst)$/, ''));
        const cut = (end: string) =>
          names.flatMap((name) =>
            name.startsWith(`${source}.`) && name.endsWith(end) ? [name.slice(source.length + 1, -end.length)] : [],
          );
        const views = new Set(cut('-schema-view.sql'));
        const tables = cut('-schema.sql').filter((name) => !views.has(name));
        const all = tables.map((name) => ({ scope: source, name }));
        return { tables: all, notes: { all: tables } };
      },
    };
  };

/**
 * By a dump of its own, which turns the checks of foreign keys off for itself: RENAME TABLE would leave a table pointing into the
 * database that it came from, and take none with triggers. Through a file, since half a dump would drop the table as well.
 */
function explainCopy(flavor: Flavor, path: string, tables: readonly string[], database: string): string {
  const copy = `${database}_copy`;
  const names = [copy, ...tables].map(quoteWord).join(' ');
  const steps = [
    `${flavor.client} -e ${quoteWord(`CREATE DATABASE IF NOT EXISTS ${mysqlName(database)}`)}`,
    `${flavor.dumpTool} --default-character-set=utf8mb4 ${WHOLE[flavor.name]} ${names} > table.sql`,
    `${flavor.client} ${quoteWord(database)} < table.sql`,
  ];
  return (
    `restore it beside (dbstash restore ${path} --database ${quoteWord(copy)}), then put the table over the one in ${database}, ` +
    `with your login in ~/.my.cnf (${steps.join(' && ')}), and drop the database ${copy}`
  );
}

/** For all that is in a table and nothing else. `loose`: Debian's mysqldump is MariaDB's, and its own knows no history before 10.11. */
const WHOLE: Readonly<Record<Flavor['name'], string>> = {
  mysql: '--loose-set-gtid-purged=OFF',
  mariadb: '--loose-dump-history',
};

/** As one word of a shell. */
const quoteWord = (word: string): string => (/^[\w.]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/**
 * Leaves in the folder, which is ours, nothing but the files of the tables: routines and events belong to none. A part of a table's
 * rows is called as a table may be whose name goes on with a dot and digits.
 */
export function keepFiles(folder: string, { tables, notes }: TablePick): Command {
  const scopes = [...new Set(tables.map(({ scope }) => `${escapeGlob(scope!)}-schema-create.sql*`))];
  const kept = ['metadata', ...scopes, ...tables.flatMap(filesOf)].flatMap((name) => ['!', '-name', name]);
  const others = findNamesakes(tables, z.object({ all: z.array(z.string()).default([]) }).parse(notes ?? {}).all)
    .flatMap(filesOf)
    .flatMap((name) => ['-o', '-name', name]);
  return { file: 'find', args: [folder, '-type', 'f', '(', ...kept, ...others, ')', '-delete'] };
}

function filesOf({ scope, name }: TableName): readonly string[] {
  const table = `${escapeGlob(scope!)}.${escapeGlob(name)}`;
  return [`${table}-schema.sql*`, `${table}-schema-triggers.sql*`, `${table}.sql*`, `${table}.[0-9]*.sql*`];
}

/** Tables that are not picked, and whose files look like parts of one that is. Throws `ConfigError` where they cannot be told apart. */
function findNamesakes(tables: TablePick['tables'], all: readonly string[]): readonly TableName[] {
  return tables.flatMap((table) => {
    const rest = all.filter((name) => name.startsWith(`${table.name}.`) && !tables.some((one) => one.name === name));
    const unclear = rest.find((name) => /^\d{5,}$/.test(name.slice(table.name.length + 1)));
    if (unclear !== undefined)
      throw new ConfigError(
        `mydumper calls the rows of the table ${unclear} as a part of those of ${table.name}: restore the whole backup with --database NAME`,
      );
    return rest.map((name) => ({ scope: table.scope, name }));
  });
}

const escapeGlob = (name: string): string => name.replaceAll(/[*?[\]\\]/g, '\\$&');

/** What stands under the names of the tables, in just these letters where the server tells them apart, and what points to them. */
export function askForTables(database: string, { tables }: TablePick): string {
  const list = (wrap: (text: string) => string) => tables.map(({ name }) => wrap(mysqlText(name))).join(', ');
  const exact = list((text) => `BINARY ${text}`);
  const lower = list((text) => `LOWER(${text})`);
  const isMeant = (column: string) =>
    `IF(@@lower_case_table_names > 0, LOWER(${column}) IN (${lower}), BINARY ${column} IN (${exact}))`;
  return `
SELECT 'table', table_name, table_type FROM information_schema.tables WHERE table_schema = ${database} AND ${isMeant('table_name')};
SELECT DISTINCT 'pointing', table_schema, table_name FROM information_schema.key_column_usage
  WHERE referenced_table_schema = ${database} AND ${isMeant('referenced_table_name')}
  AND NOT (table_schema = ${database} AND ${isMeant('table_name')});
`;
}

export function judgeTables(rows: Rows, database: string): Pick<Target, 'holds' | 'keeps'> {
  const held = rows.all('table');
  const pointing = rows.all('pointing').map(([schema, name]) => (schema === database ? name : `${schema}.${name}`));
  return {
    holds: held.map(([name, type]) => `the ${type === 'VIEW' ? 'view' : 'table'} ${name}`).join(', '),
    ...(pointing.length > 0 && { keeps: `foreign keys of ${pointing.join(', ')}` }),
  };
}

/** As the server has them: what a foreign key points to it does not drop. */
export const notesOfTables = (rows: Rows): readonly (readonly [name: string, type: string])[] =>
  rows.all('table').map(([name = '', type = '']) => [name, type]);

export const dropTables = ({ notes }: Target): string => {
  const held = Array.isArray(notes?.tables) ? (notes.tables as ReturnType<typeof notesOfTables>) : [];
  const drop = (kind: string, names: readonly string[]) =>
    names.length > 0 ? [`DROP ${kind} ${names.map(mysqlName).join(', ')};`] : [];
  const isView = ([, type]: readonly [string, string]) => type === 'VIEW';
  return [
    'SET SESSION lock_wait_timeout = 60;',
    ...drop(
      'VIEW',
      held.filter(isView).map(([name]) => name),
    ),
    ...drop(
      'TABLE',
      held.filter((row) => !isView(row)).map(([name]) => name),
    ),
    '',
  ].join('\n');
};
