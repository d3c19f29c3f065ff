import { isAhead, listOverdue } from './health.ts';
import type { State } from './state.ts';

/**
 * The last due time, if it has to be made up for at start: a series that has backups has no good one begun since, and
 * nobody has tried (`triedAt` is when the last run began that anybody knows of).
 */
export function findMissed(state: State, triedAt: Date | undefined, now: Date): Date | undefined {
  const due = state.facts.previousDue(new Date(now.getTime() + 1));
  if (!due || (triedAt && triedAt >= due && !isAhead(triedAt, now))) return undefined;
  const late = new Set(listOverdue(state, due, now).map(({ series }) => series));
  const isMissed = state.remotes.some(({ series }) =>
    series.some((one) => late.has(one.series) && one.backups.length > 0),
  );
  return isMissed ? due : undefined;
}
