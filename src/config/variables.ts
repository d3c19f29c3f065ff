import { ENGINE_NAMES, TLS_MODES } from '../core/connection.ts';
import { parseExtension, parseTemplate } from '../core/naming.ts';
import { parseBoolean, parseSize } from '../core/units.ts';
import { parseDatabaseUri } from '../core/uri.ts';
import {
  countFrom,
  oneOf,
  parseArgs,
  parseCompression,
  parseDatabaseName,
  parseFolder,
  parseHost,
  parseLine,
  parsePem,
  parsePort,
  parseRemote,
  parseShrink,
  parseText,
  parseTimeout,
  parseTimeZone,
} from './parsers.ts';

export const GROUPS = {
  database: 'Where the database is',
  remote: 'Where the backups go',
  backup: 'What and when',
  retention: 'What stays',
  log: 'What is said',
  restore: 'Restoring',
} as const;

interface Definition<T = unknown> {
  readonly group: keyof typeof GROUPS;
  /** One line for the README, `dbstash config` and `--help`. */
  readonly help: string;
  /** Throws `ConfigError`. */
  readonly parse: (text: string) => T;
  /** As a user would write it. */
  readonly default?: string;
  /** What stands in the default's place in a table, where it follows from something else. */
  readonly defaultHelp?: string;
  /** Never shown, and no flag. */
  readonly secret?: true;
  /** What may hold a secret in a part, and how it is shown. */
  readonly mask?: 'uri' | 'remote' | 'args';
  /** False where `X_FILE` does not mean "the content of that file". */
  readonly hasFile?: false;
}

/** Every variable once. */
const VARIABLES = {
  ENGINE: {
    group: 'database',
    help: `Kind of database: ${ENGINE_NAMES.join(', ')}`,
    parse: oneOf(...ENGINE_NAMES),
    defaultHelp: "from the URI's scheme",
  },
  DB_URI: {
    group: 'database',
    help: 'Whole connection URI, percent-encoded: `postgres://user:password@host:5432/name?sslmode=require`, `sqlite:///path`',
    parse: parseDatabaseUri,
    mask: 'uri',
  },
  DB_HOST: {
    group: 'database',
    help: 'Host name, address, or folder of a Unix socket; instead of a URI, as the others here',
    parse: parseHost,
    defaultHelp: '`localhost`',
  },
  DB_PORT: { group: 'database', help: 'Port', parse: parsePort, defaultHelp: "engine's port" },
  DB_USER: { group: 'database', help: 'User', parse: parseText, defaultHelp: '`postgres` for pg' },
  DB_PASSWORD: { group: 'database', help: 'Password; also fills in a URI without one', parse: parseText, secret: true },
  DB_NAME: {
    group: 'database',
    help: 'Database name; also fills in a URI without one. sqlite: path of the file',
    parse: parseDatabaseName,
  },
  DB_TLS: {
    group: 'database',
    help: `Encryption of the connection: ${TLS_MODES.join(', ')}`,
    parse: oneOf(...TLS_MODES),
    defaultHelp: "client's default",
  },
  DB_TLS_CA: {
    group: 'database',
    help: 'Certificates to trust, as PEM (`DB_TLS_CA_FILE`: path of the file)',
    parse: parsePem,
  },
  POSTGRES_USER: {
    group: 'database',
    help: 'Taken for `DB_USER` where neither that nor a URI is set',
    parse: parseText,
  },
  POSTGRES_PASSWORD: {
    group: 'database',
    help: 'Taken for `DB_PASSWORD` where neither that nor a URI is set',
    parse: parseText,
    secret: true,
  },
  POSTGRES_DB: {
    group: 'database',
    help: 'Taken for `DB_NAME` where neither that nor a URI is set',
    parse: parseDatabaseName,
  },

  RCLONE_REMOTE: {
    group: 'remote',
    help: 'Where the backups go, as rclone writes it: `s3:bucket/path`, `/backup`',
    parse: parseRemote,
    defaultHelp: 'required',
    mask: 'remote',
  },
  RCLONE_CONFIG_FILE: {
    group: 'remote',
    help: 'Path of an rclone.conf; comes before `RCLONE_CONFIG`',
    parse: parseLine,
    hasFile: false,
  },
  RCLONE_CONFIG: {
    group: 'remote',
    help: "An rclone.conf as base64, or the path of one; else `/config/rclone.conf`, then rclone's own",
    parse: parseText,
    secret: true,
    hasFile: false,
  },
  RCLONE_CONFIG_PASS: { group: 'remote', help: 'Password of an encrypted rclone.conf', parse: parseText, secret: true },
  RCLONE_EXTRA_ARGS: {
    group: 'remote',
    help: 'Further flags for every rclone call, shell-quoted',
    parse: parseArgs,
    default: '',
    mask: 'args',
  },

  BACKUP_SCHEDULE: {
    group: 'backup',
    help: 'Cron pattern (5 fields, 6 with seconds first, `@daily` ...), several separated by `;`, or `once`',
    parse: parseLine,
    default: '0 2 * * *',
  },
  BACKUP_ON_START: {
    group: 'backup',
    help: 'Back up at start, then keep the schedule',
    parse: parseBoolean,
    default: 'false',
  },
  TZ: { group: 'backup', help: 'Time zone of the schedule and of names', parse: parseTimeZone, default: 'UTC' },
  BACKUP_MODE: { group: 'backup', help: 'How a dump travels: `stream`', parse: oneOf('stream'), default: 'stream' },
  BACKUP_NAME_TEMPLATE: {
    group: 'backup',
    help: 'Name of a backup: `{db}` `{engine}` `{host}` `{date}` `{time}` `{timestamp}` `{ts}` `{uuid}`; `/` makes folders',
    parse: parseTemplate,
    default: '{db}-{date}-{time}',
  },
  BACKUP_EXTENSION: {
    group: 'backup',
    help: 'Extension of the name, with or without the dot',
    parse: parseExtension,
    defaultHelp: 'from what is produced',
  },
  BACKUP_SERIES: {
    group: 'backup',
    help: 'Names the series, so that a database that moves keeps its history',
    parse: parseLine,
    defaultHelp: 'from engine, host, port, database',
  },
  BACKUP_COMPRESS: {
    group: 'backup',
    help: "`true` (the dump tool's own), `gzip`, `zstd`, with a level `zstd:9`, or `false`",
    parse: parseCompression,
    default: 'false',
  },
  BACKUP_TEMP_DIR: {
    group: 'backup',
    help: 'Folder for locks and private files of a run',
    parse: parseFolder,
    default: '/tmp/dbstash-work',
  },
  DUMP_EXTRA_ARGS: {
    group: 'backup',
    help: 'Further flags for the dump tool, shell-quoted; they come last and win',
    parse: parseArgs,
    default: '',
    mask: 'args',
  },
  BACKUP_TIMEOUT: {
    group: 'backup',
    help: 'Longest time for one run, 24d at most; 0 is none',
    parse: parseTimeout,
    default: '0',
  },
  BACKUP_STALL_TIMEOUT: {
    group: 'backup',
    help: 'Longest time without progress; 0 is none',
    parse: parseTimeout,
    default: '1h',
  },
  BACKUP_LOCK: {
    group: 'backup',
    help: 'No two runs of a series at once, among processes that share `BACKUP_TEMP_DIR`',
    parse: parseBoolean,
    default: 'true',
  },
  BACKUP_MIN_SIZE: { group: 'backup', help: 'A smaller dump is a failure', parse: parseSize, default: '1' },
  BACKUP_MAX_SHRINK: {
    group: 'backup',
    help: '`30%`: a dump that much smaller than the last good one is a warning, with `fail:30%` a failure; 0 is off',
    parse: parseShrink,
    default: '0',
  },

  RETENTION_MAX_FILES: retention('Keep at most so many backups of the series'),
  RETENTION_MAX_DAYS: retention('Remove those older than so many days'),
  RETENTION_KEEP_LAST: retention('Keep the newest so many'),
  RETENTION_KEEP_HOURLY: retention('Keep one of each of the last so many hours that have one'),
  RETENTION_KEEP_DAILY: retention('The same for days'),
  RETENTION_KEEP_WEEKLY: retention('The same for weeks'),
  RETENTION_KEEP_MONTHLY: retention('The same for months'),
  RETENTION_KEEP_YEARLY: retention('The same for years'),
  RETENTION_MIN_KEEP: {
    group: 'retention',
    help: 'Newest good ones that always stay, 1 or more',
    parse: countFrom(1),
    default: '1',
  },

  LOG_LEVEL: {
    group: 'log',
    help: 'Least level that is logged: `debug`, `info`, `warn`, `error`',
    parse: oneOf('debug', 'info', 'warn', 'error'),
    default: 'info',
  },
  LOG_FORMAT: {
    group: 'log',
    help: '`json` or `text`; unless set, `text` on a terminal',
    parse: oneOf('json', 'text'),
    default: 'json',
  },

  RESTORE_DB_URI: {
    group: 'restore',
    help: 'Where `restore` goes, as `--to`, for a URI with a password',
    parse: parseDatabaseUri,
    secret: true,
    mask: 'uri',
  },
} as const satisfies Record<string, Definition>;

export type VariableName = keyof typeof VARIABLES;
type Table = typeof VARIABLES;

/** What the variables say; undefined where one is not set and has no default. */
export type Values = {
  readonly [N in VariableName]:
    | ReturnType<Table[N]['parse']>
    | (Table[N] extends { default: string } ? never : undefined);
};

export interface Variable extends Definition {
  readonly name: VariableName;
}

/** The same as a list, in the order in which it is shown. */
export const variables: readonly Variable[] = Object.entries(VARIABLES).map(([name, definition]) => ({
  name: name as VariableName,
  ...definition,
}));

function retention(help: string) {
  return { group: 'retention', help, parse: countFrom(0), default: '0' } as const;
}
