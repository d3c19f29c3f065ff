import { ConfigError } from '../core/errors.ts';
import type { Mode } from '../core/mode.ts';
import { findOption, type Option, type ParsedOptions, parseOptions } from '../core/options.ts';

/** Options of pg_dump 13 to 18, for reading arguments as pg_dump does. */
const OPTIONS = [
  'a|data-only b|large-objects blobs B|no-large-objects no-blobs c|clean C|create d|dbname= e|extension= E|encoding=',
  'f|file= F|format= h|host= j|jobs= n|schema= N|exclude-schema= O|no-owner p|port= R|no-reconnect s|schema-only',
  'S|superuser= t|table= T|exclude-table= U|username= v|verbose w|no-password W|password x|no-privileges no-acl',
  'Z|compress= attribute-inserts binary-upgrade column-inserts disable-dollar-quoting disable-triggers',
  'enable-row-security exclude-extension= exclude-table-and-children= exclude-table-data= filter= if-exists inserts',
  'exclude-table-data-and-children= extra-float-digits= include-foreign-data= load-via-partition-root',
  'lock-wait-timeout= no-comments no-data no-policies no-publications no-schema no-security-labels no-statistics',
  'no-subscriptions no-sync no-synchronized-snapshots no-table-access-method no-tablespaces no-toast-compression',
  'no-unlogged-table-data on-conflict-do-nothing quote-all-identifiers restrict-key= role= rows-per-insert= section=',
  'sequence-data serializable-deferrable snapshot= statistics statistics-only strict-names sync-method=',
  'table-and-children= use-set-session-authorization help version',
].flatMap((line) => line.split(' '));

export const parsePgDumpArgs = (args: readonly string[]): ParsedOptions => parseOptions(args, OPTIONS);

export type Format = 'plain' | 'custom' | 'directory' | 'tar';
const FORMATS: readonly Format[] = ['custom', 'directory', 'plain', 'tar'];

/** Options that would make the dump speak of another database than its name, series and manifest. */
const CONNECTION_OPTIONS = ['dbname', 'host', 'port', 'username'];

export function refuseOtherConnection(extra: ParsedOptions): void {
  const named = extra.options.find(({ name }) => CONNECTION_OPTIONS.includes(name));
  if (named)
    throw new ConfigError(`DUMP_EXTRA_ARGS must not say where the database is (--${named.name}): DB_URI or DB_* do`);
  if (extra.operands.length > 0) {
    throw new ConfigError(
      'DUMP_EXTRA_ARGS holds a word that belongs to no option; pg_dump would take it for a database',
    );
  }
}

/** `--Fc` and its kin, which some guides show, are no options of pg_dump. */
export function repairFormats(args: readonly string[]): { args: readonly string[]; warnings: readonly string[] } {
  const wrong = parsePgDumpArgs(args).options.filter(
    ({ name, value }) => /^F[cdtp]$/.test(name) && value === undefined,
  );
  const indexes = new Set(wrong.map(({ index }) => index));
  return {
    args: args.map((arg, index) => (indexes.has(index) ? arg.slice(1) : arg)),
    warnings: wrong.map(({ name }) => `DUMP_EXTRA_ARGS: --${name} is no option of pg_dump; taken as -${name}`),
  };
}

/** As pg_dump reads it: the first letter or the whole word, in any case. */
export function readFormat(option: Option | undefined): Format {
  const word = option?.value?.toLowerCase() ?? '';
  const format = FORMATS.find((name) => word === name || word === name[0]);
  if (!format)
    throw new ConfigError(`DUMP_EXTRA_ARGS: --format=${option?.value ?? ''} is none of ${FORMATS.join(', ')}`);
  return format;
}

/** A level alone means gzip, 0 means none; since version 16 a method may stand before it. */
export function readCompression(options: ParsedOptions, fallback: string | null): string | null {
  const value = findOption(options, 'compress')?.value?.toLowerCase();
  if (value === undefined) return fallback;
  const method = value.split(':')[0] ?? '';
  if (method === 'none' || /^0+$/.test(method)) return null;
  return /^\d+$/.test(method) ? 'gzip' : method;
}

export function warnAboutOptions(options: ParsedOptions, format: Format, mode: Mode): readonly string[] {
  const has = (name: string) => findOption(options, name) !== undefined;
  const rules: readonly [boolean, string][] = [
    [
      mode === 'stream' && has('file'),
      '--file sends the dump elsewhere: in stream mode it must come on standard output',
    ],
    [
      mode === 'stream' && format === 'directory',
      '--format=directory cannot be streamed: it needs a folder to write to, as with BACKUP_MODE=directory or tar',
    ],
    [
      format === 'plain' && has('create'),
      '--create puts the name of its database into the dump: it restores nowhere but there, and not in one transaction',
    ],
    [
      format === 'plain' && has('clean') && !has('if-exists'),
      '--clean without --if-exists makes a dump that stops at its first DROP where the database is new or empty',
    ],
  ];
  return rules.filter(([applies]) => applies).map(([, text]) => `DUMP_EXTRA_ARGS: ${text}`);
}
