import type { Rows } from './mysqlAnswer.ts';
import { mysqlAccount, mysqlName } from './mysqlConnection.ts';
import type { Release } from './mysqlFlavor.ts';
import { type Grants, readGrants } from './mysqlGrants.ts';

interface LeftOut {
  readonly events: boolean;
  readonly triggers: boolean;
  readonly routines: boolean;
  readonly tables: readonly string[];
}

/** What the login may read, and what the dump is therefore without. */
interface Access {
  readonly leftOut: LeftOut;
  readonly names: readonly string[];
  readonly remedy: string;
  /** The login sees those tables only that it has rights on. */
  readonly seesAll: boolean;
}

export function readAccess(rows: Rows, stderr: string, release: Release, database: string): Access {
  const grants = readGrants(rows.lines, database);
  // Of a view whose tables are gone no column is shown either, and that is for the dump to fail at.
  const tables = new Set(grants.may('SELECT') ? [] : rows.all('denied').map(([name]) => name!));
  const views = rows.all('view').filter(([, name, isShown]) => isShown === '0' && !tables.has(name!));
  const hiddenRoutines = rows.all('routine').filter(([, , isShown]) => isShown === '0');
  const leftOut = {
    // Of all that is asked, only this can be refused for a database.
    events: /^ERROR 1044 /m.test(stderr),
    triggers: !grants.may('TRIGGER'),
    routines: hiddenRoutines.length > 0 || !seesRoutines(grants, release),
    tables: [...tables, ...views.map(([, name]) => name!)].sort(),
  };
  const routines = hiddenRoutines.map(([, name]) => name!).sort();
  const names = [
    ...leftOut.tables.map((name) => `${database}.${name}`),
    ...(leftOut.events ? ['events'] : []),
    ...(leftOut.triggers ? ['triggers'] : []),
    ...(leftOut.routines ? [`procedures and functions${routines.length > 0 ? ` (${routines.join(', ')})` : ''}`] : []),
  ];
  return { leftOut, names, remedy: remedyOf(leftOut, rows, release, database), seesAll: grants.may('SELECT') };
}

/** Whoever has a right on all routines of a database sees their names, and is stopped by those that cannot be read. */
function seesRoutines(grants: Grants, { isMariaDb, rank }: Release): boolean {
  const readsAll = isMariaDb || rank < 8000 ? grants.mayReadProc : grants.mayGlobally('SELECT');
  const rights = ['SHOW_ROUTINE', 'SHOW CREATE ROUTINE', 'EXECUTE', 'ALTER ROUTINE', 'CREATE ROUTINE'];
  return readsAll || rights.some((right) => grants.may(right));
}

function remedyOf(leftOut: LeftOut, rows: Rows, { isMariaDb, rank }: Release, database: string): string {
  const to = `TO ${mysqlAccount(rows.first('user')[0] ?? 'the login')}`;
  const rights = [
    ...(leftOut.tables.length ? ['SELECT', 'SHOW VIEW'] : []),
    ...(leftOut.events ? ['EVENT'] : []),
    ...(leftOut.triggers ? ['TRIGGER'] : []),
  ];
  // SHOW ROUTINE came with MySQL 8.0.20.
  const routines = isMariaDb || rank < 8000 ? 'SELECT ON mysql.proc' : 'SHOW_ROUTINE ON *.*';
  return [
    ...(rights.length > 0 ? [`GRANT ${rights.join(', ')} ON ${mysqlName(database)}.* ${to}`] : []),
    ...(leftOut.routines ? [`GRANT ${routines} ${to}`] : []),
  ].join('; ');
}

export function warnOf({ names, remedy, seesAll }: Access, user: string): readonly string[] {
  return [
    ...(names.length > 0
      ? [`the backup is without what ${user} may not read: ${names.join(', ')}; right would be ${remedy}`]
      : []),
    ...(seesAll ? [] : [`${user} has rights on single tables only: others, if there are any, are not in the backup`]),
  ];
}
