import { ConfigError } from '../core/errors.ts';
import type { ConfigSource } from './config.ts';
import { attempt, type Notes } from './notes.ts';
import { secretsOfRemote, secretsOfUri } from './secrets.ts';
import type { Settings } from './settings.ts';
import { engineOfUri } from './uriConnection.ts';
import type { Values } from './variables.ts';

/** What one variable and its parser alone do not tell. */
export function checkRules(
  { env, parseSchedule }: ConfigSource,
  values: Values,
  settings: Settings,
  notes: Notes,
): void {
  attempt('BACKUP_SCHEDULE', notes, () => parseSchedule(values.BACKUP_SCHEDULE, values.TZ));
  attempt('RESTORE_DB_URI', notes, () => values.RESTORE_DB_URI && engineOfUri(values.RESTORE_DB_URI));
  attempt('DUMP_EXTRA_ARGS', notes, () => checkDumpArgs(values.DUMP_EXTRA_ARGS));
  notes.problems.push(...refuseUnsupported(env));
  notes.warnings.push(...warnOfSecretFlags(settings));
}

const ONE_DATABASE = 'is not possible: one process backs up one database; start one for each';
const NOT_HERE = 'is not in this release, and going on without it would do something else than was asked for: unset it';

/** What other releases and tools know, and what would lose, show or remove data if it were merely ignored. */
export const UNSUPPORTED: Readonly<Record<string, string>> = {
  BACKUP_ALL_DATABASES: ONE_DATABASE,
  BACKUP_ENCRYPT_TO: NOT_HERE,
  DRY_RUN: `${NOT_HERE}; dbstash prune --dry-run shows what would go`,
  HOOK_PRE_BACKUP: NOT_HERE,
  ...Object.fromEntries([2, 3, 4, 5, 6, 7, 8, 9].map((n) => [`RCLONE_REMOTE_${n}`, NOT_HERE])),
  SSH_HOST: NOT_HERE,
};

function refuseUnsupported(env: ConfigSource['env']): string[] {
  const isAsked = (name: string) => !/^(|false|no|0)$/i.test((env[name] ?? env[`${name}_FILE`] ?? '').trim());
  return Object.entries(UNSUPPORTED).flatMap(([name, why]) => (isAsked(name) ? [`${name}: ${why}`] : []));
}

/** argv can be read by every user of the machine. */
function checkDumpArgs(args: readonly string[]): void {
  if (args.includes('--all-databases')) throw new ConfigError(`--all-databases ${ONE_DATABASE}`);
  if (args.some((arg) => /:\/\/[^/@]*:[^@]*@|password\s*=/i.test(arg)))
    throw new ConfigError(
      'holds a password, which every user of this machine could read; right is DB_URI or DB_PASSWORD',
    );
}

function warnOfSecretFlags({ DB_URI: uri, RCLONE_REMOTE: remote }: Settings): string[] {
  const flags = [
    { name: 'DB_URI', isSecret: uri.source === 'flag' && secretsOfUri(uri.text).length > 0 },
    { name: 'RCLONE_REMOTE', isSecret: remote.source === 'flag' && secretsOfRemote(remote.text ?? '').length > 0 },
  ];
  return flags.flatMap(({ name, isSecret }) =>
    isSecret
      ? `--${name.toLowerCase().replaceAll('_', '-')} holds a secret, which every user of this machine can read: give it as ${name} or ${name}_FILE`
      : [],
  );
}
