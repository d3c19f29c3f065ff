import * as z from 'zod';
import type { Question } from '../core/command.ts';
import { ConfigError } from '../core/errors.ts';
import { type Contents, type ContentsRequest, DUMP, type TablePick } from './engine.ts';
import { type Entry, isRelation, readContents } from './pgArchive.ts';

/** Lists an archive, which a script is not. */
export function planPgContents({ mode, format, facts, path, wanted, connection }: ContentsRequest): Question<Contents> {
  if (format !== 'custom' && format !== 'directory') {
    const copy = `${connection.database}_copy`;
    // Not piped, and all or nothing: what is cut short would be taken for whole, and rows put into a table that is there.
    const load = `psql --single-transaction --set=ON_ERROR_STOP=1 --file=table.sql ${connection.database}`;
    throw new ConfigError(
      `${path} is one script of SQL, out of which no table can be taken safely: restore it beside (dbstash restore ${path} --database ${copy}), ` +
        `then copy the table (pg_dump --table=${wanted[0]} --file=table.sql ${copy} && ${load}), which must not be there any more; backups made with BACKUP_COMPRESS=true, or as directory or tar, can be taken apart`,
    );
  }
  return {
    command: {
      file: 'pg_restore',
      args: ['--list', '--verbose', ...(mode === 'directory' || mode === 'tar' ? [DUMP] : [])],
      env: { LC_ALL: 'C' },
    },
    parse: readContents(facts),
  };
}

const entry: z.ZodType<Entry> = z.object({
  id: z.number(),
  kind: z.string(),
  schema: z.string().or(z.undefined()),
  tag: z.string(),
  needs: z.array(z.number()),
  line: z.string(),
});

/** What of an archive is to be restored. */
export interface PgChoice {
  readonly entries: readonly Entry[];
  /** The tables, and what exists only with them: data, indexes, constraints, triggers, owned sequences, partitions ... */
  readonly own: ReadonlySet<Entry>;
  /** Each can be restored only where the target has what it points to: foreign keys, places in a partitioned table. */
  readonly links: readonly Link[];
  /** What they cannot be made without: schemas, types, functions. Restored where the target lacks them. */
  readonly base: ReadonlySet<Entry>;
  /** Tables that they cannot be made without, and that nobody asked for. */
  readonly missing: readonly Entry[];
  /** Foreign keys of other tables that point to them, and are not restored. */
  readonly pointing: readonly Link[];
}

export interface Link {
  readonly entry: Entry;
  /** Tables and indexes. */
  readonly to: readonly Entry[];
}

/** Parts of a table, in whose tags it comes first. */
const PARTS = new Set(['DEFAULT', 'CONSTRAINT', 'CHECK CONSTRAINT', 'TRIGGER', 'RULE', 'POLICY']);
/** They belong to what they need. */
const FOLLOWERS = new Set([
  'COMMENT',
  'ACL',
  'SECURITY LABEL',
  'TABLE DATA',
  'MATERIALIZED VIEW DATA',
  'INDEX',
  'STATISTICS',
  'STATISTICS DATA',
  'SEQUENCE',
  'SEQUENCE OWNED BY',
  'SEQUENCE SET',
  'ROW SECURITY',
]);
const LINKS = new Set(['FK CONSTRAINT', 'TABLE ATTACH', 'INDEX ATTACH']);

type Needed = (item: Entry) => readonly Entry[];

export function choosePg({ tables, notes }: TablePick): PgChoice {
  const { entries } = z.object({ entries: z.array(entry) }).parse(notes);
  const byId = new Map(entries.map((item) => [item.id, item]));
  const needed: Needed = ({ needs }) => needs.flatMap((id) => byId.get(id) ?? []);
  const links = entries.flatMap((item) => (LINKS.has(item.kind) ? [{ item, ...splitLink(item, needed(item)) }] : []));
  const parents = new Map(links.flatMap(({ item, from, to }) => (item.kind === 'TABLE ATTACH' ? [[from, to]] : [])));
  const own = findOwn(entries, tables, needed, parents);
  const { base, missing } = findBase(own, needed, parents);
  const isLink = ({ item }: { item: Entry }) => item.kind === 'FK CONSTRAINT';
  return {
    entries,
    own,
    links: links.flatMap(({ item, from, to }) =>
      from && own.has(from) ? [{ entry: item, to: to.filter((other) => !own.has(other)) }] : [],
    ),
    base,
    missing,
    pointing: links.flatMap((link) =>
      isLink(link) && link.from && !own.has(link.from) && link.to.some((other) => own.has(other))
        ? [{ entry: link.item, to: [link.from] }]
        : [],
    ),
  };
}

type Parents = ReadonlyMap<Entry | undefined, readonly Entry[]>;

function findOwn(
  entries: readonly Entry[],
  tables: TablePick['tables'],
  needed: Needed,
  parents: Parents,
): ReadonlySet<Entry> {
  const isNamed = (item: Entry) =>
    isRelation(item) && tables.some(({ scope, name }) => item.schema === scope && item.tag === name);
  const own = new Set(entries.filter(isNamed));
  const belongs = (item: Entry): boolean => {
    if (parents.get(item)?.some((parent) => own.has(parent))) return true;
    if (!PARTS.has(item.kind) && !FOLLOWERS.has(item.kind)) return false;
    return needed(item).some(
      (other) =>
        own.has(other) &&
        (FOLLOWERS.has(item.kind) || (other.schema === item.schema && item.tag.startsWith(`${other.tag} `))),
    );
  };
  for (let size = -1; size !== own.size; ) {
    size = own.size;
    for (const item of entries) if (!own.has(item) && belongs(item)) own.add(item);
  }
  return own;
}

/** A partition can be made without what it is one of. */
function findBase(own: ReadonlySet<Entry>, needed: Needed, parents: Parents) {
  const base = new Set<Entry>();
  const missing = new Set<Entry>();
  const follow = (item: Entry): void => {
    for (const other of needed(item)) {
      if (own.has(other) || base.has(other) || parents.get(item)?.includes(other)) continue;
      if (isRelation(other) && other.kind !== 'SEQUENCE') {
        missing.add(other);
        continue;
      }
      if (PARTS.has(other.kind) || (FOLLOWERS.has(other.kind) && other.kind !== 'SEQUENCE')) continue;
      base.add(other);
      follow(other);
    }
  };
  for (const item of own) follow(item);
  return { base, missing: [...missing] };
}

/** What is linked to what. A foreign key says its table first, the others have the name of what they attach. */
function splitLink(item: Entry, needed: readonly Entry[]): { from: Entry | undefined; to: readonly Entry[] } {
  const ends = needed.filter((other) => isRelation(other) || other.kind === 'INDEX');
  const isFrom = ({ schema, tag }: Entry) =>
    schema === item.schema && (item.kind === 'FK CONSTRAINT' ? item.tag.startsWith(`${tag} `) : item.tag === tag);
  const from = ends.find(isFrom);
  return { from, to: ends.filter((other) => other !== from) };
}

/**
 * The lines of the archive's list that pg_restore is to take, in this order: a partition of a table that is there comes into its
 * place last, since that would make indexes of the names that its own have. `there` are entries that the target has already.
 */
export function listOf({ entries, own, links, base }: PgChoice, there: ReadonlySet<number>): string {
  const made = new Set([...base].filter(({ id }) => !there.has(id)));
  const isWith = ({ kind, needs }: Entry) =>
    ['COMMENT', 'ACL', 'SEQUENCE SET'].includes(kind) && [...made].some(({ id }) => needs.includes(id));
  const linked = new Set(links.flatMap((link) => (isReady(link, there) ? [link.entry] : [])));
  const chosen = entries.filter((item) => own.has(item) || made.has(item) || linked.has(item) || isWith(item));
  const late = new Set(links.flatMap(({ entry: item, to }) => (to.length > 0 ? [item] : [])));
  const isLate = (item: Entry, kind: string) => late.has(item) && item.kind === kind;
  const ordered = [
    ...chosen.filter((item) => !isLate(item, 'TABLE ATTACH') && !isLate(item, 'INDEX ATTACH')),
    ...chosen.filter((item) => isLate(item, 'TABLE ATTACH')),
    ...chosen.filter((item) => isLate(item, 'INDEX ATTACH')),
  ];
  return ordered.map(({ line }) => `${line}\n`).join('');
}

export const isReady = ({ to }: Link, there: ReadonlySet<number>): boolean => to.every(({ id }) => there.has(id));

export const nameOfEntry = ({ schema, tag }: Entry): string => (schema === undefined ? tag : `${schema}.${tag}`);
