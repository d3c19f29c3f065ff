import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { scratchFolder } from './support/scratch.ts';

const root = join(import.meta.dirname, '..');

/** What Biome, with our configuration, says of a file that holds nothing but an import. */
async function lint(file: string, imported: string): Promise<string> {
  await using scratch = scratchFolder();
  copyFileSync(join(root, 'biome.json'), join(scratch.path, 'biome.json'));
  const path = join(scratch.path, file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `import * as other from '${imported}';\n\nexport default other;\n`);
  const biome = join(root, 'node_modules/.bin/biome');
  const args = ['lint', '--vcs-enabled=false', '--colors=off', file];
  const { status, stdout, stderr } = spawnSync(biome, args, { cwd: scratch.path, encoding: 'utf8' });
  expect(stdout + stderr).toContain('Checked 1 file');
  expect(status === 0).toBe(!/noRestrictedImports/.test(stdout + stderr));
  return stdout + stderr;
}

it.each([
  ['src/core/x.ts', '../process/child.ts', 'core is floor 0'],
  ['src/core/x.ts', '../config/config.ts', 'core is floor 0'],
  ['src/core/x.ts', 'node:fs', 'core is floor 0'],
  ['src/core/x.ts', 'node:child_process', 'core is floor 0'],
  ['src/engines/x.ts', '../process/child.ts', 'Engines describe commands'],
  ['src/engines/x.ts', '../config/config.ts', 'Engines describe commands'],
  ['src/engines/x.ts', 'node:child_process', 'Engines describe commands'],
  ['src/process/x.ts', '../remote/rclone.ts', 'Floor 1'],
  ['src/process/x.ts', '../logger.ts', 'Floor 1'],
  ['src/config/x.ts', '../remote/remote.ts', 'Floor 1'],
  ['src/config/x.ts', '../schedule.ts', 'Floor 1'],
  ['src/logger.ts', './remote/remote.ts', 'Floor 1'],
  ['src/remote/x.ts', '../jobs/backup.ts', 'Floor 2'],
  ['src/remote/x.ts', '../pipeline/relay.ts', 'Floor 2'],
  ['src/pipeline/x.ts', '../jobs/backup.ts', 'Floor 2'],
  ['src/pipeline/x.ts', '../lock.ts', 'Floor 2'],
  ['src/schedule.ts', './jobs/backup.ts', 'Floor 2'],
  ['src/lock.ts', './daemon.ts', 'Floor 2'],
  ['src/ssh.ts', './jobs/backup.ts', 'Floor 2'],
  ['src/ssh.ts', './remote/remote.ts', 'Floor 2'],
  ['src/ssh/x.ts', '../jobs/backup.ts', 'Floor 2'],
  ['src/ssh/x.ts', '../remote/remote.ts', 'Floor 2'],
  ['src/mongo.ts', './jobs/backup.ts', 'Floor 2'],
  ['src/mongo.ts', './remote/remote.ts', 'Floor 2'],
  ['src/jobs/x.ts', '../cli.ts', 'Floor 3'],
  ['src/jobs/x.ts', '../daemon.ts', 'Floor 3'],
  ['src/jobs/x.ts', '../main.ts', 'Floor 3'],
  ['src/cli.ts', './main.ts', 'Only the process edge'],
  ['src/daemon.ts', './main.ts', 'Only the process edge'],
])('%s may not import %s', async (file, imported, says) => {
  expect(await lint(file, imported)).toContain(says);
});

it.each([
  ['src/core/x.ts', './errors.ts'],
  ['src/engines/x.ts', '../core/errors.ts'],
  ['src/process/x.ts', '../core/errors.ts'],
  ['src/config/x.ts', '../engines/index.ts'],
  ['src/remote/x.ts', '../process/child.ts'],
  ['src/pipeline/x.ts', '../remote/remote.ts'],
  ['src/mongo.ts', './core/errors.ts'],
  ['src/ssh.ts', './ssh/x.ts'],
  ['src/ssh/x.ts', '../config/ssh.ts'],
  ['src/jobs/x.ts', '../pipeline/relay.ts'],
  ['src/jobs/x.ts', '../mongo.ts'],
  ['src/cli.ts', './jobs/backup.ts'],
  ['src/main.ts', './cli.ts'],
])('%s may import %s', async (file, imported) => {
  expect(await lint(file, imported)).not.toContain('noRestrictedImports');
});
