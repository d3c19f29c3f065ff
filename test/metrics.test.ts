import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { renderMonitoring } from '../.ci/readme.ts';
import { METRICS_TYPE, renderMetrics } from '../src/http/metrics.ts';
import { METRICS } from '../src/http/metricTable.ts';
import { describeWith } from './support/need.ts';
import * as states from './support/pageStates.ts';
import { requireTool } from './support/tools.ts';

const { NOW } = states;
const SAMPLE = /^([a-z_0-9]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$/;
const LABEL = /([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"/g;

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const unquote = (text: string): string => text.replace(/\\(.)/g, (_, letter) => (letter === 'n' ? '\n' : letter));

/** The samples of ours; throws at a line that is none. */
async function scrape(state: ReturnType<typeof states.stateOf>): Promise<Sample[]> {
  const lines = (await renderMetrics(state, NOW)).split('\n').filter((line) => line !== '' && !line.startsWith('# '));
  const samples = lines.map((line) => {
    const [, name, labels = '', value] = SAMPLE.exec(line) ?? [];
    if (name === undefined) throw new Error(`no sample: ${line}`);
    const pairs = [...labels.matchAll(LABEL)].map(([, key = '', text = '']) => [key, unquote(text)]);
    return { name, labels: Object.fromEntries(pairs), value: Number(value) };
  });
  return samples.filter(({ name }) => name.startsWith('dbstash_'));
}

const find = (samples: readonly Sample[], name: string, labels: Readonly<Record<string, string>> = {}) =>
  samples
    .filter((sample) => sample.name === `dbstash_${name}`)
    .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
    .map(({ value }) => value);

const seconds = (iso: string) => Date.parse(iso) / 1000;

describe('the table of metrics', () => {
  it('names each once, by the conventions of Prometheus', () => {
    expect(new Set(METRICS.map(({ name }) => name)).size).toBe(METRICS.length);
    for (const { name, type, help } of METRICS) {
      expect(name).toMatch(/^dbstash_[a-z]+(_[a-z]+)*$/);
      expect(name.endsWith('_total'), name).toBe(type === 'counter');
      expect(name).not.toMatch(/_(ms|milliseconds|kib|mib|minutes|hours|time)(_|$)/);
      expect(help.endsWith('.'), name).toBe(false);
    }
  });

  it('takes few labels, none of which grows with the number of backups', () => {
    const known = ['remote', 'series', 'database', 'state', 'level', 'outcome', 'channel'];
    const info = ['version', 'engine', 'database', 'server', 'mode', 'schedule'];
    for (const { name, labels } of METRICS)
      for (const label of labels) expect(name.endsWith('_info') ? info : known, name).toContain(label);
  });

  it('is the one of docs/monitoring.md (node .ci/readme.ts writes it)', () => {
    const page = readFileSync(join(import.meta.dirname, '../docs/monitoring.md'), 'utf8');
    expect(page).toBe(renderMonitoring(page));
    for (const { name } of METRICS) expect(page).toContain(`| \`${name}\` |`);
  });
});

describe('/metrics', () => {
  it('says of each series when it was last backed up, and of each remote what it has', async () => {
    const samples = await scrape(states.severalState());
    expect(find(samples, 'last_success_timestamp_seconds', { database: 'orders' })).toEqual([
      seconds('2026-02-07T02:01:44Z'),
    ]);
    const orders = { database: 'orders', remote: 'b2:offsite/prod' };
    // Its newest is damaged: the one before is the newest good one.
    expect(find(samples, 'newest_backup_timestamp_seconds', orders)).toEqual([seconds('2026-02-06T02:00:00Z')]);
    expect(find(samples, 'newest_backup_is_good', orders)).toEqual([0]);
    expect(find(samples, 'newest_backup_is_good', { ...orders, remote: 's3:backups/prod' })).toEqual([1]);
    expect(find(samples, 'backups', { ...orders, state: 'good' })).toEqual([19]);
    expect(find(samples, 'backups', { ...orders, state: 'damaged' })).toEqual([1]);
    expect(find(samples, 'newest_backup_stored_bytes', { remote: 's3:backups/prod', database: 'shop' })).toEqual([
      900 * 1024 ** 2,
    ]);
    expect(find(samples, 'newest_backup_dump_bytes', { remote: 's3:backups/prod', database: 'shop' })).toEqual([
      4500 * 1024 ** 2,
    ]);
    expect(find(samples, 'last_verification_ok')).toEqual([1]);
    expect(find(samples, 'last_verification_timestamp_seconds', { level: 'restore' })).toEqual([
      seconds('2026-02-06T05:00:00Z'),
    ]);
  });

  it('says which remote is down, and how many runs it missed', async () => {
    const samples = await scrape(states.severalState());
    expect(find(samples, 'remote_up', { remote: 'nas:dbstash' })).toEqual([0]);
    expect(find(samples, 'remote_up', { remote: 'b2:offsite/prod' })).toEqual([1]);
    expect(find(samples, 'remote_missed_runs', { remote: 'nas:dbstash' })).toEqual([3]);
    expect(find(samples, 'backups', { remote: 'nas:dbstash' })).toEqual([]);
  });

  it('says how the last run went, and counts the others', async () => {
    const samples = await scrape(states.failedState());
    expect(find(samples, 'last_run_outcome', { outcome: 'failed' })).toEqual([1]);
    expect(find(samples, 'last_run_outcome', { outcome: 'succeeded' })).toEqual([0]);
    expect(find(samples, 'last_run_outcome')).toHaveLength(5);
    expect(find(samples, 'last_run_duration_seconds')).toEqual([1.234]);
    expect(find(samples, 'runs_total', { outcome: 'succeeded' })).toEqual([11]);
    expect(find(samples, 'next_run_timestamp_seconds')).toEqual([seconds('2026-02-08T02:00:00Z')]);
    expect(find(samples, 'ready')).toEqual([0]);
    expect(find(samples, 'backup_overdue')).toEqual([1]);
    const several = await scrape(states.severalState());
    expect(find(several, 'notification_failures_total', { channel: 'slack' })).toEqual([2]);
    expect(find(several, 'skipped_ticks_total')).toEqual([1]);
    expect(find(several, 'backups_pruned_total')).toEqual([12]);
  });

  it('says since when a run has been going on', async () => {
    expect(find(await scrape(states.healthyState()), 'run_in_progress')).toEqual([0]);
    const samples = await scrape(states.runningState());
    expect(find(samples, 'run_in_progress')).toEqual([1]);
    expect(find(samples, 'run_started_timestamp_seconds')).toEqual([seconds('2026-02-07T04:55:00Z')]);
  });

  it('keeps quiet about what it does not know, and is not ready', async () => {
    const samples = await scrape(states.unknownState());
    const told = new Set(samples.map(({ name }) => name));
    for (const name of ['remote_up', 'backups', 'newest_backup_timestamp_seconds', 'last_run_outcome'])
      expect(told).not.toContain(`dbstash_${name}`);
    expect(find(samples, 'ready')).toEqual([0]);
    expect(find(await scrape(states.healthyState()), 'ready')).toEqual([1]);
  });

  it('says 0 for the time of a backup that never was', async () => {
    const state = states.stateOf({ remotes: [states.remoteOf('s3:b', [states.seriesOf([])])] });
    expect(find(await scrape(state), 'newest_backup_timestamp_seconds')).toEqual([0]);
    expect(find(await scrape(state), 'last_success_timestamp_seconds')).toEqual([0]);
  });

  it('takes no backup dated in the future for the newest', async () => {
    const ahead = states.backupOf(-30);
    const state = states.stateOf({
      remotes: [states.remoteOf('s3:b', [states.seriesOf([ahead, states.backupOf(0)])])],
    });
    expect(find(await scrape(state), 'newest_backup_timestamp_seconds')).toEqual([seconds('2026-02-07T02:00:00Z')]);
  });

  it('forgets a series that is gone', async () => {
    expect(find(await scrape(states.severalState()), 'backups', { database: 'shop' })).not.toEqual([]);
    expect(find(await scrape(states.healthyState()), 'backups', { database: 'shop' })).toEqual([]);
  });

  it('keeps names whole, whatever is in them', async () => {
    const databases = (await scrape(states.hostileState())).map(({ labels }) => labels.database);
    for (const name of states.HOSTILE_NAMES) expect(databases).toContain(name);
  });

  it('measures the process too, and gives no metric twice', async () => {
    const text = await renderMetrics(states.healthyState(), NOW);
    expect(text).toContain('\nprocess_resident_memory_bytes ');
    expect(await renderMetrics(states.healthyState(), NOW)).toContain('\nnodejs_eventloop_lag_seconds ');
    const types = text.match(/^# TYPE \S+/gm) ?? [];
    expect(new Set(types).size).toBe(types.length);
    expect(METRICS_TYPE).toBe(Registry.PROMETHEUS_CONTENT_TYPE);
  });
});

describeWith(['promtool'], 'promtool check metrics', () => {
  it.each(Object.entries(states.SAMPLES))('finds no fault with %s', async (_, createState) => {
    const input = await renderMetrics(createState(), NOW);
    const { status, stdout, stderr } = spawnSync(requireTool('promtool'), ['check', 'metrics'], {
      input,
      encoding: 'utf8',
    });
    expect(stdout + stderr).toBe('');
    expect(status).toBe(0);
  });
});
