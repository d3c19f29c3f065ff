import type { State } from '../core/state.ts';

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** /metrics */
export const renderMetrics = (state: State, _now: Date): Promise<string> | string =>
  `# ${state.totals.runs.succeeded} runs succeeded\n`;
