import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { describeWith } from './support/need.ts';
import { requireTool } from './support/tools.ts';

const root = join(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const find = (...patterns: readonly string[]): string[] =>
  patterns.flatMap((one) => globSync(one, { cwd: root })).sort();

function run(tool: string, args: readonly string[], input?: string) {
  const { status, stdout, stderr } = spawnSync(requireTool(tool), args, { cwd: root, encoding: 'utf8', input });
  return { exitCode: status, output: stdout + stderr };
}

const workflows = find('.github/workflows/*.yml');
/** Those that say by their first line what runs them. */
const scripts = find('.ci/*', 'docker/*', 'docs/**/*.sh', 'bench/*', 'test/**/*.sh').filter((file) => {
  return /\.sh$|\/[^.]+$/.test(file) && /^#!.*\b(sh|bash)\b/.test(read(file));
});
const dockerfiles = find('docker/*Dockerfile*');

describeWith(['actionlint', 'shellcheck'], 'actionlint', () => {
  const lint = (file: string, input?: string) =>
    run('actionlint', ['-no-color', `-shellcheck=${requireTool('shellcheck')}`, file], input);

  it.each(workflows)('finds no fault with %s', (file) => {
    expect(lint(file)).toEqual({ exitCode: 0, output: '' });
  });

  it('would have found one', () => {
    const broken = read('.github/workflows/release.yml').replaceAll(
      'needs.plan.outputs.tag',
      'needs.plan.outputs.tags',
    );
    expect(lint('-', broken).output).toContain('property "tags" is not defined');
  });
});

describeWith(['shellcheck'], 'shellcheck', () => {
  it.each(scripts)('finds no fault with %s', (file) => {
    expect(run('shellcheck', ['--severity=warning', file])).toEqual({ exitCode: 0, output: '' });
  });

  it('looks at the scripts that there are', () => {
    expect(scripts).toEqual(expect.arrayContaining(['.ci/prepare', '.ci/run']));
  });
});

describeWith(['hadolint'], 'hadolint', () => {
  // DL3008: versions of Debian packages are not named, so that a weekly rebuild takes what was mended.
  const lint = (file: string, input?: string) => run('hadolint', ['--no-color', '--ignore=DL3008', file], input);

  it.each(dockerfiles)('finds no fault with %s', (file) => {
    expect(lint(file)).toEqual({ exitCode: 0, output: '' });
  });

  it('would have found one', () => {
    expect(lint('-', 'FROM docker.io/library/debian:latest\n').output).toContain('DL3007');
  });
});

interface Job {
  readonly permissions?: Readonly<Record<string, string>>;
  readonly 'timeout-minutes'?: number;
  readonly strategy?: unknown;
}
interface Workflow {
  readonly permissions?: unknown;
  readonly jobs: Readonly<Record<string, Job>>;
}

describe.each(workflows)('%s', (file) => {
  const workflow: Workflow = parse(read(file));

  it('takes actions by their hash, with the version beside it', () => {
    const uses = read(file)
      .split('\n')
      .filter((line) => /^\s*(- )?uses:/.test(line));
    expect(uses.length).toBeGreaterThan(0);
    for (const line of uses) expect(line).toMatch(/uses: [\w-]+\/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });

  it('gives no job more rights, or time, than it says', () => {
    expect(workflow.permissions).toEqual({});
    for (const [name, job] of Object.entries(workflow.jobs)) {
      expect(job.permissions, name).toBeDefined();
      expect(job['timeout-minutes'], name).toBeGreaterThan(0);
    }
  });

  it('puts nothing that a stranger may write into a script', () => {
    const lines = read(file).split('\n');
    const inScripts = lines.filter((line, index) => /^\s*(- )?run:/.test(line) || isInScript(lines, index));
    expect(inScripts.filter((line) => line.includes('${{'))).toEqual([]);
  });
});

/** Whether a line belongs to a `run: |`. */
function isInScript(lines: readonly string[], index: number): boolean {
  const depth = (line: string) => line.search(/\S/);
  const own = depth(lines[index] ?? '');
  const parent = lines.slice(0, index).findLast((line) => line.trim() !== '' && depth(line) < own);
  return parent !== undefined && /run: \|/.test(parent);
}

it('an action has one version in all workflows', () => {
  const uses = workflows.flatMap((file) => [...read(file).matchAll(/uses: (\S+)@(\S+)/g)]);
  const versions = Map.groupBy(uses, ([, action]) => action);
  for (const [action, found] of versions) expect(new Set(found.map(([, , hash]) => hash)).size, action).toBe(1);
});

describe('dependabot', () => {
  it('looks after npm, images and actions', () => {
    const { updates } = parse(read('.github/dependabot.yml'));
    expect(updates.map((one: Record<string, unknown>) => one['package-ecosystem']).sort()).toEqual([
      'docker',
      'github-actions',
      'npm',
    ]);
  });
});
