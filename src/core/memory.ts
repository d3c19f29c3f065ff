import { asWritten, type Manifest, type Verdict } from './manifest.ts';
import type { Outcome, Report, StoredBackup } from './report.ts';
import type { BackupState, Facts, RemoteState, RunRecord, SeriesState, State, Totals } from './state.ts';

/** A backup as a catalog shows it; `path` is where its artifact lies now. */
interface Seen {
  readonly manifest: Manifest;
  readonly path: string;
  readonly state: BackupState['state'];
  readonly reason: string | undefined;
  readonly verdict: Verdict | undefined;
}

/** What a look at a remote found: the backups of this configuration, or why it could not be listed. */
export type Look =
  | { readonly title: string; readonly at: Date; readonly backups: readonly Seen[] }
  | { readonly title: string; readonly at: Date; readonly fault: string };

const NO_RUNS: Readonly<Record<Outcome, number>> = { succeeded: 0, warning: 0, failed: 0, skipped: 0, interrupted: 0 };
const MAX_RUNS = 50;

export const createState = (facts: Facts, titles: readonly string[]): State => ({
  facts,
  running: undefined,
  nextDue: undefined,
  lastDue: undefined,
  runs: [],
  remotes: titles.map((title) => ({
    title,
    listedAt: undefined,
    fault: undefined,
    missedRuns: 0,
    series: facts.expected.map(({ series, database }) => ({ series, database, backups: [] })),
  })),
  totals: { runs: NO_RUNS, skippedTicks: 0, pruned: 0, notificationFailures: {} },
});

/** What the schedule says at a moment; a due time that passed stays the last one, whatever becomes of the clock. */
export function noteTime(state: State, nextDue: Date | undefined, passed: Date | undefined): State {
  const { startedAt } = state.facts;
  const lastDue = passed && passed >= startedAt && !(state.lastDue && passed <= state.lastDue) ? passed : state.lastDue;
  const isSame = nextDue?.getTime() === state.nextDue?.getTime() && lastDue === state.lastDue;
  return isSame ? state : { ...state, nextDue, lastDue };
}

/** A run began, or waits for something and will. */
export const noteStart = (state: State, run: string, startedAt: Date): State => ({
  ...state,
  running: { run, startedAt },
});

export function noteSkippedTick(state: State): State {
  const { totals } = state;
  return { ...state, totals: { ...totals, skippedTicks: totals.skippedTicks + 1 } };
}

/** Messages that did not arrive since the process started, by channel. */
export function noteNotificationFailures(state: State, failures: Totals['notificationFailures']): State {
  const { totals } = state;
  const known = totals.notificationFailures;
  const isSame = Object.entries(failures).every(([channel, count]) => known[channel] === count);
  return isSame ? state : { ...state, totals: { ...totals, notificationFailures: { ...known, ...failures } } };
}

/** What a look at the content of backups found, each on the remote of that title. */
export function noteVerdicts(state: State, found: readonly Judged[]): State {
  const keyOf = (remote: string, artifact: string, id: string) => [remote, artifact, id].join('\n');
  const all = new Map(found.map((one) => [keyOf(one.remote, one.artifact, one.verdict.id), one]));
  const judge = (title: string, backup: BackupState): BackupState => {
    const one = all.get(keyOf(title, backup.artifact, backup.id));
    if (!one) return backup;
    const { verdict } = one;
    return { ...backup, verdict, ...(verdict.ok ? GOOD : { state: 'damaged', reason: verdict.reason ?? undefined }) };
  };
  const remotes = state.remotes.map((remote) => ({
    ...remote,
    series: remote.series.map((one) => ({ ...one, backups: one.backups.map((each) => judge(remote.title, each)) })),
  }));
  return { ...state, remotes };
}

export interface Judged {
  readonly remote: string;
  readonly artifact: string;
  readonly verdict: Verdict;
}

const GOOD = { state: 'good', reason: undefined } as const;

/** A run ended: its backups are known from now on, also where no remote can be listed. The texts must hold no secret. */
export function noteReport(state: State, report: Report): State {
  const { outcome, backups, removed } = report;
  const { totals } = state;
  return {
    ...state,
    running: undefined,
    runs: [recordOf(report), ...state.runs].slice(0, MAX_RUNS),
    remotes: backups.length === 0 ? state.remotes : state.remotes.map((remote) => addRun(remote, backups)),
    totals: {
      ...totals,
      runs: { ...totals.runs, [outcome]: totals.runs[outcome] + 1 },
      pruned: totals.pruned + removed.length,
    },
  };
}

const recordOf = ({ run, outcome, startedAt, durationMs, error, warnings, backups, removed }: Report): RunRecord => ({
  run,
  outcome,
  startedAt,
  durationMs,
  error,
  warnings,
  bytes: backups.reduce((sum, { bytes }) => sum + bytes, 0),
  artifacts: backups.map(({ artifact }) => artifact),
  removed: removed.length,
});

function addRun(remote: RemoteState, backups: readonly StoredBackup[]): RemoteState {
  const here = backups.filter(({ remotes }) => remotes.includes(remote.title));
  const missedRuns = here.length < backups.length ? remote.missedRuns + 1 : 0;
  return { ...remote, missedRuns, series: groupBackups(remote.series, here.map(asWritten)) };
}

/** The backups of `added` to the series that are there, and to new ones, newest first. */
function groupBackups(known: readonly SeriesState[], added: readonly Seen[]): readonly SeriesState[] {
  const groups = new Map(known.map((one) => [one.series, { ...one, backups: [...one.backups] }]));
  for (const seen of added) {
    const { series, database } = seen.manifest;
    const group = groups.get(series) ?? { series, database, backups: [] };
    groups.set(series, group);
    group.backups.push(describeSeen(seen));
  }
  for (const { backups } of groups.values()) backups.sort(byNewest);
  return [...groups.values()];
}

const byNewest = (a: BackupState, b: BackupState): number => b.startedAt.getTime() - a.startedAt.getTime();

const describeSeen = ({ manifest, path, state, reason, verdict }: Seen): BackupState => ({
  id: manifest.id,
  run: manifest.run,
  artifact: path,
  startedAt: new Date(manifest.startedAt),
  finishedAt: new Date(manifest.finishedAt),
  bytes: manifest.bytes,
  dumpBytes: manifest.dumpBytes,
  state,
  reason,
  verdict,
});

/** What looks at the remotes found, one for each in their order. */
export function noteLooks(state: State, looks: readonly Look[]): State {
  const empty = state.facts.expected.map((one) => ({ ...one, backups: [] }));
  const remotes = state.remotes.map((remote, index): RemoteState => {
    const look = looks[index];
    if (look === undefined) return remote;
    if ('fault' in look) return { ...remote, fault: look.fault };
    return { ...remote, listedAt: look.at, fault: undefined, series: groupBackups(empty, look.backups) };
  });
  const runs = listRuns(remotes);
  const isListed = (index: number) => looks[index] !== undefined && !('fault' in looks[index]);
  return {
    ...state,
    remotes: remotes.map((remote, index) => (isListed(index) ? countMissed(remote, runs) : remote)),
  };
}

/** Each run with the ids of its backups, on whichever remote, newest first. */
function listRuns(remotes: readonly RemoteState[]): readonly ReadonlySet<string>[] {
  const runs = new Map<string, Set<string>>();
  const backups = remotes.flatMap(({ series }) => series.flatMap((one) => one.backups)).sort(byNewest);
  for (const { run, id } of backups) runs.set(run, (runs.get(run) ?? new Set()).add(id));
  return [...runs.values()];
}

/** One that holds nothing of ours yet is new, or its loss shows otherwise. */
function countMissed(remote: RemoteState, runs: readonly ReadonlySet<string>[]): RemoteState {
  const ids = new Set(remote.series.flatMap(({ backups }) => backups.map(({ id }) => id)));
  if (ids.size === 0) return remote;
  const first = runs.findIndex((run) => [...run].every((id) => ids.has(id)));
  return { ...remote, missedRuns: first < 0 ? runs.length : first };
}
