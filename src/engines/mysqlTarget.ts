import type { Question } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import { formatCount } from '../core/units.ts';
import type { TablePick, Target, TargetFacts } from './engine.ts';
import { readRows } from './mysqlAnswer.ts';
import { mysqlClient, mysqlText } from './mysqlConnection.ts';
import { type Flavor, knowsSandboxLine, type Release, readRelease, titleOf } from './mysqlFlavor.ts';
import { mysqlFacts } from './mysqlInspect.ts';
import { askForTables, judgeTables, notesOfTables } from './mysqlPick.ts';

/** Asks the server, without the database. Definers that it lacks stop no restore, and are in the notes. */
export const inspectMysqlTarget =
  (flavor: Flavor) =>
  (connection: Connection, facts: TargetFacts, pick?: TablePick): Question<Target> => {
    const { definers = [] } = mysqlFacts.parse(facts);
    const text = mysqlText(connection.database);
    return {
      command: {
        ...mysqlClient(flavor, connection, ['--force']),
        input: describeTarget(text, definers.map(mysqlText)) + (pick ? askForTables(text, pick) : ''),
      },
      parse: (answer) => {
        const rows = readRows(answer, flavor.client);
        const accounts = new Set(rows.all('account').map(([name]) => name));
        // A login that may not see the accounts is told nothing about them.
        const knowsAccounts = rows.all('accounts').length > 0;
        return {
          exists: rows.all('exists').length > 0,
          holds: rows
            .all('holds')
            .map(([kind, count]) => describeCount(kind!, Number(count)))
            .join(', '),
          missingRoles: [],
          title: titleOf(readRelease(rows.first('version').join(' '))),
          major: undefined,
          ...(pick && judgeTables(rows, connection.database)),
          notes: {
            ...(pick && { tables: notesOfTables(rows) }),
            knowsSandboxLine: knowsSandboxLine(readClient(rows.lines)),
            missingDefiners: knowsAccounts ? definers.filter((name) => !accounts.has(name)) : [],
          },
        };
      },
    };
  };

/** What `\\s` says of the client: "Ver 15.1 Distrib 10.11.6-MariaDB", or since 11 "from 11.8.2-MariaDB, client 15.2". */
const readClient = (lines: readonly string[]): Release =>
  readRelease(lines.flatMap((line) => /^\S+ +(?:Ver \S+ Distrib|from) (\S+-MariaDB)/.exec(line)?.[1] ?? [])[0] ?? '');

const KINDS: Readonly<Record<string, string>> = { 'BASE TABLE': 'table', 'SYSTEM VERSIONED': 'table' };

function describeCount(kind: string, count: number): string {
  return formatCount(count, KINDS[kind] ?? kind.toLowerCase());
}

/** Of databases whose names differ only in case, one with exactly that name, where the server tells them apart. */
const describeTarget = (text: string, definers: readonly string[]): string => `\\s
SET SESSION sql_mode = '';
SELECT 'version', VERSION();
SELECT 'exists' FROM information_schema.schemata
  WHERE schema_name = ${text} AND (@@lower_case_table_names > 0 OR BINARY schema_name = BINARY ${text});
SELECT 'holds', table_type, COUNT(*) FROM information_schema.tables WHERE table_schema = ${text} GROUP BY table_type;
SELECT 'holds', routine_type, COUNT(*) FROM information_schema.routines WHERE routine_schema = ${text} GROUP BY routine_type;
SELECT 'holds', 'event', COUNT(*) FROM information_schema.events WHERE event_schema = ${text} HAVING COUNT(*) > 0;
${definers.length === 0 ? '' : accountsAmong(definers)}`;

/** A role of MariaDB has no host, and as a definer none is shown. */
const accountsAmong = (definers: readonly string[]): string => `
SELECT 'accounts', COUNT(*) FROM mysql.user;
SELECT 'account', CONCAT(user, IF(host = '', '', CONCAT('@', host))) FROM mysql.user
  WHERE CONCAT(user, IF(host = '', '', CONCAT('@', host))) IN (${definers.join(', ')});
SELECT 'account', CONCAT(user, '@', host) FROM mysql.user WHERE CONCAT(user, '@', host) IN (${definers.join(', ')});
`;
