import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { State } from '../core/state.ts';
import { METRICS, type Metric } from './metricTable.ts';

/** What is measured of the process itself, from the first time that somebody asks. */
let ofProcess: Registry | undefined;

/** What is known now, by the table, then what the process says of itself. */
export async function writeExposition(state: State, now: Date): Promise<string> {
  // A new one each time, so that what is gone, a series say, is gone here too.
  const known = new Registry();
  for (const metric of METRICS) addMetric(known, metric, metric.read(state, now));
  ofProcess ??= createProcessRegistry();
  return `${await known.metrics()}\n${await ofProcess.metrics()}`;
}

/** Gauges with the ending of a counter: `promtool check metrics` refuses them. */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

function createProcessRegistry(): Registry {
  const register = new Registry();
  collectDefaultMetrics({ register });
  for (const name of MISNAMED) register.removeSingleMetric(name);
  return register;
}

function addMetric(
  registry: Registry,
  { name, help, type, labels: labelNames }: Metric,
  samples: ReturnType<Metric['read']>,
): void {
  if (samples.length === 0) return;
  const settings = { name, help, labelNames, registers: [registry] };
  if (type === 'counter') {
    const counter = new Counter(settings);
    for (const { labels = {}, value } of samples) counter.inc(labels, value);
    return;
  }
  const gauge = new Gauge(settings);
  for (const { labels = {}, value } of samples) gauge.set(labels, value);
}
