import { renameSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fakePath, listBackups } from './support/backups.ts';
import { NEVER, openEndpoints, openStage, stop, waitForTimes } from './support/daemons.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { createGates } from './support/gates.ts';
import { freePort, waitFor } from './support/scratch.ts';

const TIMEOUT = { timeout: 180_000 };
const LONG = { timeoutMs: 170_000 };
const EVERY_SECOND = '* * * * * *';
const HEALTH = ['health'];
const LEAN = { entry: 'src/entry.ts' } as const;

describe.concurrent('F20: health', () => {
  it('is 503 and the reason once a run failed, and 200 after the next that did not', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: '*/3 * * * * *' });
    const { env, expectStatus } = await openEndpoints();
    await using daemon = startDbstash([], { ...stage.env, ...env }, LONG);
    expect(await expectStatus('/healthz', 200)).toMatchObject({
      status: 'healthy',
      engine: 'sqlite',
      database: 'shop',
    });
    await expectStatus('/readyz', 200);
    renameSync(stage.database, `${stage.database}.away`);
    const failed = await expectStatus('/healthz', 503);
    expect(failed).toMatchObject({ status: 'unhealthy', last_status: 'failed', next_backup: expect.any(String) });
    expect(failed.reason).toMatch(/^the last run, of .*, failed: the database .* is not there/);
    // While the next run goes on all is well.
    await waitFor(async () => (await runDbstash(HEALTH, env, LEAN)).exitCode === 1, { timeoutMs: 60_000 });
    await expectStatus('/readyz', 503);
    await expectStatus('/livez', 200);
    renameSync(`${stage.database}.away`, stage.database);
    await waitForTimes(daemon, /^run failed/, 1);
    expect(await expectStatus('/healthz', 200)).toMatchObject({ reason: null });
    await stop(daemon);
  });

  it('is 503 once a backup is overdue, though no run of its own failed', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: EVERY_SECOND, HEALTH_GRACE: '2s' });
    const gates = createGates(stage.home, { dump: stage.database, rclone: { call: 'rcat*.sql.partial*' } });
    await using other = startDbstash(['backup'], { ...stage.env, PATH: gates.path }, LONG);
    await gates.arrived('call');
    const { env, expectStatus } = await openEndpoints();
    await using daemon = startDbstash([], { ...stage.env, ...env }, LONG);
    await waitForTimes(daemon, /^run skipped: another run/, 1);
    const overdue = await expectStatus('/healthz', 503);
    expect(overdue.reason).toMatch(/^shop was due at .*, and (has no good backup|no good backup of it is known)$/);
    gates.open('call');
    await other.exited;
    await waitForTimes(daemon, /^run succeeded/, 1);
    await expectStatus('/healthz', 200);
    await stop(daemon);
    await gates.drain();
  });

  it('is 200 during a run, however late it is', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: EVERY_SECOND, HEALTH_GRACE: '1s' });
    const gates = createGates(stage.home, { dump: stage.database, rclone: { call: 'rcat*.sql.partial*' } });
    const { env, get } = await openEndpoints();
    await using daemon = startDbstash([], { ...stage.env, ...env, PATH: gates.path }, LONG);
    await gates.arrived('call');
    await waitForTimes(daemon, /^skipped: the run before is still going on/, 4);
    const answer = await get('/healthz');
    expect(answer.status, answer.text).toBe(200);
    expect(JSON.parse(answer.text)).toMatchObject({ running: true, reason: null });
    gates.open('call');
    await waitForTimes(daemon, /^run succeeded/, 1);
    await stop(daemon);
    await gates.drain();
  });

  it('is after a restart what the catalog says', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: NEVER, BACKUP_CATCH_UP: 'false' });
    await runDbstash(['backup'], stage.env);
    const [backup] = await listBackups(stage.env);
    const { env, expectStatus } = await openEndpoints();
    await using daemon = startDbstash([], { ...stage.env, ...env }, LONG);
    expect(await expectStatus('/readyz', 200)).toMatchObject({
      status: 'ready',
      last_backup: backup!.startedAt,
      last_status: 'succeeded',
      running: false,
    });
    await stop(daemon);
    await stage.remote.remove(backup!.artifact);
    await using again = startDbstash([], { ...stage.env, ...env }, LONG);
    await expectStatus('/healthz', 200);
    const whole = await expectStatusWith(
      expectStatus,
      /the newest backup, .*, is missing: the artifact is not there any more/,
    );
    expect(whole).toContainEqual(expect.stringMatching(/^shop was due at .*, and has no good backup$/));
    await stop(again);
  });

  it('F33: tells no secret that a tool told', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: NEVER, BACKUP_ON_START: 'true' });
    const told = fakePath(stage.home, { sqlite3: 'echo "cannot log in with c4n4ry-word" >&2; exit 5' });
    const { env, get, expectStatus } = await openEndpoints();
    await using daemon = startDbstash([], { ...stage.env, ...env, ...told, PGPASSWORD: 'c4n4ry-word' }, LONG);
    expect((await expectStatus('/healthz', 503)).reason).toContain('cannot log in with ***');
    for (const path of ['/', '/metrics', '/healthz', '/readyz', '/livez'])
      expect((await get(path)).text, path).not.toContain('c4n4ry');
    await stop(daemon);
  });

  it('tells the whole truth of a remote that cannot be listed, and looks again until it can', TIMEOUT, async () => {
    const port = await freePort();
    await using stage = await openStage('sftp', { BACKUP_SCHEDULE: NEVER });
    await runDbstash(['backup'], stage.env);
    const real = Number(stage.env.RCLONE_CONFIG_SFTP_PORT);
    const more = { RCLONE_CONFIG_SFTP_PORT: `${port}`, RCLONE_EXTRA_ARGS: '--retries=1 --low-level-retries=1' };
    const { env, expectStatus } = await openEndpoints();
    await using daemon = startDbstash([], { ...stage.env, ...env, ...more }, LONG);
    await daemon.waitForLog(/cannot be listed, and is asked again in 15s/, 60_000);
    const { reasons } = await expectStatus('/readyz', 503);
    expect(reasons).toContainEqual(expect.stringMatching(/^sftp:.* cannot be listed: .*connection refused/));
    expect(await expectStatus('/healthz', 200)).toMatchObject({ last_backup: null, last_status: null });
    const door = createServer((socket) => {
      const inner = createConnection(real, '127.0.0.1');
      socket.pipe(inner).pipe(socket);
      socket.on('error', () => inner.destroy());
      inner.on('error', () => socket.destroy());
    }).listen(port, '127.0.0.1');
    expect(await expectStatus('/readyz', 200, 90_000)).toMatchObject({ last_backup: expect.any(String) });
    await daemon.waitForLog(/can be listed again/);
    await stop(daemon);
    door.close();
  });
});

type Expect = Awaited<ReturnType<typeof openEndpoints>>['expectStatus'];

/** The reasons of /readyz, as soon as one fits. */
async function expectStatusWith(expectStatus: Expect, pattern: RegExp): Promise<string[]> {
  for (let left = 200; ; left--) {
    const reasons = (await expectStatus('/readyz', 503)).reasons as string[];
    if (reasons.some((reason) => pattern.test(reason)) || left === 0) {
      expect(reasons).toContainEqual(expect.stringMatching(pattern));
      return reasons;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe.concurrent('dbstash health', () => {
  for (const entry of ['src/entry.ts', 'src/main.ts'] as const) {
    it(`says how the daemon is, by ${entry}`, TIMEOUT, async () => {
      await using stage = await openStage('local', { BACKUP_SCHEDULE: NEVER });
      const { env, expectStatus } = await openEndpoints();
      await using daemon = startDbstash([], { ...stage.env, ...env }, LONG);
      const unready = await expectStatus('/readyz', 503);
      expect(unready.status).toBe('unready');
      await daemon.waitForLog(/next backup at/);
      expect(await runDbstash(HEALTH, env, { entry })).toMatchObject({ exitCode: 0, stdout: 'healthy\n', stderr: '' });
      await expectStatusWith(expectStatus, /^shop has no good backup|^shop was due/);
      const ready = await runDbstash(['health', '--ready'], env, { entry });
      expect(ready).toMatchObject({ exitCode: 1, stderr: '' });
      expect(ready.stdout).toMatch(/^not ready: shop .*no good backup\n$/);
      await stop(daemon);
      const gone = await runDbstash(HEALTH, env, { entry });
      expect(gone).toMatchObject({ exitCode: 1, stderr: '' });
      expect(gone.stdout).toBe(
        `unhealthy: port ${env.HEALTH_PORT} does not answer: connect ECONNREFUSED 127.0.0.1:${env.HEALTH_PORT}\n`,
      );
    });

    it(`is content where there is no server to ask, by ${entry}`, async () => {
      expect(await runDbstash(HEALTH, { HEALTH_PORT: '0' }, { entry })).toMatchObject({
        exitCode: 0,
        stdout: 'HEALTH_PORT is 0: there is no server to ask\n',
      });
      expect(await runDbstash(HEALTH, { HEALTH_PORT: '8080', BACKUP_SCHEDULE: 'once' }, { entry })).toMatchObject({
        exitCode: 0,
        stdout: 'BACKUP_SCHEDULE is once: there is no server to ask\n',
      });
    });
  }

  it('needs no configuration and no secret, but its own variables', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: NEVER, HEALTH_HOST: '127.0.0.2' });
    const { env } = await openEndpoints();
    await using daemon = startDbstash([], { ...stage.env, ...env }, LONG);
    await daemon.waitForLog(/next backup at/);
    const file = join(stage.home.path, 'port');
    writeFileSync(file, `${env.HEALTH_PORT}\n`);
    const own = { HEALTH_PORT: undefined, HEALTH_PORT_FILE: file, HEALTH_HOST: '127.0.0.2' };
    const broken = { DB_URI: 'nonsense', DB_PASSWORD_FILE: '/nowhere/secret', RETENTION_MIN_KEEP: '0' };
    expect(await runDbstash(HEALTH, { ...own, ...broken }, LEAN)).toMatchObject({
      exitCode: 0,
      stdout: 'healthy\n',
      stderr: '',
    });
    expect(
      await runDbstash(['health', '--health-port', env.HEALTH_PORT], { HEALTH_HOST: '127.0.0.2' }, LEAN),
    ).toMatchObject({ exitCode: 0 });
    expect(await runDbstash(HEALTH, { ...own, HEALTH_HOST: undefined }, LEAN)).toMatchObject({ exitCode: 1 });
    await stop(daemon);
  });

  it('takes no other server for ours, and waits for none for ever', TIMEOUT, async () => {
    const port = await freePort();
    const env = { HEALTH_PORT: String(port) };
    const mute = createServer(() => {}).listen(port, '127.0.0.1');
    const silent = await runDbstash(HEALTH, env, LEAN);
    expect(silent).toMatchObject({
      exitCode: 1,
      stdout: `unhealthy: port ${port} does not answer: nothing came within 5 s\n`,
    });
    mute.close();
    const otherPort = await freePort();
    const other = createServer((socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}')).listen(
      otherPort,
      '127.0.0.1',
    );
    const strange = await runDbstash(HEALTH, { HEALTH_PORT: String(otherPort) }, LEAN);
    expect(strange).toMatchObject({
      exitCode: 1,
      stdout: 'unhealthy: the answer, with status 200, is not one of dbstash\n',
    });
    other.close();
  });

  it('says in its own words what is wrong with its variables', async () => {
    const { exitCode, stdout } = await runDbstash(HEALTH, { HEALTH_PORT: 'http' }, LEAN);
    expect({ exitCode, stdout }).toEqual({
      exitCode: 1,
      stdout: 'HEALTH_PORT: "http" is no port; right is a number from 1 to 65535, or 0 for none\n',
    });
  });
});
