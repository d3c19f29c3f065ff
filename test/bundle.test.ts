import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startProgram } from './support/dbstash.ts';
import { startMailServer } from './support/mailServer.ts';
import { describeWith } from './support/need.ts';
import { startRedis } from './support/redis.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';

/** What the program loads only when it needs it is another file of the bundle, and has to be asked for by the right name. */
describe('the bundle', () => {
  let scratch: Scratch;
  beforeAll(() => {
    scratch = scratchFolder();
    execFileSync(process.execPath, [join(import.meta.dirname, '../.ci/build.ts'), join(scratch.path, 'dist')]);
  });
  afterAll(() => scratch[Symbol.asyncDispose]());

  const run = (args: readonly string[], env: Record<string, string>) =>
    startProgram([join(scratch.path, 'dist/dbstash.js'), ...args], { HEALTH_PORT: '0', ...env }).exited;

  it('sends mail', async () => {
    await using server = await startMailServer();
    const env = {
      DB_URI: 'sqlite:///shop.db',
      RCLONE_REMOTE: '/backup',
      NOTIFY_EMAIL_TO: 'ops@example.com',
      NOTIFY_EMAIL_FROM: 'db@example.com',
      SMTP_URL: `smtp://127.0.0.1:${server.port}`,
    };
    const sent = await run(['notify-test'], env);
    expect(sent.exitCode, sent.stdout + sent.stderr).toBe(0);
    expect(server.mails).toHaveLength(1);
  });

  describeWith(['redis-server', 'redis-cli', 'rclone'], 'of Redis', () => {
    it('restores', async () => {
      await using server = await startRedis();
      server.run('SET', 'key', 'value');
      const env = {
        DB_URI: server.uri(),
        RCLONE_REMOTE: join(scratch.path, 'backups'),
        BACKUP_TEMP_DIR: join(scratch.path, 'tmp'),
      };
      expect(await run(['backup'], env)).toMatchObject({ exitCode: 0 });
      server.run('FLUSHALL');
      const restored = await run(['restore', 'latest'], env);
      expect(restored.exitCode, restored.stderr).toBe(0);
      expect(server.run('GET', 'key')).toContain('value');
    });
  });
});
