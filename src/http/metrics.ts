import type { State } from '../core/state.ts';

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** /metrics. The client of Prometheus is read where somebody asks: no other command needs it. */
export async function renderMetrics(state: State, now: Date): Promise<string> {
  const { writeExposition } = await import('./exposition.ts');
  return await writeExposition(state, now);
}
