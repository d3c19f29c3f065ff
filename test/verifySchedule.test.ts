import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { backupEnv, fakePath, listBackups } from './support/backups.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { startReceiver } from './support/receiver.ts';
import { startRemote } from './support/remotes.ts';
import { flipByte, makeBackup } from './support/restores.ts';
import { freePort, scratchFolder, waitFor } from './support/scratch.ts';
import { createSqlite } from './support/seeds.ts';
import { requireTool } from './support/tools.ts';

const TIMEOUT = { timeout: 180_000 };
const NEVER = '0 0 1 1 *';

it(
  'F15, F20: a daemon verifies when VERIFY_SCHEDULE says so, tells of damage, and is not ready until it is gone',
  TIMEOUT,
  async () => {
    await using scratch = scratchFolder();
    await using remote = await startRemote('local');
    await using receiver = await startReceiver();
    const port = await freePort();
    const env = backupEnv(createSqlite(scratch), remote, scratch, {
      BACKUP_SCHEDULE: NEVER,
      BACKUP_CATCH_UP: 'false',
      VERIFY_SCHEDULE: '*/3 * * * * *',
      HEALTH_PORT: `${port}`,
      NOTIFY_WEBHOOK_URL: `${receiver.origin}/hook`,
      PING_URL: `${receiver.origin}/ping`,
    });
    const messages = () => receiver.received.flatMap(({ path, body }) => (path === '/hook' ? JSON.parse(body) : []));
    const ready = async () =>
      await fetch(`http://127.0.0.1:${port}/readyz`).then(
        (answer) => answer.status,
        () => 0,
      );
    const { artifact } = await makeBackup({ ...env, NOTIFY_WEBHOOK_URL: '', PING_URL: '' });
    await using daemon = startDbstash([], env);
    await daemon.waitForLog(/verification succeeded/, 60_000);
    expect(await listBackups(env)).toMatchObject([{ state: 'good', verified: { level: 'content', ok: true } }]);
    await waitFor(async () => (await ready()) === 200, { timeoutMs: 60_000, title: () => daemon.stderr() });

    await flipByte(remote, artifact);
    await daemon.waitForLog(/verification failed: .* is damaged: its SHA-256/, 60_000);
    await waitFor(async () => (await ready()) === 503, { timeoutMs: 30_000, title: () => daemon.stderr() });
    await waitFor(() => messages().length > 0, { timeoutMs: 30_000, title: () => 'a message' });
    expect(messages()[0]).toMatchObject({
      job: 'verify',
      outcome: 'failed',
      status: 'failure',
      title: expect.stringMatching(/^dbstash: verification failed: SQLite app/),
      error: expect.stringContaining(`${artifact} on ${remote.remote} is damaged`),
    });

    await flipByte(remote, artifact);
    await waitFor(async () => (await ready()) === 200, { timeoutMs: 60_000, title: () => daemon.stderr() });
    await waitFor(() => messages().at(-1)?.recovered === true, { timeoutMs: 30_000, title: () => 'a recovery' });
    // The dead-man switch stands for backups: a night without one must not pass for good.
    expect(receiver.received.filter(({ path }) => path !== '/hook')).toEqual([]);
    daemon.kill('SIGTERM');
    expect(await daemon.exited).toMatchObject({ exitCode: 0 });
  },
);

it(
  'F38: the command, as a CronJob runs it, tells the channels of damage as a schedule does, and of a name that is not there nobody',
  TIMEOUT,
  async () => {
    await using scratch = scratchFolder();
    await using remote = await startRemote('local');
    await using receiver = await startReceiver();
    const env = backupEnv(createSqlite(scratch), remote, scratch, {
      NOTIFY_WEBHOOK_URL: `${receiver.origin}/hook`,
      PING_URL: `${receiver.origin}/ping`,
    });
    const { artifact } = await makeBackup({ ...env, NOTIFY_WEBHOOK_URL: '', PING_URL: '' });
    expect(await runDbstash(['verify'], env)).toMatchObject({ exitCode: 0 });
    expect(await runDbstash(['verify', 'no-such-name'], env)).toMatchObject({ exitCode: 1 });
    expect(receiver.received).toEqual([]);
    await flipByte(remote, artifact);
    expect(await runDbstash(['verify'], env)).toMatchObject({ exitCode: 4 });
    expect(receiver.received.map(({ path }) => path)).toEqual(['/hook']);
    expect(JSON.parse(receiver.received[0]!.body)).toMatchObject({
      job: 'verify',
      outcome: 'failed',
      error: expect.stringContaining(`${artifact} on ${remote.remote} is damaged`),
    });
  },
);

it('F15, F20: a daemon whose drill fails alarms, and stays ready with a good backup', TIMEOUT, async () => {
  await using scratch = scratchFolder();
  await using remote = await startRemote('local');
  await using receiver = await startReceiver();
  const port = await freePort();
  const env = backupEnv(createSqlite(scratch), remote, scratch, {
    BACKUP_SCHEDULE: NEVER,
    BACKUP_CATCH_UP: 'false',
    VERIFY_SCHEDULE: '*/3 * * * * *',
    VERIFY_LEVEL: 'restore',
    HEALTH_PORT: `${port}`,
    NOTIFY_WEBHOOK_URL: `${receiver.origin}/hook`,
  });
  await makeBackup({ ...env, NOTIFY_WEBHOOK_URL: '' });
  const broken = join(scratch.path, 'broken');
  writeFileSync(broken, '');
  const path = fakePath(scratch, {
    sqlite3: `case "$*" in *drill.sqlite3.restoring-*) if [ -e '${broken}' ]; then cat >/dev/null; echo 'Parse error: it is odd' >&2; exit 1; fi ;; esac
exec '${requireTool('sqlite3')}' "$@"`,
  });
  const ask = async (what: string) => {
    const answer = await fetch(`http://127.0.0.1:${port}${what}`);
    return { status: answer.status, text: await answer.text() };
  };
  await using daemon = startDbstash([], { ...env, ...path });
  await daemon.waitForLog(/verification failed: .* its drill failed: it could not be restored: .*it is odd/, 60_000);
  const isTold = async () => /dbstash_last_verification_ok\{.*level="restore"\} 0/.test((await ask('/metrics')).text);
  await waitFor(isTold, { timeoutMs: 30_000, title: () => daemon.stderr() });
  expect((await ask('/readyz')).status).toBe(200);
  expect((await ask('/')).text).toContain('the last drill of');
  await waitFor(() => receiver.received.length > 0, { timeoutMs: 30_000, title: () => 'a message' });
  expect(JSON.parse(receiver.received[0]!.body)).toMatchObject({
    job: 'verify',
    outcome: 'failed',
    status: 'failure',
    error: expect.stringContaining('is as it was written, and its drill failed'),
  });
  expect(await listBackups(env)).toMatchObject([{ state: 'good', verified: { failedDrill: {} } }]);
  rmSync(broken);
  await waitFor(async () => !(await isTold()), { timeoutMs: 60_000, title: () => daemon.stderr() });
  expect(JSON.stringify(await listBackups(env))).not.toContain('failedDrill');
});

it(
  'F31: of an encrypted backup whose drill fails the log alone has the words of the tool, which hold data',
  TIMEOUT,
  async () => {
    await using scratch = scratchFolder();
    await using remote = await startRemote('local');
    await using receiver = await startReceiver();
    const identity = execFileSync('age-keygen', { stdio: ['ignore', 'pipe', 'ignore'] }).toString();
    const env = backupEnv(createSqlite(scratch), remote, scratch, {
      BACKUP_SCHEDULE: NEVER,
      BACKUP_CATCH_UP: 'false',
      BACKUP_ENCRYPT_TO: /public key: (\S+)/.exec(identity)?.[1] ?? '',
      DECRYPT_IDENTITY: identity,
      VERIFY_SCHEDULE: '*/3 * * * * *',
      VERIFY_LEVEL: 'restore',
      NOTIFY_WEBHOOK_URL: `${receiver.origin}/hook`,
    });
    await makeBackup({ ...env, NOTIFY_WEBHOOK_URL: '' });
    const path = fakePath(scratch, {
      sqlite3: `case "$*" in *drill.sqlite3.restoring-*) cat >/dev/null; echo 'Error: UNIQUE: ann@example.com' >&2; exit 1 ;; esac
exec '${requireTool('sqlite3')}' "$@"`,
    });
    await using daemon = startDbstash([], { ...env, ...path });
    await waitFor(() => receiver.received.length > 0, { timeoutMs: 60_000, title: () => daemon.stderr() });
    expect(daemon.stderr()).toContain('ann@example.com');
    const { body } = receiver.received[0]!;
    expect(JSON.parse(body).error).toMatch(/is as it was written, and its drill failed: it could not be restored$/);
    expect(body).not.toContain('ann@');
  },
);

it('a series that holds nothing yet is no failure of its verification', TIMEOUT, async () => {
  await using scratch = scratchFolder();
  await using remote = await startRemote('local');
  const env = backupEnv(createSqlite(scratch), remote, scratch, {
    BACKUP_SCHEDULE: NEVER,
    VERIFY_SCHEDULE: '* * * * * *',
    HEALTH_PORT: '0',
  });
  await using daemon = startDbstash([], env);
  await daemon.waitForLog(/verification succeeded/, 60_000);
  expect(daemon.stderr()).not.toContain('"level":"error"');
});

it.each([
  ['once', /VERIFY_SCHEDULE: "once" is no schedule here/],
  ['61 * * * *', /VERIFY_SCHEDULE: "61 \* \* \* \*" is no schedule: the minute is "61"/],
])('VERIFY_SCHEDULE=%s is refused', async (VERIFY_SCHEDULE, message) => {
  await using scratch = scratchFolder();
  await using remote = await startRemote('local');
  const env = backupEnv(createSqlite(scratch), remote, scratch, { VERIFY_SCHEDULE });
  const run = await runDbstash(['config'], env);
  expect([run.exitCode, run.stdout]).toEqual([2, expect.stringMatching(message)]);
});
