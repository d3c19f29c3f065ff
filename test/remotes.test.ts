import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backupEnv, listBackups } from './support/backups.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { makeBackup } from './support/restores.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';

type Env = Record<string, string>;

const TIMEOUT = { timeout: 240_000 };

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
  await server.createDatabase('shop');
  await server.sql('CREATE TABLE t AS SELECT i, repeat(md5(i::text), 40) FROM generate_series(1, 20000) i', {
    database: 'shop',
  });
});

afterAll(async () => {
  await server?.stop();
});

interface Stage extends AsyncDisposable {
  readonly scratch: Scratch;
  readonly local: TestRemote;
  readonly s3: TestRemote;
  readonly env: Env;
}

/** A local folder, and an S3 server as the second remote. */
async function openStage(more: Env = {}): Promise<Stage> {
  await using opening = new AsyncDisposableStack();
  const scratch = opening.use(scratchFolder());
  const local = opening.use(await startRemote('local'));
  const s3 = opening.use(await startRemote('s3'));
  const env = backupEnv(server.uri('shop'), local, scratch, { RCLONE_REMOTE_2: s3.remote, ...s3.env, ...more });
  const opened = opening.move();
  return { scratch, local, s3, env, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

const stateOn = async (env: Env, remote: TestRemote) =>
  (await listBackups(env)).filter((backup) => (backup as { remote?: string }).remote === remote.remote);

describe('several remotes', () => {
  it('get the same artifact and manifest from one dump', TIMEOUT, async () => {
    await using stage = await openStage({ BACKUP_COMPRESS: 'zstd' });
    const { artifact, bytes, sha256 } = await makeBackup(stage.env);
    for (const remote of [stage.local, stage.s3]) {
      const listing = await remote.list();
      expect([...listing.keys()].sort()).toEqual([artifact, `${artifact}.manifest.json`]);
      expect(listing.get(artifact)).toEqual({ bytes, sha256 });
    }
  });

  it.each(['local', 's3'] as const)('also where %s cannot be written: that is a warning', TIMEOUT, async (failing) => {
    await using stage = await openStage();
    if (failing === 's3') stage.s3.s3!.fault({ operation: 'PutObject', status: 403, code: 'AccessDenied' });
    else {
      rmSync(stage.local.remote, { recursive: true });
      writeFileSync(stage.local.remote, 'no folder');
    }
    const run = await runDbstash(['backup', '--json'], {
      ...stage.env,
      RCLONE_EXTRA_ARGS: '--low-level-retries=1 --retries=1',
    });
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    expect(JSON.parse(run.stdout)).toMatchObject({ outcome: 'warning', backups: [{ database: 'shop' }] });
    expect(run.stderr).toMatch(/gets no backup|has no backup|is left out/);
    const other = failing === 's3' ? stage.local : stage.s3;
    expect([...(await other.list()).keys()]).toHaveLength(2);
  });

  it('F01: get nothing when the dump fails', TIMEOUT, async () => {
    await using stage = await openStage({ DUMP_EXTRA_ARGS: '--table=nothing' });
    const run = await runDbstash(['backup'], stage.env);
    expect(run, run.stderr).toMatchObject({ exitCode: 1 });
    expect((await stage.local.list()).size + (await stage.s3.list()).size).toBe(0);
  });

  it('F60: of which one takes nothing any more: it alone is cut off', TIMEOUT, async () => {
    await using stage = await openStage({ BACKUP_STALL_TIMEOUT: '9s', RCLONE_EXTRA_ARGS: '--s3-upload-concurrency=1' });
    stage.s3.s3!.fault({ operation: 'UploadPart', stall: true });
    const run = await runDbstash(['backup', '--json'], stage.env, { timeoutMs: 120_000 });
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    expect(run.stderr).toContain('the others waited for it');
    expect(await stage.local.list()).toHaveProperty('size', 2);
  });

  it(
    'F60: of which one does not even answer: the others get the backup, and are listed and restored from',
    TIMEOUT,
    async () => {
      for (const mode of ['stream', 'directory']) {
        await using stage = await openStage({ BACKUP_STALL_TIMEOUT: '9s', BACKUP_MODE: mode });
        for (const operation of ['PutObject', 'UploadPart'] as const) stage.s3.s3!.fault({ operation, stall: true });
        const run = await runDbstash(['backup', '--json'], stage.env, { timeoutMs: 120_000 });
        expect(run, run.stderr).toMatchObject({ exitCode: 0 });
        expect(run.stderr).toMatch(/did not answer for|the others waited/);
        expect(JSON.parse(run.stdout).outcome).toBe('warning');
        expect((await listBackups({ ...stage.env, RCLONE_REMOTE_2: '' })).map(({ state }) => state)).toEqual(['good']);
      }
    },
  );

  it('F16: of which one has the name already both get another', TIMEOUT, async () => {
    await using stage = await openStage({ BACKUP_NAME_TEMPLATE: 'fixed' });
    await stage.s3.write('FIXED.sql', 'of somebody else');
    const { artifact } = await makeBackup(stage.env);
    expect(artifact).toMatch(/^fixed-\d{8}T\d{6}Z-[0-9a-f]{6}\.sql$/);
    expect((await stage.local.list()).has(artifact)).toBe(true);
    expect((await stage.s3.read('FIXED.sql')).toString()).toBe('of somebody else');
  });

  it('are pruned each by what lies there', TIMEOUT, async () => {
    await using stage = await openStage({ BACKUP_NAME_TEMPLATE: '{db}-{uuid}' });
    const { RCLONE_REMOTE_2: _, ...alone } = stage.env;
    await makeBackup(alone);
    await makeBackup(stage.env);
    await makeBackup({ ...stage.env, RETENTION_MAX_FILES: '2' });
    expect((await stateOn(stage.env, stage.local)).length).toBe(2);
    expect((await stateOn(stage.env, stage.s3)).length).toBe(2);
    const prune = await runDbstash(['prune'], { ...stage.env, RETENTION_MAX_FILES: '1' });
    expect(prune, prune.stderr).toMatchObject({ exitCode: 0 });
    expect((await listBackups(stage.env)).length).toBe(2);
    await makeBackup(alone);
    await stage.s3.stop();
    const quick = { RCLONE_EXTRA_ARGS: '--low-level-retries=1 --retries=1', RETENTION_MAX_FILES: '1' };
    const half = await runDbstash(['prune', '--json'], { ...stage.env, ...quick });
    expect(half, half.stderr).toMatchObject({ exitCode: 3 });
    expect(JSON.parse(half.stdout).removed).toHaveLength(1);
    const broken = { ...alone, RCLONE_REMOTE_2: 'nothing-of-this-name:x' };
    for (const command of ['prune', 'list']) {
      const left = await runDbstash([command], { ...broken, ...quick });
      expect(left, left.stderr).toMatchObject({ exitCode: 3 });
      expect(left.stderr).toMatch(/nothing-of-this-name:x is left out: /);
    }
  });

  it('restore from the next one that has the backup, whole', TIMEOUT, async () => {
    await using stage = await openStage();
    const { artifact } = await makeBackup(stage.env);
    const bytes = await stage.local.read(artifact);
    bytes[1000]! ^= 1;
    await stage.local.write(artifact, bytes);
    const run = await runDbstash(['restore', '--database', 'from the second'], stage.env);
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    expect(run.stderr).toContain('has it too and is read');
    expect(await server.sql('SELECT count(*) FROM t', { database: 'from the second' })).toEqual(['20000']);
    expect((await listBackups(stage.env)).map(({ state }) => state)).toEqual(['damaged', 'good']);
  });

  it('of which one is down are listed all the same, with the exit code of a remote that failed', TIMEOUT, async () => {
    await using stage = await openStage();
    await makeBackup(stage.env);
    rmSync(stage.local.remote, { recursive: true });
    mkdirSync(stage.local.remote);
    await stage.s3.stop();
    const list = await runDbstash(['list', '--json'], {
      ...stage.env,
      RCLONE_EXTRA_ARGS: '--low-level-retries=1 --retries=1',
    });
    expect(list, list.stderr).toMatchObject({ exitCode: 3 });
    expect(JSON.parse(list.stdout)).toEqual([]);
  });

  it('F53: are left clean by a signal', TIMEOUT, async () => {
    await using stage = await openStage({ RCLONE_EXTRA_ARGS: '--bwlimit=500k' });
    await using run = startDbstash(['backup'], stage.env);
    await waitFor(async () => [...(await stage.local.list()).keys()].some((path) => path.endsWith('.partial')));
    run.kill('SIGTERM');
    const { exitCode, durationMs, stderr } = await run.exited;
    expect(exitCode, stderr).toBe(143);
    expect(durationMs).toBeLessThan(30_000);
    expect((await stage.local.list()).size + (await stage.s3.list()).size).toBe(0);
  });

  it('that are the same twice are refused', TIMEOUT, async () => {
    const env = { DB_URI: server.uri('shop'), RCLONE_REMOTE: '/backup', RCLONE_REMOTE_3: '/backup' };
    const run = await runDbstash(['config'], env);
    expect(run.exitCode).toBe(2);
    expect(run.stdout).toContain('RCLONE_REMOTE_3: is the same as RCLONE_REMOTE');
  });
});
