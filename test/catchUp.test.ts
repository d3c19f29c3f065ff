import { readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { backupEnv, listBackups } from './support/backups.ts';
import { type Endpoints, NEVER, openEndpoints, openStage, said, stop, waitForTimes } from './support/daemons.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { createGates } from './support/gates.ts';
import { describeWith } from './support/need.ts';
import { startPostgres } from './support/postgres.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { freePort, scratchFolder } from './support/scratch.ts';

const TIMEOUT = { timeout: 240_000 };
const LONG = { timeoutMs: 230_000 };
const HOUR_MS = 3_600_000;
const CATCHES_UP = /^catches up on the backup that was due at/;

/** Due once a day, the last time so long ago. */
function dueAgo(ms: number): string {
  const at = new Date(Date.now() - ms);
  return `${at.getUTCMinutes()} ${at.getUTCHours()} * * *`;
}

/** Makes every backup older. */
async function age(remote: TestRemote, ms: number): Promise<void> {
  for (const path of (await remote.list()).keys()) {
    if (!path.endsWith('.manifest.json')) continue;
    const manifest = JSON.parse((await remote.read(path)).toString());
    const earlier = (time: string) => new Date(Date.parse(time) - ms).toISOString();
    const times = { startedAt: earlier(manifest.startedAt), finishedAt: earlier(manifest.finishedAt) };
    await remote.write(path, JSON.stringify({ ...manifest, ...times }));
  }
}

/** One backup of two days ago, and a daily schedule that was due two hours ago. */
async function openLateStage(more: Record<string, string> = {}) {
  await using opening = new AsyncDisposableStack();
  const stage = opening.use(await openStage('local', { BACKUP_SCHEDULE: dueAgo(2 * HOUR_MS), ...more }));
  expect(await runDbstash(['backup'], stage.env)).toMatchObject({ exitCode: 0 });
  await age(stage.remote, 48 * HOUR_MS);
  const endpoints = await openEndpoints();
  const env = { ...stage.env, ...endpoints.env };
  const opened = opening.move();
  return { stage, endpoints, env, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** Until the remote has been listed, and what follows from that has begun. */
async function waitUntilListed({ get }: Endpoints): Promise<void> {
  for (let left = 600; left > 0; left--) {
    const { text } = await get('/readyz');
    if (!text.includes('has not been listed yet')) break;
    await sleep(50);
  }
  await sleep(500);
}

describe.concurrent('a daemon that was not there when a backup was due', () => {
  it('does not take the lock of the process that was killed before it for that of another one', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: NEVER, BACKUP_ON_START: 'true', HEALTH_PORT: '0' });
    await using killed = startDbstash(['start'], { ...stage.env, HOOK_PRE_BACKUP: 'echo begun; exec sleep 60' });
    await waitForTimes(killed, /^begun$/, 1);
    killed.kill('SIGKILL');
    await killed.exited;
    await using next = startDbstash(['start'], stage.env, LONG);
    await waitForTimes(next, /^run succeeded/, 1, 120_000);
    expect(said(next, /^waits for the lock/)).toHaveLength(1);
    expect(said(next, /skipped/)).toEqual([]);
    await stop(next);
  });

  it('makes up for it at start, once', TIMEOUT, async () => {
    await using late = await openLateStage();
    await using daemon = startDbstash([], late.env, LONG);
    await waitForTimes(daemon, /^run succeeded/, 1);
    expect(said(daemon, CATCHES_UP)).toHaveLength(1);
    await late.endpoints.expectStatus('/readyz', 200);
    await stop(daemon);
    await using again = startDbstash([], late.env, LONG);
    await late.endpoints.expectStatus('/readyz', 200);
    await sleep(500);
    await stop(again);
    expect(said(again, CATCHES_UP)).toEqual([]);
    expect(await listBackups(late.stage.env)).toHaveLength(2);
  });

  it('tries once for each due time, also across restarts and where that failed', TIMEOUT, async () => {
    await using late = await openLateStage();
    renameSync(late.stage.database, `${late.stage.database}.away`);
    await using daemon = startDbstash([], late.env, LONG);
    await waitForTimes(daemon, /^run failed/, 1);
    await late.endpoints.expectStatus('/healthz', 503);
    await stop(daemon);
    const folder = join(late.stage.env.BACKUP_TEMP_DIR!, 'tries');
    const [file] = readdirSync(folder);
    expect(Date.now() - Date.parse(readFileSync(join(folder, file!), 'utf8'))).toBeLessThan(200_000);
    expect(statSync(join(folder, file!)).mode & 0o777).toBe(0o600);
    renameSync(`${late.stage.database}.away`, late.stage.database);
    await using again = startDbstash([], late.env, LONG);
    await waitUntilListed(late.endpoints);
    await stop(again);
    expect(said(again, CATCHES_UP)).toEqual([]);
    // Where the file is lost, as with a new container, there is one try more.
    rmSync(folder, { recursive: true });
    await using renewed = startDbstash([], late.env, LONG);
    await waitForTimes(renewed, /^run succeeded/, 1);
    await stop(renewed);
  });

  it('tries again where it was itself stopped on the way', TIMEOUT, async () => {
    await using late = await openLateStage();
    const gates = createGates(late.stage.home, { dump: late.stage.database, rclone: { call: 'rcat*.sql.partial*' } });
    await using daemon = startDbstash([], { ...late.env, PATH: gates.path }, LONG);
    await gates.arrived('call');
    expect(await stop(daemon)).toMatchObject({ exitCode: 143 });
    await gates.drain();
    await using again = startDbstash([], late.env, LONG);
    await waitForTimes(again, /^run succeeded/, 1);
    expect(said(again, CATCHES_UP)).toHaveLength(1);
    await stop(again);
  });

  it('does nothing on an empty series, nor where BACKUP_CATCH_UP is false', TIMEOUT, async () => {
    await using late = await openLateStage({ BACKUP_CATCH_UP: 'false' });
    await using daemon = startDbstash([], late.env, LONG);
    await waitUntilListed(late.endpoints);
    await stop(daemon);
    expect(said(daemon, CATCHES_UP)).toEqual([]);
    await using other = startDbstash([], { ...late.env, BACKUP_CATCH_UP: 'true', BACKUP_SERIES: 'another' }, LONG);
    await waitUntilListed(late.endpoints);
    await stop(other);
    expect(said(other, CATCHES_UP)).toEqual([]);
    expect(await listBackups(late.stage.env)).toHaveLength(1);
  });

  it('runs once where BACKUP_ON_START says so as well', TIMEOUT, async () => {
    await using late = await openLateStage({ BACKUP_ON_START: 'true' });
    await using daemon = startDbstash([], late.env, LONG);
    await waitForTimes(daemon, /^run succeeded/, 1);
    await late.endpoints.expectStatus('/readyz', 200);
    await sleep(500);
    await stop(daemon);
    expect(said(daemon, /^run |^catches up/)).toHaveLength(1);
  });
});

describeWith(['postgres', 'pg_dump'], 'a database that is still starting', () => {
  async function openPgStage(more: Record<string, string>) {
    await using opening = new AsyncDisposableStack();
    const home = opening.use(scratchFolder());
    const remote = opening.use(await startRemote('local'));
    const port = await freePort();
    const uri = `postgres://postgres:postgres-test-password@127.0.0.1:${port}/postgres`;
    const env = backupEnv(uri, remote, home, more);
    const opened = opening.move();
    return { env, port, [Symbol.asyncDispose]: () => opened.disposeAsync() };
  }

  it('is waited for at start, and a scheduled run meanwhile is the same run', TIMEOUT, async () => {
    const soon = (new Date().getUTCSeconds() + 6) % 60;
    await using stage = await openPgStage({ BACKUP_SCHEDULE: `${soon} * * * * *`, BACKUP_ON_START: 'true' });
    const endpoints = await openEndpoints();
    await using daemon = startDbstash([], { ...stage.env, ...endpoints.env }, LONG);
    await daemon.waitForLog(/waits for the database, 5m at most: .*connection .*refused/i, 60_000);
    await waitForTimes(daemon, /^skipped: the run before/, 1);
    expect(JSON.parse((await endpoints.get('/healthz')).text)).toMatchObject({ status: 'healthy', running: true });
    await sleep(1000);
    expect(said(daemon, /^run /)).toEqual([]);
    await using server = await startPostgres({ port: stage.port });
    await waitForTimes(daemon, /^run /, 1);
    expect(said(daemon, /^waits for/)).toHaveLength(1);
    await stop(daemon);
    expect(said(daemon, /^run /).map(({ message }) => message)).toEqual(['run succeeded']);
    expect(await listBackups(stage.env)).toHaveLength(1);
    await server.stop();
  });

  it('is not waited for where the password is wrong: the run says so', TIMEOUT, async () => {
    await using stage = await openPgStage({ BACKUP_SCHEDULE: NEVER, BACKUP_ON_START: 'true' });
    await using server = await startPostgres({ port: stage.port, password: 'another' });
    await using daemon = startDbstash([], stage.env, LONG);
    await waitForTimes(daemon, /^run failed: .*password authentication failed/, 1);
    expect(said(daemon, /^waits for/)).toEqual([]);
    await stop(daemon);
    await server.stop();
  });

  it('holds up no end of the daemon', TIMEOUT, async () => {
    await using stage = await openPgStage({ BACKUP_SCHEDULE: NEVER, BACKUP_ON_START: 'true' });
    await using daemon = startDbstash([], stage.env, LONG);
    await daemon.waitForLog(/waits for the database/, 60_000);
    const startedAt = performance.now();
    expect(await stop(daemon)).toMatchObject({ exitCode: 0 });
    expect(performance.now() - startedAt).toBeLessThan(7000);
    expect(said(daemon, /^run /)).toEqual([]);
  });
});
