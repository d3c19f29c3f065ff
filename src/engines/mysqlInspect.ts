import * as z from 'zod';
import type { Question } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import type { Server } from './engine.ts';
import { readAccess, warnOf } from './mysqlAccess.ts';
import { readRows } from './mysqlAnswer.ts';
import { mysqlClient, mysqlName, mysqlText } from './mysqlConnection.ts';
import { type Flavor, readRelease, titleOf } from './mysqlFlavor.ts';

/** What a dump does not say of its database, or is without, as the manifest carries it. */
export const mysqlFacts = z
  .object({
    charset: z.string(),
    collation: z.string(),
    /** Those in whose name views, triggers, procedures, functions and events run: user@host. */
    definers: z.array(z.string()),
    hasRoutines: z.boolean(),
    /** Triggers, procedures, functions and events made in another sql_mode than the server's own; events of a time zone but UTC. */
    otherModes: z.array(z.string()),
    /** What the login could not read. */
    leftOut: z
      .object({ events: z.boolean(), triggers: z.boolean(), routines: z.boolean(), tables: z.array(z.string()) })
      .partial(),
    /** The name in a dump made with --databases; `*` for all. */
    createsDatabase: z.string(),
    /** It sets the server's list of transactions, as mysqldump does unless told not to. */
    setsGtids: z.boolean(),
    /** Of a mydumper folder. */
    sourceDatabase: z.string(),
  })
  .partial();
export type MysqlFacts = z.infer<typeof mysqlFacts>;

/** One client, which goes on after an error: what one kind of server does not know, or a login may not ask, is left open. */
export const inspectMysql =
  (flavor: Flavor) =>
  (connection: Connection): Question<Server> => {
    const { database } = connection;
    return {
      command: {
        ...mysqlClient(flavor, connection, ['--force', `--database=${database}`]),
        input: describeDatabase(mysqlText(database), mysqlName(database)),
      },
      parse: (answer) => {
        const rows = readRows(answer, flavor.client);
        const release = readRelease(rows.first('version').join(' '));
        const access = readAccess(rows, answer.stderr, release, database);
        const [charset, collation] = rows.first('charset');
        const definers = ['view', 'routine', 'trigger', 'event'].flatMap((kind) =>
          rows.all(kind).map((row) => row[0]!),
        );
        return {
          title: titleOf(release),
          serverId: rows.all('wsrep_cluster_state_uuid')[0]?.[0] || rows.first('uuid')[0] || null,
          bytes: Number(rows.first('bytes')[0] ?? 0),
          target: {
            ...(charset && { charset, collation }),
            hasRoutines: rows.all('routine').length > 0,
            otherModes: rows
              .all('mode')
              .map(([name]) => name!)
              .sort(),
            definers: [...new Set(definers.filter(Boolean))].sort(),
            ...(access.names.length > 0 && { leftOut: access.leftOut }),
          },
          major: undefined,
          needsCopy: false,
          ...(access.names.length > 0 && {
            unreadable: { names: access.names, remedy: access.remedy, isLeftOut: true },
          }),
          tables: {
            kind: 'table',
            names: rows.all('table').flatMap(([name]) => (access.leftOut.tables.includes(name!) ? [] : name!)),
          },
          warnings: warnOf(access, rows.first('user')[0] ?? 'the login'),
          notes: {
            versioned: rows.all('versioned').map(([table]) => table!),
            ambiguous: rows.all('ambiguous').map(([table]) => table!),
          },
        };
      },
    };
  };

/**
 * Names are literals, never DATABASE(), for which MariaDB would open the tables of every database. With roles MySQL shows
 * what they allow only if they are named.
 */
const describeDatabase = (text: string, name: string): string => `
SET SESSION sql_mode = '';
SELECT 'version', VERSION();
SELECT 'uuid', @@server_uuid;
SHOW GLOBAL STATUS LIKE 'wsrep_cluster_state_uuid';
SELECT 'user', CURRENT_USER();
SHOW GRANTS;
SET @grants = IF(COALESCE(CURRENT_ROLE(), 'NONE') = 'NONE', 'DO 0', CONCAT('SHOW GRANTS FOR CURRENT_USER() USING ', CURRENT_ROLE()));
PREPARE grants FROM @grants;
EXECUTE grants;
SELECT 'charset', default_character_set_name, default_collation_name FROM information_schema.schemata WHERE schema_name = ${text};
SELECT 'bytes', COALESCE(SUM(COALESCE(data_length, 0) + COALESCE(index_length, 0)), 0) FROM information_schema.tables WHERE table_schema = ${text};
SELECT 'table', table_name FROM information_schema.tables WHERE table_schema = ${text} AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED');
SELECT DISTINCT 'denied', table_name FROM information_schema.columns WHERE table_schema = ${text} AND privileges NOT LIKE '%select%';
SELECT 'denied', table_name FROM information_schema.tables WHERE table_schema = ${text} AND BINARY table_name NOT IN (
  SELECT BINARY table_name FROM information_schema.columns WHERE table_schema = ${text});
SELECT 'view', definer, table_name, COALESCE(view_definition, '') <> '' FROM information_schema.views WHERE table_schema = ${text};
SELECT 'routine', definer, routine_name, routine_definition IS NOT NULL FROM information_schema.routines WHERE routine_schema = ${text};
SELECT DISTINCT 'trigger', definer FROM information_schema.triggers WHERE trigger_schema = ${text};
SELECT DISTINCT 'event', definer FROM information_schema.events WHERE event_schema = ${text};
SELECT 'mode', trigger_name FROM information_schema.triggers WHERE trigger_schema = ${text} AND sql_mode <> @@GLOBAL.sql_mode;
SELECT 'mode', routine_name FROM information_schema.routines WHERE routine_schema = ${text} AND sql_mode <> @@GLOBAL.sql_mode;
SELECT 'mode', event_name FROM information_schema.events WHERE event_schema = ${text} AND (sql_mode <> @@GLOBAL.sql_mode
  OR IF(time_zone = 'SYSTEM', @@system_time_zone, time_zone) NOT IN ('UTC', '+00:00'));
SELECT 'versioned', table_name FROM information_schema.tables WHERE table_schema = ${text} AND table_type = 'SYSTEM VERSIONED';
SELECT 'ambiguous', table_name FROM information_schema.tables WHERE table_schema = ${text} AND table_name REGEXP '-schema(-(post|triggers|view|create))?$';
SHOW EVENTS FROM ${name} LIKE '';
`;

const SYSTEM = ['information_schema', 'performance_schema', 'mysql', 'sys'];

/** All databases but the server's own, and folders that only look like one (lost+found). */
export const discoverMysql =
  (flavor: Flavor) =>
  (connection: Connection): Question<readonly string[]> => ({
    command: {
      ...mysqlClient(flavor, connection),
      input: `SELECT 'version', VERSION();\nSELECT 'database', schema_name FROM information_schema.schemata ORDER BY schema_name;\n`,
    },
    parse: (answer) =>
      readRows(answer, flavor.client)
        .all('database')
        .map(([name]) => name!)
        .filter((name) => !SYSTEM.includes(name.toLowerCase()) && !name.startsWith('#mysql50#')),
  });
