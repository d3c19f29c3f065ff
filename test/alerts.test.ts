import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { renderMetrics } from '../src/http/metrics.ts';
import { METRICS } from '../src/http/metricTable.ts';
import { describeWith } from './support/need.ts';
import { healthyState, NOW } from './support/pageStates.ts';
import { scratchFolder } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

const folder = join(import.meta.dirname, '../docs/monitoring');
const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
const rules = read('alerts.yml');
const tests = read('alerts.test.yml');
const page = readFileSync(join(folder, '../monitoring.md'), 'utf8');
const alerts = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name = '']) => name);

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly datasource?: { readonly type: string; readonly uid: string };
  readonly gridPos: Readonly<Record<'x' | 'y' | 'w' | 'h', number>>;
  readonly targets?: readonly { readonly expr: string; readonly datasource: Panel['datasource'] }[];
}
interface Dashboard {
  readonly id: null;
  readonly uid?: string;
  readonly schemaVersion: number;
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
  readonly panels: readonly Panel[];
}
const dashboard = JSON.parse(read('dashboard.json')) as Dashboard;
const queries = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

const OURS = new Set(METRICS.map(({ name }) => name));
const namesIn = (text: string): string[] => text.match(/\b(dbstash|process|nodejs)_\w+/g) ?? [];

function promtool(args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(requireTool('promtool'), args, { cwd: folder, encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

describe('the alerts', () => {
  it('speak of metrics that exist', () => {
    expect(namesIn(rules).filter((name) => !OURS.has(name))).toEqual([]);
    expect(namesIn(tests).filter((name) => !OURS.has(name))).toEqual([]);
  });

  it.each(alerts)('%s is shown firing and silent, and told in docs/monitoring.md', (alert) => {
    const shown = [...tests.matchAll(/alertname="(\w+)"[^[]*\[\{ value: (\d) \}\]/g)].filter(
      ([, name]) => name === alert,
    );
    expect(new Set(shown.map(([, , value]) => value))).toEqual(new Set(['0', '1']));
    const [, severity] = new RegExp(`alert: ${alert}\\n[^]*?severity: (\\w+)`).exec(rules) ?? [];
    expect(page).toContain(`| \`${alert}\` | ${severity} |`);
  });

  it('are all that docs/monitoring.md tells', () => {
    const told = [...page.matchAll(/^\| `(Dbstash\w+)`/gm)].map(([, name = '']) => name);
    expect(told.sort()).toEqual(alerts.toSorted());
  });
});

describeWith(['promtool'], 'promtool', () => {
  it('finds no fault with the alerts', () => {
    const { status, output } = promtool(['check', 'rules', '--lint=all', '--lint-fatal', 'alerts.yml']);
    expect(output).toContain(`${alerts.length} rules found`);
    expect(status).toBe(0);
  });

  it('sees each alert fire where it should, and only there', () => {
    const { status, output } = promtool(['test', 'rules', 'alerts.test.yml']);
    expect(output).toContain('SUCCESS');
    expect(status).toBe(0);
  });

  it('can read every query of the dashboard', async () => {
    await using scratch = scratchFolder();
    const file = join(scratch.path, 'queries.json');
    const rulesOf = queries.map((expr, index) => ({
      record: `query_${index}`,
      expr: expr.replaceAll('$__rate_interval', '5m'),
    }));
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules: rulesOf }] }));
    const { status, output } = promtool(['check', 'rules', file]);
    expect(output).toContain(`${queries.length} rules found`);
    expect(status).toBe(0);
  });
});

describe('the dashboard', () => {
  it('speaks of metrics that exist', async () => {
    const told = new Set(
      (await renderMetrics(healthyState(), NOW)).match(/^# TYPE (\S+)/gm)?.map((line) => line.slice(7)),
    );
    expect(queries.length).toBeGreaterThan(15);
    for (const name of queries.flatMap(namesIn)) expect(OURS.has(name) || told.has(name), name).toBe(true);
    const variables = JSON.stringify(dashboard.templating);
    expect(namesIn(variables).filter((name) => !OURS.has(name))).toEqual([]);
  });

  it('belongs to no Grafana: it has no id, and its source of data is chosen', () => {
    expect(dashboard).toMatchObject({ id: null, schemaVersion: 41 });
    expect(dashboard.uid).toBeUndefined();
    expect(dashboard.templating.list[0]).toMatchObject({ name: 'datasource', type: 'datasource', query: 'prometheus' });
    const uids = read('dashboard.json').match(/"uid": "[^"]*"/g) ?? [];
    expect(new Set(uids)).toEqual(new Set([`"uid": "\${datasource}"`]));
    for (const { type, datasource, targets = [] } of dashboard.panels) {
      if (type === 'row') continue;
      expect(datasource).toEqual({ type: 'prometheus', uid: `\${datasource}` });
      for (const target of targets) expect(target.datasource).toEqual(datasource);
    }
  });

  it('lays no panel over another', () => {
    const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) => {
      expect(x + w).toBeLessThanOrEqual(24);
      return Array.from({ length: w * h }, (_, index) => `${x + (index % w)} ${y + Math.floor(index / w)}`);
    });
    expect(new Set(cells).size).toBe(cells.length);
    const ids = dashboard.panels.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });
});
