import type { Answer } from '../core/command.ts';
import type { TableName, TargetFacts } from './engine.ts';
import { pgFacts } from './pgInspect.ts';

/** A line of an archive's table of contents. */
export interface Entry {
  readonly id: number;
  /** "TABLE DATA", "FK CONSTRAINT". */
  readonly kind: string;
  /** Undefined for what lives in no schema. */
  readonly schema: string | undefined;
  /** The object's name, of a part of a table behind that table's. */
  readonly tag: string;
  /** Entries that have to be there before it. */
  readonly needs: readonly number[];
  /** As pg_restore wants it back. */
  readonly line: string;
}

/** Kinds of more than one word: nothing else tells where a kind ends and a schema begins. */
const LONG_KINDS =
  'ACL LANGUAGE|BLOB COMMENTS|BLOB METADATA|CHECK CONSTRAINT|DATABASE PROPERTIES|DEFAULT ACL|EVENT TRIGGER|FK CONSTRAINT|FOREIGN DATA WRAPPER|FOREIGN SERVER|' +
  'FOREIGN TABLE|INDEX ATTACH|LARGE OBJECT|MATERIALIZED VIEW DATA|MATERIALIZED VIEW|OPERATOR CLASS|OPERATOR FAMILY|PROCEDURAL LANGUAGE|' +
  'PUBLICATION TABLES IN SCHEMA|PUBLICATION TABLE|ROW SECURITY|SECURITY LABEL|SEQUENCE OWNED BY|SEQUENCE SET|SHELL TYPE|STATISTICS DATA|' +
  'SUBSCRIPTION TABLE|TABLE ATTACH|TABLE DATA|TEXT SEARCH CONFIGURATION|TEXT SEARCH DICTIONARY|TEXT SEARCH PARSER|TEXT SEARCH TEMPLATE|USER MAPPING|ACCESS METHOD';

const LINE = new RegExp(`^(\\d+); \\d+ \\d+ (${LONG_KINDS}|[A-Z]+) (.*)$`);

/** What `pg_restore --list --verbose` prints. Names may hold blanks: the owners and schemas of the dump part them. */
function readArchive(stdout: string, facts: TargetFacts): readonly Entry[] {
  const { roles = [] } = pgFacts.parse(facts);
  const lines = stdout.split('\n');
  const schemas = lines.flatMap((line) => /^\d+; \d+ \d+ SCHEMA - (.*) \S+$/.exec(line)?.[1] ?? []);
  return lines.flatMap((line, index): Entry[] => {
    const [, id, kind, rest = ''] = LINE.exec(line) ?? [];
    if (id === undefined || kind === undefined) return [];
    const words = withoutOwner(rest, roles);
    const schema = findLongest(schemas, (name) => words.startsWith(`${name} `)) ?? words.split(' ')[0] ?? '';
    const [, needs = ''] = /^;\tdepends on:(.*)$/.exec(lines[index + 1] ?? '') ?? [];
    return [
      {
        id: Number(id),
        kind,
        schema: schema === '-' ? undefined : schema,
        tag: words.slice(schema.length + 1),
        needs: needs.split(' ').filter(Boolean).map(Number),
        line,
      },
    ];
  });
}

const withoutOwner = (rest: string, roles: readonly string[]): string => {
  const owner = findLongest(roles, (role) => rest.endsWith(` ${role}`)) ?? /\S*$/.exec(rest)![0];
  return rest.slice(0, rest.length - owner.length - 1);
};

const findLongest = (names: readonly string[], fits: (name: string) => boolean): string | undefined =>
  names.filter(fits).sort((a, b) => b.length - a.length)[0];

/** What --table of pg_restore takes, too. */
const TABLES = new Set(['TABLE', 'VIEW', 'MATERIALIZED VIEW', 'FOREIGN TABLE', 'SEQUENCE']);

export const isRelation = ({ kind }: Entry): boolean => TABLES.has(kind);

const tablesOf = (entries: readonly Entry[]): readonly TableName[] =>
  entries.filter(isRelation).map(({ schema, tag }) => ({ scope: schema, name: tag }));

export const readContents =
  (facts: TargetFacts) =>
  ({ stdout }: Answer) => {
    const entries = readArchive(stdout, facts);
    return { tables: tablesOf(entries), notes: { entries } };
  };
