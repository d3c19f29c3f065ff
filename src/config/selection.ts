import { parseTemplate, type Template } from '../core/naming.ts';
import { engines } from '../engines/index.ts';
import type { Notes } from './notes.ts';
import { engineOf, liftParams } from './uriConnection.ts';
import type { Values } from './variables.ts';

/** Which of the server's databases are backed up. */
export type Selection =
  | { readonly kind: 'one' }
  | { readonly kind: 'list'; readonly names: readonly string[] }
  | { readonly kind: 'all'; readonly exclude: readonly string[] };

const ALL = ['*', '--all-databases'];

/** What DB_NAME, DB_EXCLUDE and BACKUP_ALL_DATABASES say together. A file, or a server with nothing to choose from, is one. */
export function resolveSelection(values: Values, notes: Notes): Selection {
  const { DB_NAME: name, DB_EXCLUDE: exclude } = values;
  const engine = engineOf(values);
  const canChoose = engine !== undefined && engines[engine].discover !== undefined;
  const isAll =
    values.BACKUP_ALL_DATABASES ||
    values.BACKUP_ALL_DBS ||
    ALL.includes(name?.trim() ?? '') ||
    values.DUMP_EXTRA_ARGS.includes('--all-databases');
  if (isAll && canChoose)
    return engines[engine].dumpsServer && exclude.length === 0 ? { kind: 'one' } : { kind: 'all', exclude };
  if (isAll && engine !== undefined && engine !== 'sqlite')
    notes.problems.push(`DB_NAME: * does not go with ${engine}, of which one process backs up one database`);
  if (exclude.length > 0) notes.warnings.push('DB_EXCLUDE is ignored: it leaves databases out of DB_NAME=*');
  if (!canChoose || !name?.includes(',')) return { kind: 'one' };
  const names = name.split(',').flatMap((part) => part.trim() || []);
  if (names.length === 0) notes.problems.push(`DB_NAME: ${JSON.stringify(name)} names no database`);
  if (names.includes('*')) notes.problems.push('DB_NAME: * means all databases, and stands alone or not at all');
  return { kind: 'list', names: [...new Set(names)] };
}

/** The values as they describe the database to connect to. */
export function chooseFirst(values: Values, selection: Selection): Values {
  if (selection.kind === 'one') return values;
  const engine = engineOf(values);
  const isNamed = values.DB_URI !== undefined && liftParams(values.DB_URI).database !== undefined;
  return {
    ...values,
    DB_NAME: isNamed || engine === undefined ? undefined : engines[engine].maintenanceDatabase,
    DUMP_EXTRA_ARGS: values.DUMP_EXTRA_ARGS.filter((arg) => arg !== '--all-databases'),
  };
}

/** How all of them together are called. */
export const describeSelection = (selection: Exclude<Selection, { kind: 'one' }>): string =>
  selection.kind === 'all' ? '*' : selection.names.join(',');

/** Where one run makes several artifacts, their names must tell them apart. */
export function tellApart(template: Template, selection: Selection): Template {
  return selection.kind === 'one' || template.text.includes('{db}') ? template : parseTemplate(`${template.text}-{db}`);
}
