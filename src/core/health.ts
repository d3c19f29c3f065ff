import type { BackupState, RemoteState, SeriesState, State } from './state.ts';

/** Why not all is well, a sentence each; none where it is. */
export interface Health {
  /** What this process can be blamed for: whoever restarts it for these can neither loop nor kill a run. */
  readonly unhealthy: readonly string[];
  /** The whole truth, from the catalog. */
  readonly unready: readonly string[];
}

type Series = Pick<SeriesState, 'series' | 'database'>;

/** Clocks of several machines differ; what is further ahead than this is from a clock that was wrong. */
const FUTURE_MS = 600_000;

export const isAhead = (at: Date, now: Date): boolean => at.getTime() > now.getTime() + FUTURE_MS;

/** A run begins a moment after it is due. */
const LEAST_GRACE_MS = 1000;
/** A remote may miss one run. */
const MISSED_RUNS = 2;

/** The rules of /healthz and /readyz. */
export function judgeHealth(state: State, now: Date): Health {
  const { facts, running, remotes } = state;
  const failed = running ? [] : describeFailure(state, now);
  const graceMs = Math.max(facts.graceMs, LEAST_GRACE_MS);
  const due = running ? undefined : facts.previousDue(new Date(now.getTime() - graceMs));
  const overdue = due ? describeOverdue(state, due, now) : [];
  const isOwn = due !== undefined && due >= watchedSince(state, now);
  return {
    unhealthy: [...failed, ...(isOwn ? overdue : [])],
    unready: [...failed, ...(due ? overdue : describeEmpty(state, now)), ...remotes.flatMap(describeRemote)],
  };
}

/** A clock that was set back far behind our start must not silence us until it has caught up. */
const watchedSince = ({ facts }: State, now: Date): Date =>
  isAhead(facts.startedAt, now) ? new Date(0) : facts.startedAt;

/** A run that found another one at work says nothing; one that failed is mended by another one's good backups since. */
function describeFailure(state: State, now: Date): readonly string[] {
  const last = state.runs.find(({ outcome }) => outcome !== 'skipped');
  if (last?.outcome !== 'failed' && last?.outcome !== 'interrupted') return [];
  const expected = listExpected(state, now);
  const isMended = (backup: BackupState | undefined) =>
    backup !== undefined && backup.run !== last.run && backup.startedAt > last.startedAt;
  if (expected.length > 0 && expected.every(({ series }) => isMended(findNewest(state, series, now)))) return [];
  const what = last.outcome === 'failed' ? 'failed' : 'was interrupted';
  return [`the last run, of ${iso(last.startedAt)}, ${what}${last.error === undefined ? '' : `: ${last.error}`}`];
}

function describeOverdue(state: State, due: Date, now: Date): readonly string[] {
  return listOverdue(state, due, now).map(({ series, database }) => {
    const newest = findNewest(state, series, now);
    const there = newest ? `its newest good backup is of ${iso(newest.startedAt)}` : nothingOf(state);
    return `${database} was due at ${iso(due)}, and ${there}`;
  });
}

const isListed = ({ remotes }: State): boolean => remotes.some(({ listedAt }) => listedAt);
const nothingOf = (state: State): string => (isListed(state) ? 'has no good backup' : 'no good backup of it is known');

/** Those that have no good backup begun at or after `due`. */
export const listOverdue = (state: State, due: Date, now: Date): readonly Series[] =>
  listExpected(state, now).filter(({ series }) => {
    const newest = findNewest(state, series, now);
    return !newest || newest.startedAt < due;
  });

/** Whether or not it was due already. */
function describeEmpty(state: State, now: Date): readonly string[] {
  if (!isListed(state)) return [];
  const empty = listExpected(state, now).filter(({ series }) => !findNewest(state, series, now));
  return empty.map(({ database }) => `${database} ${nothingOf(state)}`);
}

/**
 * The series that must be backed up. Where the server is asked for its databases those that were written for the same due
 * time as the newest backup: others may be there no more, and a run that cannot read one fails.
 */
function listExpected(state: State, now: Date): readonly Series[] {
  const { facts, remotes } = state;
  if (facts.expected.length > 0) return facts.expected;
  const known = new Map(remotes.flatMap(({ series }) => series.map((one) => [one.series, one])));
  const newest = [...known.values()].flatMap((one) => {
    const backup = findNewest(state, one.series, now);
    return backup ? [{ ...one, at: backup.startedAt }] : [];
  });
  if (newest.length === 0) return [{ series: '', database: 'the server' }];
  const last = new Date(Math.max(...newest.map(({ at }) => at.getTime())) + 1);
  const due = facts.previousDue(last) ?? new Date(0);
  return newest.filter(({ at }) => at >= due);
}

/** The newest good backup on whichever remote; one dated in the future is never taken for now. */
export function findNewest(state: State, series: string | undefined, now: Date): BackupState | undefined {
  const found = state.remotes.flatMap((remote) =>
    remote.series
      .filter((one) => series === undefined || one.series === series)
      .flatMap(({ backups }) => backups.find((one) => one.state === 'good' && !isAhead(one.startedAt, now)) ?? []),
  );
  return found.reduce<BackupState | undefined>(
    (best, one) => (best && best.startedAt >= one.startedAt ? best : one),
    undefined,
  );
}

export function describeRemote({ title, listedAt, fault, missedRuns, series }: RemoteState): readonly string[] {
  const reasons: string[] = [];
  if (fault !== undefined) reasons.push(`${title} cannot be listed: ${fault}`);
  else if (!listedAt) reasons.push(`${title} has not been listed yet`);
  if (missedRuns >= MISSED_RUNS) reasons.push(`${title} got nothing of the last ${missedRuns} runs`);
  for (const { backups } of series) {
    const [newest] = backups;
    if (newest && newest.state !== 'good')
      reasons.push(`${title}: the newest backup, ${newest.artifact}, is ${newest.state}: ${newest.reason}`);
  }
  return reasons;
}

const iso = (date: Date): string => `${date.toISOString().slice(0, 19)}Z`;
