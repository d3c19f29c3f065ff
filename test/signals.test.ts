import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backupEnv, listBackups } from './support/backups.ts';
import { type DbstashProcess, type DbstashRun, runDbstash, startDbstash } from './support/dbstash.ts';
import { fakeTools } from './support/fakeTool.ts';
import { createGates, type GateOptions, type Gates, isAlive } from './support/gates.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { REMOTE_KINDS, type RemoteKind, startRemote, type TestRemote } from './support/remotes.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

/** 8 MB: more than one part of an upload to S3. */
const ROWS = `CREATE TABLE orders AS SELECT i AS id, repeat(md5(i::text), 8) AS note FROM generate_series(1, 32000) i;`;
const MIDWAY = 7_000_000;
/** rclone takes its last, and so 5 MiB are a part. */
const PARTS = { RCLONE_EXTRA_ARGS: '--s3-chunk-size=5M' };

let postgres: PostgresServer;
let scratch: Scratch;
let dump: string;

beforeAll(async () => {
  scratch = scratchFolder();
  postgres = await startPostgres();
  await postgres.createDatabase('shop');
  await postgres.sql(ROWS, { database: 'shop' });
  dump = join(scratch.path, 'shop.sql');
  const args = ['--dbname', postgres.uri('shop'), '--file', dump];
  execFileSync(requireTool('pg_dump'), args);
});

afterAll(async () => {
  await postgres?.stop();
  await scratch?.[Symbol.asyncDispose]();
});

interface Stage extends AsyncDisposable {
  readonly home: Scratch;
  readonly remote: TestRemote;
  readonly env: Record<string, string>;
  readonly gates: Gates;
}

async function openStage(kind: RemoteKind, options: Partial<GateOptions> = {}): Promise<Stage> {
  await using opening = new AsyncDisposableStack();
  const home = opening.use(scratchFolder());
  const remote = opening.use(await startRemote(kind));
  const gates = createGates(home, { dump, ...options });
  opening.defer(gates.drain);
  const more = { PATH: gates.path, BACKUP_NAME_TEMPLATE: '{db}-{uuid}', ...(kind === 's3' && PARTS) };
  const env = backupEnv(postgres.uri('shop'), remote, home, more);
  const opened = opening.move();
  return { home, remote, env, gates, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

interface Stopped extends DbstashRun {
  /** From the signal to the exit. */
  readonly tookMs: number;
}

async function stopWith(signal: NodeJS.Signals, program: DbstashProcess): Promise<Stopped> {
  const before = performance.now();
  program.kill(signal);
  const run = await program.exited;
  return { ...run, tookMs: performance.now() - before };
}

const messages = ({ lines }: DbstashRun, level: string): string =>
  lines
    .filter((line) => line.level === level)
    .map(({ message }) => message)
    .join('\n');

/** In time, by the number that says so, said in the log, and with no child left. */
function expectInterrupted(run: Stopped, gates: Gates, exitCode = 143, signal = 'SIGTERM'): void {
  expect(run, run.stderr).toMatchObject({ exitCode, signal: null });
  expect(run.tookMs).toBeLessThan(7000);
  expect(messages(run, 'error')).toContain(`run interrupted: interrupted by ${signal}`);
  expect(gates.calls().filter(({ pid }) => isAlive(pid))).toEqual([]);
}

const paths = async (remote: TestRemote): Promise<string[]> => [...(await remote.list()).keys()];

/** As under `kind`, brought to the middle of an upload. */
async function startUpload(
  stage: Stage,
  args = ['backup'],
  more: Record<string, string> = {},
): Promise<DbstashProcess> {
  const program = startDbstash(args, { ...stage.env, ...more });
  await stage.gates.arrived(`dump@${MIDWAY}`);
  return program;
}

const TIMEOUT = { timeout: 120_000 };

describe.concurrent('F53: a signal during a run', () => {
  for (const kind of REMOTE_KINDS) {
    it(`while it uploads to ${kind} leaves nothing on the remote`, TIMEOUT, async () => {
      await using stage = await openStage(kind, { stops: [MIDWAY] });
      await using program = await startUpload(stage);
      const dumpPid = await stage.gates.arrived(`dump@${MIDWAY}`);
      expectInterrupted(await stopWith('SIGTERM', program), stage.gates);
      expect(isAlive(dumpPid)).toBe(false);
      expect(await paths(stage.remote)).toEqual([]);
      expect(stage.remote.s3?.uploads() ?? []).toEqual([]);
    });
  }

  it('as SIGINT exits with 130', TIMEOUT, async () => {
    await using stage = await openStage('local', { stops: [MIDWAY] });
    await using program = await startUpload(stage);
    expectInterrupted(await stopWith('SIGINT', program), stage.gates, 130, 'SIGINT');
    expect(await paths(stage.remote)).toEqual([]);
  });

  it('as SIGHUP is taken for SIGTERM', TIMEOUT, async () => {
    await using stage = await openStage('local', { stops: [MIDWAY] });
    await using program = await startUpload(stage);
    expectInterrupted(await stopWith('SIGHUP', program), stage.gates, 143, 'SIGHUP');
    expect(await paths(stage.remote)).toEqual([]);
  });

  it('of a daemon ends the daemon, with the number of the run that was cut', TIMEOUT, async () => {
    await using stage = await openStage('local', { stops: [MIDWAY] });
    const more = { BACKUP_SCHEDULE: '0 0 1 1 *', BACKUP_ON_START: 'true' };
    await using program = await startUpload(stage, ['start'], more);
    expectInterrupted(await stopWith('SIGTERM', program), stage.gates);
    expect(await paths(stage.remote)).toEqual([]);
  });

  it(
    'while an s3 answers no more still ends it in time, and leaves a record of what may lie there',
    TIMEOUT,
    async () => {
      await using stage = await openStage('s3', { stops: [MIDWAY] });
      const s3 = stage.remote.s3!;
      const hold = s3.hold('UploadPart');
      await using program = await startUpload(stage);
      await hold.arrived;
      const silence = s3.hold('*');
      expectInterrupted(await stopWith('SIGTERM', program), stage.gates);
      silence.release();
      hold.release();
      const left = await paths(stage.remote);
      expect(left).toEqual([expect.stringMatching(/\.pending\.json$/)]);
      const [{ key } = { key: '' }] = s3.uploads();
      expect(`${await stage.remote.read(left[0]!)}`).toContain(`"${key.replace('backups/', '')}"`);
    },
  );

  for (const [title, script] of [
    ['', 'exec sleep 60'],
    [' by a tool that does not heed it', "trap '' TERM; while :; do sleep 0.1; done"],
  ] as const) {
    it(`while the database is asked${title} ends it`, TIMEOUT, async () => {
      await using stage = await openStage('local');
      const psql = fakeTools(stage.home, { psql: `touch '${stage.home.path}/asked'\n${script}` });
      await using program = startDbstash(['backup'], { ...stage.env, PATH: `${psql}:${stage.env.PATH}` });
      const { existsSync } = process.getBuiltinModule('node:fs');
      await waitFor(() => existsSync(join(stage.home.path, 'asked')), { timeoutMs: 60_000 });
      expectInterrupted(await stopWith('SIGTERM', program), stage.gates);
      expect(await paths(stage.remote)).toEqual([]);
    });
  }

  for (const kind of ['local', 'sftp'] as const) {
    it(`at the change of name on ${kind} leaves nothing, under either name`, TIMEOUT, async () => {
      await using stage = await openStage(kind, { rclone: { call: 'moveto*' } });
      await using program = startDbstash(['backup'], stage.env);
      await stage.gates.arrived('call');
      expectInterrupted(await stopWith('SIGTERM', program), stage.gates);
      expect(await paths(stage.remote)).toEqual([]);
    });
  }

  it('when s3 has put the upload together but not said so leaves nothing', TIMEOUT, async () => {
    await using stage = await openStage('s3');
    const hold = stage.remote.s3!.hold('CompleteMultipartUpload', undefined, { performed: true });
    await using program = startDbstash(['backup'], stage.env);
    await hold.arrived;
    await waitFor(async () => (await paths(stage.remote)).some((path) => path.endsWith('.sql')));
    expectInterrupted(await stopWith('SIGTERM', program), stage.gates);
    hold.release();
    expect(await paths(stage.remote)).toEqual([]);
  });

  it('before the manifest leaves nothing', TIMEOUT, async () => {
    await using stage = await openStage('local', { rclone: { call: 'rcat*.manifest.json*' } });
    await using program = startDbstash(['backup'], stage.env);
    await stage.gates.arrived('call');
    expectInterrupted(await stopWith('SIGTERM', program), stage.gates);
    expect(await paths(stage.remote)).toEqual([]);
  });

  it('while s3 has the manifest but does not say so leaves what the next run can tell', TIMEOUT, async () => {
    await using stage = await openStage('s3');
    const s3 = stage.remote.s3!;
    const hold = s3.hold('PutObject', /manifest\.json$/, { performed: true });
    await using program = startDbstash(['backup'], stage.env);
    await hold.arrived;
    const silence = s3.hold('*');
    expectInterrupted(await stopWith('SIGTERM', program), stage.gates);
    silence.release();
    hold.release();
    const [backup, ...others] = await listBackups(stage.env, '--all');
    expect(backup).toMatchObject({ state: 'good' });
    expect(others).toMatchObject([{ state: 'orphan', left: [] }]);
  });

  for (const kind of REMOTE_KINDS) {
    it(`during pruning on ${kind} leaves the new backup good and removes no more`, TIMEOUT, async () => {
      await using stage = await openStage(kind, { rclone: { call: 'delete*.manifest.json*' } });
      const run = await runDbstash(['backup'], stage.env);
      expect(run.exitCode, run.stderr).toBe(0);
      const env = { ...stage.env, RETENTION_MAX_FILES: '1' };
      await using program = startDbstash(['backup'], env);
      await stage.gates.arrived('call');
      expectInterrupted(await stopWith('SIGTERM', program), stage.gates);
      expect((await listBackups(env)).map(({ state }) => state)).toEqual(['good', 'good']);
    });
  }

  it('as SIGTERM to the commands that only look, exits with 143 too', TIMEOUT, async () => {
    await using stage = await openStage('s3');
    const hold = stage.remote.s3!.hold('*');
    for (const command of ['list', 'check', 'prune']) {
      const before = stage.gates.calls().length;
      const isListing = () =>
        stage.gates
          .calls()
          .slice(before)
          .some(({ text }) => /^(lsjson|lsd|rcat)/.test(text));
      await using program = startDbstash([command], stage.env);
      await waitFor(isListing, { timeoutMs: 60_000, title: `${command} looks at the remote` });
      const run = await stopWith('SIGTERM', program);
      expect(run.exitCode, command + run.stderr).toBe(143);
      expect(run.tookMs).toBeLessThan(3000);
    }
    hold.release();
  });
});

describe.concurrent('F53: a signal during a restore', () => {
  for (const [title, slow] of [
    ['before its first byte', false],
    ['midway', true],
  ] as const) {
    it(`${title} ends it, and leaves the database as it was`, TIMEOUT, async () => {
      await using stage = await openStage('s3', slow ? {} : { rclone: { call: 'cat*.sql*' } });
      const run = await runDbstash(['backup'], stage.env);
      expect(run.exitCode, run.stderr).toBe(0);
      const database = slow ? 'midway' : 'early';
      await postgres.createDatabase(database);
      const env = { ...stage.env, ...(slow && { RCLONE_BWLIMIT: '500k' }) };
      await using program = startDbstash(['restore', 'latest', '--database', database], env);
      if (slow) await waitFor(() => isLoading(database), { timeoutMs: 60_000 });
      else await stage.gates.arrived('call');
      const stopped = await stopWith('SIGTERM', program);
      expect(stopped, stopped.stderr).toMatchObject({ exitCode: 143 });
      expect(stopped.tookMs).toBeLessThan(7000);
      expect(stopped.stderr).toContain(`interrupted by SIGTERM (${database} is as it was)`);
      expect(stage.gates.calls().filter(({ pid }) => isAlive(pid))).toEqual([]);
      expect(await postgres.sql('SELECT count(*) FROM pg_class WHERE relname = $$orders$$', { database })).toEqual([
        '0',
      ]);
    });
  }
});

const isLoading = async (database: string): Promise<boolean> => {
  const query = `SELECT count(*) FROM pg_stat_activity WHERE datname = '${database}' AND query LIKE 'COPY %' AND state = 'active'`;
  return (await postgres.sql(query))[0] === '1';
};

describe.concurrent('F54: a second signal', () => {
  for (const second of ['SIGTERM', 'SIGINT'] as const) {
    it(`as ${second} kills the children and exits at once`, TIMEOUT, async () => {
      await using stage = await openStage('s3', { stops: [MIDWAY] });
      const s3 = stage.remote.s3!;
      const hold = s3.hold('UploadPart');
      await using program = await startUpload(stage);
      await hold.arrived;
      const silence = s3.hold('*');
      program.kill('SIGTERM');
      await silence.arrived;
      const run = await stopWith(second, program);
      expect(run, run.stderr).toMatchObject({ exitCode: second === 'SIGINT' ? 130 : 143 });
      expect(run.tookMs).toBeLessThan(1000);
      await waitFor(() => !stage.gates.calls().some(({ pid }) => isAlive(pid)), { timeoutMs: 1000 });
      silence.release();
      hold.release();
      expect(await paths(stage.remote)).toEqual([expect.stringMatching(/\.pending\.json$/)]);
    });
  }
});

describe.concurrent('a daemon that is idle', () => {
  const IDLE = { BACKUP_SCHEDULE: '0 0 1 1 *' };

  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    it(`says that ${signal} stopped it, and exits 0`, TIMEOUT, async () => {
      await using stage = await openStage('local');
      await using daemon = startDbstash([], { ...stage.env, ...IDLE });
      await daemon.waitForLog(/next backup at/);
      const run = await stopWith(signal, daemon);
      expect(run, run.stderr).toMatchObject({ exitCode: 0 });
      expect(run.tookMs).toBeLessThan(3000);
      expect(messages(run, 'info')).toContain(`stopped: interrupted by ${signal}`);
    });
  }

  it('exits 0 in time while it waits for a remote that does not answer', TIMEOUT, async () => {
    await using stage = await openStage('s3');
    const hold = stage.remote.s3!.hold('*');
    await using daemon = startDbstash([], { ...stage.env, ...IDLE });
    await hold.arrived;
    const run = await stopWith('SIGTERM', daemon);
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    expect(run.tookMs).toBeLessThan(3000);
    hold.release();
  });
});

/** Node's own way to load a module before the program: what no user does, and no code of ours knows of. */
function preload(folder: string, text: string): { NODE_OPTIONS: string } {
  const file = join(folder, 'preload.mjs');
  writeFileSync(file, text);
  return { NODE_OPTIONS: `--import=${file}` };
}

describe.concurrent('an internal error', () => {
  for (const [title, fault] of [
    ['that nobody caught', "throw new Error('a fault of ours')"],
    ['in a promise that nobody awaits', "void Promise.reject(new Error('a fault of ours'))"],
  ] as const) {
    it(`${title} stops the upload in order, is told in the log, and exits 1`, TIMEOUT, async () => {
      await using stage = await openStage('s3', { stops: [MIDWAY] });
      const more = preload(stage.home.path, `process.on('SIGUSR2', () => { ${fault}; });`);
      await using program = await startUpload(stage, ['backup'], more);
      await waitFor(() => stage.remote.s3!.uploads().length > 0, { timeoutMs: 60_000 });
      const run = await stopWith('SIGUSR2', program);
      expect(run, run.stderr).toMatchObject({ exitCode: 1 });
      expect(run.tookMs).toBeLessThan(7000);
      expect(messages(run, 'error')).toMatch(/internal error: Error: a fault of ours\n {4}at /);
      expect(messages(run, 'error')).toContain('run failed: stopped by an internal error: a fault of ours');
      expect(await paths(stage.remote)).toEqual([]);
      expect(stage.remote.s3!.uploads()).toEqual([]);
    });
  }
});

describe.concurrent('the end of the process', () => {
  it('comes by itself: nothing is left that would keep it, and nobody has to call exit', TIMEOUT, async () => {
    await using stage = await openStage('local');
    const more = preload(
      stage.home.path,
      "const exit = process.exit; process.exit = (code) => { console.error('exit was called'); exit(code); };",
    );
    for (const command of ['backup', 'list', 'check', 'prune']) {
      const run = await runDbstash([command], { ...stage.env, ...more });
      expect(run, command + run.stderr).toMatchObject({ exitCode: 0 });
      expect(run.stderr).not.toContain('exit was called');
    }
  });

  it('is not held up by what a tool left behind with its pipes open', TIMEOUT, async () => {
    await using stage = await openStage('local');
    const psql = fakeTools(stage.home, { psql: `sleep 30 & ${requireTool('psql')} "$@"` });
    const run = await runDbstash(['backup'], { ...stage.env, PATH: `${psql}:${stage.env.PATH}` });
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    expect(run.durationMs).toBeLessThan(15_000);
  });

  it('comes in time though a child cannot be killed', TIMEOUT, async () => {
    await using stage = await openStage('local', { stops: [MIDWAY] });
    const more = preload(stage.home.path, 'process.kill = () => true;');
    await using program = await startUpload(stage, ['backup'], more);
    const run = await stopWith('SIGTERM', program);
    expect(run, run.stderr).toMatchObject({ exitCode: 143 });
    expect(run.tookMs).toBeLessThan(7000);
    await stage.gates.drain();
    expect(await listBackups(stage.env)).toEqual([]);
  });
});
