import type { Registry } from 'prom-client';
import type { State } from '../core/state.ts';
import { METRICS, type Metric } from './metricTable.ts';

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Read only where somebody asks: no other command needs it. */
type Client = typeof import('prom-client');

/** What is measured of the process itself, from the first time that somebody asks. */
let ofProcess: Registry | undefined;

/** /metrics: what is known now, by the table, then what the process says of itself. */
export async function renderMetrics(state: State, now: Date): Promise<string> {
  const client: Client = await import('prom-client');
  // A new one each time, so that what is gone, a series say, is gone here too.
  const known = new client.Registry();
  for (const metric of METRICS) addMetric(client, known, metric, metric.read(state, now));
  ofProcess ??= createProcessRegistry(client);
  return `${await known.metrics()}\n${await ofProcess.metrics()}`;
}

/** Gauges with the ending of a counter: `promtool check metrics` refuses them. */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

function createProcessRegistry({ Registry, collectDefaultMetrics }: Client): Registry {
  const register = new Registry();
  collectDefaultMetrics({ register });
  for (const name of MISNAMED) register.removeSingleMetric(name);
  return register;
}

function addMetric(
  { Counter, Gauge }: Client,
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
