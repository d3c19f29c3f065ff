import type { Command } from '../core/command.ts';
import { ConfigError } from '../core/errors.ts';
import type { RestoreRequest } from './engine.ts';
import { pgName, pgText, psql } from './pgConnection.ts';
import type { PgFacts } from './pgInspect.ts';

/** A database that is there while the target is not. */
export const maintenanceOf = ({ target }: RestoreRequest): string => {
  const noted = target.notes?.maintenance;
  return typeof noted === 'string' ? noted : 'postgres';
};

/** Where the login is no superuser it must belong to the roles, or it could not give them anything. */
export function createRoles(request: RestoreRequest): Command {
  const { connection, target } = request;
  const statements = target.missingRoles.map((role) => `CREATE ROLE ${pgName(role)} NOLOGIN;`);
  const grants = target.missingRoles.map((role) => `GRANT ${pgName(role)} TO CURRENT_USER;`);
  const input = [
    ...statements,
    'SELECT NOT rolsuper AS joins FROM pg_catalog.pg_roles WHERE rolname = current_user \\gset',
    '\\if :joins',
    ...grants,
    '\\endif\n',
  ].join('\n');
  return {
    ...psql(connection, target.exists ? connection.database : maintenanceOf(request), [
      '--single-transaction',
      '--file=-',
    ]),
    input,
  };
}

/** From template0, which alone allows another encoding and locale than the server's own. */
export function createDatabase(request: RestoreRequest, facts: PgFacts): Command {
  const { connection } = request;
  const words = Object.entries(localeOf(request, facts)).map(([key, value]) => `${key} ${pgText(value)}`);
  const input = `CREATE DATABASE ${pgName(connection.database)} TEMPLATE template0 ${words.join(' ')};\n`;
  return { ...psql(connection, maintenanceOf(request)), input };
}

/** Of the one that we created: a later try would take it for the user's own, and leave owner, privileges and settings alone. */
export const dropDatabase = (request: RestoreRequest): Command => ({
  ...psql(request.connection, maintenanceOf(request)),
  input: `DROP DATABASE IF EXISTS ${pgName(request.connection.database)};\n`,
});

/** Since which major version a server takes a provider of locales other than libc. */
const PROVIDERS: Readonly<Record<string, { since: number; key: string }>> = {
  icu: { since: 15, key: 'ICU_LOCALE' },
  builtin: { since: 17, key: 'BUILTIN_LOCALE' },
};

function localeOf({ target, connection }: RestoreRequest, facts: PgFacts): Record<string, string> {
  const { encoding, collate, ctype, provider = 'libc', locale, icuRules } = facts;
  const words: Record<string, string> = {
    ...(encoding !== undefined && { ENCODING: encoding }),
    ...(collate !== undefined && { LC_COLLATE: collate }),
    ...(ctype !== undefined && { LC_CTYPE: ctype }),
  };
  const other = PROVIDERS[provider];
  if (!other) return words;
  if (target.major !== undefined && target.major < other.since) {
    throw new ConfigError(
      `${target.title} has no ${provider} locales for a database, which the backup was made with: ` +
        `create ${JSON.stringify(connection.database)} yourself, then restore into it`,
    );
  }
  return {
    ...words,
    LOCALE_PROVIDER: provider,
    ...(typeof locale === 'string' && { [other.key]: locale }),
    ...(typeof icuRules === 'string' && { ICU_RULES: icuRules }),
  };
}

/** After the load, since a setting such as default_transaction_read_only would stop it. What cannot be set is a warning. */
export function describeDatabase({ connection }: RestoreRequest, facts: PgFacts): Command {
  const { owner = null, grants = null, settings = [], droppedSettings = [] } = facts;
  const json = pgText(JSON.stringify({ owner, grants, settings, droppedSettings }));
  return {
    ...psql(connection, connection.database),
    input: `\\o /dev/null\nSELECT set_config('dbstash.facts', ${json}, false);\n${DESCRIBE}`,
  };
}

/** Lists of names are set in the session first: as one literal they would become one name. */
const DESCRIBE = `
SET search_path = '';
DO $describe$
DECLARE
  facts jsonb := current_setting('dbstash.facts')::jsonb;
  db text := current_database();
  item jsonb;
  word text;
BEGIN
  BEGIN
    IF pg_has_role(facts->>'owner', 'MEMBER') THEN
      EXECUTE format('ALTER DATABASE %I OWNER TO %I', db, facts->>'owner');
    END IF;
  EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'the owner of the database is not set to %: %', facts->>'owner', SQLERRM;
  END;
  IF jsonb_typeof(facts->'grants') = 'array' THEN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', db);
    FOR item IN SELECT value FROM jsonb_array_elements(facts->'grants') LOOP
      BEGIN
        EXECUTE format('GRANT %s ON DATABASE %I TO %s %s', item->>'privilege', db, coalesce(quote_ident(item->>'role'), 'PUBLIC'),
          CASE WHEN (item->>'grantable')::boolean THEN 'WITH GRANT OPTION' ELSE '' END);
      EXCEPTION WHEN OTHERS THEN
        RAISE WARNING '% on the database is not granted to %: %', item->>'privilege', item->>'role', SQLERRM;
      END;
    END LOOP;
  END IF;
  FOR item IN SELECT value FROM jsonb_array_elements(facts->'settings') LOOP
    BEGIN
      word := CASE WHEN item->>'role' IS NULL THEN format('DATABASE %I', db) ELSE format('ROLE %I IN DATABASE %I', item->>'role', db) END;
      IF item->>'name' IN ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries') THEN
        PERFORM set_config(item->>'name', item->>'value', true);
        EXECUTE format('ALTER %s SET %I FROM CURRENT', word, item->>'name');
      ELSE
        EXECUTE format('ALTER %s SET %I = %L', word, item->>'name', item->>'value');
      END IF;
    EXCEPTION WHEN OTHERS THEN
      RAISE WARNING 'the setting % of the database is not restored: %', item->>'name', SQLERRM;
    END;
  END LOOP;
  FOR word IN SELECT jsonb_array_elements_text(facts->'droppedSettings') LOOP
    RAISE WARNING 'the setting % of the database is not in the backup, since it may hold a secret', word;
  END LOOP;
END
$describe$;
`;
