import { join } from 'shlex';
import type { Config } from '../config/config.ts';
import { describeConfig } from '../config/config.ts';
import { EXIT } from '../core/errors.ts';
import { formatBytes } from '../core/units.ts';
import { describeChannels } from '../jobs/channels.ts';
import {
  type DryRun,
  exitCodeOfDryRun,
  type PlannedBackup,
  type PlannedCopy,
  planRun,
  type ShownCommand,
} from '../jobs/dryRun.ts';
import { formatRows } from '../jobs/list.ts';
import { describeSchedule, listDueTimes, parseSchedule } from '../schedule.ts';
import { type Edge, printJson, printText } from './call.ts';

/** DRY_RUN: says what a run would do now, and when the schedule is due. Returns the exit code that the run would have. */
export async function runDryRun(edge: Edge, config: Config, { json }: { readonly json: boolean }): Promise<number> {
  const host = edge.createHost(config);
  const plan = await planRun(host);
  const exitCode = host.signal.aborted ? exitCodeOfStop(host.signal.reason) : exitCodeOfDryRun(plan);
  const due = listDueTimes(parseSchedule(config.schedule, config.timeZone), host.clock.now(), 3);
  if (json) printJson(edge, describePlan(config, plan, due, exitCode));
  else printText(edge, formatPlan(config, plan, due));
  return exitCode;
}

const exitCodeOfStop = (reason: unknown): number =>
  reason instanceof Error && 'exitCode' in reason ? Number(reason.exitCode) : EXIT.failed;

function describePlan(config: Config, plan: DryRun, due: readonly Date[], exitCode: number) {
  const { hooks } = config;
  return {
    dryRun: true,
    exitCode,
    configuration: describeConfig(config),
    schedule: { pattern: config.schedule, timeZone: config.timeZone, next: due },
    ...plan,
    backups: plan.backups.map((backup) => ({ ...backup, copies: backup.copies.map(describeCopy) })),
    hooks: { pre: hooks.pre ?? null, post: hooks.post ?? null },
    notifications: describeChannels(config),
  };
}

function describeCopy({ keep, remove, ...copy }: PlannedCopy) {
  const describe = ({ backup, reasons }: (typeof keep)[number]) => ({ artifact: backup.path, id: backup.id, reasons });
  return { ...copy, obstacle: copy.obstacle ?? null, keep: keep.map(describe), remove: remove.map(describe) };
}

function formatPlan(config: Config, plan: DryRun, due: readonly Date[]): string {
  const { hooks } = config;
  const set = describeConfig(config).filter(({ value }) => value !== null && value !== '');
  const calls = [
    ...(hooks.pre === undefined ? [] : [`before: ${hooks.pre}`]),
    ...(hooks.post === undefined ? [] : [`after: ${hooks.post}`]),
    ...describeChannels(config),
  ];
  return [
    'Dry run: nothing is written to a remote, no hook and no notification is called.',
    section('Configuration', [formatRows(set.map(({ name, value, source }) => [name, value ?? '', source]))]),
    section(
      `Due next: ${describeSchedule(config.schedule, config.timeZone)}`,
      due.map((date) => date.toISOString()),
    ),
    ...plan.backups.map(formatBackup),
    section('Would be called', calls),
    section('Warnings', plan.warnings),
    section(
      'Would fail',
      plan.problems.map(({ what, message }) => `${what}: ${message}`),
    ),
    '',
  ]
    .filter((part, index, parts) => part !== '' || index === parts.length - 1)
    .join('\n');
}

/** Nothing where there is nothing to say. */
function section(title: string, lines: readonly string[]): string {
  if (lines.length === 0 || lines.join('') === '') return '';
  const indented = lines.join('\n').replaceAll(/^/gm, '  ');
  return `\n${title}\n${indented}`;
}

function formatBackup({ database, series, server, bytes, tool, commands, filters, copies }: PlannedBackup): string {
  const [last, ...before] = commands.toReversed();
  const steps = before.toReversed().map((command) => `run   ${formatCommand(command)}`);
  const pipe = [...(last ? [last] : []), ...filters].map(
    (command, index) => `${index === 0 ? 'run  ' : '   | '} ${formatCommand(command)}`,
  );
  return section(`Backup of ${database}: ${server}, ${formatBytes(bytes)}, dumped by ${tool}, series ${series}`, [
    ...steps,
    ...pipe,
    ...copies.flatMap(formatCopy),
  ]);
}

const formatCopy = ({ remote, artifact, upload, remove, sweep, keep }: PlannedCopy): readonly string[] => [
  `to    ${remote}: ${artifact}`,
  `   by ${formatCommand(upload)}`,
  ...remove.map(({ backup, reasons }) => `prune ${backup.path}: ${reasons.join(', ')}`),
  ...sweep.map((path) => `sweep ${path}: left by a run that died over a day ago`),
  `keep  ${keep.length} of the series, the new one among them`,
];

function formatCommand({ argv, env, files }: ShownCommand): string {
  const notes = [
    ...(env.length > 0 ? [`environment: ${env.join(', ')}`] : []),
    ...(files.length > 0 ? [`private files: ${files.join(', ')}`] : []),
  ];
  return join(argv.map(shorten)) + (notes.length > 0 ? `   (${notes.join('; ')})` : '');
}

/** Some tools are given whole programs; JSON has them in full. */
const shorten = (word: string): string =>
  word.length <= MAX_WORD ? word : `${word.slice(0, MAX_WORD).replaceAll(/\s+/g, ' ')}...`;

const MAX_WORD = 160;
