/** What a login may do with one database, as SHOW GRANTS says it, those of its roles included. */
export interface Grants {
  /** On the whole database, or on all. */
  may(privilege: string): boolean;
  /** On all databases. */
  mayGlobally(privilege: string): boolean;
  /** On the table in which MariaDB, and MySQL before 8, keep procedures and functions. */
  readonly mayReadProc: boolean;
}

const GRANT = /^GRANT (.+?) ON (?:TABLE )?(\*|`(?:[^`]|``)+`)\.(\*|`(?:[^`]|``)+`) TO /;

/** Where the server answers nothing, as one without a table of grants does, everything is allowed. */
export function readGrants(lines: readonly string[], database: string): Grants {
  const grants = lines.filter((line) => line.startsWith('GRANT ')).flatMap(readGrant);
  const isOpen = !lines.some((line) => line.startsWith('GRANT '));
  const onAll = grants.filter(({ schema, table }) => schema === '*' && table === '*');
  const onDatabase = grants.filter(({ schema, table }) => schema !== '*' && table === '*' && matches(schema, database));
  const onProc = grants.filter(({ schema, table }) => matches(schema, 'mysql') && (table === '*' || table === 'proc'));
  return {
    may: (privilege) => isOpen || holds([...onAll, ...onDatabase], privilege),
    mayGlobally: (privilege) => isOpen || holds(onAll, privilege),
    mayReadProc: isOpen || holds([...onAll, ...onProc], 'SELECT'),
  };
}

interface Grant {
  readonly privileges: readonly string[];
  readonly schema: string;
  readonly table: string;
}

function readGrant(line: string): Grant[] {
  const [, privileges, schema, table] = GRANT.exec(line) ?? [];
  if (privileges === undefined || schema === undefined || table === undefined) return [];
  return [{ privileges: privileges.split(', '), schema: unquote(schema), table: unquote(table) }];
}

const unquote = (name: string): string => (name === '*' ? name : name.slice(1, -1).replaceAll('``', '`'));

const holds = (grants: readonly Grant[], privilege: string): boolean =>
  grants.some(({ privileges }) => privileges.some((held) => held === privilege || /^ALL( PRIVILEGES)?$/.test(held)));

/** The name of a database in a grant is a pattern, as of LIKE. */
function matches(pattern: string, database: string): boolean {
  const source = [...pattern.matchAll(/\\[\s\S]|[\s\S]/gu)].map(([unit]) => {
    if (unit === '%') return '[\\s\\S]*';
    if (unit === '_') return '[\\s\\S]';
    return (unit.length > 1 && unit.startsWith('\\') ? unit.slice(1) : unit).replaceAll(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  });
  return new RegExp(`^${source.join('')}$`, 'iu').test(database);
}
