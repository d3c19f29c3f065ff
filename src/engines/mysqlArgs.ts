import { ConfigError } from '../core/errors.ts';
import { type Option, type ParsedOptions, parseOptions } from '../core/options.ts';

/** Options of mysqldump 5.7 to 9 and mariadb-dump 10 to 12, for reading arguments as they do. */
const OPTIONS = [
  'A|all-databases Y|all-tablespaces y|no-tablespaces a|create-options B|databases C|compress c|complete-insert',
  'E|events e|extended-insert F|flush-logs f|force H|dump-history h|host= i|comments K|disable-keys l|lock-tables',
  'n|no-create-db t|no-create-info d|no-data N|no-set-names P|port= p|password Q|quote-names q|quick R|routines',
  'r|result-file= S|socket= T|tab= u|user= V|version v|verbose w|where= X|xml x|lock-all-tables ?|help #|debug',
  'add-drop-database add-drop-table add-drop-trigger add-drop-user add-locks allow-keywords apply-slave-statements',
  'apply-replica-statements as-of= bind-address= character-sets-dir= column-statistics compact compatible=',
  'compression-algorithms= copy-s3-tables= default-auth= default-character-set= defaults-extra-file= defaults-file=',
  'defaults-group-suffix= delayed-insert delete-master-logs delete-source-logs dir= dump-date dump-replica dump-slave',
  'enable-cleartext-plugin fields-enclosed-by= fields-escaped-by= fields-optionally-enclosed-by=',
  'fields-terminated-by= flush-privileges galera-info get-server-public-key gtid header hex-blob ignore-database=',
  'ignore-error= ignore-table-data= ignore-table= ignore-views include-master-host-port include-source-host-port',
  'init-command= init-command-add= insert-ignore lines-terminated-by= log-error= log-queries login-path= master-data',
  'max-allowed-packet= max-statement-time= mysqld-long-query-time= net-buffer-length= network-timeout no-autocommit',
  'no-data-med no-defaults no-login-paths opt order-by-primary order-by-size output-as-version= parallel= password1',
  'password2 password3 pipe plugin-dir= print-defaults protocol= quote-names replace server-public-key-path=',
  'set-charset set-gtid-purged= shared-memory-base-name= show-create-skip-secondary-engine single-transaction',
  'skip-generated-invisible-primary-key skip-opt source-data ssl ssl-ca= ssl-capath= ssl-cert= ssl-cipher= ssl-crl=',
  'ssl-crlpath= ssl-fips-mode= ssl-key= ssl-mode= ssl-session-data= ssl-verify-server-cert system= tables',
  'tls-ciphersuites= tls-version= triggers tz-utc wildcards zstd-compression-level=',
].flatMap((line) => line.split(' '));

/** As `parseOptions`, but for `--skip-x`, `--x=0` and `--disable-x`, which all are `x` turned off, `_` for `-` and `--loose-`. */
export function parseMysqlArgs(args: readonly string[]): ParsedOptions {
  const parsed = parseOptions(args.map(normalise), OPTIONS);
  return { ...parsed, options: parsed.options.map(readSwitch) };
}

const normalise = (arg: string): string =>
  arg.replace(
    /^--[^=]*/,
    (name) =>
      `--${name
        .slice(2)
        .replaceAll('_', '-')
        .replace(/^loose-/, '')}`,
  );

/** Off is the value "0". What is on has none, or what was given. */
function readSwitch(option: Option): Option {
  if (option.name === 'skip-opt' || option.name === 'skip-generated-invisible-primary-key') return option;
  const [, negation, rest] = /^(skip|disable|enable)-(.+)$/.exec(option.name) ?? [];
  if (rest !== undefined && option.name !== 'disable-keys' && option.name !== 'enable-cleartext-plugin') {
    const [named] = parseOptions([`--${rest}`], OPTIONS).options;
    return { ...option, name: named?.name ?? rest, value: negation === 'enable' ? undefined : '0' };
  }
  return /^(false|off)$/i.test(option.value ?? '') ? { ...option, value: '0' } : option;
}

const last = ({ options }: ParsedOptions, name: string): Option | undefined =>
  options.findLast((option) => option.name === name);

/** Where it is not said it is off. */
export function isOn(parsed: ParsedOptions, name: string): boolean {
  const option = last(parsed, name);
  return option !== undefined && option.value !== '0';
}

const isOff = (parsed: ParsedOptions, name: string): boolean => last(parsed, name)?.value === '0';

/** Options that would make the dump speak of another server than its name, series and manifest, or show a password. */
const CONNECTION_OPTIONS = new Set([
  'host',
  'port',
  'user',
  'password',
  'password1',
  'password2',
  'password3',
  'socket',
  'protocol',
  'pipe',
  'login-path',
  'defaults-file',
  'defaults-extra-file',
  'defaults-group-suffix',
  'no-defaults',
  'print-defaults',
]);

export function refuseOtherConnection({ options, operands }: ParsedOptions, tool: string): void {
  const named = options.find(({ name }) => CONNECTION_OPTIONS.has(name));
  if (named)
    throw new ConfigError(`DUMP_EXTRA_ARGS must not say where the database is (--${named.name}): DB_URI or DB_* do`);
  if (operands.length > 0)
    throw new ConfigError(
      `DUMP_EXTRA_ARGS holds a word that belongs to no option; ${tool} would take it for a database or a table ` +
        '(--ignore-table=DATABASE.TABLE leaves one out)',
    );
}

export function refuseElsewhere(parsed: ParsedOptions): void {
  const named = parsed.options.find(({ name }) => name === 'tab' || name === 'result-file');
  if (named)
    throw new ConfigError(`DUMP_EXTRA_ARGS must not say where the dump goes (--${named.name}): BACKUP_MODE=file does`);
}

/** Of the defaults, what the dump is without where one of them is turned off. */
const DEFAULTS: readonly (readonly [name: string, loss: string])[] = [
  ['single-transaction', 'the tables of the dump may be of different moments'],
  ['quick', 'each table is held in memory whole'],
  ['routines', 'the dump has no procedures and functions'],
  ['events', 'the dump has no events'],
  ['triggers', 'the dump has no triggers'],
  ['hex-blob', 'binary values may come back changed'],
];

export function warnAboutOptions(parsed: ParsedOptions, isStream: boolean): readonly string[] {
  const rules: readonly (readonly [boolean, string])[] = [
    [
      isStream && isOn(parsed, 'tab'),
      '--tab sends the rows elsewhere: in stream mode all must come on standard output',
    ],
    [
      isStream && isOn(parsed, 'result-file'),
      '--result-file sends the dump elsewhere: in stream mode it must come on standard output',
    ],
    [isOn(parsed, 'force'), '--force goes on after an error: what failed is missing in the dump'],
    [
      isOn(parsed, 'databases'),
      '--databases puts the name of its database into the dump: it restores nowhere but there',
    ],
    [
      isOn(parsed, 'all-databases'),
      '--all-databases makes one dump of all databases, which no single database can be restored from',
    ],
    [
      isOn(parsed, 'add-drop-database'),
      '--add-drop-database makes a dump with --databases drop its database wherever it is restored',
    ],
    [
      isOn(parsed, 'set-gtid-purged') &&
        last(parsed, 'set-gtid-purged')?.value?.toUpperCase() !== 'OFF' &&
        last(parsed, 'set-gtid-purged')?.value?.toUpperCase() !== 'COMMENTED',
      '--set-gtid-purged makes a dump that fails on a server with transactions of its own, and that replicas do not see',
    ],
    ...DEFAULTS.map(([name, loss]) => [isOff(parsed, name), `--skip-${name}: ${loss}`] as const),
    [
      isOn(parsed, 'skip-opt') && !isOn(parsed, 'quick'),
      '--skip-opt holds each table in memory whole unless --quick comes after it',
    ],
  ];
  return rules.filter(([applies]) => applies).map(([, text]) => `DUMP_EXTRA_ARGS: ${text}`);
}

/** Without comments a dump has neither head nor end mark. */
export const hasComments = (parsed: ParsedOptions): boolean => {
  const from = parsed.options.findLastIndex(({ name }) => name === 'compact');
  const said = parsed.options.slice(from + 1).findLast(({ name }) => name === 'comments');
  return said ? said.value !== '0' : from < 0;
};

export const knowsMysqldumpOption = (name: string): boolean =>
  OPTIONS.some((option) => option.replace(/^.\|/, '').replace('=', '') === name);
