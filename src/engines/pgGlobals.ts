import * as z from 'zod';
import { type Command, type Question, SCRATCH } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import { formatNames } from '../core/units.ts';
import type { DumpPlan, DumpRequest, Marks, RestorePlan, RestoreRequest, Target } from './engine.ts';
import { pgLogin, pgName, psql } from './pgConnection.ts';
import { parseLine } from './pgInspect.ts';

/** What says in a manifest that the dump is of the server's roles and tablespaces. */
export const GLOBALS = 'globals';

/** Templates, and what takes no connection, are left out: pg_dump could not read them either. */
export const discoverPg = (connection: Connection): Question<readonly string[]> => ({
  command: {
    ...psql(connection, connection.database),
    input: `SELECT coalesce(json_agg(datname ORDER BY datname), '[]') FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate;\n`,
  },
  parse: ({ stdout }) => parseLine(z.array(z.string()), stdout),
});

export const GLOBALS_MARKS: Marks = {
  begins: /^--\n-- PostgreSQL database cluster dump\n/,
  ends: /\n-- PostgreSQL database cluster dump complete\n--\n\n(?:\\unrestrict [A-Za-z0-9]+\n\n)?$/,
  title: '"-- PostgreSQL database cluster dump complete"',
};

/** Roles and tablespaces; without passwords where the login may not read them, as on managed servers. */
export function planPgGlobals({ connection, server, tool }: DumpRequest): DumpPlan {
  const login = pgLogin(connection);
  const readsPasswords = server.notes?.readsPasswords !== false;
  const dump: Command = {
    file: 'pg_dumpall',
    args: ['--globals-only', ...(readsPasswords ? [] : ['--no-role-passwords']), ...login.args],
    env: login.env,
    files: login.files,
  };
  return {
    prepare: [],
    dump,
    format: GLOBALS,
    compression: null,
    container: null,
    extension: '.sql',
    marks: GLOBALS_MARKS,
    facts: { part: GLOBALS, roles: [], extensions: [] },
    warnings: readsPasswords
      ? []
      : [`the roles are dumped without their passwords, which the login may not read (${tool} of ${server.title})`],
  };
}

const answer = z.object({ version: z.string(), number: z.number(), roles: z.array(z.string()) });

/** A restore changes roles of the same name: those that are there count as what the target holds. */
export const inspectPgRoles = (connection: Connection): Question<Target> => ({
  command: {
    ...psql(connection, connection.database),
    input: `SELECT json_build_object(
      'version', split_part(current_setting('server_version'), ' ', 1), 'number', current_setting('server_version_num')::int,
      'roles', (SELECT coalesce(json_agg(rolname ORDER BY rolname), '[]') FROM pg_catalog.pg_roles
        WHERE rolname !~ '^pg_' AND rolname <> current_user));\n`,
  },
  parse: ({ stdout }) => {
    const { version, number, roles } = parseLine(answer, stdout);
    return {
      exists: true,
      holds: roles.length === 0 ? '' : `the role${roles.length > 1 ? 's' : ''} ${formatNames(roles)}`,
      isAmended: true,
      missingRoles: [],
      title: `PostgreSQL ${version}`,
      major: Math.floor(number / 10_000),
    };
  },
});

/**
 * Roles that are there are changed, not created; our own login and the tablespaces, which name folders of the old server, are
 * left alone. In one transaction, committed by what stands behind the dump.
 */
export function planPgRolesRestore({ connection }: RestoreRequest): RestorePlan {
  return {
    prepare: [],
    filters: [
      {
        file: 'sed',
        args: ['-E', '-f', `${SCRATCH}/roles.sed`],
        env: { LC_ALL: 'C' },
        files: { 'roles.sed': editRoles(connection) },
      },
    ],
    load: psql(connection, connection.database, ['--output=/dev/null', '--command=BEGIN', '--file=-']),
    commit: '\nCOMMIT;\n',
    isAtomic: true,
    finish: [],
  };
}

function editRoles({ user = 'postgres' }: Connection): string {
  const names = [user, pgName(user)].map((name) => name.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'));
  const own = names.join('|');
  return [
    `/^(CREATE|ALTER) ROLE (${own})( .*)?;$/d`,
    '/^(CREATE|ALTER) TABLESPACE /d',
    '/^(GRANT|REVOKE) .* ON TABLESPACE /d',
    '/^COMMENT ON TABLESPACE /d',
    's/^CREATE ROLE (.+);$/DO $dbstash$BEGIN CREATE ROLE \\1; EXCEPTION WHEN duplicate_object THEN NULL; END$dbstash$;/',
    '',
  ].join('\n');
}
