import type { Config } from '../config/config.ts';
import { addressOf, type Connection } from '../core/connection.ts';
import { createState, noteNotificationFailures, noteTime } from '../core/memory.ts';
import type { RetentionPolicy } from '../core/retention.ts';
import type { Facts, State } from '../core/state.ts';
import { engines } from '../engines/index.ts';
import type { Schedule } from '../schedule.ts';
import { type Host, locateRemotes } from './session.ts';
import { sourceOf } from './sources.ts';

/** What the daemon knows, and the only place where that changes. */
export interface Memory {
  /** As of now. */
  read(): { readonly state: State; readonly now: Date };
  note(change: (state: State) => State): void;
}

export function createMemory(host: Host, schedule: Schedule): Memory {
  const { clock, config } = host;
  const previousDue = rememberPrevious(schedule);
  const titles = locateRemotes(config).map(({ title }) => title);
  let state = createState({ ...describeConfig(host), previousDue }, titles);
  return {
    read: () => {
      const now = clock.now();
      state = noteTime(state, schedule.next(now), previousDue(new Date(now.getTime() + 1)));
      state = noteNotificationFailures(state, host.notifier.failures());
      return { state, now };
    },
    note: (change) => {
      state = change(state);
    },
  };
}

const MAX_KNOWN = 8;

/** Looking back costs milliseconds, and whoever asks us again and again must not cost us that. */
function rememberPrevious(schedule: Schedule): Facts['previousDue'] {
  const known: { readonly due: Date; readonly next: Date | undefined }[] = [];
  return (before) => {
    const found = known.find(({ due, next }) => due < before && (next === undefined || before <= next));
    if (found) return found.due;
    const due = schedule.previous(before);
    if (due) known.unshift({ due, next: schedule.next(due) });
    known.length = Math.min(known.length, MAX_KNOWN);
    return due;
  };
}

const describeConfig = ({ config, clock, version }: Host): Omit<Facts, 'previousDue'> => ({
  version,
  startedAt: clock.now(),
  engine: config.connection.engine,
  engineTitle: engines[config.connection.engine].title,
  database: config.database,
  server: describeServer(config.connection),
  schedule: config.schedule,
  timeZone: config.timeZone,
  graceMs: config.health.graceMs,
  expected: listExpected(config),
  mode: config.mode,
  compression: describeCompression(config),
  isEncrypted: config.encryptTo.length > 0,
  retention: describeRetention(config.retention),
});

function listExpected(config: Config): Facts['expected'] {
  const { selection, series, database } = config;
  if (selection.kind === 'one') return [{ series, database }];
  return selection.kind === 'list' ? selection.names.map((name) => sourceOf(config, name)) : [];
}

function describeServer({ engine, hosts, database, isSrv }: Connection): string {
  if (engine === 'sqlite') return database;
  return hosts.map(({ host, port }) => (isSrv ? host : addressOf({ host, port }))).join(',');
}

function describeCompression({ compress }: Config): string | undefined {
  if (compress.kind === 'filter')
    return compress.level === undefined ? compress.filter : `${compress.filter}:${compress.level}`;
  return compress.kind === 'own' ? "the dump tool's own" : undefined;
}

const RULES: readonly (readonly [keyof RetentionPolicy, word: string])[] = [
  ['keepLast', 'last'],
  ['keepHourly', 'hourly'],
  ['keepDaily', 'daily'],
  ['keepWeekly', 'weekly'],
  ['keepMonthly', 'monthly'],
  ['keepYearly', 'yearly'],
];

/** Undefined where nothing is removed. */
function describeRetention(policy: RetentionPolicy): string | undefined {
  const rules = RULES.flatMap(([rule, word]) => (policy[rule] > 0 ? [`${policy[rule]} ${word}`] : []));
  if (policy.maxFiles > 0) rules.push(`at most ${policy.maxFiles} backups`);
  if (policy.maxDays > 0) rules.push(`at most ${policy.maxDays} days`);
  return rules.length === 0 ? undefined : rules.join(', ');
}
