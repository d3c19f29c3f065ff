import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backupEnv, fakePgDump, listBackups } from './support/backups.ts';
import { watchCommandLines } from './support/commandLines.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { obscure } from './support/rclone.ts';
import { REMOTE_KINDS, startRemote, type TestRemote } from './support/remotes.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';

let postgres: PostgresServer;
let scratch: Scratch;

beforeAll(async () => {
  scratch = scratchFolder();
  postgres = await startPostgres();
  await postgres.createDatabase('shop');
  await postgres.sql('CREATE TABLE item AS SELECT 1 AS id', { database: 'shop' });
});
afterAll(async () => {
  await postgres?.stop();
  await scratch?.[Symbol.asyncDispose]();
});

const tracesIn = (folder: string) => readdirSync(folder, { recursive: true }).map(String).sort();

/** Names that a shell, an option parser, a connection string or a path would understand in their own way. */
const ODD_NAMES = [
  'a; touch hacked',
  '$(touch hacked) `touch hacked`',
  `"quoted" and 'quoted'`,
  '-Fc --file=hacked',
  'two\nlines',
  'dbname=postgres host=elsewhere',
  'postgres://elsewhere/postgres',
  '../../hacked',
  '..',
  's3:hacked C:\\hacked %2e%2e%2fhacked',
  'ütf-8 名前 ‛／：．',
  ' blank ',
];

describe.each(REMOTE_KINDS)('F30, F31: on %s', (kind) => {
  let remote: TestRemote;
  beforeAll(async () => {
    remote = await startRemote(kind);
  });
  afterAll(() => remote?.stop());

  it.each(kind === 'local' ? ODD_NAMES : ['$(touch hacked)\n-x', '../../s3:hacked ‛／'])(
    'F30, F31: a database called %j is dumped under a name in the folder, and restored, and nothing else happens',
    async (name) => {
      await using home = scratchFolder();
      await postgres.createDatabase(name);
      await postgres.sql('CREATE TABLE mine AS SELECT 42 AS id', { database: name });
      const env = backupEnv(postgres.uri(name), remote, home);
      const run = await runDbstash(['backup'], env, { scratch: home });
      expect(run.exitCode, run.stderr).toBe(0);
      const files = [...(await remote.list()).keys()];
      const ours = (await listBackups(env)).filter(({ database }) => database === name);
      expect(ours).toMatchObject([{ state: 'good', database: name }]);
      expect(files).toContain(ours[0]!.artifact);
      expect(files).toContain(`${ours[0]!.artifact}.manifest.json`);
      expect(ours[0]!.artifact).not.toMatch(/[/:\\\p{Cc}]|^-/u);
      expect((await remote.read(ours[0]!.artifact)).toString()).toContain('CREATE TABLE public.mine');
      await postgres.sql('DROP TABLE mine', { database: name });
      const restored = await runDbstash(['restore', ours[0]!.artifact], env, { scratch: home });
      expect(restored.exitCode, restored.stderr).toBe(0);
      expect(await postgres.sql('SELECT id FROM mine', { database: name })).toEqual(['42']);
      expect(tracesIn(home.path).filter((path) => path.includes('hacked'))).toEqual([]);
      await postgres.sql(`DROP DATABASE "${name.replaceAll('"', '""')}"`);
    },
  );

  it('F31: everything that was written lies in the folder of the remote', async () => {
    const paths = [...(await remote.list()).keys()];
    const folder = kind === 's3' ? undefined : kind === 'local' ? remote.remote : undefined;
    if (folder) expect(tracesIn(dirname(folder)).filter((path) => !path.startsWith('backups'))).toEqual([]);
    const keys = [...(remote.s3?.objects().keys() ?? [])];
    expect(keys.filter((key) => !key.startsWith('backups/'))).toEqual([]);
    expect(paths.filter((path) => path.endsWith('.manifest.json')).length).toBeGreaterThan(0);
  });
});

it.each(['../{db}', '/tmp/{db}', 'a/../{db}', 's3:{db}', '{db}\u0007', 'a\\{db}', '{db}/', '..', '-{nope}'])(
  'F31: the template %j is refused, and nothing is run',
  async (template) => {
    await using home = scratchFolder();
    const remote = join(home.path, 'backups');
    const env = { DB_URI: postgres.uri('shop'), RCLONE_REMOTE: remote, BACKUP_TEMP_DIR: join(home.path, 'tmp') };
    const run = await runDbstash(['backup'], { ...env, BACKUP_NAME_TEMPLATE: template }, { scratch: home });
    expect(run.exitCode).toBe(2);
    expect(run.stderr).toMatch(/BACKUP_NAME_TEMPLATE: /);
    expect(tracesIn(home.path)).toEqual([]);
  },
);

const base64 = (text: string) => Buffer.from(text).toString('base64');

describe('F32, F33: secrets', () => {
  const CANARY = 'canary:s3cret/%"\\ $x';
  let remote: TestRemote;
  let uri: string;
  const ways = (): readonly (readonly [string, Record<string, string>, readonly string[]])[] => {
    const env = remote.env;
    const key = 'CanaryAccessKey0123';
    const secret = 'canary/secret+KEY=456';
    const endpoint = env.RCLONE_CONFIG_S3_ENDPOINT ?? '';
    const conf = `[s3]\ntype = s3\nprovider = Other\nendpoint = ${endpoint}\naccess_key_id = ${key}\nsecret_access_key = ${secret}\nregion = us-east-1\nforce_path_style = true\n`;
    const options = `provider=Other,endpoint="${endpoint}",access_key_id=${key},secret_access_key="${secret}",region=us-east-1,force_path_style=true`;
    return [
      [
        'in the environment of rclone',
        { ...env, RCLONE_CONFIG_S3_SECRET_ACCESS_KEY: secret, RCLONE_REMOTE: remote.remote },
        [secret],
      ],
      ['in RCLONE_CONFIG', { RCLONE_CONFIG: base64(conf), RCLONE_REMOTE: remote.remote }, [secret, base64(conf)]],
      ['in a connection string', { RCLONE_REMOTE: `:s3,${options}:bucket/backups` }, [secret]],
    ];
  };

  beforeAll(async () => {
    remote = await startRemote('s3');
    await postgres.sql(`CREATE ROLE "odd user" LOGIN SUPERUSER PASSWORD '${CANARY}'`);
    uri = postgres.uri('shop', { user: 'odd user', password: CANARY });
  });
  afterAll(() => remote?.stop());

  it.each([0, 1, 2])('F32, F33: are in no command line, log, error, name or manifest (way %i)', async (way) => {
    const [title, env, secrets] = ways()[way]!;
    const slow = fakePgDump(scratch, 'real "$@"; sleep 1');
    const all = {
      ...env,
      DB_URI: uri,
      BACKUP_TEMP_DIR: join(scratch.path, `secret-${way}`),
      LOG_LEVEL: 'debug',
      ...slow,
    };
    await using run = startDbstash(['backup'], { ...all, BACKUP_COMPRESS: 'zstd' });
    const lines = await watchCommandLines(run);
    const { exitCode, stdout, stderr } = await run.exited;
    expect(exitCode, `${title}: ${stderr}`).toBe(0);
    for (const tool of ['psql', 'pg_dump', 'rcat', 'zstd']) {
      expect(
        lines.some((line) => line.includes(tool)),
        `${tool} was seen`,
      ).toBe(true);
    }
    const failed = await runDbstash(['backup'], {
      ...all,
      ...fakePgDump(scratch, 'echo "cannot log in with $PGPASSWORD" >&2; env >&2; exit 1'),
    });
    expect(failed.exitCode).toBe(1);
    const stored = await Promise.all(
      [...(await remote.list()).keys()].filter((path) => path.endsWith('.json')).map((path) => remote.read(path)),
    );
    const outputs = [
      ...lines,
      stdout,
      stderr,
      failed.stdout,
      failed.stderr,
      ...stored.map(String),
      [...(await remote.list()).keys()].join(),
    ];
    const forms = [CANARY, ...secrets].flatMap((secret) => [
      secret,
      base64(secret),
      encodeURIComponent(secret),
      JSON.stringify(secret).slice(1, -1),
    ]);
    for (const form of new Set(forms))
      expect(
        outputs.filter((output) => output.includes(form)),
        form,
      ).toEqual([]);
  });

  it('F32: an obscured password of rclone is in no command line, nor in the log, nor what it hides', async () => {
    await using sftp = await startRemote('sftp');
    const wrong = await obscure('canary-clear-text-password');
    const env = { ...backupEnv(uri, sftp, scratch), RCLONE_CONFIG_SFTP_PASS: wrong, LOG_LEVEL: 'debug' };
    await using run = startDbstash(['backup'], env);
    const lines = await watchCommandLines(run);
    const { exitCode, stdout, stderr } = await run.exited;
    expect(exitCode).toBe(3);
    for (const output of [...lines, stdout, stderr]) {
      expect(output).not.toContain(wrong);
      expect(output).not.toContain('canary-clear');
    }
  });
});

describe('F35: odd characters in credentials', () => {
  it.each(['@:/?#%', `'"\\$`, ' blank\ttab ü名', '-;`$(x)a=b&c=d#!\\'])(
    'F35: the password and user %j work, in a URI and as fields',
    async (odd) => {
      await using remote = await startRemote('local');
      const name = `${odd.trim()}user`;
      const [role, password] = [name.replaceAll('"', '""'), odd.replaceAll("'", "''")];
      await postgres.sql(
        `SET standard_conforming_strings = on; CREATE ROLE "${role}" LOGIN SUPERUSER PASSWORD '${password}'`,
      );
      const shared = backupEnv('', remote, scratch);
      const { DB_URI: _, ...rest } = shared;
      const fields = {
        ENGINE: 'pg',
        DB_HOST: postgres.host,
        DB_PORT: String(postgres.port),
        DB_USER: name,
        DB_PASSWORD: odd,
        DB_NAME: 'shop',
      };
      for (const where of [{ DB_URI: postgres.uri('shop', { user: name, password: odd }) }, fields]) {
        const run = await runDbstash(['backup'], { ...rest, ...where });
        expect(run.exitCode, run.stderr).toBe(0);
      }
      expect(await listBackups({ ...rest, ...fields })).toHaveLength(2);
    },
  );
});

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn('SKIPPED "F39: any uid": only root can become another');

describe.skipIf(!isRoot)('F39: any uid', () => {
  /** A backup by somebody who is not root, and who must be able to read the sources. */
  const asNobody = async (env: Record<string, string>) => {
    const main = join(import.meta.dirname, '../src/main.ts');
    const args = ['--reuid=65534', '--regid=65534', '--clear-groups', '--', process.execPath, main, 'backup'];
    const child = spawn('setpriv', args, { env: { PATH: process.env.PATH, ...env }, cwd: '/' });
    const exit = new Promise<number | null>((resolve) => child.once('close', resolve));
    const [stdout, stderr, exitCode] = await Promise.all([text(child.stdout), text(child.stderr), exit]);
    return { exitCode, output: stdout + stderr };
  };

  it('F39: works with HOME unwritable and nothing writable but BACKUP_TEMP_DIR, the remote being elsewhere', async () => {
    await using remote = await startRemote('sftp');
    await using home = scratchFolder();
    chmodSync(home.path, 0o755);
    const temp = join(home.path, 'tmp');
    mkdirSync(temp);
    chmodSync(temp, 0o777);
    const env = { ...remote.env, RCLONE_REMOTE: remote.remote, DB_URI: postgres.uri('shop'), BACKUP_TEMP_DIR: temp };
    const started = performance.now();
    const { exitCode, output } = await asNobody({ ...env, HOME: '/proc/1', TMPDIR: '/proc/1' });
    const seconds = (performance.now() - started) / 1000;
    expect(exitCode, output).toBe(0);
    expect([...(await remote.list()).keys()]).toHaveLength(2);
    expect(seconds).toBeLessThan(40);
    expect(tracesIn(temp).filter((path) => path !== 'locks' && path !== 'reading')).toEqual([]);
  });

  it('F39: says in one line which folder is not writable', async () => {
    await using remote = await startRemote('local');
    await using home = scratchFolder();
    chmodSync(home.path, 0o755);
    const temp = join(home.path, 'tmp');
    mkdirSync(temp, { mode: 0o755 });
    const env = { RCLONE_REMOTE: remote.remote, DB_URI: postgres.uri('shop'), BACKUP_TEMP_DIR: temp, HOME: '/proc/1' };
    const { exitCode, output } = await asNobody(env);
    expect(exitCode, output).toBe(2);
    expect(output.trim().split('\n')).toHaveLength(1);
    expect(output).toContain(`BACKUP_TEMP_DIR: ${temp}`);
    expect(output).toContain('65534');
    expect(await remote.list()).toEqual(new Map());
  });
});

describe('F40: temporary files', () => {
  let remote: TestRemote;
  beforeAll(async () => {
    remote = await startRemote('local');
  });
  afterAll(() => remote?.stop());

  const CONF = '[unused]\ntype = s3\nsecret_access_key = canary\n';
  /** A backup that waits in its dump, with a secret in each of its folders. */
  const start = async (tempDir: string) => {
    const env = {
      RCLONE_REMOTE: remote.remote,
      DB_URI: postgres.uri('shop', {}),
      BACKUP_TEMP_DIR: tempDir,
      BACKUP_LOCK: 'false',
    };
    const slow = fakePgDump(scratch, 'head -c 2000000 /dev/zero; sleep 30');
    const run = startDbstash(['backup'], { ...env, ...slow, RCLONE_CONFIG: base64(CONF), DB_TLS: 'prefer' });
    await waitFor(async () => [...(await remote.list()).keys()].some((path) => path.endsWith('.partial')), {
      timeoutMs: 20_000,
    });
    return { run, env };
  };
  const work = (tempDir: string) =>
    existsSync(tempDir) ? readdirSync(tempDir).filter((name) => /^work-/.test(name)) : [];

  it('F40: are 0600 in folders of 0700, whatever the umask, and are gone after a run that was told to end', async () => {
    const tempDir = join(scratch.path, 'modes');
    const { run } = await start(tempDir);
    await using _ = run;
    const folders = work(tempDir).filter((name) => !name.endsWith('.lease'));
    expect(folders.length).toBeGreaterThanOrEqual(2);
    expect(statSync(tempDir).mode & 0o777).toBe(0o700);
    for (const folder of folders) {
      expect(statSync(join(tempDir, folder)).mode & 0o777).toBe(0o700);
      for (const file of readdirSync(join(tempDir, folder)))
        expect(statSync(join(tempDir, folder, file)).mode & 0o777).toBe(0o600);
    }
    expect(folders.flatMap((folder) => readdirSync(join(tempDir, folder)))).toContain('rclone.conf');
    run.kill('SIGTERM');
    expect((await run.exited).exitCode).toBe(143);
    expect(work(tempDir)).toEqual([]);
    expect(tracesIn(tempDir).filter((path) => !['locks', 'reading'].includes(path))).toEqual([]);
  });

  it("F40: of a run that was killed are gone after the next start, and never another living instance's", async () => {
    const tempDir = join(scratch.path, 'killed');
    const dead = await start(tempDir);
    const deadFolders = work(tempDir);
    dead.run.kill('SIGKILL');
    await dead.run.exited;
    expect(work(tempDir)).toEqual(deadFolders);
    for (const name of (await remote.list()).keys()) await remote.remove(name);
    const alive = await start(tempDir);
    await using _ = alive.run;
    const aliveFolders = work(tempDir).filter((name) => !deadFolders.includes(name));
    // Half a minute without a sign of life, and the lease is over.
    for (const name of deadFolders.filter((folder) => folder.endsWith('.lease'))) {
      const past = new Date(Date.now() - 60_000);
      utimesSync(join(tempDir, name), past, past);
    }
    writeFileSync(join(tempDir, 'not-ours'), '');
    const next = await runDbstash(['list'], alive.env);
    expect(next.exitCode, next.stderr).toBe(0);
    expect(next.stderr).toMatch(/removed work-.*, which a run that died left in/);
    expect(work(tempDir)).toEqual(aliveFolders);
    expect(existsSync(join(tempDir, 'not-ours'))).toBe(true);
    for (const name of aliveFolders) expect(existsSync(join(tempDir, name))).toBe(true);
  });
});
