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

/** What a look of some level found. */
export type Look = Pick<Verdict, 'level' | 'at' | 'ok'>;

/** The latest of each level, of whichever of the backups. */
export function looksByLevel(backups: readonly BackupState[]): ReadonlyMap<Verdict['level'], Look> {
  const latest = new Map<Verdict['level'], Look>();
  for (const look of backups.flatMap(({ verdict }) => (verdict ? looksOf(verdict) : []))) {
    const known = latest.get(look.level);
    if (!known || Date.parse(look.at) > Date.parse(known.at)) latest.set(look.level, look);
  }
  return latest;
}

/** The last one, and the drill before it, where it was less close. */
function looksOf({ level, at, ok, drill, failedDrill }: Verdict): Look[] {
  const before = failedDrill ? { at: failedDrill.at, ok: false } : drill?.at ? { at: drill.at, ok: true } : undefined;
  return [{ level, at, ok }, ...(before && level !== 'restore' ? [{ level: 'restore' as const, ...before }] : [])];
}

/** What they take on the remote. */
export const sumOfBytes = (backups: readonly BackupState[]): number =>
  backups.reduce((sum, { state, bytes }) => sum + (state === 'missing' ? 0 : bytes), 0);

/** By the rule of /readyz; also those that are expected and nowhere. */
export function findOverdue(state: State, now: Date): ReturnType<typeof listOverdue> {
  const due = state.facts.previousDue(new Date(now.getTime() - state.facts.graceMs));
  return due ? listOverdue(state, due, now) : [];
}
