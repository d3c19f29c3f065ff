import { ConfigError } from '../core/errors.ts';
import { engines } from '../engines/index.ts';
import type { ConfigSource } from './config.ts';
import { attempt, type Notes } from './notes.ts';
import { REMOTES } from './remote.ts';
import { secretsOfRemote, secretsOfUri } from './secrets.ts';
import type { Settings } from './settings.ts';
import { engineOf, engineOfUri } from './uriConnection.ts';
import type { Values, VariableName } from './variables.ts';

/** What one variable and its parser alone do not tell. */
export function checkRules({ parseSchedule }: ConfigSource, values: Values, settings: Settings, notes: Notes): void {
  attempt('BACKUP_SCHEDULE', notes, () => parseSchedule(values.BACKUP_SCHEDULE, values.TZ));
  attempt('RESTORE_DB_URI', notes, () => values.RESTORE_DB_URI && engineOfUri(values.RESTORE_DB_URI));
  attempt('VERIFY_SCHEDULE', notes, () => checkVerifySchedule(values, parseSchedule));
  attempt('VERIFY_DB_URI', notes, () => checkVerifyUri(values));
  attempt('DUMP_EXTRA_ARGS', notes, () => checkDumpArgs(values.DUMP_EXTRA_ARGS));
  attempt('BACKUP_MODE', notes, () => checkMode(values));
  notes.warnings.push(...warnOfSecretFlags(settings), ...warnOfDrill(values));
}

function checkVerifySchedule({ VERIFY_SCHEDULE: text, TZ }: Values, parse: ConfigSource['parseSchedule']): void {
  if (text === undefined) return;
  if (/^[\s;]*once[\s;]*$/i.test(text))
    throw new ConfigError('"once" is no schedule here; right is the command dbstash verify');
  parse(text, TZ);
}

function checkVerifyUri({ VERIFY_DB_URI: uri, ...values }: Values): void {
  const engine = engineOf(values);
  if (uri && engineOfUri(uri, engine) !== engine && engine !== undefined)
    throw new ConfigError(`it is of another engine than ${engine}, whose backups are to be restored there`);
}

/** Backups are made all the same: no reason to stop. */
function warnOfDrill(values: Values): string[] {
  const { VERIFY_SCHEDULE: schedule, VERIFY_LEVEL: level, VERIFY_DB_URI: uri } = values;
  const engine = engineOf(values);
  if (schedule === undefined || level !== 'restore' || uri || engine === 'sqlite' || engine === 'redis') return [];
  return [
    'VERIFY_DB_URI is not set, and VERIFY_LEVEL=restore needs a server to restore into: every verification will fail',
  ];
}

/** What the engine's tools cannot do, and filters on a folder, which goes up file by file, past every filter. */
function checkMode(values: Values): void {
  const { BACKUP_MODE: mode, BACKUP_COMPRESS: compress, BACKUP_ENCRYPT_TO: encryptTo } = values;
  const filters = [
    ...(compress.kind === 'filter' ? [`BACKUP_COMPRESS=${compress.filter}`] : []),
    ...(encryptTo ? ['BACKUP_ENCRYPT_TO'] : []),
  ];
  if (mode === 'directory' && filters.length > 0)
    throw new ConfigError(`"directory" does not go together with ${filters.join(' and ')}; right is tar`);
  const engine = engineOf(values);
  if (engine !== undefined && !engines[engine].modes.includes(mode))
    throw new ConfigError(`"${mode}" does not go with ${engine}, which takes ${engines[engine].modes.join(' or ')}`);
}

/** argv can be read by every user of the machine. */
function checkDumpArgs(args: readonly string[]): void {
  if (args.some((arg) => /:\/\/[^/@]*:[^@]*@|password\s*=/i.test(arg)))
    throw new ConfigError(
      'holds a password, which every user of this machine could read; right is DB_URI or DB_PASSWORD',
    );
}

function warnOfSecretFlags(settings: Settings): string[] {
  const isFlag = (name: VariableName) => settings[name].source === 'flag';
  const flags = [
    { name: 'DB_URI', isSecret: isFlag('DB_URI') && secretsOfUri(settings.DB_URI.text).length > 0 },
    ...REMOTES.map((name) => ({
      name,
      isSecret: isFlag(name) && secretsOfRemote(settings[name].text ?? '').length > 0,
    })),
  ];
  return flags.flatMap(({ name, isSecret }) =>
    isSecret
      ? `--${name.toLowerCase().replaceAll('_', '-')} holds a secret, which every user of this machine can read: give it as ${name} or ${name}_FILE`
      : [],
  );
}
