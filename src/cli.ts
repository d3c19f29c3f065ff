import { resolve } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import { type Config, type ConfigSource, describeConfig, inspectConfig, parseConfig } from './config/config.ts';
import { secretsOfUri } from './config/secrets.ts';
import { parseConnection } from './config/uriConnection.ts';
import { variables } from './config/variables.ts';
import type { Connection, EngineName } from './core/connection.ts';
import { ConfigError, describeError, EXIT } from './core/errors.ts';
import { formatBytes, formatDuration } from './core/units.ts';
import { backupOnce, runDaemon } from './daemon.ts';
import { engines } from './engines/index.ts';
import { readCatalogs } from './jobs/catalogs.ts';
import { check, exitCodeOfFindings } from './jobs/check.ts';
import { formatCatalog, formatRows, listCatalog } from './jobs/list.ts';
import { listPrunable, type Pruned, prune } from './jobs/prune.ts';
import { type Restored, type RestoreOptions, restore } from './jobs/restore.ts';
import { restoreRun } from './jobs/restoreRun.ts';
import { exitCodeOf } from './jobs/run.ts';
import { at, type Host, openSession, type Session } from './jobs/session.ts';
import { forSeries, sourceOf } from './jobs/sources.ts';
import { parseSchedule } from './schedule.ts';

/** What the process edge gives to the commands. */
export interface Edge {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly print: (text: string) => void;
  /** Masks what is secret in a text that tools or servers had a hand in. */
  readonly redact: (text: string) => string;
  /** Asks on the terminal; undefined where there is none. */
  readonly askUser: ((question: string) => Promise<string>) | undefined;
  /** Builds the host once the configuration is known. */
  readonly createHost: (config: Config) => Host;
  readonly version: string;
}

type Options = Readonly<Record<string, string | boolean | undefined>>;

interface Call {
  readonly edge: Edge;
  /** The environment and the flags, for the configuration. */
  readonly source: ConfigSource;
  readonly options: Options;
  readonly argument: string | undefined;
}

export interface CommandRow {
  readonly name: string;
  readonly argument?: string;
  readonly summary: string;
  readonly options?: readonly (readonly [flags: string, help: string])[];
  readonly example: string;
  readonly exitCodes: string;
  readonly run: (call: Call) => Promise<number>;
}

const JSON_OPTION = ['--json', 'print JSON on standard output'] as const;

/** Every command once: for the program, its help and the README. */
export const commands: readonly CommandRow[] = [
  {
    name: 'start',
    summary: 'back up when BACKUP_SCHEDULE says so (the default command)',
    example: 'BACKUP_SCHEDULE="0 2 * * *" dbstash start',
    exitCodes: '0 stopped while idle; 143 or 130 stopped during a run; with BACKUP_SCHEDULE=once as backup',
    run: async ({ edge, source }) => runDaemon(edge.createHost(parseConfig(source))),
  },
  {
    name: 'backup',
    summary: 'back up once, now',
    options: [JSON_OPTION],
    example: 'DB_URI=postgres://app@db/orders RCLONE_REMOTE=s3:backups dbstash backup',
    exitCodes:
      '0 backed up (perhaps with warnings); 1 failed; 2 not possible so; 3 the remote failed; 11 another run holds the lock; 130, 143 interrupted',
    run: runBackup,
  },
  {
    name: 'list',
    summary: 'show the backups on the remote, newest first, and whether each is good',
    options: [JSON_OPTION, ['--all', 'also orphans of dead runs, and files that are not ours']],
    example: 'dbstash list --json | jq -r ".[0].artifact"',
    exitCodes: '0 listed; 3 the remote failed',
    run: (call) => withSession(call, runList),
  },
  {
    name: 'restore',
    argument: '[name]',
    summary: 'load a backup (an artifact, an id, or latest) into a database, checked on the way',
    options: [
      ['--at <time>', 'the newest backup begun at or before this time (ISO 8601; UTC if it names no zone)'],
      ['--to <uri>', 'into another server or file than the configured one (a URI with a password: RESTORE_DB_URI)'],
      ['--database <name>', 'into the database of this name (sqlite: the file); it is created if the login may'],
      ['--replace', 'empty the target first'],
      ['--yes <name>', 'the name of the database that --replace may empty; with --run the id of the run'],
      ['--create-roles', 'create the roles that the target server lacks, without login'],
      ['--run <id>', 'all backups of that run, each into the database of its own name'],
    ],
    example: 'dbstash restore latest --database orders_copy',
    exitCodes: '0 restored; 1 failed; 2 not ready, nothing touched; 3 the remote failed; 4 the backup is damaged',
    run: runRestore,
  },
  {
    name: 'prune',
    summary: 'remove what the retention policy does not keep of this series',
    options: [['--dry-run', 'say what would go and why, remove nothing'], JSON_OPTION],
    example: 'dbstash prune --dry-run --retention-keep-daily 7 --retention-keep-weekly 4',
    exitCodes: '0 done; 3 the remote failed; 11 a run holds the lock',
    run: (call) => withSession(call, runPrune),
  },
  {
    name: 'check',
    summary: 'try what tonight needs: tools, login, versions, and writing to the remote',
    options: [JSON_OPTION],
    example: 'dbstash check',
    exitCodes:
      '0 all well (perhaps with warnings); else of the first thing that failed: 1 database, 2 configuration, 3 remote',
    run: (call) => withSession(call, runCheck),
  },
  {
    name: 'config',
    summary: 'show what is in force and where it came from, secrets masked',
    options: [JSON_OPTION],
    example: 'dbstash config',
    exitCodes: '0 valid; 2 not',
    run: runConfig,
  },
];

/** What every command's exit codes mean. */
export const exitCodes: readonly (readonly [code: number, meaning: string])[] = [
  [EXIT.ok, 'done; of a backup perhaps with warnings'],
  [EXIT.failed, 'the database or one of its tools failed, or there is no such backup'],
  [EXIT.config, 'wrong configuration or command line, or a target that is not ready: nothing was touched'],
  [EXIT.remote, 'the remote, or rclone, failed'],
  [EXIT.damaged, 'what is stored is not what was backed up'],
  [EXIT.locked, 'another run holds the lock of the series'],
  [EXIT.sigint, 'interrupted by SIGINT'],
  [EXIT.sigterm, 'interrupted by SIGTERM'],
];

const FLAGS_HELP =
  '\nEvery variable that is no secret is also a flag: BACKUP_SCHEDULE is --backup-schedule. A flag wins.\n';

/** Runs the command that `argv` names; returns its exit code. Throws `DbstashError`. */
export async function runCli(argv: readonly string[], edge: Edge): Promise<number> {
  let exitCode: number = EXIT.ok;
  const program = prepare(new Command('dbstash'), edge)
    .description("Backs a database up with its own dump tool, straight to any of rclone's storages, and restores it.")
    .version(edge.version)
    .addHelpText('after', FLAGS_HELP);
  for (const row of commands) {
    const command = prepare(program.command(row.name, { isDefault: row.name === 'start' }), edge);
    describeCommand(command, row).action(async () => {
      const options: Options = command.opts();
      refuseExcess(row, command.args);
      const source = { env: edge.env, flags: readFlags(options), cwd: edge.cwd, parseSchedule };
      exitCode = await row.run({ edge, source, options, argument: command.args[0] });
    });
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) throw usageError(explainUsage(error));
  }
  return exitCode;
}

const explainUsage = ({ code, message }: CommanderError): string =>
  code === 'commander.help' ? 'there is no such command' : message.replace(/^error: /, '').replaceAll(/\s+/g, ' ');

/** Errors are ours to tell; what is too much is told better by `refuseExcess`. */
const prepare = (command: Command, edge: Edge): Command =>
  command
    .exitOverride()
    .allowExcessArguments()
    .configureOutput({ writeOut: edge.print, writeErr: () => {} });

function describeCommand(command: Command, row: CommandRow): Command {
  command.description(row.summary);
  if (row.argument) command.argument(row.argument);
  for (const [flags, help] of row.options ?? []) command.option(flags, help);
  for (const name of flagVariables) command.addOption(new Option(`${flagOf(name)} <value>`).hideHelp());
  return command.addHelpText('after', `\nExample:\n  ${row.example}\n\nExit codes:\n  ${row.exitCodes}\n${FLAGS_HELP}`);
}

/** What is no command goes to the default one, as its argument. */
function refuseExcess({ name, argument }: CommandRow, args: readonly string[]): void {
  const excess = args.slice(argument ? 1 : 0);
  if (excess.length === 0) return;
  if (name === 'start' && commands.some((row) => row.name === excess[0]))
    throw usageError(`flags come after the command: dbstash ${excess[0]} --flag`);
  if (name === 'start') throw usageError(`there is no command ${excess[0]}`);
  throw usageError(`${name} takes ${argument ? 'one argument' : 'no argument'}, and was given ${args.join(' ')}`);
}

const usageError = (message: string): ConfigError => new ConfigError(`${message} (dbstash --help)`);

const flagVariables = variables.filter(({ secret }) => !secret).map(({ name }) => name);
const flagOf = (name: string): string => `--${name.toLowerCase().replaceAll('_', '-')}`;
/** Commander's name for an option: camel case. */
const optionOf = (name: string): string =>
  name.toLowerCase().replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

function readFlags(options: Options): Record<string, string> {
  return Object.fromEntries(
    flagVariables.flatMap((name) => {
      const value = options[optionOf(name)];
      return typeof value === 'string' ? [[name, value]] : [];
    }),
  );
}

async function withSession(call: Call, work: (session: Session, call: Call) => Promise<number>): Promise<number> {
  await using session = await openSession(call.edge.createHost(parseConfig(call.source)));
  for (const sentence of session.broken) session.host.logger.warn(sentence);
  return await work(session, call);
}

const toJson = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** Strings are masked one by one: a mask across them could break the JSON. */
function printJson({ print, redact }: Edge, value: unknown): void {
  const mask = (_key: string, part: unknown) => (typeof part === 'string' ? redact(part) : part);
  print(`${JSON.stringify(value, mask, 2)}\n`);
}

const printText = ({ print, redact }: Edge, text: string): void => print(redact(text));

async function runBackup({ edge, source, options }: Call): Promise<number> {
  const report = await backupOnce(edge.createHost(parseConfig(source)));
  if (options.json) printJson(edge, { ...report, error: report.error ?? null });
  return report.exitCode;
}

async function runList(session: Session, { edge, options }: Call): Promise<number> {
  const found = await readCatalogs(session, session.host.signal);
  const all = options.all === true;
  // Unmasked: these names are what restore takes, and a manifest holds no secret.
  if (options.json)
    edge.print(toJson(found.flatMap(({ place, catalog }) => listCatalog(at(session, place), catalog, all))));
  else {
    const texts = found.map(({ place, catalog }) => {
      const title = session.places.length > 1 ? `${place.remote.title}:\n\n` : '';
      return title + formatCatalog(at(session, place), catalog, all);
    });
    edge.print(texts.join('\n'));
  }
  return found.length < session.places.length + session.broken.length ? EXIT.remote : EXIT.ok;
}

async function runRestore({ edge, source, options, argument }: Call): Promise<number> {
  const time = parseTime(options.at);
  const config = parseConfig(source);
  const uri = typeof options.to === 'string' ? options.to : config.restoreUri;
  const isRun = typeof options.run === 'string';
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
    confirm: confirmOnce((name, title) => confirm(edge, options, name, title)),
  };
  const report = ({ backup, into, durationMs }: Restored) => {
    const took = formatDuration(durationMs);
    printText(edge, `restored ${backup.path} (${formatBytes(backup.manifest.bytes)}) into ${into} in ${took}\n`);
  };
  if (typeof options.run === 'string') {
    refuseWithRun(options, argument);
    await restoreRun(
      session,
      options.run,
      { ...common, target: (name) => chooseTarget(config, uri, name ?? lobbyOf(config, uri), source.cwd) },
      report,
    );
    return EXIT.ok;
  }
  const name = argument ?? 'latest';
  const isOwn = config.selection.kind !== 'one' && options.database === undefined && uri === undefined;
  const chosen = { ...common, name, isOwn, series: seriesToRestore(config, name, options.database) };
  report(await restore(session, { ...chosen, connection }));
  return EXIT.ok;
}

/** The database to connect to on another server that is named by its URI alone. */
const lobbyOf = ({ connection }: Config, uri: string | undefined): string | undefined =>
  uri === undefined ? undefined : engines[connection.engine].maintenanceDatabase;

/** Of several databases `latest` is that of one. */
function seriesToRestore(config: Config, name: string, database: string | boolean | undefined): string | undefined {
  if (config.selection.kind === 'one' || name !== 'latest') return undefined;
  if (typeof database === 'string') return sourceOf(config, database).series;
  throw new ConfigError(
    'latest is not clear, since there are several databases: give --database NAME for one, or --run ID for all of one run',
  );
}

function refuseWithRun({ database, at }: Options, argument: string | undefined): void {
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

/** `--yes` names the database; of `--run` the run, and then means all of its databases. */
async function confirm(edge: Edge, { yes, run }: Options, name: string, title: string): Promise<boolean> {
  if (typeof yes === 'string') return yes === (typeof run === 'string' ? run : name);
  if (!edge.askUser) return false;
  return (await edge.askUser(`This empties ${title} first. Type its name to go on: `)) === name;
}

/** What was agreed to is not asked again. */
function confirmOnce(ask: RestoreOptions['confirm']): RestoreOptions['confirm'] {
  const agreed = new Set<string>();
  return async (name, title) => {
    if (!agreed.has(title) && (await ask(name, title))) agreed.add(title);
    return agreed.has(title);
  };
}

async function runPrune(session: Session, { edge, options }: Call): Promise<number> {
  const isDryRun = options.dryRun === true;
  const parts: Pruned[] = [];
  const failures: unknown[] = [];
  for (const { place, series } of await listPrunable(session, session.host.signal)) {
    const pruning = prune(forSeries(at(session, place), series), isDryRun, session.host.signal);
    await pruning.then((part) => parts.push(part)).catch((error: unknown) => failures.push(error));
  }
  if (parts.length === 0 && failures.length > 0) throw failures[0];
  for (const failure of failures) session.host.logger.error(describeError(failure));
  const code = failures.length === 0 ? EXIT.ok : exitCodeOf(failures[0]);
  const keep = parts.flatMap((part) => part.keep);
  const remove = parts.flatMap((part) => part.remove);
  const sweep = parts.flatMap((part) => part.sweep);
  const removed = parts.flatMap((part) => part.removed);
  const describe = ({ backup, reasons }: (typeof keep)[number]) => ({ artifact: backup.path, id: backup.id, reasons });
  if (options.json) {
    edge.print(toJson({ keep: keep.map(describe), remove: remove.map(describe), sweep, removed }));
    return code;
  }
  const rows = parts.flatMap((part) => describePruned(part, isDryRun));
  edge.print(`${rows.length === 0 ? `no good backup of ${session.series}` : formatRows(rows)}\n`);
  return code;
}

const describePruned = ({ keep, remove, sweep, removed }: Pruned, isDryRun: boolean): readonly string[][] => [
  ...keep.map((row) => ['keep', row.backup.path, row.reasons.join(', ')]),
  ...remove.map((row) => [
    isDryRun ? 'would go' : removed.includes(row.backup.path) ? 'removed' : 'in use',
    row.backup.path,
    row.reasons.join(', '),
  ]),
  ...sweep.map((path) => [isDryRun ? 'would go' : 'removed', path, 'left by a run that died over a day ago']),
];

async function runCheck(session: Session, { edge, options }: Call): Promise<number> {
  const findings = await check(session);
  if (options.json)
    printJson(
      edge,
      findings.map(({ what, state, detail }) => ({ what, state, detail })),
    );
  else printText(edge, `${formatRows(findings.map(({ what, state, detail }) => [state, what, detail]))}\n`);
  return exitCodeOfFindings(findings);
}

/** Also of a configuration that has problems, which then follow. */
async function runConfig({ edge, source, options }: Call): Promise<number> {
  const inspection = inspectConfig(source);
  const rows = describeConfig(inspection);
  const { problems, warnings } = inspection;
  if (options.json) printJson(edge, { variables: rows, problems, warnings });
  else {
    const lines = [...problems.map((text) => `problem: ${text}`), ...warnings.map((text) => `warning: ${text}`)];
    printText(edge, `${formatRows(rows.map(({ name, value, source: from }) => [name, value ?? '', from]))}\n`);
    printText(edge, lines.map((line) => `${line}\n`).join(''));
  }
  return problems.length === 0 ? EXIT.ok : EXIT.config;
}
