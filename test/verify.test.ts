import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseVerdict, VERDICT_SUFFIX } from '../src/core/manifest.ts';
import { backupEnv, fakePath, listBackups } from './support/backups.ts';
import { type DbstashRun, runDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { REMOTE_KINDS, startRemote, type TestRemote } from './support/remotes.ts';
import { flipByte, makeBackup, rewriteManifest } from './support/restores.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { createSqlite, daysAgo, runSqlite, seedBackup } from './support/seeds.ts';
import { requireTool } from './support/tools.ts';

type Env = Record<string, string>;

const TIMEOUT = { timeout: 120_000 };

interface Line {
  readonly remote: string;
  readonly artifact: string;
  readonly level: string;
  readonly ok: boolean;
  readonly reason: string | null;
}

async function verify(env: Env, ...args: string[]): Promise<{ run: DbstashRun; lines: Line[] }> {
  const run = await runDbstash(['verify', '--json', ...args], env);
  return { run, lines: run.stdout === '' ? [] : JSON.parse(run.stdout) };
}

describe('verify', () => {
  let scratch: Scratch;
  let database: string;

  beforeEach(() => {
    scratch = scratchFolder();
    database = createSqlite(scratch);
  });
  afterEach(() => scratch[Symbol.asyncDispose]());

  const envFor = (remote: TestRemote, more: Env = {}): Env =>
    backupEnv(database, remote, scratch, { BACKUP_NAME_TEMPLATE: '{db}-{uuid}', ...more });

  const verdictOf = async (remote: TestRemote, artifact: string) =>
    parseVerdict((await remote.read(artifact + VERDICT_SUFFIX)).toString());

  it.each(REMOTE_KINDS)(
    'reads the newest backup on %s in full, and says so beside it and in the list',
    TIMEOUT,
    async (kind) => {
      await using remote = await startRemote(kind);
      const env = envFor(remote, { BACKUP_COMPRESS: 'gzip' });
      await makeBackup(env);
      const { artifact, id } = await makeBackup(env);
      const { run, lines } = await verify(env);
      expect(run, run.stderr).toMatchObject({ exitCode: 0 });
      expect(lines).toMatchObject([{ artifact, id, level: 'content', ok: true, reason: null, remote: remote.remote }]);
      expect(await verdictOf(remote, artifact)).toMatchObject({ id, ok: true, level: 'content' });
      const listed = await runDbstash(['list'], env);
      expect(listed.stdout).toMatch(new RegExp(`good .*${artifact} {2}\\(content verified \\d+s ago\\)\\n`));
      expect((await listBackups(env)).map(({ state }) => state)).toEqual(['good', 'good']);
      expect((await remote.list()).has(artifact + VERDICT_SUFFIX)).toBe(true);
      // It belongs to the backup: it goes with it.
      await makeBackup({ ...env, RETENTION_MAX_FILES: '1' });
      expect([...(await remote.list()).keys()].filter((path) => path.startsWith(artifact))).toEqual([]);
    },
  );

  it.each(REMOTE_KINDS)(
    'F15: finds a flipped byte on %s: exit 4, recorded, and no longer good',
    TIMEOUT,
    async (kind) => {
      await using remote = await startRemote(kind);
      const env = envFor(remote);
      const { artifact } = await makeBackup(env);
      await flipByte(remote, artifact);
      expect((await verify(env, '--level', 'stored')).run.exitCode).toBe(0);
      const { run, lines } = await verify(env);
      expect(run.exitCode).toBe(4);
      expect(lines).toMatchObject([{ ok: false, reason: 'its SHA-256 is not the one in its manifest' }]);
      expect(run.stderr).toContain(`${artifact} on ${remote.remote} is damaged: its SHA-256`);
      expect((await listBackups(env))[0]).toMatchObject({
        state: 'damaged',
        reason: 'its SHA-256 is not the one in its manifest',
      });
      expect((await verify(env, 'all', '--level', 'stored')).run.exitCode).toBe(4);
    },
  );

  it('takes back a verdict that was wrong', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envFor(remote);
    const { artifact } = await makeBackup(env);
    await flipByte(remote, artifact);
    await verify(env);
    await flipByte(remote, artifact);
    expect((await listBackups(env))[0]?.state).toBe('damaged');
    expect((await verify(env)).run.exitCode).toBe(0);
    expect((await listBackups(env))[0]?.state).toBe('good');
  });

  it('F23: tells of one whose artifact is gone, or has another size, without reading it', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envFor(remote);
    const { artifact } = await makeBackup(env);
    const other = await makeBackup(env);
    await remote.remove(artifact);
    await remote.write(other.artifact, Buffer.from('cut'));
    const { run, lines } = await verify(env, 'all', '--level', 'stored');
    expect(run.exitCode).toBe(4);
    expect(lines).toMatchObject([
      { artifact: other.artifact, ok: false, reason: expect.stringMatching(/^it has 3 bytes, its manifest says/) },
      { artifact, ok: false, reason: 'the artifact is not there any more' },
    ]);
    expect((await verify(env, artifact)).run.exitCode).toBe(4);
  });

  it('looks at every backup of this configuration, and at others only by name', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envFor(remote);
    const made = [await makeBackup(env), await makeBackup(env)];
    const stranger = await seedBackup(remote, {
      artifact: 'other.sql',
      startedAt: daysAgo(1),
      series: 'sqlite:///other',
    });
    const { lines } = await verify(env, 'all');
    expect(lines.map(({ artifact }) => artifact)).toEqual(made.map(({ artifact }) => artifact).reverse());
    expect((await verify(env, stranger.id, '--level', 'stored')).lines).toMatchObject([
      { artifact: 'other.sql', ok: true },
    ]);
    const nobody = await runDbstash(['verify', 'nobody'], env);
    expect([nobody.exitCode, nobody.stderr]).toEqual([1, expect.stringContaining('there is no backup nobody')]);
    const none = await runDbstash(['verify'], { ...env, BACKUP_SERIES: 'new' });
    expect([none.exitCode, none.stderr]).toEqual([1, expect.stringContaining('no backup of the series new to verify')]);
    const level = await runDbstash(['verify', '--level', 'deep'], env);
    expect([level.exitCode, level.stderr]).toEqual([
      2,
      expect.stringContaining('--verify-level: "deep" is not possible'),
    ]);
  });

  it('looks at each copy, and tells which remote has the bad one', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    await using second = await startRemote('local');
    const env = envFor(remote, { RCLONE_REMOTE_2: second.remote });
    const { artifact } = await makeBackup(env);
    await flipByte(second, artifact);
    const { run, lines } = await verify(env);
    expect(run.exitCode).toBe(4);
    expect(lines.map(({ remote, ok }) => [remote, ok])).toEqual([
      [remote.remote, true],
      [second.remote, false],
    ]);
    const { lines: again } = await verify({ ...env, RCLONE_REMOTE_2: 'nowhere:x' });
    expect(again).toMatchObject([{ ok: true }]);
    expect((await verify({ ...env, RCLONE_REMOTE_2: 'nowhere:x' })).run.exitCode).toBe(3);
  });

  it(
    'says what it cannot look at where there is no identity, and who is to blame for a wrong one',
    TIMEOUT,
    async () => {
      await using remote = await startRemote('local');
      const keygen = () => execFileSync(requireTool('age-keygen'), { encoding: 'utf8', stdio: 'pipe' });
      const [right, wrong] = [keygen(), keygen()];
      const env = envFor(remote, { BACKUP_ENCRYPT_TO: /age1\w+/.exec(right)![0] });
      const { artifact } = await makeBackup(env);
      const blind = await verify(env);
      expect(blind.run.exitCode).toBe(0);
      expect(blind.lines[0]?.reason).toBe(
        'it is encrypted and DECRYPT_IDENTITY is not set: its SHA-256 alone was checked',
      );
      const refused = await verify({ ...env, DECRYPT_IDENTITY: wrong });
      expect([refused.run.exitCode, refused.run.stderr]).toEqual([2, expect.stringContaining('cannot be decrypted')]);
      expect((await listBackups(env))[0]?.state).toBe('good');
      expect((await verify({ ...env, DECRYPT_IDENTITY: right })).lines).toMatchObject([{ ok: true, reason: null }]);
      await flipByte(remote, artifact);
      expect((await verify(env)).run.exitCode).toBe(4);
    },
  );

  it('finds a dump that was broken before it was stored', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envFor(remote);
    const { artifact } = await makeBackup(env);
    const text = (await remote.read(artifact)).toString().replace('COMMIT;', 'ROLLBACK;');
    await remote.write(artifact, Buffer.from(text));
    const sha256 = createHash('sha256').update(text).digest('hex');
    await rewriteManifest(remote, artifact, { sha256, bytes: text.length, dumpBytes: text.length });
    const { run, lines } = await verify(env);
    expect([run.exitCode, run.stderr]).toEqual([4, expect.stringContaining('cannot be read')]);
    expect(lines[0]?.reason).toMatch(/^it is what was backed up, and cannot be read: /);
  });

  it(
    'lets no look at the hash alone take back what was found with the identity, and tells no data',
    TIMEOUT,
    async () => {
      await using remote = await startRemote('local');
      const identity = execFileSync(requireTool('age-keygen'), { encoding: 'utf8', stdio: 'pipe' });
      const recipient = /age1\w+/.exec(identity)![0];
      const env = envFor(remote, { BACKUP_ENCRYPT_TO: recipient });
      const { artifact } = await makeBackup(env);
      const age = (input: Buffer | string) => execFileSync(requireTool('age'), ['-r', recipient], { input });
      const body = age('BEGIN;\nINSERT INTO "bob\'s letters" VALUES (1);\nCOMMIT;\n');
      await remote.write(artifact, body);
      const sha256 = createHash('sha256').update(body).digest('hex');
      await rewriteManifest(remote, artifact, { sha256, bytes: body.length });
      const { run } = await verify({ ...env, DECRYPT_IDENTITY: identity });
      expect([run.exitCode, run.stderr]).toEqual([4, expect.stringContaining('cannot be read: ')]);
      expect((await verdictOf(remote, artifact))?.reason).toBe('it is what was backed up, and cannot be read');
      expect((await verify(env)).run.exitCode).toBe(4);
      expect((await listBackups(env))[0]?.state).toBe('damaged');
    },
  );

  it('blames no backup for a tool that is missing, nor for a remote that fails', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envFor(remote, { BACKUP_COMPRESS: 'zstd' });
    const { artifact } = await makeBackup(env);
    const rclone = fakePath(scratch, {
      rclone: `case "$*" in *cat*) exit 1 ;; esac; exec '${requireTool('rclone')}' "$@"`,
    });
    const failed = await verify({ ...env, ...rclone });
    expect([failed.run.exitCode, failed.lines]).toEqual([3, []]);
    const noZstd = fakePath(scratch, { zstd: 'echo "zstd could not be started" >&2; exit 127' });
    const missing = await verify({ ...env, ...noZstd });
    expect([missing.run.exitCode, missing.lines]).toEqual([1, []]);
    expect((await listBackups(env))[0]).toMatchObject({ artifact, state: 'good' });
  });

  it.each(['content', 'restore'])(
    'F52: at the level %s blames no backup for a disk that is full',
    TIMEOUT,
    async (level) => {
      await using remote = await startRemote('local');
      const env = envFor(remote);
      await makeBackup(env);
      const full = fakePath(scratch, {
        sqlite3: `case "$*" in *.restoring-*) cat >/dev/null; echo 'Runtime error: database or disk is full (13)' >&2; exit 1 ;; esac
exec '${requireTool('sqlite3')}' "$@"`,
      });
      const { run, lines } = await verify({ ...env, ...full }, 'latest', '--level', level);
      expect([run.exitCode, lines]).toEqual([1, []]);
      expect(run.stderr).toContain('disk is full');
      expect((await listBackups(env))[0]?.state).toBe('good');
    },
  );

  it('leaves nothing behind in the temporary folder, and leaves the database alone', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envFor(remote);
    await makeBackup(env);
    const before = readFileSync(database.replace('sqlite://', ''));
    await verify(env);
    expect(execFileSync('find', [env.BACKUP_TEMP_DIR!, '-type', 'f'], { encoding: 'utf8' })).toBe('');
    expect(readFileSync(database.replace('sqlite://', '')).equals(before)).toBe(true);
  });
});

describeWith(['initdb', 'postgres', 'psql', 'pg_dump', 'pg_restore', 'rclone'], 'verify of PostgreSQL', () => {
  let server: PostgresServer;
  let scratch: Scratch;

  beforeEach(async () => {
    scratch = scratchFolder();
    server = await startPostgres();
    await server.sql('CREATE TABLE t AS SELECT md5(i::text) FROM generate_series(1, 20000) i');
  });
  afterEach(async () => {
    await server?.stop();
    await scratch?.[Symbol.asyncDispose]();
  });

  it(
    'reads an archive to its end, needs no server for it, and finds one that was cut before it was stored',
    TIMEOUT,
    async () => {
      await using remote = await startRemote('local');
      const env = backupEnv(server.uri('postgres'), remote, scratch, { BACKUP_COMPRESS: 'true' });
      const { artifact } = await makeBackup(env);
      await server.stop();
      expect((await verify(env)).lines).toMatchObject([{ ok: true }]);
      const whole = await remote.read(artifact);
      const cut = whole.subarray(0, whole.length >> 1);
      await remote.write(artifact, cut);
      await rewriteManifest(remote, artifact, {
        sha256: createHash('sha256').update(cut).digest('hex'),
        bytes: cut.length,
      });
      const { run, lines } = await verify(env);
      expect(run.exitCode).toBe(4);
      expect(lines[0]?.reason).toMatch(/cannot be read: pg_restore exited with 1: .*(end of file|could not)/);
    },
  );
});

describeWith(
  ['initdb', 'postgres', 'psql', 'pg_dump', 'pg_restore', 'rclone'],
  'verify of a folder of PostgreSQL',
  () => {
    it('blames no backup for a pg_restore that is too old for it', TIMEOUT, async () => {
      await using scratch = scratchFolder();
      await using remote = await startRemote('local');
      await using running = { server: await startPostgres(), [Symbol.asyncDispose]: () => running.server.stop() };
      const env = backupEnv(running.server.uri('postgres'), remote, scratch, { BACKUP_MODE: 'directory' });
      await makeBackup(env);
      const old = fakePath(scratch, {
        pg_restore: 'echo "pg_restore: error: unsupported version (9.9) in file header" >&2; exit 1',
      });
      const { run, lines } = await verify({ ...env, ...old });
      expect([run.exitCode, lines]).toEqual([1, []]);
      expect((await listBackups(env))[0]?.state).toBe('good');
    });
  },
);

describe('download', () => {
  let scratch: Scratch;
  let database: string;
  let folder: string;

  beforeEach(() => {
    scratch = scratchFolder();
    database = createSqlite(scratch);
    folder = join(scratch.path, 'here');
    execFileSync('mkdir', [folder]);
  });
  afterEach(() => scratch[Symbol.asyncDispose]());

  const envFor = (remote: TestRemote, more: Env = {}): Env => backupEnv(database, remote, scratch, more);
  const filesIn = (): string[] => execFileSync('ls', ['-A', folder], { encoding: 'utf8' }).split('\n').filter(Boolean);

  it.each(REMOTE_KINDS)('brings an artifact from %s as it is, private, and nothing else', TIMEOUT, async (kind) => {
    await using remote = await startRemote(kind);
    const env = envFor(remote, { BACKUP_COMPRESS: 'zstd', BACKUP_NAME_TEMPLATE: 'deep/{db}-{ts}' });
    const { artifact } = await makeBackup(env);
    const run = await runDbstash(['download', 'latest', folder], env);
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    const name = artifact.replace('deep/', '');
    expect(run.stdout).toContain(join(folder, name));
    expect(filesIn()).toEqual([name]);
    expect(readFileSync(join(folder, name)).equals(await remote.read(artifact))).toBe(true);
    expect(execFileSync('stat', ['-c', '%a', join(folder, name)], { encoding: 'utf8' })).toBe('600\n');
    const again = await runDbstash(['download', artifact, folder], env);
    expect([again.exitCode, again.stderr]).toEqual([2, expect.stringContaining('is there already')]);
  });

  it('decodes on the way, so that the engine can read it', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const identity = execFileSync(requireTool('age-keygen'), { encoding: 'utf8', stdio: 'pipe' });
    const env = envFor(remote, { BACKUP_COMPRESS: 'gzip', BACKUP_ENCRYPT_TO: /age1\w+/.exec(identity)![0] });
    const { artifact } = await makeBackup(env);
    const blind = await runDbstash(['download', 'latest', folder, '--decode'], env);
    expect([blind.exitCode, blind.stderr]).toEqual([2, expect.stringContaining('DECRYPT_IDENTITY is not set')]);
    const run = await runDbstash(['download', 'latest', folder, '--decode'], { ...env, DECRYPT_IDENTITY: identity });
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    const name = artifact.replace('.gz.age', '');
    expect(filesIn()).toEqual([name]);
    const restored = join(scratch.path, 'restored.db');
    runSqlite(restored, `.read ${join(folder, name)}`);
    expect(runSqlite(restored, 'SELECT a FROM t;')).toBe('42');
  });

  it(
    'F15, F52: leaves nothing of what is damaged, and refuses where there is no room or no folder',
    TIMEOUT,
    async () => {
      await using remote = await startRemote('local');
      const env = envFor(remote);
      const { artifact } = await makeBackup(env);
      const nowhere = await runDbstash(['download', 'latest', join(folder, 'none')], env);
      expect([nowhere.exitCode, nowhere.stderr]).toEqual([
        2,
        expect.stringContaining('is no folder that can be written to'),
      ]);
      const missing = await runDbstash(['download', 'latest'], env);
      expect([missing.exitCode, missing.stderr]).toEqual([
        2,
        expect.stringContaining("missing required argument 'folder'"),
      ]);
      await flipByte(remote, artifact);
      const run = await runDbstash(['download', artifact, folder], env);
      expect([run.exitCode, run.stderr]).toEqual([4, expect.stringContaining('is damaged')]);
      expect(filesIn()).toEqual([]);
      expect((await listBackups(env))[0]?.state).toBe('damaged');
    },
  );

  it('leaves alone what somebody has under the name that it would take meanwhile', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envFor(remote);
    const { artifact } = await makeBackup(env);
    writeFileSync(join(folder, `${artifact}.partial`), 'mine');
    const run = await runDbstash(['download', 'latest', folder], env);
    expect([run.exitCode, run.stderr]).toEqual([2, expect.stringContaining('another download is going on')]);
    expect(readFileSync(join(folder, `${artifact}.partial`), 'utf8')).toBe('mine');
  });

  it('does nothing under DRY_RUN, nor does a drill; a look at the content is not written down', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envFor(remote);
    await makeBackup(env);
    const before = [...(await remote.list()).keys()];
    const dry = { ...env, DRY_RUN: 'true' };
    expect((await runDbstash(['download', 'latest', folder], dry)).exitCode).toBe(2);
    expect((await verify(dry, '--level', 'restore')).run.exitCode).toBe(2);
    expect((await verify(dry)).lines).toMatchObject([{ ok: true }]);
    expect([filesIn(), [...(await remote.list()).keys()]]).toEqual([[], before]);
  });

  it('takes the next remote where one has not got it whole', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    await using second = await startRemote('local');
    const env = envFor(remote, { RCLONE_REMOTE_2: second.remote });
    const { artifact } = await makeBackup(env);
    await flipByte(remote, artifact);
    const run = await runDbstash(['download', artifact, folder], env);
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    expect(readFileSync(join(folder, artifact)).equals(await second.read(artifact))).toBe(true);
  });
});
