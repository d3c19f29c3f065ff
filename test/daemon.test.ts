import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { CronExpressionParser } from 'cron-parser';
import { describe, expect, it } from 'vitest';
import { listBackups } from './support/backups.ts';
import { NEVER, openStage, said, stop, waitForTimes } from './support/daemons.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { createGates } from './support/gates.ts';
import { freePort, waitFor } from './support/scratch.ts';

const EVERY_SECOND = '* * * * * *';

const TIMEOUT = { timeout: 120_000 };

describe.concurrent('the daemon', () => {
  it('backs up again and again, by a schedule that names seconds', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: '*/2 * * * * *' });
    await using daemon = startDbstash(['start'], stage.env);
    await waitForTimes(daemon, /^run succeeded/, 3);
    await stop(daemon);
    const listed = await listBackups(stage.env);
    expect(listed.length).toBeGreaterThanOrEqual(3);
    expect(listed.map(({ state }) => state)).toEqual(listed.map(() => 'good'));
    expect(new Set(listed.map(({ startedAt }) => startedAt.slice(0, 19))).size).toBe(listed.length);
  });

  it('backs up at start where it is told to, and then waits for the schedule', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: NEVER, BACKUP_ON_START: 'true' });
    await using daemon = startDbstash([], stage.env);
    await waitForTimes(daemon, /^run succeeded/, 1);
    await waitForTimes(daemon, /^next backup at/, 2);
    expect(await stop(daemon)).toMatchObject({ exitCode: 0 });
    expect(await listBackups(stage.env)).toHaveLength(1);
  });

  it('runs once, and ends with the exit code of the run, where the schedule is once', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: 'once' });
    expect(await runDbstash([], stage.env)).toMatchObject({ exitCode: 0 });
    expect(await listBackups(stage.env)).toHaveLength(1);
    renameSync(stage.database, `${stage.database}.away`);
    expect(await runDbstash(['start'], stage.env)).toMatchObject({ exitCode: 1 });
    expect(await listBackups(stage.env)).toHaveLength(1);
  });

  for (const zone of ['UTC', 'America/New_York', 'Asia/Kolkata']) {
    it(`takes the first of several schedules, in the time zone ${zone}`, TIMEOUT, async () => {
      const patterns = ['10 2 * * *', '40 13 * * *', '5 7 * * SUN'];
      await using stage = await openStage('local', { BACKUP_SCHEDULE: patterns.join(' ; '), TZ: zone });
      const currentDate = new Date();
      const due = patterns.map((pattern) =>
        CronExpressionParser.parse(pattern, { tz: zone, currentDate }).next().toDate(),
      );
      const first = due.sort((a, b) => a.getTime() - b.getTime())[0]!;
      await using daemon = startDbstash([], stage.env);
      expect(await daemon.waitForLog(/next backup at/)).toContain(`next backup at ${first.toISOString()}`);
      await stop(daemon);
    });
  }

  it('F63: skips, counts and warns of what is due while a run goes on, and goes on after it', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: EVERY_SECOND });
    const gates = createGates(stage.home, { dump: stage.database, rclone: { call: 'rcat*.sql.partial*' } });
    await using daemon = startDbstash([], { ...stage.env, PATH: gates.path });
    await gates.arrived('call');
    await waitForTimes(daemon, /^skipped: the run before is still going on/, 3);
    expect(said(daemon, /^skipped/).slice(0, 3)).toMatchObject([
      { level: 'warn', skipped: 1 },
      { level: 'warn', skipped: 2 },
      { level: 'warn', skipped: 3 },
    ]);
    expect(gates.calls().filter(({ text }) => text.includes('.sql.partial')).length).toBe(1);
    gates.open('call');
    await waitForTimes(daemon, /^run succeeded/, 2);
    await stop(daemon);
    await gates.drain();
  });

  it('goes on after a run that failed, and says why it did', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: EVERY_SECOND });
    renameSync(stage.database, `${stage.database}.away`);
    await using daemon = startDbstash([], stage.env);
    await waitForTimes(daemon, /^run failed: the database .* is not there/, 2);
    renameSync(`${stage.database}.away`, stage.database);
    await waitForTimes(daemon, /^run succeeded/, 1);
    expect(await stop(daemon)).toMatchObject({ signal: null });
  });

  it('lives through a remote that is down at start, and its run succeeds when that is back', TIMEOUT, async () => {
    const port = await freePort();
    const more = { RCLONE_CONFIG_SFTP_PORT: `${port}`, RCLONE_EXTRA_ARGS: '--retries=1 --low-level-retries=1' };
    await using stage = await openStage('sftp', { BACKUP_SCHEDULE: '*/2 * * * * *' });
    const real = Number(stage.env.RCLONE_CONFIG_SFTP_PORT);
    await using daemon = startDbstash([], { ...stage.env, ...more });
    await waitForTimes(daemon, /^run failed: .*connection refused/, 1);
    const door = createServer((socket) => {
      const inner = createConnection(real, '127.0.0.1');
      socket.pipe(inner).pipe(socket);
      socket.on('error', () => inner.destroy());
      inner.on('error', () => socket.destroy());
    }).listen(port, '127.0.0.1');
    await waitForTimes(daemon, /^run succeeded/, 1);
    await stop(daemon);
    door.close();
    expect((await listBackups(stage.env))[0]).toMatchObject({ state: 'good' });
  });

  it('F20: backs up in time though the remote never answered what it asked at start', TIMEOUT, async () => {
    await using stage = await openStage('s3');
    // Late enough that what is asked at start is asked before the first run.
    const now = new Date().getUTCSeconds();
    stage.env.BACKUP_SCHEDULE = `${(now + 12) % 60},${(now + 24) % 60} * * * * *`;
    const fault = stage.remote.s3!.fault({ operation: '*', times: 1, stall: true });
    await using daemon = startDbstash([], stage.env);
    await waitForTimes(daemon, /^run succeeded/, 2);
    expect(fault.hits).toBe(1);
    await stop(daemon);
  });

  it('F20: never ends without a word: an internal error is told, and is its exit code', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: NEVER });
    const preload = join(stage.home.path, 'preload.mjs');
    writeFileSync(preload, "process.on('SIGUSR2', () => { throw new Error('a fault of ours'); });");
    await using daemon = startDbstash([], { ...stage.env, NODE_OPTIONS: `--import=${preload}` });
    await daemon.waitForLog(/next backup at/);
    daemon.kill('SIGUSR2');
    expect(await daemon.exited).toMatchObject({ exitCode: 1 });
    expect(said(daemon, /internal error: Error: a fault of ours/)).toMatchObject([{ level: 'error' }]);
    expect(said(daemon, /^stopped: /)).toHaveLength(1);
  });
});

describe.concurrent('the log', () => {
  it('is a line of JSON each, which says when, how bad, what, and of which run and database', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: NEVER, BACKUP_ON_START: 'true' });
    await using daemon = startDbstash([], stage.env);
    await waitForTimes(daemon, /^next backup at/, 2);
    const { stdout, stderr } = await stop(daemon);
    expect(stdout).toBe('');
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const where = { engine: 'sqlite', database: 'shop', series: `sqlite://${stage.database}` };
    for (const line of lines) {
      expect(line).toMatchObject({ ...where, message: expect.any(String) });
      expect(line.level).toMatch(/^(debug|info|warn|error)$/);
      expect(new Date(line.timestamp).toISOString()).toBe(line.timestamp);
    }
    const [backup] = await listBackups(stage.env);
    const ofRun = lines.filter(({ run }) => run !== undefined);
    expect(ofRun.map(({ message }) => message)).toEqual([expect.stringMatching(/^backed up /), 'run succeeded']);
    expect(new Set(ofRun.map(({ run }) => run)).size).toBe(1);
    expect(ofRun[0]).toMatchObject({ backup_id: backup!.id, bytes: backup!.bytes });
    expect(ofRun[1]).toMatchObject({ outcome: 'succeeded', duration: expect.any(Number) });
  });

  it('is a line of text each where LOG_FORMAT says so', TIMEOUT, async () => {
    await using stage = await openStage('local', { LOG_FORMAT: 'text' });
    const { stderr, exitCode } = await runDbstash(['backup'], stage.env);
    expect(exitCode, stderr).toBe(0);
    const lines = stderr.trim().split('\n');
    for (const line of lines)
      expect(line).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ INFO {2}\S.* {2}series=sqlite:\/\/\S+/);
    expect(lines.at(-1)).toMatch(/ run succeeded .*run=\d{8}T\d{6}Z-[0-9a-f]{6} .*outcome=succeeded/);
  });
});

interface Footprint {
  readonly descriptors: number;
  readonly entries: number;
}

/** What a process holds at a moment when it has no child: least over a while, since the schedule goes on. */
async function measure(pid: number, tempDir: string): Promise<Footprint> {
  const looks: Footprint[] = [];
  await waitFor(
    () => {
      if (childrenOf(pid).length === 0) {
        const entries = countEntries(tempDir);
        if (entries !== undefined) looks.push({ descriptors: readdirSync(`/proc/${pid}/fd`).length, entries });
      }
      return looks.length > 150;
    },
    { timeoutMs: 30_000, title: 'the daemon has no child' },
  );
  const least = (pick: (look: Footprint) => number) => Math.min(...looks.map(pick));
  return { descriptors: least((look) => look.descriptors), entries: least((look) => look.entries) };
}

/** Undefined where a folder went while we looked. */
function countEntries(folder: string): number | undefined {
  try {
    return readdirSync(folder, { recursive: true }).length;
  } catch {
    return undefined;
  }
}

/** Those that have ended but that nobody has waited for are children, too. */
function childrenOf(pid: number): string[] {
  const tasks = readdirSync(`/proc/${pid}/task`);
  const lists = tasks.map((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8'));
  return lists.flatMap((list) => list.split(' ')).filter((child) => child !== '');
}

describe('a daemon that has run thirty times', () => {
  it('holds no more files, children and temporary files than after five', { timeout: 420_000 }, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: EVERY_SECOND, RETENTION_MAX_FILES: '3' });
    await using daemon = startDbstash([], stage.env, { timeoutMs: 400_000 });
    await waitForTimes(daemon, /^run succeeded/, 5);
    const before = await measure(daemon.pid, stage.env.BACKUP_TEMP_DIR!);
    await waitForTimes(daemon, /^run succeeded/, 30, 300_000);
    const after = await measure(daemon.pid, stage.env.BACKUP_TEMP_DIR!);
    expect(after).toEqual(before);
    await stop(daemon);
    // It may have been in the middle of another run, which is then no try and has perhaps not pruned.
    const left = readdirSync(stage.env.BACKUP_TEMP_DIR!, { recursive: true }).map(String);
    expect(left.filter((name) => !/^tries\/[0-9a-f]{16}$/.test(name))).toEqual(['locks', 'tries']);
    expect([3, 4]).toContain((await listBackups(stage.env)).length);
  });
});
