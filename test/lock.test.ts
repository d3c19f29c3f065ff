import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backupEnv, listBackups } from './support/backups.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { createGates, type GateOptions, type Gates } from './support/gates.ts';
import { expireLeases, findLeases } from './support/leases.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';

let postgres: PostgresServer;

beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.createDatabase('shop');
  await postgres.sql('CREATE TABLE orders AS SELECT i FROM generate_series(1, 1000) i', { database: 'shop' });
});

afterAll(async () => {
  await postgres?.stop();
});

interface Stage extends AsyncDisposable {
  readonly home: Scratch;
  readonly remote: TestRemote;
  readonly tempDir: string;
  readonly env: Record<string, string>;
  readonly gates: Gates;
}

const DUMP = '--\n-- PostgreSQL database dump\n--\n\n--\n-- PostgreSQL database dump complete\n--\n\n';

/** One folder of backups and one for locks, which all that is run in the test shares. */
async function openStage(options: Partial<GateOptions> = {}): Promise<Stage> {
  await using opening = new AsyncDisposableStack();
  const home = opening.use(scratchFolder());
  const remote = opening.use(await startRemote('local'));
  const dump = join(home.path, 'dump.sql');
  writeFileSync(dump, DUMP);
  const gates = createGates(home, { dump, ...options });
  opening.defer(gates.drain);
  const more = { PATH: gates.path, BACKUP_NAME_TEMPLATE: '{db}-{uuid}' };
  const env = backupEnv(postgres.uri('shop'), remote, home, more);
  const opened = opening.move();
  const tempDir = env.BACKUP_TEMP_DIR!;
  return { home, remote, tempDir, env, gates, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** A tool of the same folder of locks that waits for nothing. */
const free = ({ env }: Stage, more: Record<string, string> = {}) => {
  const { PATH: _, ...rest } = env;
  return { ...rest, ...more };
};

const artifacts = async (remote: TestRemote): Promise<string[]> =>
  [...(await remote.list()).keys()].filter((path) => /\.sql(\.partial)?$/.test(path));

const TIMEOUT = { timeout: 120_000 };

describe.concurrent('F22: the lock of a series', () => {
  it('lets one run at a time pass, among processes that share the folder; the other is skipped', TIMEOUT, async () => {
    await using stage = await openStage({ stops: [0] });
    await using first = startDbstash(['backup'], stage.env);
    await stage.gates.arrived('dump@0');
    const second = await runDbstash(['backup'], free(stage));
    expect(second, second.stderr).toMatchObject({ exitCode: 11 });
    expect(second.lines.at(-1)).toMatchObject({ level: 'warn', outcome: 'skipped', series: expect.any(String) });
    expect(second.lines.at(-1)?.message).toMatch(/^run skipped: another run of pg:.* is going on/);
    stage.gates.open('dump@0');
    expect(await first.exited).toMatchObject({ exitCode: 0 });
    expect(await listBackups(stage.env)).toHaveLength(1);
    const third = await runDbstash(['backup'], free(stage));
    expect(third, third.stderr).toMatchObject({ exitCode: 0 });
  });

  it('is taken by prune too', TIMEOUT, async () => {
    await using stage = await openStage({ stops: [0] });
    await using first = startDbstash(['backup'], stage.env);
    await stage.gates.arrived('dump@0');
    const prune = await runDbstash(['prune'], free(stage, { RETENTION_MAX_FILES: '1' }));
    expect(prune, prune.stderr).toMatchObject({ exitCode: 11 });
    expect(prune.stderr).toContain('another run of');
    stage.gates.open('dump@0');
    await first.exited;
  });

  it('keeps a backup away while prune has it', TIMEOUT, async () => {
    await using stage = await openStage({ rclone: { call: 'delete*.manifest.json*' } });
    for (let count = 0; count < 2; count += 1) await runDbstash(['backup'], free(stage));
    await using prune = startDbstash(['prune'], { ...stage.env, RETENTION_MAX_FILES: '1' });
    await stage.gates.arrived('call');
    expect(await runDbstash(['backup'], free(stage))).toMatchObject({ exitCode: 11 });
    stage.gates.open('call');
    expect(await prune.exited).toMatchObject({ exitCode: 0 });
    expect(await listBackups(stage.env)).toHaveLength(1);
  });

  it('does not keep another series waiting', TIMEOUT, async () => {
    await using stage = await openStage({ stops: [0] });
    await using first = startDbstash(['backup'], stage.env);
    await stage.gates.arrived('dump@0');
    const second = await runDbstash(['backup'], free(stage, { BACKUP_SERIES: 'another' }));
    expect(second, second.stderr).toMatchObject({ exitCode: 0 });
    stage.gates.open('dump@0');
    expect(await first.exited).toMatchObject({ exitCode: 0 });
  });

  it('is not taken where BACKUP_LOCK is false', TIMEOUT, async () => {
    await using stage = await openStage({ stops: [0] });
    await using first = startDbstash(['backup'], { ...stage.env, BACKUP_LOCK: 'false' });
    await stage.gates.arrived('dump@0');
    const locked = await runDbstash(['backup'], free(stage));
    expect(locked, locked.stderr).toMatchObject({ exitCode: 0 });
    const second = await runDbstash(['backup'], free(stage, { BACKUP_LOCK: 'false' }));
    expect(second, second.stderr).toMatchObject({ exitCode: 0 });
    stage.gates.open('dump@0');
    expect(await first.exited).toMatchObject({ exitCode: 0 });
    expect((await listBackups(stage.env)).map(({ state }) => state)).toEqual(['good', 'good', 'good']);
  });

  it('of a holder that was killed goes over when its lease has run out, and not before', TIMEOUT, async () => {
    await using stage = await openStage({ stops: [0] });
    await using first = startDbstash(['backup'], stage.env);
    await stage.gates.arrived('dump@0');
    first.kill('SIGKILL');
    await first.exited;
    const early = await runDbstash(['backup'], free(stage));
    expect(early, early.stderr).toMatchObject({ exitCode: 11 });
    expireLeases(stage.tempDir);
    const late = await runDbstash(['backup'], free(stage));
    expect(late, late.stderr).toMatchObject({ exitCode: 0 });
    expect(late.stderr).toMatch(/removed work-\S+, which a run that died left/);
    expect(readdirSync(stage.tempDir)).toEqual(['locks']);
    expect(findLeases(stage.tempDir)).toEqual([]);
  });

  it('is not kept by an id: that of a living process stands for nothing', TIMEOUT, async () => {
    await using stage = await openStage({ stops: [0] });
    await using first = startDbstash(['backup'], stage.env);
    await stage.gates.arrived('dump@0');
    first.kill('SIGSTOP');
    expireLeases(stage.tempDir);
    const second = await runDbstash(['backup'], free(stage));
    expect(second, second.stderr).toMatchObject({ exitCode: 0 });
  });

  it.each([
    ['while its holder was frozen ends the run when it goes on, uncommitted', 'dump@0', { stops: [0] }],
    ['on the way to the commit is noticed before it', 'call', { rclone: { call: 'moveto*' } }],
  ])('that was lost %s', TIMEOUT, async (_, gate, options) => {
    await using stage = await openStage(options);
    await using frozen = startDbstash(['backup'], stage.env);
    await stage.gates.arrived(gate);
    frozen.kill('SIGSTOP');
    expireLeases(stage.tempDir);
    const second = await runDbstash(['backup'], free(stage));
    expect(second, second.stderr).toMatchObject({ exitCode: 0 });

    stage.gates.open(gate);
    frozen.kill('SIGCONT');
    const run = await frozen.exited;
    expect(run, run.stderr).toMatchObject({ exitCode: 1 });
    expect(run.lines.at(-1)?.message).toContain('run failed: the lock of the series was lost to another run');
    const [backup, ...others] = await listBackups(stage.env);
    expect(others).toEqual([]);
    expect(await artifacts(stage.remote)).toEqual([backup!.artifact]);
  });

  it('is not lost by freezing alone: where nobody took it the run goes on', TIMEOUT, async () => {
    await using stage = await openStage({ stops: [0] });
    await using frozen = startDbstash(['backup'], stage.env);
    await stage.gates.arrived('dump@0');
    frozen.kill('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 6000));
    stage.gates.open('dump@0');
    frozen.kill('SIGCONT');
    const run = await frozen.exited;
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
  });

  it('is renewed as long as a run goes on', TIMEOUT, async () => {
    await using stage = await openStage({ stops: [0] });
    await using first = startDbstash(['backup'], stage.env);
    await stage.gates.arrived('dump@0');
    const { statSync } = process.getBuiltinModule('node:fs');
    const ages = () => findLeases(stage.tempDir).map((path) => statSync(path).mtimeMs);
    const before = ages();
    expect(before).toHaveLength(3);
    await waitFor(() => ages().every((time, index) => time > before[index]!), { timeoutMs: 15_000 });
    stage.gates.open('dump@0');
    await first.exited;
    expect(findLeases(stage.tempDir)).toEqual([]);
  });

  it('in a folder that cannot be written is a matter of configuration, and names the folder', TIMEOUT, async () => {
    await using stage = await openStage();
    mkdirSync(stage.tempDir);
    writeFileSync(join(stage.tempDir, 'locks'), '');
    const run = await runDbstash(['backup'], free(stage));
    expect(run, run.stderr).toMatchObject({ exitCode: 2 });
    expect(run.lines.at(-1)?.message).toContain(`BACKUP_TEMP_DIR: ${stage.tempDir} is not writable by uid `);
  });
});

describe.concurrent('a daemon that was frozen for so long that another process swept its private folder', () => {
  it('makes itself another, and its next run succeeds', TIMEOUT, async () => {
    await using stage = await openStage();
    const env = free(stage, {
      BACKUP_SCHEDULE: '* * * * * *',
      RCLONE_CONFIG: Buffer.from('[own]\ntype = alias\nremote = /\n').toString('base64'),
    });
    await using daemon = startDbstash([], { ...env, RCLONE_REMOTE: `own:${stage.remote.remote}` });
    await daemon.waitForLog(/run succeeded/);
    daemon.kill('SIGSTOP');
    expireLeases(stage.tempDir);
    await runDbstash(['list'], free(stage));
    expect(readdirSync(stage.tempDir).sort()).toEqual(['locks', 'tries']);
    const before = daemon.lines().length;
    daemon.kill('SIGCONT');
    await waitFor(
      () =>
        daemon
          .lines()
          .slice(before)
          .filter(({ message }) => message === 'run succeeded').length > 1,
      {
        timeoutMs: 60_000,
        title: () => daemon.stderr(),
      },
    );
    daemon.kill('SIGTERM');
    await daemon.exited;
  });
});

describe.concurrent('prune', () => {
  it('spares the backup that is being restored, and that of a dead reader no longer', TIMEOUT, async () => {
    await using stage = await openStage({ rclone: { call: 'cat*.sql?' } });
    for (let count = 0; count < 3; count += 1) {
      const run = await runDbstash(['backup'], free(stage));
      expect(run.exitCode, run.stderr).toBe(0);
    }
    const [newest, middle, oldest] = await listBackups(free(stage));
    await postgres.createDatabase('copy');
    await using restore = startDbstash(['restore', oldest!.artifact, '--database', 'copy'], stage.env);
    await stage.gates.arrived('call');
    const prune = await runDbstash(['prune', '--retention-max-files', '1'], free(stage));
    expect(prune, prune.stderr).toMatchObject({ exitCode: 0 });
    expect(prune.stdout).toMatch(new RegExp(`in use +${oldest!.artifact}`));
    expect(prune.stdout).toMatch(new RegExp(`removed +${middle!.artifact}`));
    const ids = async () => (await listBackups(free(stage))).map(({ id }) => id);
    expect(await ids()).toEqual([newest!.id, oldest!.id]);
    stage.gates.open('call');
    expect(await restore.exited).toMatchObject({ exitCode: 0 });
    expect(await postgres.sql('SELECT count(*) FROM orders', { database: 'copy' })).toEqual(['1000']);

    const reading = join(stage.tempDir, 'reading');
    mkdirSync(join(reading, `${oldest!.id}.dead`));
    expireLeases(stage.tempDir);
    await runDbstash(['prune', '--retention-max-files', '1'], free(stage));
    expect(await ids()).toEqual([newest!.id]);
    expect(existsSync(join(reading, `${oldest!.id}.dead`))).toBe(false);
  });
});
