import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { describeWith } from './support/need.ts';
import { scratchFolder } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

interface Rules {
  readonly groups: readonly {
    readonly rules: readonly { readonly alert?: string; readonly labels?: { readonly severity: string } }[];
  }[];
}
interface Tests {
  readonly tests: readonly {
    readonly name: string;
    readonly promql_expr_test: readonly {
      readonly expr: string;
      readonly exp_samples: readonly { readonly value: number }[];
    }[];
  }[];
}

const docs = join(import.meta.dirname, '../docs');
const folder = join(docs, 'monitoring');
const read = (path: string): string => readFileSync(join(docs, path), 'utf8');
const rules = (parse(read('monitoring/cronjobs.yml')) as Rules).groups.flatMap((group) => group.rules);
const alerts = rules.flatMap(({ alert, labels }) => (alert ? [[alert, labels?.severity ?? ''] as const] : []));

function promtool(args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(requireTool('promtool'), args, { cwd: folder, encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

describe('the alerts on CronJobs', () => {
  const { tests } = parse(read('monitoring/cronjobs.test.yml')) as Tests;
  const shown = tests.flatMap((test) => test.promql_expr_test);

  it.each(alerts)('%s is shown firing and silent, and told in docs/kubernetes.md', (alert, severity) => {
    const values = shown
      .filter(({ expr }) => expr.includes(`alertname="${alert}"`))
      .map(({ exp_samples: [sample] }) => sample?.value);
    expect(new Set(values)).toEqual(new Set([0, 1]));
    expect(read('kubernetes.md')).toContain(`| \`${alert}\` | ${severity} |`);
  });

  it('are all that docs/kubernetes.md tells', () => {
    const told = [...read('kubernetes.md').matchAll(/^\| `(Dbstash\w+)`/gm)].map(([, name = '']) => name);
    expect(told.sort()).toEqual(alerts.map(([name]) => name).sort());
  });
});

describeWith(['promtool'], 'promtool', () => {
  it('finds no fault with the alerts on CronJobs', () => {
    const { status, output } = promtool(['check', 'rules', '--lint=all', '--lint-fatal', 'cronjobs.yml']);
    expect(output).toContain(`${rules.length} rules found`);
    expect(status).toBe(0);
  });

  it('sees each of them fire where it should, and only there', () => {
    const { status, output } = promtool(['test', 'rules', 'cronjobs.test.yml']);
    expect(output).toContain('SUCCESS');
    expect(status).toBe(0);
  });

  it.each([
    ['prometheus-rule.yaml', 'alerts.yml'],
    ['prometheus-rule-cronjobs.yaml', 'cronjobs.yml'],
  ])('finds in %s the rules of %s', async (made, source) => {
    const { spec } = parse(read(`kubernetes/${made}`)) as { spec: Rules };
    expect(spec).toEqual(parse(read(`monitoring/${source}`)));
    await using scratch = scratchFolder();
    const file = join(scratch.path, 'rules.json');
    writeFileSync(file, JSON.stringify(spec));
    expect(promtool(['check', 'rules', file]).output).toContain('SUCCESS');
  });
});
