import { isAhead, listOverdue } from '../core/health.ts';
import type { Verdict } from '../core/manifest.ts';
import type { BackupState, RemoteState, State } from '../core/state.ts';

export const isGood = ({ state }: BackupState): boolean => state === 'good';

/** By the moment they were begun, whatever their order; one dated in the future is never taken for now. */
export function newestGoodOf(backups: readonly BackupState[], now: Date): BackupState | undefined {
  let newest: BackupState | undefined;
  for (const backup of backups)
    if (isGood(backup) && (!newest || backup.startedAt > newest.startedAt) && !isAhead(backup.startedAt, now))
      newest = backup;
  return newest;
}

/** Whether anything is known of what is there: it was listed, or a run has just put it there. */
export const isKnown = ({ listedAt, series }: RemoteState): boolean =>
  listedAt !== undefined || series.some(({ backups }) => backups.length > 0);

/** The latest verdict of each level, of whichever of the backups. */
export function verdictsByLevel(backups: readonly BackupState[]): ReadonlyMap<Verdict['level'], Verdict> {
  const latest = new Map<Verdict['level'], Verdict>();
  for (const { verdict } of backups) {
    if (!verdict) continue;
    const known = latest.get(verdict.level);
    if (!known || Date.parse(verdict.at) > Date.parse(known.at)) latest.set(verdict.level, verdict);
  }
  return latest;
}

/** What they take on the remote. */
export const sumOfBytes = (backups: readonly BackupState[]): number =>
  backups.reduce((sum, { state, bytes }) => sum + (state === 'missing' ? 0 : bytes), 0);

/** By the rule of /readyz; also those that are expected and nowhere. */
export function findOverdue(state: State, now: Date): ReturnType<typeof listOverdue> {
  const due = state.facts.previousDue(new Date(now.getTime() - state.facts.graceMs));
  return due ? listOverdue(state, due, now) : [];
}
