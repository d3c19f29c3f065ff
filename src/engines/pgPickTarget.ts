import * as z from 'zod';
import { formatCount } from '../core/units.ts';
import type { TablePick, Target } from './engine.ts';
import { type Entry, isRelation } from './pgArchive.ts';
import { pgName, pgText } from './pgConnection.ts';
import { choosePg, isReady, nameOfEntry, type PgChoice } from './pgPick.ts';

/** What a target says of tables that are to come into it. */
export const pgPickAnswer = z.object({
  held: z.array(z.object({ schema: z.string(), name: z.string(), kind: z.string(), partitions: z.number() })),
  dependents: z.array(z.string()),
  /** Those that name one of what is held. */
  publications: z.array(z.object({ name: z.string(), schema: z.string(), table: z.string() })),
  there: z.array(z.number()),
});
export type PgPickAnswer = z.infer<typeof pgPickAnswer>;

export const NOTHING_PICKED: PgPickAnswer = { held: [], dependents: [], publications: [], there: [] };

export const pgPickNotes = (target: Target): PgPickAnswer => pgPickAnswer.parse(target.notes?.pick ?? NOTHING_PICKED);

/** One expression, a JSON object. */
export function askForPick(pick: TablePick): string {
  const { base, links, missing, pointing } = choosePg(pick);
  const others = [...base, ...missing, ...[...links, ...pointing].flatMap(({ to }) => to)];
  const asked = [...new Set(others)].map(({ id, kind, schema, tag }) => ({ id, kind, schema: schema ?? null, tag }));
  const wanted = pick.tables.map(({ scope, name }) => ({ schema: scope, name }));
  return describePick(pgText(JSON.stringify(wanted)), pgText(JSON.stringify(asked)));
}

const describePick = (wanted: string, asked: string): string => `(
WITH wanted AS (
  SELECT c.oid, c.relkind, n.nspname, c.relname FROM json_to_recordset(${wanted}::json) w(schema text, name text)
  JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
)
SELECT json_build_object(
  'held', (SELECT coalesce(json_agg(json_build_object('schema', nspname, 'name', relname, 'kind', CASE relkind
      WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'TABLE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
      WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'S' THEN 'SEQUENCE' ELSE '' END,
      'partitions', (SELECT count(*) FROM pg_partition_tree(oid) WHERE level > 0)) ORDER BY nspname, relname), '[]') FROM wanted),
  'dependents', (SELECT coalesce(json_agg(DISTINCT coalesce(pg_describe_object('pg_class'::regclass, r.ev_class, 0), pg_describe_object(d.classid, d.objid, 0))), '[]')
    FROM pg_depend d LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM wanted) AND d.deptype = 'n'
    AND r.ev_class IS DISTINCT FROM d.refobjid AND coalesce(r.ev_class, 0) NOT IN (SELECT oid FROM wanted)
    AND NOT (d.classid = 'pg_class'::regclass AND d.objid IN (SELECT oid FROM wanted))
    AND NOT EXISTS (SELECT FROM pg_depend a WHERE a.classid = d.classid AND a.objid = d.objid AND a.refclassid = 'pg_class'::regclass
      AND a.refobjid IN (SELECT oid FROM wanted) AND a.deptype <> 'n')),
  'publications', (SELECT coalesce(json_agg(json_build_object('name', pubname, 'schema', nspname, 'table', relname)), '[]')
    FROM pg_publication_rel JOIN pg_publication p ON p.oid = prpubid JOIN (
      SELECT oid, nspname, relname FROM wanted
      UNION SELECT c.oid, n.nspname, c.relname FROM wanted w, pg_partition_tree(w.oid) t JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
    ) held ON held.oid = prrelid),
  'there', (SELECT coalesce(json_agg(id), '[]') FROM json_to_recordset(${asked}::json) a(id int, kind text, schema text, tag text)
    LEFT JOIN pg_namespace n ON n.nspname = a.schema
    WHERE CASE
      WHEN kind = 'SCHEMA' THEN EXISTS (SELECT FROM pg_namespace WHERE nspname = tag)
      WHEN kind = 'EXTENSION' THEN EXISTS (SELECT FROM pg_extension WHERE extname = tag)
      WHEN kind IN ('TYPE', 'DOMAIN', 'SHELL TYPE') THEN EXISTS (SELECT FROM pg_type WHERE typnamespace = n.oid AND typname = tag)
      WHEN kind IN ('FUNCTION', 'PROCEDURE', 'AGGREGATE') THEN EXISTS (SELECT FROM pg_proc
        WHERE pronamespace = n.oid AND proname || '(' || oidvectortypes(proargtypes) || ')' = tag)
      WHEN kind IN ('TABLE', 'VIEW', 'MATERIALIZED VIEW', 'FOREIGN TABLE', 'SEQUENCE', 'INDEX') THEN EXISTS (SELECT FROM pg_class
        WHERE relnamespace = n.oid AND relname = tag)
      WHEN kind = 'COLLATION' THEN EXISTS (SELECT FROM pg_collation WHERE collnamespace = n.oid AND collname = tag)
      WHEN kind IN ('SERVER', 'FOREIGN SERVER') THEN EXISTS (SELECT FROM pg_foreign_server WHERE srvname = tag)
      ELSE false END)
))`;

/** What of an answer the operator has to know before anything is done. */
export function judgePick(pick: TablePick, answer: PgPickAnswer): Pick<Target, 'holds' | 'keeps' | 'obstacles'> {
  const { held, dependents } = answer;
  const { missing } = choosePg(pick);
  const there = new Set(answer.there);
  const lacking = missing.filter(({ id }) => !there.has(id)).map(nameOfEntry);
  const odd = held.filter(({ kind }) => kind === '');
  return {
    holds: held.map(describeHeld).join(', '),
    obstacles: [
      ...(lacking.length > 0
        ? [`it cannot be made without ${lacking.join(', ')}, which the target lacks: name that with --table too`]
        : []),
      ...odd.map(({ schema, name }) => `the target has something else than a table under the name ${schema}.${name}`),
    ],
    ...(dependents.length > 0 && { keeps: dependents.join(', ') }),
  };
}

function describeHeld({ schema, name, kind, partitions }: PgPickAnswer['held'][number]): string {
  const parts = partitions === 0 ? '' : ` with its ${formatCount(partitions, 'partition')}`;
  return `the ${kind.toLowerCase() || 'object'} ${schema}.${name}${parts}`;
}

/** What will not be as it was. */
export function warnOfPick(choice: PgChoice, answer: PgPickAnswer, hasLargeObjects: boolean): readonly string[] {
  const there = new Set(answer.there);
  const name = (items: readonly Entry[]) => items.filter(isRelation).map(nameOfEntry).join(', ');
  const cut = choice.links.filter((link) => !isReady(link, there) && link.entry.kind !== 'INDEX ATTACH');
  const pointing = choice.pointing.filter((link) => isReady(link, there));
  return [
    ...cut.map(({ entry, to }) =>
      entry.kind === 'FK CONSTRAINT'
        ? `the foreign key ${nameOfEntry(entry)} is not restored: the target lacks ${name(to)}, which it points to`
        : `${nameOfEntry(entry)} becomes a table of its own: the target lacks ${name(to)}, which it is a partition of`,
    ),
    ...(pointing.length > 0
      ? [
          `foreign keys of other tables, which point to what is restored, are not: ${pointing.map(({ entry }) => nameOfEntry(entry)).join(', ')}`,
        ]
      : []),
    ...answer.publications.map(({ name: publication, schema, table }) => {
      const sentence = `the publication ${publication} loses ${schema}.${table}, and what subscribes to it gets no more of that`;
      return `${sentence}: ALTER PUBLICATION ${pgName(publication)} ADD TABLE ${pgName(schema)}.${pgName(table)}`;
    }),
    ...(hasLargeObjects ? ['large objects are not restored with a table'] : []),
  ];
}

const DROPS = ['VIEW', 'MATERIALIZED VIEW', 'FOREIGN TABLE', 'TABLE', 'SEQUENCE'];

/** Removes just the tables. Of what depends on them the server makes an error. */
export function dropHeld({ held }: PgPickAnswer): string {
  const drops = DROPS.flatMap((kind) => {
    const names = held
      .filter((item) => item.kind === kind)
      .map(({ schema, name }) => `${pgName(schema)}.${pgName(name)}`);
    return names.length > 0 ? [`DROP ${kind} ${names.join(', ')};`] : [];
  });
  return ["SET lock_timeout = '60s';", ...drops, ''].join('\n');
}
