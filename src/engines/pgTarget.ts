import * as z from 'zod';
import type { Question } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import type { TablePick, Target, TargetFacts } from './engine.ts';
import { pgText, psql } from './pgConnection.ts';
import { userObjects } from './pgEmpty.ts';
import { GLOBALS, inspectPgRoles } from './pgGlobals.ts';
import { parseLine, pgFacts } from './pgInspect.ts';
import { askForPick, judgePick, NOTHING_PICKED, pgPickAnswer } from './pgPickTarget.ts';

const answer = z.object({
  version: z.string(),
  number: z.number(),
  missingRoles: z.array(z.string()),
  holds: z.array(z.object({ kind: z.string(), count: z.number() })),
  pick: pgPickAnswer.nullable(),
});

/**
 * Asks the target itself, since some logins may connect nowhere else. Where that fails, databases that every server has
 * are asked whether it exists at all; if it does, its own refusal is what the operator should read.
 */
export function inspectPgTarget(connection: Connection, facts: TargetFacts, pick?: TablePick): Question<Target> {
  const { roles = [], part } = pgFacts.parse(facts);
  if (part === GLOBALS) return inspectPgRoles(connection);
  const input = pick ? describeTarget(roles, NOTHING, askForPick(pick)) : describeTarget(roles, HOLDS);
  return {
    command: { ...psql(connection, connection.database), input },
    parse: ({ stdout }) => parseTarget(stdout, true, pick),
    fallback: askMaintenance(connection, 'postgres', roles, pick, askMaintenance(connection, 'template1', roles, pick)),
  };
}

const NOTHING = "'[]'::json";

function askMaintenance(
  connection: Connection,
  maintenance: string,
  roles: readonly string[],
  pick: TablePick | undefined,
  fallback?: Question<Target>,
): Question<Target> {
  const absent = `SELECT count(*) = 0 AS absent FROM pg_database WHERE datname = ${pgText(connection.database)} \\gset`;
  const input = `SET search_path = '';\n${absent}\n\\if :absent\n${describeTarget(roles, NOTHING)}\\endif\n`;
  return {
    command: { ...psql(connection, maintenance), input },
    parse: ({ stdout }) => ({ ...parseTarget(stdout, false, pick), notes: { maintenance } }),
    ...(fallback && { fallback }),
  };
}

function parseTarget(stdout: string, exists: boolean, pick: TablePick | undefined): Target {
  const { version, number, missingRoles, holds, pick: found } = parseLine(answer, stdout);
  return {
    exists,
    holds: holds.map(({ kind, count }) => `${count} ${count === 1 ? kind : plural(kind)}`).join(', '),
    missingRoles,
    title: `PostgreSQL ${version}`,
    major: Math.floor(number / 10_000),
    ...(pick && judgePick(pick, found ?? NOTHING_PICKED)),
    ...(found && { notes: { pick: found } }),
  };
}

const plural = (kind: string): string => {
  if (kind.endsWith('ss')) return `${kind}es`;
  return kind.endsWith('y') ? `${kind.slice(0, -1)}ies` : kind.replace(/s?$/, 's');
};

const describeTarget = (roles: readonly string[], holds: string, pick = 'NULL'): string => `
SET search_path = '';
SELECT json_build_object(
  'version', split_part(current_setting('server_version'), ' ', 1),
  'number', current_setting('server_version_num')::int,
  'missingRoles', (SELECT coalesce(json_agg(name), '[]') FROM json_array_elements_text(${pgText(JSON.stringify(roles))}::json) name
    WHERE name NOT IN (SELECT rolname FROM pg_roles)),
  'holds', ${holds},
  'pick', ${pick}
);
`;

/** Extensions do not count: a dump creates them only where they are missing. */
const HOLDS = `(
  SELECT coalesce(json_agg(json_build_object('kind', kind, 'count', count) ORDER BY count DESC, kind), '[]') FROM (
    SELECT i.type AS kind, count(*) FROM (${userObjects(`n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'`)}) u,
      pg_identify_object(classid, objid, 0) i WHERE i.type IS NOT NULL GROUP BY i.type
    UNION ALL SELECT 'large object', count(*) FROM pg_largeobject_metadata HAVING count(*) > 0
    UNION ALL SELECT 'subscription', count(*) FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid
      WHERE datname = current_database() HAVING count(*) > 0
  ) held
)`;
