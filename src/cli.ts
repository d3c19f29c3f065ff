import { Command, CommanderError, Option } from 'commander';
import { runAdopt } from './commands/adopt.ts';
import { runBackup } from './commands/backup.ts';
import { type CommandRow, type Edge, type Options, withSession } from './commands/call.ts';
import { runCheck } from './commands/check.ts';
import { runConfig } from './commands/config.ts';
import { runDownload } from './commands/download.ts';
import { runHealth } from './commands/health.ts';
import { runList } from './commands/list.ts';
import { runNotifyTest } from './commands/notifyTest.ts';
import { runPrune } from './commands/prune.ts';
import { runRestore } from './commands/restore.ts';
import { runStart } from './commands/start.ts';
import { runVerify, withLevel } from './commands/verify.ts';
import { variables } from './config/variables.ts';
import { ConfigError, EXIT } from './core/errors.ts';
import { parseBoolean } from './core/units.ts';
import { parseSchedule } from './schedule.ts';

const JSON_OPTION = ['--json', 'print JSON on standard output'] as const;

/** Every command once: for the program, its help and the README. */
export const commands: readonly CommandRow[] = [
  {
    name: 'start',
    summary: 'back up when BACKUP_SCHEDULE says so (the default command)',
    example: 'BACKUP_SCHEDULE="0 2 * * *" dbstash start',
    exitCodes: '0 stopped while idle; 143 or 130 stopped during a run; with BACKUP_SCHEDULE=once as backup',
    run: runStart,
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
    args: ['[name]'],
    summary: 'load a backup (an artifact, an id, or latest) into a database, checked on the way',
    options: [
      ['--at <time>', 'the newest backup begun at or before this time (ISO 8601; UTC if it names no zone)'],
      ['--to <uri>', 'into another server or file than the configured one (a URI with a password: RESTORE_DB_URI)'],
      ['--database <name>', 'into the database of this name (sqlite: the file); it is created if the login may'],
      [
        '--table <name>',
        'only this table or collection (orders, sales.orders), and what belongs to it; several as a,b or with --table again',
      ],
      ['--replace', 'empty the target first; with --table remove just that table'],
      [
        '--yes <name>',
        'the name of the database that --replace may empty; with --table those tables, with --run the id of the run',
      ],
      ['--create-roles', 'create the roles that the target server lacks, without login'],
      ['--dry-run', 'say what would happen, and whether the target is ready; restore nothing'],
      ['--run <id>', 'all backups of that run, each into the database of its own name'],
    ],
    example: 'dbstash restore latest --table orders --database scratch',
    exitCodes: '0 restored; 1 failed; 2 not ready, nothing touched; 3 the remote failed; 4 the backup is damaged',
    run: runRestore,
  },
  {
    name: 'download',
    args: ['<name>', '<folder>'],
    summary: 'bring a backup (an artifact, an id, or latest) into a folder, checked, as it is or decoded',
    options: [['--decode', 'decrypt and decompress it']],
    example: 'dbstash download latest . --decode',
    exitCodes: '0 it is there, whole; 1 there is none; 2 not ready; 3 the remote failed; 4 the backup is damaged',
    run: (call) => withSession(call, runDownload),
  },
  {
    name: 'verify',
    args: ['[name]'],
    summary:
      'look whether backups (an artifact, an id, latest or all) are whole, and write what was found of their content beside them',
    options: [['--level <level>', 'stored, content or restore, instead of VERIFY_LEVEL'], JSON_OPTION],
    example: 'dbstash verify all --level stored',
    exitCodes:
      '0 all well; 2 not ready; 3 the remote failed; 4 one is missing or damaged, or a drill could not restore it; 1 there is none, or a tool or the server of the drill failed',
    run: (call) => withSession(withLevel(call), runVerify),
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
    name: 'adopt',
    args: ['[names...]'],
    summary:
      'make backups of dumps that another tool left on the remote (paths or patterns; without them all that BACKUP_NAME_TEMPLATE would have made), once their content is checked',
    options: [['--dry-run', 'check them and say what would be adopted, write nothing'], JSON_OPTION],
    example: 'dbstash adopt --dry-run "old/orders_*.sql.gz"',
    exitCodes:
      '0 adopted; else of the first that was left: 2 no dump of this database, 3 the remote failed, 4 not whole',
    run: (call) => withSession(call, runAdopt),
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
    name: 'notify-test',
    summary: 'send a test message to every channel that is configured, whatever NOTIFY_ON says',
    options: [JSON_OPTION],
    example: 'dbstash notify-test',
    exitCodes: '0 all took it; 1 one did not; 2 none is configured',
    run: runNotifyTest,
  },
  {
    name: 'config',
    summary: 'show what is in force and where it came from, secrets masked',
    options: [JSON_OPTION],
    example: 'dbstash config',
    exitCodes: '0 valid; 2 not',
    run: runConfig,
  },
  {
    name: 'health',
    summary: 'ask the daemon of this container whether all is well, as the health check of its image does',
    options: [
      ['--ready', 'ask for the whole truth, from the catalog (/readyz), and not only for what a restart may mend'],
    ],
    example: 'docker exec backup dbstash health --ready',
    exitCodes: '0 healthy, or there is no server to ask (HEALTH_PORT=0); 1 not, and why',
    run: ({ edge, source, options }) => runHealth(source, options.ready === true, edge.print),
  },
];

/** What every command's exit codes mean. */
export const exitCodes: readonly (readonly [code: number, meaning: string])[] = [
  [EXIT.ok, 'done; of a backup perhaps with warnings'],
  [EXIT.failed, 'the database or one of its tools failed, or there is no such backup'],
  [EXIT.config, 'wrong configuration or command line, or a target that is not ready: nothing was touched'],
  [EXIT.remote, 'the remote, or rclone, failed'],
  [EXIT.damaged, 'what is stored is not what was backed up, or a drill could not restore it'],
  [EXIT.locked, 'another run holds the lock of the series'],
  [EXIT.sigint, 'interrupted by SIGINT'],
  [EXIT.sigterm, 'interrupted by SIGTERM'],
];

const FLAGS_HELP = `
Every variable that is no secret is also a flag: BACKUP_SCHEDULE is --backup-schedule. A flag wins; one that says yes or no
needs no value.
`;

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
      exitCode = await row.run({ edge, source, options, args: command.args });
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
  for (const argument of row.args ?? []) command.argument(argument);
  for (const [flags, help] of row.options ?? []) {
    if (flags.startsWith('--table ')) command.option(flags, help, collect);
    else command.option(flags, help);
  }
  for (const variable of flagVariables) {
    const flag = flagOf(variable.name);
    if (row.options?.some(([flags]) => flags === flag)) continue;
    command.addOption(new Option(`${flag} ${variable.parse === parseBoolean ? '[value]' : '<value>'}`).hideHelp());
  }
  return command.addHelpText('after', `\nExample:\n  ${row.example}\n\nExit codes:\n  ${row.exitCodes}\n${FLAGS_HELP}`);
}

/** A flag that was given again adds to a list. */
const collect = (value: string, before?: string): string => (before === undefined ? value : `${before},${value}`);

/** What is no command goes to the default one, as its argument. */
function refuseExcess({ name, args: names = [] }: CommandRow, args: readonly string[]): void {
  const excess = args.slice(names.length);
  if (excess.length === 0 || names.at(-1)?.endsWith('...]')) return;
  if (name === 'start' && commands.some((row) => row.name === excess[0]))
    throw usageError(`flags come after the command: dbstash ${excess[0]} --flag`);
  if (name === 'start') throw usageError(`there is no command ${excess[0]}`);
  const count = ['no argument', 'one argument', 'two arguments'][names.length];
  throw usageError(`${name} takes ${count}, and was given ${args.join(' ')}`);
}

const usageError = (message: string): ConfigError => new ConfigError(`${message} (dbstash --help)`);

const flagVariables = variables.filter(({ secret }) => !secret);
const flagOf = (name: string): string => `--${name.toLowerCase().replaceAll('_', '-')}`;
/** Commander's name for an option: camel case. */
const optionOf = (name: string): string =>
  name.toLowerCase().replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

function readFlags(options: Options): Record<string, string> {
  return Object.fromEntries(
    flagVariables.flatMap(({ name }) => {
      const value = options[optionOf(name)];
      return value === undefined ? [] : [[name, String(value)]];
    }),
  );
}
