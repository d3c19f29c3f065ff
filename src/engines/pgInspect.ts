import * as z from 'zod';
import type { Question } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import { DumpError } from '../core/errors.ts';
import type { Server } from './engine.ts';
import { pgName, psql } from './pgConnection.ts';

const settings = z.array(z.object({ role: z.string().nullable(), name: z.string(), value: z.string() }));
const grants = z.array(z.object({ role: z.string().nullable(), privilege: z.string(), grantable: z.boolean() }));

/** What a dump does not say of its database, as the manifest carries it. Every part may be missing in an older manifest. */
export const pgFacts = z
  .object({
    encoding: z.string(),
    collate: z.string(),
    ctype: z.string(),
    /** libc, icu or builtin. */
    provider: z.string(),
    locale: z.string().nullable(),
    icuRules: z.string().nullable(),
    owner: z.string(),
    /** Null where nobody ever changed them. A role of null is PUBLIC. */
    grants: grants.nullable(),
    /** For all roles (null) or one. Those with a dot in their name may hold secrets of an application: names only. */
    settings,
    droppedSettings: z.array(z.string()),
    /** Those that the dump names. */
    roles: z.array(z.string()),
    extensions: z.array(z.object({ name: z.string(), version: z.string() })),
    largeObjects: z.boolean(),
    /** "globals", where it is no dump of a database. */
    part: z.string(),
    /** The name in a dump made with --create. */
    createsDatabase: z.string(),
  })
  .partial();
export type PgFacts = z.infer<typeof pgFacts>;

const answer = z.object({
  version: z.string(),
  number: z.number(),
  serverId: z.string().nullable(),
  bytes: z.number(),
  unreadable: z.array(z.string()),
  tables: z.array(z.string()),
  readsPasswords: z.boolean(),
  target: pgFacts,
});

/** One psql, one line of JSON. */
export function inspectPg(connection: Connection): Question<Server> {
  return {
    command: { ...psql(connection, connection.database), input: INSPECT },
    parse: ({ stdout }) => {
      const { version, number, serverId, bytes, unreadable, tables, readsPasswords, target } = parseLine(
        answer,
        stdout,
      );
      const remedy = `GRANT pg_read_all_data TO ${pgName(connection.user ?? 'the login')}`;
      return {
        title: `PostgreSQL ${version}`,
        serverId,
        bytes,
        target,
        major: Math.floor(number / 10_000),
        needsCopy: false,
        ...(unreadable.length > 0 && { unreadable: { names: unreadable, remedy } }),
        warnings: [],
        tables: { kind: 'table', names: tables },
        notes: { readsPasswords },
      };
    },
  };
}

/** The JSON that psql printed. Throws `DumpError`. */
export function parseLine<T>(schema: z.ZodType<T>, stdout: string): T {
  try {
    return schema.parse(JSON.parse(stdout));
  } catch (cause) {
    throw new DumpError(`psql answers what makes no sense: ${JSON.stringify(stdout.slice(0, 200))}`, { cause });
  }
}

/** Objects that initdb made have smaller numbers. */
export const FIRST_USER_OID = 16_384;

/** Every kind of object whose owner a dump names, but for extensions and what belongs to one. */
const OWNED: readonly (readonly [catalog: string, owner: string])[] = [
  ['pg_namespace', 'nspowner'],
  ['pg_class', 'relowner'],
  ['pg_proc', 'proowner'],
  ['pg_type', 'typowner'],
  ['pg_operator', 'oprowner'],
  ['pg_opclass', 'opcowner'],
  ['pg_opfamily', 'opfowner'],
  ['pg_collation', 'collowner'],
  ['pg_conversion', 'conowner'],
  ['pg_ts_dict', 'dictowner'],
  ['pg_ts_config', 'cfgowner'],
  ['pg_statistic_ext', 'stxowner'],
  ['pg_foreign_data_wrapper', 'fdwowner'],
  ['pg_foreign_server', 'srvowner'],
  ['pg_event_trigger', 'evtowner'],
  ['pg_publication', 'pubowner'],
  ['pg_language', 'lanowner'],
  ['pg_largeobject_metadata', 'lomowner'],
];

/** True where the object is a member of an extension, which a dump does not spell out. */
const inExtension = (catalog: string, oid: string): string =>
  `EXISTS (SELECT FROM pg_depend m WHERE m.classid = ${catalog} AND m.objid = ${oid} AND m.deptype = 'e')`;

/** pg_shdepend leaves out the superuser whom initdb made (10): whether it owns anything is asked of every catalog. */
const ownedBySuperuser = OWNED.map(
  ([catalog, owner]) =>
    `SELECT FROM ${catalog} o WHERE ${owner} = 10 AND oid >= ${FIRST_USER_OID} AND NOT ${inExtension(`'${catalog}'::regclass`, 'o.oid')}`,
).join('\n    UNION ALL ');

/** Columns of pg_database differ between versions: read through to_jsonb. Partitions, and other children of a table, come and go by themselves. */
const INSPECT = `
SET search_path = '';
SELECT has_function_privilege('pg_control_system()', 'EXECUTE') AS has_id \\gset
\\if :has_id
SELECT system_identifier AS id FROM pg_control_system() \\gset
\\else
\\set id ''
\\endif
WITH db AS (
  SELECT d.*, to_jsonb(d) AS j FROM pg_database d WHERE datname = current_database()
), setting AS (
  SELECT r.rolname AS role, split_part(line, '=', 1) AS name, substr(line, strpos(line, '=') + 1) AS value
  FROM db JOIN pg_db_role_setting s ON s.setdatabase = db.oid LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(setconfig) line
), role AS (
  SELECT r.rolname FROM db JOIN pg_shdepend s ON s.dbid = db.oid JOIN pg_roles r ON r.oid = s.refobjid
  WHERE s.refclassid = 'pg_authid'::regclass AND NOT ${inExtension('s.classid', 's.objid')}
  UNION SELECT r.rolname FROM db JOIN pg_subscription ON subdbid = db.oid JOIN pg_roles r ON r.oid = subowner
  UNION SELECT rolname FROM pg_roles WHERE oid = 10 AND EXISTS (
    ${ownedBySuperuser})
)
SELECT json_build_object(
  'version', split_part(current_setting('server_version'), ' ', 1),
  'number', current_setting('server_version_num')::int,
  'serverId', nullif(:'id', ''),
  'readsPasswords', has_table_privilege('pg_authid', 'SELECT'),
  'bytes', pg_database_size(db.oid),
  'unreadable', (
    SELECT coalesce(json_agg(format('%I.%I', nspname, relname) ORDER BY nspname, relname), '[]')
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'S') AND nspname !~ '^pg_' AND nspname <> 'information_schema' AND NOT ${inExtension("'pg_class'::regclass", 'c.oid')}
      AND CASE relkind WHEN 'S' THEN NOT has_sequence_privilege(c.oid, 'SELECT') ELSE NOT has_table_privilege(c.oid, 'SELECT') END),
  'tables', (
    SELECT coalesce(json_agg(format('%I.%I', nspname, relname)), '[]')
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p') AND nspname !~ '^pg_' AND nspname <> 'information_schema' AND NOT ${inExtension("'pg_class'::regclass", 'c.oid')}
      AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)),
  'target', json_build_object(
    'encoding', pg_encoding_to_char(db.encoding),
    'collate', db.datcollate,
    'ctype', db.datctype,
    'provider', CASE j->>'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
    'locale', coalesce(j->>'datlocale', j->>'daticulocale'),
    'icuRules', j->>'daticurules',
    'owner', pg_get_userbyid(db.datdba),
    'grants', CASE WHEN db.datacl IS NOT NULL THEN (
      SELECT coalesce(json_agg(json_build_object('role', r.rolname, 'privilege', privilege_type, 'grantable', is_grantable)), '[]')
      FROM aclexplode(db.datacl) LEFT JOIN pg_roles r ON r.oid = grantee) END,
    'settings', (SELECT coalesce(json_agg(setting), '[]') FROM setting WHERE name NOT LIKE '%.%'),
    'droppedSettings', (SELECT coalesce(json_agg(DISTINCT name), '[]') FROM setting WHERE name LIKE '%.%'),
    'roles', (SELECT coalesce(json_agg(rolname ORDER BY rolname), '[]') FROM role),
    'extensions', (SELECT coalesce(json_agg(json_build_object('name', extname, 'version', extversion) ORDER BY extname), '[]') FROM pg_extension),
    'largeObjects', EXISTS (SELECT FROM pg_largeobject_metadata)
  )
) FROM db;
`;
