import { findNewest, judgeHealth } from '../core/health.ts';
import type { State } from '../core/state.ts';

/** An answer in JSON, and its status. */
export interface Verdict {
  readonly status: 200 | 503;
  readonly body: Readonly<Record<string, unknown>>;
}

/** /livez: that we answer at all. */
export const describeLife = ({ facts }: State): Verdict => ({
  status: 200,
  body: { status: 'alive', version: facts.version, started_at: facts.startedAt },
});

/** /healthz */
export const describeHealth = (state: State, now: Date): Verdict =>
  describe(state, now, judgeHealth(state, now).unhealthy, ['healthy', 'unhealthy']);

/** /readyz */
export const describeReadiness = (state: State, now: Date): Verdict =>
  describe(state, now, judgeHealth(state, now).unready, ['ready', 'unready']);

function describe(state: State, now: Date, reasons: readonly string[], words: readonly [string, string]): Verdict {
  const { facts, runs, running, nextDue } = state;
  const newest = findNewest(state, undefined, now);
  const isWell = reasons.length === 0;
  const body = {
    status: words[isWell ? 0 : 1],
    reason: reasons[0] ?? null,
    reasons,
    engine: facts.engine,
    database: facts.database,
    last_backup: newest?.startedAt ?? null,
    last_status: runs[0]?.outcome ?? (newest ? 'succeeded' : null),
    next_backup: nextDue ?? null,
    running: running !== undefined,
    version: facts.version,
  };
  return { status: isWell ? 200 : 503, body };
}
