import { ENGINE_NAMES, TLS_MODES } from '../core/connection.ts';
import { VERIFY_LEVELS } from '../core/manifest.ts';
import { MODES } from '../core/mode.ts';
import { parseExtension, parseTemplate } from '../core/naming.ts';
import { parseBoolean, parseSize } from '../core/units.ts';
import { parseDatabaseUri } from '../core/uri.ts';
import { parseIdentity, parseRecipients } from './age.ts';
import { parseHealthPort, parseMailbox, parseMailboxes, parseSmtpUrl, parseWebhooks, parseWebUrl } from './notify.ts';
import {
  countFrom,
  oneOf,
  parseArgs,
  parseCompression,
  parseDatabaseName,
  parseFolder,
  parseHost,
  parseLine,
  parseList,
  parsePem,
  parsePort,
  parseRemote,
  parseShrink,
  parseText,
  parseTimeout,
  parseTimeZone,
} from './parsers.ts';
import { parseSshHost, parseSshKey, parseSshKnownHosts } from './ssh.ts';

export const GROUPS = {
  database: 'Where the database is',
  remote: 'Where the backups go',
  backup: 'What and when',
  retention: 'What stays',
  notify: 'Telling people',
  verify: 'Proof',
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
  readonly mask?: 'uri' | 'remote' | 'args' | 'lines';
  /** An empty file is not the same as none. */
  readonly isProtection?: true;
  /** False where `X_FILE` does not mean "the content of that file". */
  readonly hasFile?: false;
}

/** Every variable once. */
const VARIABLES = {
  ENGINE: {
    group: 'database',
    help: `Kind of database: ${ENGINE_NAMES.join(', ')}; mariadb takes a URI with \`mysql://\` too`,
    parse: oneOf(...ENGINE_NAMES),
    defaultHelp: "from the URI's scheme",
  },
  DB_URI: {
    group: 'database',
    help: 'Whole connection URI, percent-encoded: `postgres://user:password@host:5432/name?sslmode=require`, `sqlite:///path`; see Engines',
    parse: parseDatabaseUri,
    mask: 'uri',
  },
  DB_HOST: {
    group: 'database',
    help: 'Host name, address, or folder of a Unix socket (mysql, mariadb, redis: or the socket itself); instead of a URI',
    parse: parseHost,
    defaultHelp: '`localhost`',
  },
  DB_PORT: { group: 'database', help: 'Port', parse: parsePort, defaultHelp: "engine's port" },
  DB_USER: {
    group: 'database',
    help: 'User',
    parse: parseText,
    defaultHelp: '`postgres` for pg, `root` for mysql and mariadb',
  },
  DB_PASSWORD: { group: 'database', help: 'Password; also fills in a URI without one', parse: parseText, secret: true },
  DB_NAME: {
    group: 'database',
    help: 'Database name, several (`a,b`), or `*` for all; also fills in a URI without one. redis: a label for names; sqlite: path of the file',
    parse: parseDatabaseName,
  },
  DB_EXCLUDE: {
    group: 'database',
    help: 'Names that `*` leaves out, separated by commas; `*` and `?` stand for any characters',
    parse: parseList,
    default: '',
  },
  BACKUP_ALL_DATABASES: {
    group: 'database',
    help: '`true` means `DB_NAME=*`',
    parse: parseBoolean,
    default: 'false',
  },
  BACKUP_ALL_DBS: {
    group: 'database',
    help: 'Another name of `BACKUP_ALL_DATABASES`',
    parse: parseBoolean,
    default: 'false',
  },
  DB_AUTH_SOURCE: {
    group: 'database',
    help: 'For mongo the database that knows the user; not applied to a URI, which says `?authSource=`',
    parse: parseText,
    default: 'admin',
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
  SSH_HOST: {
    group: 'database',
    help: 'Reach the database through a tunnel by this SSH server, which sees it under `DB_HOST`',
    parse: parseSshHost,
  },
  SSH_PORT: { group: 'database', help: 'Its port', parse: parsePort, default: '22' },
  SSH_USER: { group: 'database', help: 'User to log in there as', parse: parseLine },
  SSH_KEY: {
    group: 'database',
    help: 'Private key to log in there with, or that in base64 (`SSH_KEY_FILE`: path of the file)',
    parse: parseSshKey,
    secret: true,
  },
  SSH_KEY_PASSPHRASE: { group: 'database', help: 'Passphrase of that key', parse: parseText, secret: true },
  SSH_KNOWN_HOSTS: {
    group: 'database',
    help: "That server's lines of known_hosts, as `ssh-keyscan` prints them, or those in base64; always checked",
    parse: parseSshKnownHosts,
    mask: 'lines',
  },
  POSTGRES_USER: standIn('DB_USER', 'pg'),
  POSTGRES_PASSWORD: { ...standIn('DB_PASSWORD', 'pg'), secret: true },
  POSTGRES_DB: { ...standIn('DB_NAME', 'pg'), parse: parseDatabaseName },
  MYSQL_USER: standIn('DB_USER', 'mysql and mariadb'),
  MYSQL_PASSWORD: { ...standIn('DB_PASSWORD', 'mysql and mariadb'), secret: true },
  MYSQL_ROOT_PASSWORD: { ...standIn('DB_PASSWORD', 'mysql and mariadb', ', and the user is `root`'), secret: true },
  MYSQL_DATABASE: { ...standIn('DB_NAME', 'mysql and mariadb'), parse: parseDatabaseName },
  MARIADB_USER: standIn('DB_USER', 'mariadb'),
  MARIADB_PASSWORD: { ...standIn('DB_PASSWORD', 'mariadb'), secret: true },
  MARIADB_ROOT_PASSWORD: { ...standIn('DB_PASSWORD', 'mariadb', ', and the user is `root`'), secret: true },
  MARIADB_DATABASE: { ...standIn('DB_NAME', 'mariadb'), parse: parseDatabaseName },
  MONGO_INITDB_ROOT_USERNAME: standIn('DB_USER', 'mongo'),
  MONGO_INITDB_ROOT_PASSWORD: { ...standIn('DB_PASSWORD', 'mongo'), secret: true },
  MONGO_INITDB_DATABASE: { ...standIn('DB_NAME', 'mongo'), parse: parseDatabaseName },

  RCLONE_REMOTE: {
    group: 'remote',
    help: 'Where the backups go, as rclone writes it: `s3:bucket/path`, `/backup`',
    parse: parseRemote,
    defaultHelp: 'required',
    mask: 'remote',
  },
  RCLONE_REMOTE_2: furtherRemote('A further remote, fed from the same dump; `_3` to `_9` too'),
  RCLONE_REMOTE_3: furtherRemote(),
  RCLONE_REMOTE_4: furtherRemote(),
  RCLONE_REMOTE_5: furtherRemote(),
  RCLONE_REMOTE_6: furtherRemote(),
  RCLONE_REMOTE_7: furtherRemote(),
  RCLONE_REMOTE_8: furtherRemote(),
  RCLONE_REMOTE_9: furtherRemote(),
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
  BACKUP_CATCH_UP: {
    group: 'backup',
    help: 'Back up at start where the last due time passed without a try and there are backups already',
    parse: parseBoolean,
    default: 'true',
  },
  TZ: { group: 'backup', help: 'Time zone of the schedule and of names', parse: parseTimeZone, default: 'UTC' },
  BACKUP_MODE: {
    group: 'backup',
    help: 'How a dump travels: `stream`; by way of `BACKUP_TEMP_DIR` as a `file`, a `directory`, or a directory in one `tar`',
    parse: oneOf(...MODES),
    default: 'stream',
  },
  BACKUP_JOBS: {
    group: 'backup',
    help: 'Parallel workers of the dump tool, where it has them',
    parse: countFrom(1),
    default: '1',
  },
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
  BACKUP_ENCRYPT_TO: {
    group: 'backup',
    help: 'Who alone can read the backups: public keys of age or SSH (`age1...`, `ssh-ed25519 AAAA...`), separated by commas or line breaks',
    parse: parseRecipients,
    isProtection: true,
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
  BACKUP_RETRIES: {
    group: 'backup',
    help: 'How often what failed is tried again in the same run, from the start, under a fresh name',
    parse: countFrom(0),
    default: '0',
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
  DRY_RUN: {
    group: 'backup',
    help: 'Say what a run would do (commands, names, what would be pruned), and do none of it',
    parse: parseBoolean,
    default: 'false',
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

  NOTIFY_WEBHOOK_URL: {
    group: 'notify',
    help: 'Where messages go, one address or several separated by commas: Slack, Discord, or anything that takes our JSON (docs/notifications.md)',
    parse: parseWebhooks,
    secret: true,
  },
  NOTIFY_ON: {
    group: 'notify',
    help: 'Which runs are told of: `failure` (warnings too, and the first success after it), `success`, `always`',
    parse: oneOf('failure', 'success', 'always'),
    default: 'failure',
  },
  NOTIFY_EMAIL_TO: {
    group: 'notify',
    help: 'Who gets mail, separated by commas; needs `SMTP_URL`',
    parse: parseMailboxes,
  },
  NOTIFY_EMAIL_FROM: {
    group: 'notify',
    help: 'Its sender',
    parse: parseMailbox,
    defaultHelp: 'the user of `SMTP_URL`, if that is an address',
  },
  SMTP_URL: {
    group: 'notify',
    help: 'Mail server: `smtp://user:password@host:587` (STARTTLS if offered; `?tls=require`, `?tls=disable`), or `smtps://...`',
    parse: parseSmtpUrl,
    secret: true,
  },
  PING_URL: {
    group: 'notify',
    help: 'Dead-man switch as of healthchecks.io: asked for with `/start` at the start, plain after success, with `/fail` after failure',
    parse: parseWebUrl,
    secret: true,
  },
  HOOK_PRE_BACKUP: {
    group: 'notify',
    help: 'Shell command before a run; what is not its exit 0 stops the run',
    parse: parseText,
  },
  HOOK_POST_BACKUP: { group: 'notify', help: 'Shell command after a run, whatever came of it', parse: parseText },
  HOOK_TIMEOUT: { group: 'notify', help: 'Longest time for a hook; 0 is none', parse: parseTimeout, default: '1h' },
  HEALTH_PORT: {
    group: 'notify',
    help: 'Port of `/healthz`, `/readyz`, `/livez`, `/metrics` and the status page `/`; 0 turns it off',
    parse: parseHealthPort,
    default: '8080',
  },
  HEALTH_HOST: {
    group: 'notify',
    help: 'Address that it listens on',
    parse: parseHost,
    defaultHelp: '`::`, where there is no IPv6 `0.0.0.0`',
  },
  HEALTH_GRACE: {
    group: 'notify',
    help: 'How late a backup may be before health says so',
    parse: parseTimeout,
    default: '1h',
  },

  VERIFY_SCHEDULE: {
    group: 'verify',
    help: 'When the newest backup of each series is verified, as `BACKUP_SCHEDULE` is written',
    parse: parseLine,
    defaultHelp: 'never by itself',
  },
  VERIFY_LEVEL: {
    group: 'verify',
    help: 'How closely `verify` looks: `stored` (there, right size), `content` (read back in full), `restore` (restored aside: a drill)',
    parse: oneOf(...VERIFY_LEVELS),
    default: 'content',
  },
  VERIFY_DB_URI: {
    group: 'verify',
    help: 'Server for drills, in which each makes a database of its own and removes it; sqlite and redis need none',
    parse: parseDatabaseUri,
    secret: true,
    mask: 'uri',
  },
  VERIFY_TIMEOUT: {
    group: 'verify',
    help: 'Longest time for one drill, which then ends and removes what it made; 0 is none',
    parse: parseTimeout,
    default: '12h',
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
  DECRYPT_IDENTITY: {
    group: 'restore',
    help: 'Secret key of age or SSH for what `BACKUP_ENCRYPT_TO` made (`DECRYPT_IDENTITY_FILE`: path of its file)',
    parse: parseIdentity,
    secret: true,
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

function furtherRemote(help = 'A further remote') {
  return { group: 'remote', help, parse: parseRemote, mask: 'remote' } as const;
}

function standIn(name: string, engine: string, condition = '') {
  const help = `Taken for \`${name}\` of ${engine} where neither that nor a URI is set${condition}`;
  return { group: 'database', help, parse: parseText } as const;
}

function retention(help: string) {
  return { group: 'retention', help, parse: countFrom(0), default: '0' } as const;
}
