import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runDbstash } from './support/dbstash.ts';
import { scratchFolder, waitFor } from './support/scratch.ts';
import { createSqlite } from './support/seeds.ts';

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn('SKIPPED "what another user owns": it takes root to make it');

function prepare(path: string) {
  const remote = join(path, 'backups');
  mkdirSync(remote);
  const uri = createSqlite({ path });
  return { remote, env: { DB_URI: uri, RCLONE_REMOTE: remote, BACKUP_TEMP_DIR: join(path, 'tmp') } };
}

describe.skipIf(!isRoot)('what another user owns', () => {
  it("F11: one record that cannot be read, a stranger's perhaps, stops neither backups nor list; nothing is pruned then", async () => {
    await using scratch = scratchFolder();
    const { remote, env } = prepare(scratch.path);
    expect((await runDbstash(['backup'], env)).exitCode).toBe(0);
    // A name that cannot be opened, by root either.
    mkdirSync(join(remote, 'folder'));
    writeFileSync(join(remote, 'folder/stranger.manifest.json'), '{}');
    const limited = { ...env, RETENTION_MAX_FILES: '1' };
    const tools = join(scratch.path, 'tools');
    mkdirSync(tools);
    const rclone = `#!/bin/sh
for word; do case $word in copy) mode=copy;; esac; done
/usr/bin/rclone "$@"; code=$?
if [ "$mode" = copy ]; then for last; do :; done; rm -f "$last/folder/stranger.manifest.json"; ls "$last/folder" >/dev/null 2>&1 && { echo "permission denied" >&2; exit 1; }; fi
exit $code`;
    writeFileSync(join(tools, 'rclone'), rclone, { mode: 0o755 });
    const broken = { ...limited, PATH: `${tools}:${process.env.PATH}` };
    const done = await runDbstash(['backup'], broken);
    expect([done.exitCode, done.lines.at(-1)?.outcome], done.stderr).toEqual([0, 'warning']);
    expect(done.stderr).toMatch(/stranger\.manifest\.json could not be read, and nothing is pruned/);
    const listed = await runDbstash(['list', '--json'], broken);
    expect(JSON.parse(listed.stdout)).toHaveLength(2);
  });

  it('F39: a lost+found of root does not fail the listing of another user', async () => {
    await using scratch = scratchFolder();
    const { remote, env } = prepare(scratch.path);
    mkdirSync(join(remote, 'lost+found'), { mode: 0o700 });
    mkdirSync(env.BACKUP_TEMP_DIR);
    for (const path of [scratch.path, remote, env.BACKUP_TEMP_DIR, env.DB_URI.slice('sqlite://'.length)])
      chownSync(path, 65_534, 65_534);
    const main = join(import.meta.dirname, '../src/main.ts');
    const options = { env: { PATH: process.env.PATH, HOME: scratch.path, ...env }, encoding: 'utf8' } as const;
    const done = spawnSync('setpriv', ['--reuid=65534', '--clear-groups', process.execPath, main, 'backup'], options);
    expect(done.status, done.stderr).toBe(0);
    expect(readdirSync(remote)).toHaveLength(3);
  });

  it('F40: a temporary folder that belongs to somebody else is refused, since they could change our files in it', async () => {
    await using scratch = scratchFolder();
    const { env } = prepare(scratch.path);
    mkdirSync(env.BACKUP_TEMP_DIR);
    chmodSync(env.BACKUP_TEMP_DIR, 0o777);
    chownSync(env.BACKUP_TEMP_DIR, 65_534, 65_534);
    const done = await runDbstash(['backup'], env);
    expect(done.exitCode).toBe(2);
    expect(done.stderr).toMatch(/BACKUP_TEMP_DIR: .* belongs to uid 65534, who could change our files in it/);
  });
});

describe('a log that nobody reads', () => {
  it('F60: stops neither runs nor the end by a signal', async () => {
    await using scratch = scratchFolder();
    const { env } = prepare(scratch.path);
    const main = join(import.meta.dirname, '../src/main.ts');
    // A pipe, as a container's log is: nobody reads it, and it takes 64 KiB.
    const child = spawn('bash', ['-c', 'exec "$0" "$1" start 2> >(exec sleep 60)', process.execPath, main], {
      env: {
        PATH: process.env.PATH,
        HOME: scratch.path,
        ...env,
        BACKUP_SCHEDULE: '* * * * * *',
        LOG_LEVEL: 'debug',
        BACKUP_NAME_TEMPLATE: `{uuid}-${'x'.repeat(150)}`,
      },
      stdio: 'ignore',
      detached: true,
    });
    try {
      const backups = () => readdirSync(env.RCLONE_REMOTE).filter((name) => name.endsWith('.manifest.json')).length;
      await waitFor(() => backups() >= 25, { timeoutMs: 120_000 });
      const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const code = await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 9000, 'hangs'))]);
      expect([0, 143]).toContain(code);
    } finally {
      process.kill(-(child.pid ?? 0), 'SIGKILL');
    }
  }, 150_000);
});
