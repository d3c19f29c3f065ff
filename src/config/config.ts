import type { Connection } from '../core/connection.ts';
import { ConfigError } from '../core/errors.ts';
import type { VerifyLevel } from '../core/manifest.ts';
import type { Mode } from '../core/mode.ts';
import type { Template } from '../core/naming.ts';
import type { RetentionPolicy } from '../core/retention.ts';
import { effectiveSettings, labelOf, resolveConnection, seriesOf } from './database.ts';
import type { Notes } from './notes.ts';
import { type NotifyConfig, resolveNotify } from './notify.ts';
import type { Compression, ShrinkLimit } from './parsers.ts';
import { type RemoteConfig, resolveRemote } from './remote.ts';
import { checkRules } from './rules.ts';
import { chooseFirst, describeSelection, resolveSelection, type Selection, tellApart } from './selection.ts';
import { parseSettings, readSettings, type Settings, type Surroundings } from './settings.ts';
import { resolveSsh, type SshConfig } from './ssh.ts';
import { warnOfUnknown } from './unknown.ts';
import type { Values } from './variables.ts';

export { labelOf } from './database.ts';
export { describeConfig } from './describe.ts';
export { findOwnRcloneConfig, secretsOf } from './secrets.ts';

/** What all variables and flags together say, checked. */
export interface Config {
  /** Of several databases it is the one to connect to. */
  readonly connection: Connection;
  readonly selection: Selection;
  /** BACKUP_SERIES. */
  readonly namedSeries: string | undefined;
  /** The SSH server that the database is reached through, if any. */
  readonly ssh: SshConfig | undefined;
  /** How the database is called in names and logs. */
  readonly database: string;
  readonly series: string;
  readonly remote: RemoteConfig;
  /** Read it with `parseSchedule`, which has accepted it. */
  readonly schedule: string;
  readonly onStart: boolean;
  readonly catchUp: boolean;
  readonly timeZone: string;
  readonly mode: Mode;
  /** Of the dump tool. */
  readonly jobs: number;
  readonly template: Template;
  /** With the dot; undefined for that of what is produced. */
  readonly extension: string | undefined;
  readonly compress: Compression;
  /** age recipients, checked; none where nothing is to be encrypted. */
  readonly encryptTo: readonly string[];
  /** Absolute. */
  readonly tempDir: string;
  /** Further arguments of the dump tool, split. */
  readonly extraArgs: readonly string[];
  /** Of a run; 0 is none, as for the next. */
  readonly timeoutMs: number;
  readonly stallTimeoutMs: number;
  readonly retries: number;
  readonly dryRun: boolean;
  readonly useLock: boolean;
  readonly minBytes: number;
  readonly maxShrink: ShrinkLimit | undefined;
  readonly retention: RetentionPolicy;
  readonly notify: NotifyConfig;
  readonly hooks: HooksConfig;
  /** As `schedule`; undefined for never. */
  readonly verifySchedule: string | undefined;
  readonly verifyLevel: VerifyLevel;
  /** Where drills go; it may hold a password. */
  readonly verifyUri: string | undefined;
  /** Of one drill; 0 for none. */
  readonly verifyTimeoutMs: number;
  /** Port 0: no server. */
  readonly health: { readonly port: number; readonly host: string | undefined; readonly graceMs: number };
  readonly log: { readonly level: Values['LOG_LEVEL']; readonly format: Values['LOG_FORMAT'] };
  /** Where `restore` goes; it may hold a password. */
  readonly restoreUri: string | undefined;
  /** Texts of the files that age may decrypt with. */
  readonly identity: readonly string[];
  /** Each variable as it is in force, secrets included, and where it came from: see `describeConfig`. */
  readonly settings: Settings;
  /** A sentence each, without secrets. */
  readonly warnings: readonly string[];
}

/** Shell commands of the user. */
export interface HooksConfig {
  readonly pre: string | undefined;
  readonly post: string | undefined;
  readonly timeoutMs: number;
}

export interface ConfigSource extends Surroundings {
  /** Throws `ConfigError` for a BACKUP_SCHEDULE that is none. */
  readonly parseSchedule: (text: string, timeZone: string) => unknown;
}

/** What can be said of any configuration; `config` is there where it has no problems. */
export interface Inspection {
  readonly config: Config | undefined;
  readonly settings: Settings;
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

/** Throws one `ConfigError` that names every problem, each on its own line, and none of the secrets. */
export function parseConfig(source: ConfigSource): Config {
  const { config, problems, warnings } = inspectConfig(source);
  if (config) return config;
  const title = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
  // A typo that is warned about is often why something else is missing.
  const lines = [...problems, ...warnings.map((warning) => `(warning) ${warning}`)];
  throw new ConfigError(`the configuration has ${title}:\n${lines.map((line) => `  ${line}`).join('\n')}`);
}

export function inspectConfig(source: ConfigSource): Inspection {
  const { env, cwd } = source;
  const notes: Notes = { problems: [], warnings: [] };
  const given = readSettings(source, notes);
  const all = parseSettings(given, notes);
  const selection = resolveSelection(all, notes);
  const values = chooseFirst(all, selection);
  const connection = resolveConnection(values, given, cwd, notes);
  const ssh = resolveSsh(values, given, connection, notes);
  const remote = resolveRemote(values, given, cwd, notes);
  const notify = resolveNotify(values, given, notes);
  checkRules(source, values, given, notes);
  notes.warnings.push(...warnOfUnknown(env));
  const { problems, warnings } = notes;
  if (!connection || !remote || problems.length > 0) return { config: undefined, settings: given, problems, warnings };
  const isOne = selection.kind === 'one';
  const { DB_NAME, BACKUP_SERIES } = given;
  const settings = {
    ...given,
    ...effectiveSettings(connection, values, given),
    ...(!isOne && { DB_NAME, BACKUP_SERIES }),
  };
  const config = assemble(values, { connection, selection, ssh, remote, notify, settings, warnings });
  return { config, settings, problems, warnings };
}

type Assembled = Pick<Config, 'connection' | 'selection' | 'ssh' | 'remote' | 'notify' | 'settings' | 'warnings'>;

const assemble = (values: Values, parts: Assembled): Config => ({
  ...parts,
  namedSeries: values.BACKUP_SERIES,
  ...nameOf(values, parts),
  schedule: values.BACKUP_SCHEDULE,
  onStart: values.BACKUP_ON_START,
  catchUp: values.BACKUP_CATCH_UP,
  timeZone: values.TZ,
  mode: values.BACKUP_MODE,
  jobs: values.BACKUP_JOBS,
  template: tellApart(values.BACKUP_NAME_TEMPLATE, parts.selection),
  extension: values.BACKUP_EXTENSION,
  compress: values.BACKUP_COMPRESS,
  encryptTo: values.BACKUP_ENCRYPT_TO ?? [],
  tempDir: values.BACKUP_TEMP_DIR,
  extraArgs: values.DUMP_EXTRA_ARGS,
  timeoutMs: values.BACKUP_TIMEOUT,
  stallTimeoutMs: values.BACKUP_STALL_TIMEOUT,
  retries: values.BACKUP_RETRIES,
  dryRun: values.DRY_RUN,
  useLock: values.BACKUP_LOCK,
  minBytes: values.BACKUP_MIN_SIZE,
  maxShrink: values.BACKUP_MAX_SHRINK,
  retention: retentionOf(values),
  hooks: { pre: values.HOOK_PRE_BACKUP, post: values.HOOK_POST_BACKUP, timeoutMs: values.HOOK_TIMEOUT },
  verifySchedule: values.VERIFY_SCHEDULE,
  verifyLevel: values.VERIFY_LEVEL,
  verifyUri: parts.settings.VERIFY_DB_URI.text,
  verifyTimeoutMs: values.VERIFY_TIMEOUT,
  health: { port: values.HEALTH_PORT, host: values.HEALTH_HOST, graceMs: values.HEALTH_GRACE },
  log: { level: values.LOG_LEVEL, format: values.LOG_FORMAT },
  restoreUri: parts.settings.RESTORE_DB_URI.text,
  identity: values.DECRYPT_IDENTITY ?? [],
});

function nameOf(values: Values, { connection, selection }: Assembled): Pick<Config, 'database' | 'series'> {
  if (selection.kind === 'one') return { database: labelOf(connection), series: seriesOf(connection, values) };
  return { database: describeSelection(selection), series: seriesOf({ ...connection, database: '' }, values) };
}

const retentionOf = (values: Values): RetentionPolicy => ({
  maxFiles: values.RETENTION_MAX_FILES,
  maxDays: values.RETENTION_MAX_DAYS,
  keepLast: values.RETENTION_KEEP_LAST,
  keepHourly: values.RETENTION_KEEP_HOURLY,
  keepDaily: values.RETENTION_KEEP_DAILY,
  keepWeekly: values.RETENTION_KEEP_WEEKLY,
  keepMonthly: values.RETENTION_KEEP_MONTHLY,
  keepYearly: values.RETENTION_KEEP_YEARLY,
  minKeep: values.RETENTION_MIN_KEEP,
});
