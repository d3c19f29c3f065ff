import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { describeWith } from './support/need.ts';
import { scratchFolder } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

const root = join(import.meta.dirname, '..');
const text = readFileSync(join(root, '.github/workflows/release.yml'), 'utf8');

/** A job's step of that id, as GitHub runs it, in a folder; what it wrote for the others. */
function runStep(job: string, id: string, cwd: string, env: Readonly<Record<string, string>>) {
  const { steps } = parse(text).jobs[job];
  const { run: script } = steps.find((step: { id?: string }) => step.id === id);
  const output = join(cwd, 'output');
  writeFileSync(output, '');
  const all = { PATH: process.env.PATH, GITHUB_OUTPUT: output, ...env };
  const args = ['--noprofile', '--norc', '-eo', 'pipefail', '-c', script];
  const { status, stdout, stderr } = spawnSync('bash', args, { cwd, env: all, encoding: 'utf8' });
  return { exitCode: status, text: stdout + stderr, output: readFileSync(output, 'utf8') };
}

const IMAGES = [
  { tag: 'pg-16', engine: 'pg', source: 'docker.io/library/postgres:16' },
  { tag: 'pg-17', engine: 'pg', source: 'docker.io/library/postgres:17', latest: true },
  { tag: 'sqlite-3', engine: 'sqlite', latest: true },
];

describeWith(['bash', 'git', 'jq'], 'the steps of the release', () => {
  /** A repository of the version 1.2.3 with these tags. */
  function makeRepository(cwd: string, tags: readonly string[]): void {
    mkdirSync(join(cwd, 'docker'));
    mkdirSync(join(cwd, 'dist'));
    writeFileSync(join(cwd, 'package.json'), '{ "version": "1.2.3" }');
    writeFileSync(join(cwd, 'docker/versions.json'), JSON.stringify({ images: IMAGES }));
    writeFileSync(join(cwd, 'dist/dbstash.js'), '');
    const env = { PATH: process.env.PATH, HOME: cwd, GIT_CONFIG_GLOBAL: '/dev/null' };
    const git = (...args: readonly string[]) => {
      const author = ['-c', 'user.name=test', '-c', 'user.email=test@example.com', '-c', 'init.defaultBranch=main'];
      const { status, stderr } = spawnSync('git', [...author, ...args], { cwd, env, encoding: 'utf8' });
      expect(status, stderr).toBe(0);
    };
    git('init', '--quiet');
    git('add', '--all');
    git('commit', '--quiet', '--message=all');
    for (const tag of tags) git('tag', tag);
  }

  it('the plan names the release that is tagged, and each image of docker/versions.json', async () => {
    await using scratch = scratchFolder();
    makeRepository(scratch.path, ['v1.2.3']);
    const { exitCode, output } = runStep('plan', 'plan', scratch.path, { OWNER: 'Some-Owner', TAG: 'v1.2.3' });
    expect(exitCode).toBe(0);
    expect(output.split('\n')).toEqual([
      'tag=v1.2.3',
      'version=1.2.3',
      'repository=ghcr.io/some-owner/dbstash',
      `images=${JSON.stringify(IMAGES)}`,
      '',
    ]);
  });

  it('the plan of a week takes the newest release, and is empty where there is none', async () => {
    await using scratch = scratchFolder();
    makeRepository(scratch.path, ['v1.2.3', 'v1.2.2', 'v0.9.10', 'v1.3.0-rc.1', 'nightly']);
    expect(runStep('plan', 'plan', scratch.path, { OWNER: 'o', TAG: '' }).output).toContain('tag=v1.2.3\n');
    await using empty = scratchFolder();
    makeRepository(empty.path, ['nightly']);
    expect(runStep('plan', 'plan', empty.path, { OWNER: 'o', TAG: '' })).toMatchObject({ exitCode: 0, output: '' });
  });

  it('the plan refuses a tag that package.json does not know', async () => {
    await using scratch = scratchFolder();
    makeRepository(scratch.path, ['v1.3.0']);
    const { exitCode, text, output } = runStep('plan', 'plan', scratch.path, { OWNER: 'o', TAG: 'v1.3.0' });
    expect({ exitCode, output }).toEqual({ exitCode: 1, output: '' });
    expect(text).toContain('v1.3.0 is tagged, and package.json says 1.2.3');
  });

  it('an image is pushed under its own tag, that with the version, and of one of each engine as its latest', async () => {
    await using scratch = scratchFolder();
    makeRepository(scratch.path, []);
    const outputs = IMAGES.map((image) => {
      const env = { IMAGE: JSON.stringify(image), REPOSITORY: 'ghcr.io/o/dbstash', VERSION: '1.2.3' };
      const { exitCode, output } = runStep('image', 'image', scratch.path, env);
      expect(exitCode).toBe(0);
      return output.replace(/[0-9a-f]{40}/g, 'HASH');
    });
    expect(outputs[0]).toBe(`tags<<END
ghcr.io/o/dbstash:pg-16
ghcr.io/o/dbstash:pg-16-1.2.3
END
arguments<<END
VERSION=1.2.3
REVISION=HASH
SOURCE=docker.io/library/postgres:16
END
`);
    expect(outputs[1]).toContain('ghcr.io/o/dbstash:pg-17-1.2.3\nghcr.io/o/dbstash:pg-latest\nEND');
    expect(outputs[2]).toContain('ghcr.io/o/dbstash:sqlite-latest\nEND');
    expect(outputs[2]).not.toContain('SOURCE=');
  });
});

describeWith(['bash', 'helm'], 'the chart of a release', () => {
  it('knows its version, and where the images are', async () => {
    await using scratch = scratchFolder();
    const helm = requireTool('helm');
    const PATH = `${dirname(helm)}:${process.env.PATH}`;
    cpSync(join(root, 'docs/kubernetes'), join(scratch.path, 'docs/kubernetes'), { recursive: true });
    const env = { PATH, HOME: scratch.path, REPOSITORY: 'ghcr.io/o/dbstash', VERSION: '1.2.3' };
    const { exitCode, text: said } = runStep('release', 'chart', scratch.path, env);
    expect(exitCode, said).toBe(0);
    const values =
      '{ "defaults": { "tag": "pg-17", "env": { "RCLONE_REMOTE": "s3:b" } }, "databases": [{ "name": "orders" }] }';
    const options = { cwd: scratch.path, env, input: values, encoding: 'utf8' } as const;
    const args = ['template', 'fleet', 'dist/dbstash-1.2.3.tgz', '--values', '-', '--kube-version', '1.36.0'];
    expect(spawnSync(helm, args, options).stdout).toContain('image: "ghcr.io/o/dbstash:pg-17"');
  });
});

describe('the release', () => {
  it('takes its images from docker/versions.json, and lists none itself', () => {
    expect(text).toContain('docker/versions.json');
    const { strategy } = parse(text).jobs.image;
    expect(strategy.matrix).toEqual({ image: `\${{ fromJSON(needs.plan.outputs.images) }}` });
  });

  it('pushes for both kinds of machines, signed and with what it is made of, and never a plain `latest`', () => {
    expect(text).toContain('platforms: linux/amd64,linux/arm64');
    for (const word of ['sbom: true', 'provenance: mode=max', 'cosign sign --yes']) expect(text).toContain(word);
    expect(text).not.toMatch(/:latest\b/);
  });
});
