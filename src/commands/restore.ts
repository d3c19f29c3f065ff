import { resolve } from 'node:path';
import { type Config, parseConfig } from '../config/config.ts';
import { secretsOfUri } from '../config/secrets.ts';
import { parseConnection } from '../config/uriConnection.ts';
import type { Connection, EngineName } from '../core/connection.ts';
import { ConfigError, describeError, EXIT } from '../core/errors.ts';
import { formatBytes, formatDuration } from '../core/units.ts';
import { engines } from '../engines/index.ts';
import { formatRows } from '../jobs/list.ts';
import { previewRestore, type Restored, type RestoreOptions, restore } from '../jobs/restore.ts';
import { describePreview, type RestorePreview } from '../jobs/restorePreview.ts';
import { restoreRun } from '../jobs/restoreRun.ts';
import { openSession } from '../jobs/session.ts';
import { sourceOf } from '../jobs/sources.ts';
import { type Call, type Edge, type Options, printText } from './call.ts';

export async function runRestore({ edge, source, options, args: [argument] }: Call): Promise<number> {
  const time = parseTime(options.at);
  const config = parseConfig(source);
  const isDryRun = config.dryRun || options.dryRun === true;
  const uri = typeof options.to === 'string' ? options.to : config.restoreUri;
  const isRun = typeof options.run === 'string';
  const name = argument ?? 'latest';
  const series = isRun ? undefined : seriesToRestore(config, name, options.database);
  const connection = isRun ? config.connection : chooseTarget(config, uri, options.database, source.cwd);
  const settings = { ...config.settings, RESTORE_DB_URI: { text: uri, source: 'flag' } };
  const host = edge.createHost({ ...config, settings });
  if (typeof options.to === 'string' && secretsOfUri(options.to).length > 0) host.logger.warn(PASSWORD_IN_FLAG);
  await using session = await openSession(host);
  for (const sentence of session.broken) host.logger.warn(sentence);
  const common = {
    at: time,
    replace: options.replace === true,
    createRoles: options.createRoles === true,
    confirm: isDryRun ? async () => true : confirmOnce((word, what) => confirm(edge, options, word, what)),
  };
  const report = ({ backup, into, tables, durationMs }: Restored) => {
    const took = formatDuration(durationMs);
    const part = tables.length > 0 ? `${tables.join(', ')} of ` : '';
    printText(edge, `restored ${part}${backup.path} (${formatBytes(backup.manifest.bytes)}) into ${into} in ${took}\n`);
  };
  const foretell = (preview: RestorePreview) => printText(edge, `${formatRows(describePreview(preview))}\n`);
  if (typeof options.run === 'string') {
    refuseWithRun(options, argument);
    await restoreRun(
      session,
      options.run,
      { ...common, target: (name) => chooseTarget(config, uri, name ?? lobbyOf(config, uri), source.cwd) },
      isDryRun ? { onPreview: foretell } : { onRestored: report },
    );
    return EXIT.ok;
  }
  const tables = readTables(options.table);
  const isOwn = config.selection.kind !== 'one' && options.database === undefined && uri === undefined;
  const chosen = { ...common, tables, name, isOwn, series };
  if (isDryRun) foretell(await previewRestore(session, { ...chosen, connection }));
  else report(await restore(session, { ...chosen, connection }));
  return EXIT.ok;
}

/** `a,b`, as --table can also be given again. */
function readTables(text: string | boolean | undefined): readonly string[] {
  if (typeof text !== 'string') return [];
  const names = text.split(',').map((name) => name.trim());
  if (names.includes('')) throw new ConfigError(`--table: ${JSON.stringify(text)} holds an empty name`);
  return [...new Set(names)];
}

/** The database to connect to on another server that is named by its URI alone. */
const lobbyOf = ({ connection }: Config, uri: string | undefined): string | undefined =>
  uri === undefined ? undefined : engines[connection.engine].maintenanceDatabase;

/** Of several databases `latest` is that of one. */
function seriesToRestore(config: Config, name: string, database: string | boolean | undefined): string | undefined {
  if (config.selection.kind === 'one' || name !== 'latest') return undefined;
  if (typeof database === 'string') return sourceOf(config, database).series;
  throw new ConfigError(
    'latest is not clear, since there are several databases: give --database NAME for one, or --run ID for all of one run (list --json has the ids as run)',
  );
}

function refuseWithRun({ database, at, table }: Options, argument: string | undefined): void {
  if (table !== undefined)
    throw new ConfigError('--run ID restores whole databases: give --table with the name of one backup of that run');
  if (argument === undefined && database === undefined && at === undefined) return;
  throw new ConfigError(
    '--run ID restores all backups of that run under their own names: give no name, --database or --at with it',
  );
}

const PASSWORD_IN_FLAG =
  '--to holds a password, which everybody on this machine can read: give the URI as RESTORE_DB_URI or RESTORE_DB_URI_FILE';

/** The configured database, or what a URI and a name say instead. */
function chooseTarget(
  { connection: configured }: Config,
  uri: string | undefined,
  name: string | boolean | undefined,
  cwd: string,
): Connection {
  const database = typeof name === 'string' ? name : undefined;
  const connection = uri === undefined ? configured : readTarget(uri, database, configured.engine);
  const { isWhole, title } = engines[connection.engine];
  if (isWhole && database !== undefined)
    throw new ConfigError(`--database: ${title} is restored as a whole server; right is another one, with --to URI`);
  if (database === undefined) return connection;
  return { ...connection, database: connection.engine === 'sqlite' ? resolve(cwd, database) : database };
}

/** Another server: neither the source's password nor its DB_TLS are meant for it. */
function readTarget(uri: string, database: string | undefined, engine: EngineName): Connection {
  if (!uri.includes('://')) throw new ConfigError('--to: it is no URI; right is postgres://... or sqlite:///path');
  try {
    return parseConnection(uri, { database, engine });
  } catch (error) {
    const message = describeError(error).replace(', or DB_NAME', ', or --database NAME');
    throw new ConfigError(`--to (or RESTORE_DB_URI): ${message}`);
  }
}

/** A date alone is its first moment; what names no zone is UTC. */
const TIME = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d:?\d\d)?)?$/i;

function parseTime(text: string | boolean | undefined): Date | undefined {
  if (typeof text !== 'string') return undefined;
  const [, day, time = '00:00', zone = 'Z'] = TIME.exec(text.trim()) ?? [];
  const date = new Date(`${day}T${time}${zone.replace(/(\d\d)(\d\d)$/, '$1:$2').toUpperCase()}`);
  if (Number.isNaN(date.getTime())) throw new ConfigError(`--at: ${text} is no time; right is 2026-02-07T02:00:00Z`);
  return date;
}

async function confirm(edge: Edge, { yes }: Options, word: string, what: string): Promise<boolean> {
  if (typeof yes === 'string') return yes === word;
  if (!edge.askUser) return false;
  return (await edge.askUser(`This ${what}. Type ${word} to go on: `)) === word;
}

/** What was agreed to is not asked again. */
function confirmOnce(ask: RestoreOptions['confirm']): RestoreOptions['confirm'] {
  const agreed = new Set<string>();
  return async (word, what) => {
    if (!agreed.has(what) && (await ask(word, what))) agreed.add(what);
    return agreed.has(what);
  };
}
