import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ConfigError, DbstashError, DumpError, EXIT, LockedError, RemoteError } from '../src/core/errors.ts';
import type { Report } from '../src/core/report.ts';
import { runBackup } from '../src/jobs/run.ts';
import { lockSeries } from '../src/lock.ts';
import { backupEnv, fakePath, fakePgDump, listBackups } from './support/backups.ts';
import { type DbstashProcess, type DbstashRun, runDbstash, startDbstash } from './support/dbstash.ts';
import { createFakeClock } from './support/fakeClock.ts';
import { createTestHost } from './support/host.ts';
import { startMariadb } from './support/mysql.ts';
import { describeWith } from './support/need.ts';
import { startPostgres } from './support/postgres.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import type { Fault } from './support/s3/faults.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { createSqlite, daysAgo, seedBackup } from './support/seeds.ts';

type Env = Record<string, string>;

const TIMEOUT = { timeout: 180_000 };
/** rclone's own retries would hide a fault that is there for a moment. */
const IMPATIENT = '--retries=1 --low-level-retries=1 --timeout=3s --contimeout=3s';
const AGAIN = /^to be tried again in /;

interface Stage extends AsyncDisposable {
  readonly home: Scratch;
  readonly remote: TestRemote;
  readonly env: Env;
}

async function openStage(more: Env = {}): Promise<Stage> {
  await using opening = new AsyncDisposableStack();
  const home = opening.use(scratchFolder());
  const remote = opening.use(await startRemote('s3'));
  const env = backupEnv(createSqlite(home), remote, home, {
    BACKUP_SERIES: 'app',
    BACKUP_RETRIES: '2',
    RCLONE_EXTRA_ARGS: IMPATIENT,
    ...more,
  });
  const opened = opening.move();
  return { home, remote, env, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

async function backUp(env: Env): Promise<{ run: DbstashRun; report: Report; tries: number }> {
  const run = await runDbstash(['backup', '--json'], env, { timeoutMs: 120_000 });
  const report = JSON.parse(run.stdout) as Report;
  return { run, report, tries: 1 + run.lines.filter(({ message }) => AGAIN.test(message)).length };
}

const waits = (program: DbstashProcess) => program.waitForLog(/to be tried again in /, 60_000);

const UPLOAD = /\.sql$/;
const FAULTS: readonly (readonly [name: string, fault: Fault])[] = [
  ['answers 500 to the upload', { operation: 'PutObject', key: UPLOAD, status: 500, times: 1 }],
  ['answers 503 to the upload', { operation: 'PutObject', key: UPLOAD, status: 503, code: 'SlowDown', times: 1 }],
  ['answers 429 to the record', { operation: 'PutObject', key: /pending/, status: 429, times: 1 }],
  ['resets the connection', { operation: 'PutObject', key: UPLOAD, reset: true, times: 1 }],
  ['answers nothing until rclone gives up', { operation: 'PutObject', key: UPLOAD, stall: true, times: 1 }],
  ['answers 500 to the manifest', { operation: 'PutObject', key: /manifest/, status: 500, times: 1 }],
  ['stores something shorter', { operation: 'PutObject', key: UPLOAD, shorten: true, times: 1 }],
];

describe.concurrent('a run with BACKUP_RETRIES', () => {
  for (const [name, fault] of FAULTS) {
    it(`F50: makes one backup under a fresh name where the remote once ${name}`, TIMEOUT, async () => {
      await using stage = await openStage({ RETENTION_MAX_FILES: '2' });
      for (const days of [1, 2, 3])
        await seedBackup(stage.remote, { artifact: `old-${days}.sql`, startedAt: daysAgo(days) });
      stage.remote.s3?.fault(fault);
      const { run, report, tries } = await backUp(stage.env);
      expect(run.exitCode, run.stderr).toBe(0);
      expect(tries).toBe(2);
      expect(report).toMatchObject({ outcome: 'succeeded', warnings: [] });
      expect(report.removed.toSorted()).toEqual(['old-2.sql', 'old-3.sql']);
      expect(report.backups).toHaveLength(1);
      const { artifact } = report.backups[0]!;
      const first = run.lines.flatMap(({ message }) => /app-[\d-]+\.sql/.exec(message)?.[0] ?? []);
      expect(first.at(-1)).toBe(artifact);
      const names = [artifact, `${artifact}.manifest.json`, 'old-1.sql', 'old-1.sql.manifest.json'];
      expect([...(await stage.remote.list()).keys()].sort()).toEqual(names.sort());
      expect(stage.remote.s3?.uploads()).toEqual([]);
      expect((await listBackups(stage.env)).map(({ state }) => state)).toEqual(['good', 'good']);
    });
  }

  it('F50: gives up after the last try with its exit code, and has told of each', TIMEOUT, async () => {
    await using stage = await openStage({ BACKUP_RETRIES: '1' });
    stage.remote.s3?.fault({ operation: 'PutObject', key: UPLOAD, status: 500 });
    const { run, report, tries } = await backUp(stage.env);
    expect(run.exitCode).toBe(3);
    expect(tries).toBe(2);
    expect(report).toMatchObject({ outcome: 'failed', exitCode: 3, backups: [] });
    expect(run.lines.filter(({ level }) => level === 'error')).toHaveLength(1);
    expect([...(await stage.remote.list()).keys()]).toEqual([]);
  });

  it('sweeps what a try left whose cleaning up failed too, once another has committed', TIMEOUT, async () => {
    await using stage = await openStage();
    stage.remote.s3?.fault({ operation: 'PutObject', key: UPLOAD, status: 500, performed: true, times: 1 });
    stage.remote.s3?.fault({ operation: ['DeleteObject', 'DeleteObjects'], status: 500 });
    await using program = startDbstash(['backup', '--json'], stage.env);
    await waits(program);
    expect([...(await stage.remote.list()).keys()]).toHaveLength(2);
    stage.remote.s3?.clearFaults();
    const run = await program.exited;
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.stderr).toMatch(/could not be removed, and is swept in a day/);
    const report = JSON.parse(run.stdout) as Report;
    expect(report.outcome).toBe('succeeded');
    const { artifact } = report.backups[0]!;
    expect([...(await stage.remote.list()).keys()].sort()).toEqual([artifact, `${artifact}.manifest.json`]);
  });

  it('takes a further remote in again that was down at the first try', TIMEOUT, async () => {
    await using stage = await openStage();
    await using second = await startRemote('s3');
    const env = { ...stage.env, ...second.s3!.rcloneEnv('far'), RCLONE_REMOTE_2: 'far:bucket/backups' };
    second.s3?.fault({ operation: '*', status: 500, times: 1 });
    stage.remote.s3?.fault({ operation: 'PutObject', key: UPLOAD, status: 500, times: 1 });
    const failing = second.s3!.fault({ operation: 'PutObject', key: UPLOAD, status: 500, times: 1 });
    const { run, report, tries } = await backUp(env);
    expect(run.exitCode, run.stderr).toBe(0);
    expect(tries + failing.hits).toBeGreaterThan(1);
    expect(report.backups[0]?.remotes).toHaveLength(2);
    expect(report).toMatchObject({ outcome: 'succeeded', warnings: [] });
    const { artifact } = report.backups[0]!;
    for (const remote of [stage.remote, second])
      expect([...(await remote.list()).keys()].sort()).toEqual([artifact, `${artifact}.manifest.json`]);
  });

  it(
    'holds the lock, keeps no folder of the failed try, and ends at once at SIGTERM while it waits',
    TIMEOUT,
    async () => {
      await using stage = await openStage();
      stage.remote.s3?.fault({ operation: 'PutObject', key: UPLOAD, status: 500 });
      await using program = startDbstash(['backup'], stage.env);
      await waits(program);
      const left = readdirSync(join(stage.home.path, 'tmp')).filter((name) => /^work-\d/.test(name));
      expect(left).toEqual([]);
      expect((await runDbstash(['backup'], stage.env)).exitCode).toBe(EXIT.locked);
      const before = performance.now();
      program.kill('SIGTERM');
      expect((await program.exited).exitCode).toBe(143);
      expect(performance.now() - before).toBeLessThan(4000);
      stage.remote.s3?.clearFaults();
      expect((await runDbstash(['backup'], stage.env)).exitCode).toBe(0);
    },
  );

  it('F50: is held to BACKUP_TIMEOUT with all of its tries', TIMEOUT, async () => {
    await using stage = await openStage({ BACKUP_TIMEOUT: '3s' });
    const fault = stage.remote.s3!.fault({ operation: 'ListObjectsV2', status: 500 });
    stage.remote.s3?.fault({ operation: 'ListObjects', status: 500 });
    const { run, report } = await backUp({ ...stage.env, BACKUP_RETRIES: '9' });
    expect(run.exitCode).toBe(1);
    expect(report.error).toMatch(/longer than BACKUP_TIMEOUT, 3s/);
    expect(run.durationMs).toBeLessThan(45_000);
    expect(fault.hits).toBeLessThan(9);
  });

  it('does not wait where another run has the lock, or the configuration cannot work', TIMEOUT, async () => {
    await using stage = await openStage();
    const lease = await lockSeries(stage.env.BACKUP_TEMP_DIR!, 'app', () => {});
    expect((await backUp(stage.env)).tries).toBe(1);
    await lease.release();
    const wrong = await backUp({ ...stage.env, RCLONE_REMOTE: 'nowhere:x' });
    expect(wrong.report.outcome).toBe('failed');
    const forbidden = await openStage();
    forbidden.remote.s3?.fault({ operation: '*', status: 403, code: 'AccessDenied' });
    const denied = await backUp(forbidden.env);
    await forbidden[Symbol.asyncDispose]();
    expect([denied.run.exitCode, denied.tries], denied.run.stderr).toEqual([3, 1]);
  });
});

describeWith(
  ['initdb', 'postgres', 'pg_dump', 'pg_dumpall'],
  'a run over several databases with BACKUP_RETRIES',
  () => {
    it('tries only those again that failed, and keeps the warnings of those that did not', TIMEOUT, async () => {
      await using home = scratchFolder();
      await using remote = await startRemote('local');
      await using server = await startPostgres();
      for (const name of ['a', 'b', 'c']) await server.createDatabase(name);
      const once = join(home.path, 'failed');
      const fake = fakePgDump(
        home,
        `case "$PGDATABASE $*" in *b*) if [ ! -e '${once}' ]; then : > '${once}'; echo "pg_dump: error: server closed the connection" >&2; exit 1; fi;; esac\nreal "$@"`,
      );
      const env = backupEnv(server.uri('postgres'), remote, home, { DB_NAME: 'a,b,c', BACKUP_RETRIES: '1', ...fake });
      const { run, report, tries } = await backUp(env);
      expect(run.exitCode, run.stderr).toBe(0);
      expect(existsSync(once)).toBe(true);
      expect(tries).toBe(2);
      expect(report).toMatchObject({ outcome: 'succeeded', warnings: [] });
      const names = report.backups.map(({ database }) => database).sort();
      expect(new Set(names).size).toBe(names.length);
      expect(names).toEqual(expect.arrayContaining(['a', 'b', 'c']));
      const listed = await listBackups(env);
      expect(listed.map(({ database }) => database).sort()).toEqual(names);
      expect(new Set(report.backups.map(({ run: of }) => of))).toEqual(new Set([report.run]));
    });

    it('F55, F56: tries nothing again that PostgreSQL will refuse again', TIMEOUT, async () => {
      await using home = scratchFolder();
      await using remote = await startRemote('local');
      await using server = await startPostgres();
      await server.createDatabase('shop');
      await server.sql("CREATE TABLE t AS SELECT 1 AS i; CREATE ROLE poor LOGIN PASSWORD 'of-the-poor'", {
        database: 'shop',
      });
      const poor = server.uri('shop', { user: 'poor', password: 'of-the-poor' });
      const old = fakePath(home, { pg_dump: '[ "$1" = --version ] && echo "pg_dump (PostgreSQL) 9.6.24" || exit 1' });
      const cases: Env[] = [
        { DB_URI: server.uri('shop', { password: 'wrong' }) },
        { DB_URI: server.uri('nothing') },
        { DB_URI: poor },
        { DB_URI: server.uri('shop'), ...old },
      ];
      for (const more of cases) {
        const { run, tries } = await backUp(backupEnv('', remote, home, { BACKUP_RETRIES: '1', ...more }));
        expect([run.exitCode === 0, tries], run.stderr).toEqual([false, 1]);
      }
      expect([...(await remote.list()).keys()]).toEqual([]);
    });

    it('F55: tries again where PostgreSQL is not there yet', TIMEOUT, async () => {
      await using home = scratchFolder();
      await using remote = await startRemote('local');
      const { tries, run } = await backUp(
        backupEnv('postgres://app:secret-of-app@127.0.0.1:1/app', remote, home, { BACKUP_RETRIES: '1' }),
      );
      expect([run.exitCode, tries], run.stderr).toEqual([1, 2]);
    });
  },
);

describeWith(['mariadbd', 'mariadb', 'mariadb-dump'], 'a run of MariaDB with BACKUP_RETRIES', () => {
  it('F55: tries nothing again that the server will refuse again', TIMEOUT, async () => {
    await using home = scratchFolder();
    await using remote = await startRemote('local');
    await using server = await startMariadb();
    await server.createDatabase('shop');
    await server.sql(
      "CREATE TABLE shop.t AS SELECT 1 AS i; CREATE USER poor IDENTIFIED BY 'of-the-poor'; GRANT PROCESS ON *.* TO poor",
    );
    const more = { ENGINE: 'mariadb', PATH: server.path, BACKUP_RETRIES: '1' };
    const uris = [
      server.uri('shop', { password: 'wrong' }),
      server.uri('nothing'),
      server.uri('shop', { user: 'poor', password: 'of-the-poor' }),
    ];
    for (const uri of uris) {
      const { run, tries } = await backUp(backupEnv(uri, remote, home, more));
      expect([run.exitCode, tries], run.stderr).toEqual([1, 1]);
    }
  });
});

describe('the tries of a run', () => {
  async function drive(failures: readonly Error[], more: Env = {}) {
    await using home = scratchFolder();
    const clock = createFakeClock('2026-02-07T02:00:00Z');
    const env = { DB_URI: 'sqlite:///none.db', RCLONE_REMOTE: '/none', BACKUP_TEMP_DIR: home.path, ...more };
    const begun: number[] = [];
    const start = clock.now().getTime();
    const host = createTestHost(env, { clock });
    const running = runBackup(host, async () => {
      begun.push((clock.now().getTime() - start) / 1000);
      throw failures[Math.min(begun.length, failures.length) - 1]!;
    });
    let isOver = false;
    void running.finally(() => {
      isOver = true;
    });
    while (!isOver) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      // Taking the lock takes its time, of the real one.
      if (!isOver && begun.length > 0) clock.step();
    }
    return { report: await running, begun };
  }

  it('begin after twice as long each time, and never after more than five minutes', async () => {
    const { report, begun } = await drive([new RemoteError('down')], {
      BACKUP_RETRIES: '8',
      BACKUP_STALL_TIMEOUT: '0',
    });
    expect(begun).toEqual([0, 5, 15, 35, 75, 155, 315, 615, 915]);
    expect(report).toMatchObject({ outcome: 'failed', exitCode: 3, error: 'down' });
  });

  it('are but one unless more are asked for', async () => {
    expect((await drive([new RemoteError('down')], { BACKUP_STALL_TIMEOUT: '0' })).begun).toEqual([0]);
  });

  it('tell the last failure, and end with it', async () => {
    const failures = [new RemoteError('first'), new DumpError('second'), new ConfigError('third'), new Error('never')];
    const { report, begun } = await drive(failures, { BACKUP_RETRIES: '9', BACKUP_STALL_TIMEOUT: '0' });
    expect(begun).toHaveLength(3);
    expect(report).toMatchObject({ exitCode: 2, error: 'third' });
  });

  it.each([
    new LockedError('another run'),
    new DumpError('a failed', { cause: new AggregateError([new DumpError('permission denied for table t')]) }),
    new RemoteError('rclone exited with 1: AccessDenied: Access Denied'),
    new RemoteError('rclone exited with 1: api error Forbidden: Forbidden'),
    new RemoteError('rclone exited with 1: https response error StatusCode: 403, RequestID: x'),
    new DumpError("mysqldump: Got error: 1142: SELECT command denied to user 'poor'@'%' for table 't'"),
    new DumpError('pg_dump: error: aborting because of server version mismatch'),
  ])('are not repeated after: %s', async (error) => {
    expect((await drive([error], { BACKUP_RETRIES: '3', BACKUP_STALL_TIMEOUT: '0' })).begun).toEqual([0]);
  });

  it('are repeated where one of several databases may do better', async () => {
    const cause = new AggregateError([new DumpError('permission denied'), new DbstashError('connection reset')]);
    const { begun } = await drive([new DumpError('two failed', { cause })], {
      BACKUP_RETRIES: '1',
      BACKUP_STALL_TIMEOUT: '0',
    });
    expect(begun).toEqual([0, 5]);
  });

  it('stop with BACKUP_TIMEOUT, also where one waits', async () => {
    const { report, begun } = await drive([new RemoteError('down')], {
      BACKUP_RETRIES: '9',
      BACKUP_TIMEOUT: '20s',
      BACKUP_STALL_TIMEOUT: '0',
    });
    expect(begun).toEqual([0, 5, 15]);
    expect(report.error).toMatch(/BACKUP_TIMEOUT, 20s: down/);
  });
});
