import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backupEnv, fakePath, fakePgDump, listBackups } from './support/backups.ts';
import { type DbstashRun, runDbstash, startDbstash } from './support/dbstash.ts';
import { type MysqlServer, startMariadb } from './support/mysql.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { RCLONES } from './support/rclone.ts';
import { REMOTE_KINDS, startRemote, type TestRemote } from './support/remotes.ts';
import { freePort, type Scratch, scratchFolder, waitFor } from './support/scratch.ts';
import { findTool, requireTool } from './support/tools.ts';

let postgres: PostgresServer;
let scratch: Scratch;

const MARK = '-- PostgreSQL database dump complete';
/** 24 MB: more than one part of an upload to S3. */
const ROWS = `CREATE TABLE orders AS
  SELECT i AS id, repeat(md5(i::text), 8) AS note FROM generate_series(1, 90000) i;`;

beforeAll(async () => {
  scratch = scratchFolder();
  postgres = await startPostgres();
  await postgres.createDatabase('shop');
  await postgres.sql(ROWS, { database: 'shop' });
  await postgres.createDatabase('small');
  await postgres.sql('CREATE TABLE item AS SELECT 1 AS id', { database: 'small' });
});

afterAll(async () => {
  await postgres?.stop();
  await scratch?.[Symbol.asyncDispose]();
});

const errorOf = (run: DbstashRun): string => run.lines.findLast(({ level }) => level === 'error')?.message ?? '';
const warningsOf = (run: DbstashRun): string =>
  run.lines
    .filter(({ level }) => level === 'warn')
    .map(({ message }) => message)
    .join('\n');
const sumOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** The one row that says whether a database holds what `shop` holds. */
const fingerprint = (database: string) =>
  postgres.sql('SELECT count(*), sum(hashtext(id || note)) FROM orders', { database });

async function expectGood(env: Record<string, string>): Promise<string> {
  const run = await runDbstash(['backup'], env);
  expect(run.exitCode, run.stderr).toBe(0);
  return artifactOf(run);
}

const artifactOf = (run: DbstashRun): string =>
  run.lines.flatMap(({ message }) => /^backed up .* to (.*)$/.exec(message)?.[1] ?? [])[0] ?? '';

/** A folder for locks and temporary files that no other test uses: a run that hangs must not lock the others out. */
const ownFolder = (name: string): { path: string } => ({ path: join(scratch.path, name) });

type Failure = readonly [name: string, tools: Record<string, string>, more: Record<string, string>, message: RegExp];

/** What a dump or a filter may do, and what is then said. */
const FAILURES: readonly Failure[] = [
  [
    'F01: a dump that exits 1 midway',
    { pg_dump: 'real "$@" | head -c 20000000; echo "pg_dump: error: lost table orders" >&2; exit 1' },
    {},
    /pg_dump exited with 1: pg_dump: error: lost table orders$/,
  ],
  [
    'F02: a dump that is killed midway',
    { pg_dump: 'real "$@" | head -c 9000000; kill -9 $$' },
    {},
    /killed by SIGKILL/,
  ],
  ['F04: a dump that exits 0 and lacks its end', { pg_dump: 'real "$@" | head -c 20000000' }, {}, /does not end with/],
  [
    'F05: a filter that fails midway',
    { zstd: 'head -c 6000000; echo "zstd: out of memory" >&2; exit 70' },
    { BACKUP_COMPRESS: 'zstd' },
    /zstd exited with 70: zstd: out of memory/,
  ],
];

/** These have nothing to do with the kind of remote. */
const MORE_FAILURES: readonly Failure[] = [
  ['F03: a dump that exits 0 and is empty', { pg_dump: 'exit 0' }, {}, /not whole: it is empty/],
  [
    'F03: a dump smaller than BACKUP_MIN_SIZE',
    {},
    { BACKUP_MIN_SIZE: '1G' },
    /the dump has \d+ bytes, less than BACKUP_MIN_SIZE, 1073741824/,
  ],
  [
    'F04: a dump that lacks its end, behind a filter',
    { pg_dump: 'real "$@" | head -c 9000000' },
    { BACKUP_COMPRESS: 'gzip:1' },
    /does not end with "-- PostgreSQL database dump complete"/,
  ],
  [
    'F04: a dump that compresses by itself and lacks its end',
    { pg_dump: 'real "$@" | gzip -dc | head -c 9000000 | gzip -1' },
    { DUMP_EXTRA_ARGS: '-Z1' },
    /does not end with/,
  ],
  [
    'F04: a dump that compresses by itself and is cut',
    { pg_dump: 'real "$@" | head -c 100000' },
    { DUMP_EXTRA_ARGS: '--compress=1' },
    /its gzip is broken/,
  ],
  [
    'F05: a filter that fails at its end, after all of its output',
    { zstd: `'${findTool('zstd')}' "$@"; exit 3` },
    { BACKUP_COMPRESS: 'zstd:1' },
    /zstd exited with 3/,
  ],
  [
    'F05: a filter that exits 0 before its input has ended',
    { pigz: `head -c 9000000 | '${findTool('gzip')}' -1` },
    { BACKUP_COMPRESS: 'gzip' },
    /pigz exited before the end of its input/,
  ],
  [
    'F05: a filter that is not installed',
    {},
    { BACKUP_COMPRESS: 'zstd', PATH: 'WITHOUT' },
    /zstd could not be started/,
  ],
];

/** Names of a backup by which template that somebody else has. */
const TAKEN = [
  ['of a file of somebody else', 'TAKEN-{db}', 'TAKEN-small.sql'],
  ['that differs in case alone', 'case-{db}', 'Case-SMALL.sql'],
] as const;
const MORE_TAKEN = [
  ['of a manifest alone', 'manifest-{db}', 'manifest-small.sql.manifest.json'],
  ['of an upload that is going on', 'going-{db}', 'GOING-small.sql.partial'],
  ['that another instance has claimed', 'claim-{db}', 'claim-small.sql.20260101T000000Z-abcdef.pending.json'],
] as const;

describe.each(REMOTE_KINDS)('on %s', (kind) => {
  let remote: TestRemote;
  let env: Record<string, string>;
  let last: string;

  beforeAll(async () => {
    remote = await startRemote(kind);
    env = backupEnv(postgres.uri('shop'), remote, ownFolder(kind));
    last = await expectGood(env);
  });
  afterAll(() => remote?.stop());

  it('a backup is the dump, whole, beside a manifest that tells its size and SHA-256, and nothing else', async () => {
    const files = await remote.list();
    expect([...files.keys()]).toEqual([last, `${last}.manifest.json`]);
    const manifest = JSON.parse((await remote.read(`${last}.manifest.json`)).toString());
    const stored = await remote.read(last);
    expect(manifest).toMatchObject({ bytes: stored.length, sha256: sumOf(stored), dumpBytes: stored.length });
    expect(stored.length).toBeGreaterThan(20_000_000);
    expect(stored.subarray(-200).toString()).toContain(MARK);
  });

  it.each(kind === 'local' ? [...FAILURES, ...MORE_FAILURES] : FAILURES)(
    '%s is no backup, leaves nothing, and fails the run',
    async (_, tools, more, message) => {
      const before = await remote.list();
      const { pg_dump: dump, ...others } = tools;
      const path = dump === undefined ? fakePath(scratch, others) : fakePgDump(scratch, dump);
      const run = await runDbstash(['backup'], {
        ...env,
        RETENTION_MAX_FILES: '1',
        ...path,
        ...more,
        ...(more.PATH && { PATH: toolsWithout('zstd') }),
      });
      expect(run.exitCode, run.stderr).toBe(1);
      expect(errorOf(run)).toMatch(message);
      expect(await remote.list()).toEqual(before);
      expect(remote.s3?.uploads() ?? []).toEqual([]);
    },
  );

  it('F01: the last success is untouched by what failed after it, and is still the only one', async () => {
    expect(await listBackups(env, '--all')).toMatchObject([{ artifact: last, state: 'good' }]);
  });

  it('F08: after a backup that failed nothing is pruned, however many there are', async () => {
    const second = await expectGood(env);
    const before = await remote.list();
    const more = { ...fakePgDump(scratch, 'exit 1'), RETENTION_MAX_FILES: '1', RETENTION_MAX_DAYS: '1' };
    expect((await runDbstash(['backup'], { ...env, ...more })).exitCode).toBe(1);
    expect(await remote.list()).toEqual(before);
    await remote.remove(second);
    await remote.remove(`${second}.manifest.json`);
  });

  it('F16: several instances that want one name in the same second all commit, each under a name of its own', async () => {
    const more = { BACKUP_NAME_TEMPLATE: 'same/{db}', BACKUP_LOCK: 'false', DB_URI: postgres.uri('small') };
    const homes = [1, 2, 3].map((index) => join(scratch.path, `${kind}-${index}`));
    const runs = await Promise.all(
      homes.map((BACKUP_TEMP_DIR) => runDbstash(['backup'], { ...env, ...more, BACKUP_TEMP_DIR })),
    );
    expect(runs.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0]);
    const found = (await listBackups({ ...env, ...more })).filter(({ database }) => database === 'small');
    expect(new Set(found.map(({ artifact }) => artifact)).size).toBe(3);
    for (const { artifact, state, sha256 } of found) {
      expect(artifact).toMatch(/^same\/small(-\d{8}T\d{6}Z-[0-9a-f]{6})?\.sql$/);
      const stored = await remote.read(artifact);
      expect({ state, sha256: sumOf(stored) }).toEqual({ state: 'good', sha256 });
      expect(stored.toString()).toContain(MARK);
    }
    const left = [...(await remote.list()).keys()].filter((path) => path.includes('pending'));
    expect(left).toEqual([]);
    if (kind === 'local') await restoreEach(found, { ...env, ...more });
  });

  it.each(kind === 'local' ? [...TAKEN, ...MORE_TAKEN] : TAKEN)(
    'F16: a name %s is never written to',
    async (_, template, taken) => {
      await remote.write(taken, 'not ours');
      const more = { BACKUP_NAME_TEMPLATE: template, DB_URI: postgres.uri('small') };
      const artifact = await expectGood({ ...env, ...more });
      expect(artifact).toMatch(/small-\d{8}T\d{6}Z-[0-9a-f]{6}\.sql$/);
      expect((await remote.read(taken)).toString()).toBe('not ours');
      expect(sumOf(await remote.read(artifact))).toBe((await listBackups({ ...env, ...more }))[0]?.sha256);
    },
  );
});

/** A folder with what a backup needs but for one program. */
function toolsWithout(missing: string): string {
  const names = ['pg_dump', 'psql', 'rclone', 'sh', 'perl', 'gzip', 'zstd'].filter((name) => name !== missing);
  return fakePath(
    scratch,
    Object.fromEntries(names.map((name) => [name, `exec '${requireTool(name)}' "$@"`])),
  ).PATH.split(':')[0]!;
}

async function restoreEach(found: readonly { artifact: string; database: string }[], env: Record<string, string>) {
  for (const { artifact } of found.slice(0, 2)) {
    const run = await runDbstash(['restore', artifact, '--database', 'copy'], env);
    expect(run.exitCode, run.stderr).toBe(0);
    expect(await postgres.sql('SELECT id FROM item', { database: 'copy' })).toEqual(['1']);
    await postgres.sql('DROP DATABASE copy');
  }
}

describe('F03: a dump that shrinks', () => {
  let remote: TestRemote;
  beforeAll(async () => {
    remote = await startRemote('local');
    await postgres.createDatabase('shrinking');
    await postgres.sql("CREATE TABLE t AS SELECT repeat('x', 100) FROM generate_series(1, 20000)", {
      database: 'shrinking',
    });
    await expectGood(backupEnv(postgres.uri('shrinking'), remote, scratch));
    await postgres.sql('DELETE FROM t WHERE ctid < $$(100,1)$$', { database: 'shrinking' });
  });
  afterAll(() => remote?.stop());

  it('by more than fail:BACKUP_MAX_SHRINK is no backup', async () => {
    const env = backupEnv(postgres.uri('shrinking'), remote, scratch, { BACKUP_MAX_SHRINK: 'fail:20%' });
    const before = await remote.list();
    const run = await runDbstash(['backup'], env);
    expect(run.exitCode).toBe(1);
    expect(errorOf(run)).toMatch(/\d\d % less than .* \(BACKUP_MAX_SHRINK\)/);
    expect(await remote.list()).toEqual(before);
  });

  it('by more than BACKUP_MAX_SHRINK is a backup and a warning; by less, neither is said', async () => {
    const env = backupEnv(postgres.uri('shrinking'), remote, scratch);
    const within = await runDbstash(['backup'], { ...env, BACKUP_MAX_SHRINK: '99%' });
    expect(within.exitCode).toBe(0);
    expect(warningsOf(within)).toBe('');
    await postgres.sql('TRUNCATE t', { database: 'shrinking' });
    const run = await runDbstash(['backup'], { ...env, BACKUP_MAX_SHRINK: '20%' });
    expect(run.exitCode).toBe(0);
    expect(warningsOf(run)).toMatch(/(9\d|100) % less than/);
    expect(await listBackups(env)).toHaveLength(3);
  });
});

describe('on S3, with real tools', () => {
  let remote: TestRemote;
  let env: Record<string, string>;
  const s3 = () => remote.s3!;

  beforeAll(async () => {
    remote = await startRemote('s3');
    env = backupEnv(postgres.uri('shop'), remote, ownFolder('real'));
  });
  afterAll(() => remote?.stop());

  /** Runs a backup that has to fail, and leaves things as they were. */
  async function expectFailure(exitCode: number, message: RegExp, more: Record<string, string> = {}) {
    const before = await remote.list();
    const run = await runDbstash(['backup'], { ...env, ...more });
    s3().clearFaults();
    expect(run.exitCode, run.stderr).toBe(exitCode);
    expect(errorOf(run)).toMatch(message);
    expect(await remote.list()).toEqual(before);
    return run;
  }

  it('F51: where the completion of the upload is said to fail, nothing is committed, though the object is there', async () => {
    const fault = s3().fault({
      operation: 'CompleteMultipartUpload',
      status: 403,
      code: 'AccessDenied',
      performed: true,
    });
    await expectFailure(3, /rclone exited with 1: .*AccessDenied.*\(after .* for s3:bucket\/backups\)/s);
    expect(fault.hits).toBeGreaterThan(0);
  });

  it('F51: where the upload does fail, nothing is committed', async () => {
    s3().fault({ operation: 'CompleteMultipartUpload', status: 403, code: 'AccessDenied' });
    await expectFailure(3, /AccessDenied/);
    expect(s3().uploads()).toEqual([]);
  });

  it('F51: where the first record is said to fail, nothing is committed and the record is gone', async () => {
    s3().fault({ operation: 'PutObject', key: /pending/, status: 403, code: 'AccessDenied', performed: true });
    await expectFailure(3, /AccessDenied/);
  });

  it('F51: where the manifest is said to fail, a look decides: it is there, so the backup is', async () => {
    s3().fault({ operation: 'PutObject', key: /manifest/, status: 403, code: 'AccessDenied', performed: true });
    const run = await runDbstash(['backup'], env);
    s3().clearFaults();
    expect(run.exitCode, run.stderr).toBe(0);
    const listed = await listBackups(env, '--all');
    expect(listed).toMatchObject([{ state: 'good' }]);
    expect(sumOf(await remote.read(listed[0]!.artifact))).toBe(listed[0]!.sha256);
  });

  it('F51: where the manifest does fail, nothing is committed', async () => {
    s3().fault({ operation: 'PutObject', key: /manifest/, status: 403, code: 'AccessDenied' });
    await expectFailure(3, /AccessDenied/);
  });

  it('F51: where nobody can tell whether the manifest is there, the run fails, and nothing is removed', async () => {
    s3().fault({
      operation: 'PutObject',
      key: /unknown.*manifest/,
      status: 403,
      code: 'AccessDenied',
      performed: true,
    });
    s3().fault({ operation: ['GetObject', 'HeadObject'], key: /unknown.*manifest/, status: 403, code: 'AccessDenied' });
    const before = await remote.list();
    const run = await runDbstash(['backup'], { ...env, BACKUP_NAME_TEMPLATE: 'unknown-{ts}' });
    s3().clearFaults();
    expect(run.exitCode).toBe(3);
    expect(errorOf(run)).toMatch(/whether .*manifest\.json was written is not known/);
    const added = [...(await remote.list()).keys()].filter((path) => !before.has(path)).sort();
    expect(added).toEqual([
      expect.stringMatching(/\.sql$/),
      expect.stringMatching(/\.pending\.json$/),
      expect.stringMatching(/\.manifest\.json$/),
    ]);
    expect(await listBackups(env)).toMatchObject([{ artifact: added[0], state: 'good' }, { state: 'good' }]);
    for (const path of added) await remote.remove(path);
  });

  it('F15: where the remote stored less than was sent, nothing is committed', async () => {
    s3().fault({ operation: 'CompleteMultipartUpload', shorten: true });
    await expectFailure(3, /holds \d+ bytes of .*, \d+ were sent|corrupted on transfer/);
  });

  it('F01: what cannot be removed after a failure stays an orphan, which is said, and no backup', async () => {
    s3().forbidDelete = true;
    s3().fault({ operation: 'CompleteMultipartUpload', status: 403, code: 'AccessDenied', performed: true });
    const run = await runDbstash(['backup'], env);
    s3().clearFaults();
    s3().forbidDelete = false;
    expect(run.exitCode).toBe(3);
    expect(warningsOf(run)).toMatch(/what the failed backup left under .* could not be removed/);
    const listed = await listBackups(env, '--all');
    expect(listed).toMatchObject([{ state: 'good' }, { state: 'orphan', left: [expect.stringMatching(/\.sql$/)] }]);
    for (const path of (await remote.list()).keys()) {
      if (!path.startsWith(listed[0]!.artifact)) await remote.remove(path);
    }
  });

  it.each(RCLONES)(
    'F59: with %s: an upload of more parts than the storage takes fails, and the setting is named',
    async (rclone) => {
      s3().partLimit = 1;
      const PATH = fakePath(scratch, { rclone: `exec '${requireTool(rclone)}' "$@"` }).PATH;
      await expectFailure(3, /set RCLONE_S3_CHUNK_SIZE to 32Mi or more/, { PATH });
      expect(s3().uploads()).toEqual([]);
      s3().partLimit = 10_000;
    },
  );

  it.each([
    ['chosen for 150 GiB at least', {}, '1000', 16],
    ['chosen for eight times the database', {}, '32000000000', 25],
    ["never below the user's own", { RCLONE_S3_CHUNK_SIZE: '23M' }, '1000', 23],
    ["never below the user's own, as a flag", { RCLONE_EXTRA_ARGS: '--s3-chunk-size 23M' }, '1000', 23],
    ['raised above a small one of the user', { RCLONE_S3_CHUNK_SIZE: '5M' }, '1000', 16],
  ])('F59: the size of the parts is %s', async (_, more, bytes, mebibytes) => {
    const log = join(scratch.path, 'rclone.log');
    const PATH = fakePath(scratch, {
      rclone: `echo "$@" >>'${log}'; exec '${requireTool('rclone')}' "$@"`,
      psql: `'${requireTool('psql')}' "$@" | sed 's/"bytes" : [0-9]*/"bytes" : ${bytes}/'`,
    }).PATH;
    const from = s3().requests.length;
    await expectGood({ ...env, ...more, PATH });
    const parts = s3()
      .requests.slice(from)
      .filter(({ operation }) => operation === 'UploadPart');
    const [newest] = await listBackups(env);
    expect(parts.length).toBe(Math.ceil(newest!.bytes / (mebibytes * 1024 * 1024)));
    const flags = readFileSync(log, 'utf8').match(/--s3-chunk-size=\d+B/g) ?? [];
    expect(flags).toEqual(mebibytes === 23 ? [] : [`--s3-chunk-size=${mebibytes * 1024 * 1024}B`]);
    rmSync(log);
  });

  it('F56: a pg_dump older than the server is refused before anything is uploaded, and the remedy is named', async () => {
    const old = 'if [ "$1" = --version ]; then echo "pg_dump (PostgreSQL) 14.9"; else echo data; fi';
    const from = s3().requests.length;
    await expectFailure(2, /pg_dump 14\.9 cannot dump PostgreSQL 15\.\d+: .*install postgresql-client-15/, {
      ...fakePath(scratch, { pg_dump: old }),
    });
    expect(
      s3()
        .requests.slice(from)
        .filter(({ operation }) => /Put|Upload/.test(operation)),
    ).toEqual([]);
  });
});

describe('F55: a database that cannot be reached', () => {
  let remote: TestRemote;
  beforeAll(async () => {
    remote = await startRemote('local');
  });
  afterAll(() => remote?.stop());

  const PASSWORD = 'canary-secret-of-the-database';
  it.each([
    ['is down', async () => `postgres://app:${PASSWORD}@127.0.0.1:${await freePort()}/shop`, /Connection refused/],
    [
      'takes another password',
      async () => postgres.uri('shop', { password: PASSWORD }),
      /password authentication failed/,
    ],
    [
      'has a name that nobody knows',
      async () => `postgres://app:${PASSWORD}@no-such-host.invalid/shop`,
      /could not translate host name "no-such-host.invalid"/,
    ],
    ['does not exist', async () => postgres.uri('nowhere'), /database "nowhere" does not exist/],
    [
      'speaks no TLS where that is asked for',
      async () => `${postgres.uri('shop')}?sslmode=require`,
      /server does not support SSL/,
    ],
  ])('F55: that %s fails the run with clear text, no secret, and nothing on the remote', async (_, uri, message) => {
    const run = await runDbstash(['backup'], backupEnv(await uri(), remote, ownFolder('unreachable')));
    expect(run.exitCode, run.stderr).toBe(1);
    expect(errorOf(run)).toMatch(message);
    expect(run.stdout + run.stderr).not.toContain(PASSWORD);
    expect(run.stdout + run.stderr).not.toContain(postgres.password);
    expect(await remote.list()).toEqual(new Map());
  });
});

describe('locally', () => {
  let remote: TestRemote;
  beforeAll(async () => {
    remote = await startRemote('local');
  });
  afterAll(() => remote?.stop());

  it.each(RCLONES)('F01: with %s: pg_dump whose connection is cut midway is no backup', async (rclone) => {
    const env = backupEnv(postgres.uri('shop'), remote, ownFolder('cut'), { RCLONE_EXTRA_ARGS: '--bwlimit 1M' });
    const { PATH } = fakePath(scratch, { rclone: `exec '${requireTool(rclone)}' "$@"` });
    await using run = startDbstash(['backup'], { ...env, PATH });
    await waitFor(async () =>
      [...(await remote.list())].some(([path, { bytes }]) => /partial$/.test(path) && bytes > 0),
    );
    await postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump'");
    const { exitCode, lines } = await run.exited;
    expect(exitCode).toBe(1);
    expect(lines.at(-1)?.message).toMatch(/pg_dump exited with 1: .*(terminating connection|server closed)/s);
    expect(await remote.list()).toEqual(new Map());
  });

  it('F16: a name that somebody takes during the upload is not written to, nor removed', async () => {
    const env = backupEnv(postgres.uri('shop'), remote, scratch, { BACKUP_NAME_TEMPLATE: 'late-{db}' });
    await using run = startDbstash(['backup'], { ...env, ...fakePgDump(scratch, 'real "$@"; sleep 2') });
    await waitFor(async () => (await remote.list()).has('late-shop.sql.partial'));
    await remote.write('late-shop.sql', 'not ours');
    const { exitCode, lines } = await run.exited;
    expect(exitCode).toBe(3);
    expect(lines.at(-1)?.message).toMatch(/late-shop\.sql exists: somebody else wrote it during the upload/);
    expect([...(await remote.list()).keys()]).toEqual(['late-shop.sql']);
    expect((await remote.read('late-shop.sql')).toString()).toBe('not ours');
    await remote.remove('late-shop.sql');
  });

  it('F19: where DB_NAME and DB_URI disagree, the URI wins, says so, and is what name, series and dump speak of', async () => {
    const env = backupEnv(postgres.uri('small'), remote, scratch, { DB_NAME: 'shop' });
    const run = await runDbstash(['backup'], env);
    expect(run.exitCode, run.stderr).toBe(0);
    expect(warningsOf(run)).toMatch(/DB_NAME is ignored: DB_URI names another database, "small"/);
    const [backup] = await listBackups(env);
    expect(backup).toMatchObject({ database: 'small', series: `pg://127.0.0.1:${postgres.port}/small` });
    expect(backup?.artifact).toMatch(/^small-/);
    const dump = (await remote.read(backup!.artifact)).toString();
    expect(dump).toContain('CREATE TABLE public.item');
    expect(dump).not.toContain('orders');
  });

  it.each([
    ['false', 'sql', (file: string) => file],
    ['gzip', 'sql.gz', (file: string) => `gunzip -c '${file}'`],
    ['zstd', 'sql.zst', (file: string) => `zstd -dc '${file}'`],
    ['zstd:6', 'sql.zst', (file: string) => `zstd -dc '${file}'`],
    ['true', 'dump', (file: string) => `pg_restore -f - '${file}'`],
  ])('with BACKUP_COMPRESS=%s the artifact restores with plain tools', async (compress, extension, read) => {
    const env = backupEnv(postgres.uri('shop'), remote, scratch, { BACKUP_COMPRESS: compress });
    const artifact = await expectGood(env);
    expect(artifact).toMatch(new RegExp(`^shop-[\\d-]+\\.${extension.replace('.', '\\.')}$`));
    await postgres.createDatabase('plain');
    const file = join(remote.remote, artifact);
    const source = compress === 'false' ? `cat '${file}'` : read(file);
    const login = {
      PGHOST: postgres.host,
      PGPORT: String(postgres.port),
      PGUSER: 'postgres',
      PGPASSWORD: postgres.password,
    };
    const env2 = { PATH: process.env.PATH, ...login, PGDATABASE: 'plain' };
    execFileSync('bash', ['-c', `set -o pipefail; ${source} | psql -Xq -v ON_ERROR_STOP=1`], {
      env: env2,
      stdio: 'pipe',
    });
    expect(await fingerprint('plain')).toEqual(await fingerprint('shop'));
    await postgres.sql('DROP DATABASE plain');
    await remote.remove(artifact);
    await remote.remove(`${artifact}.manifest.json`);
  });
});

const canMount = process.getuid?.() === 0 && tryMount();
if (!canMount) console.warn('SKIPPED "F52: a full disk": only root can mount a small tmpfs');

describe.skipIf(!canMount)('F52: a full disk', () => {
  it('F52: of the remote fails the run, names its path, leaves nothing, and the last success is untouched', async () => {
    await using disk = mountTmpfs(scratch, '12m');
    const folder = join(disk.path, 'backups');
    mkdirSync(folder);
    const env = { DB_URI: postgres.uri('small'), RCLONE_REMOTE: folder, BACKUP_TEMP_DIR: join(scratch.path, 'tmp') };
    const last = await expectGood(env);
    const run = await runDbstash(['backup'], { ...env, DB_URI: postgres.uri('shop') });
    expect(run.exitCode, run.stderr).toBe(3);
    expect(errorOf(run)).toMatch(/no space left on device/);
    expect(errorOf(run)).toContain(folder);
    expect(readdirSync(folder).sort()).toEqual([last, `${last}.manifest.json`]);
    expect(await listBackups(env)).toMatchObject([{ artifact: last, state: 'good' }]);
  });

  it('F52: of BACKUP_TEMP_DIR is named before anything is uploaded', async () => {
    await using remote = await startRemote('local');
    await using disk = mountTmpfs(scratch, '64k');
    execFileSync('sh', ['-c', 'head -c 1000000 /dev/zero >full; for i in $(seq 100); do mkdir "d$i" || exit 0; done'], {
      cwd: disk.path,
      stdio: 'ignore',
    });
    const env = { ...backupEnv(postgres.uri('small'), remote, scratch), BACKUP_TEMP_DIR: join(disk.path, 'tmp') };
    const run = await runDbstash(['backup'], env);
    expect(run.exitCode).toBe(2);
    expect(run.stderr).toMatch(/BACKUP_TEMP_DIR: .*tmp.*(ENOSPC|no space)/);
    expect(await remote.list()).toEqual(new Map());
  });
});

describe.skipIf(!canMount)('F52: BACKUP_TEMP_DIR is too small for a dump that is no stream', () => {
  let mariadb: MysqlServer;
  beforeAll(async () => {
    mariadb = await startMariadb();
    await mariadb.createDatabase('shop');
    await mariadb.sql('CREATE TABLE t AS SELECT seq, REPEAT(MD5(seq), 8) AS note FROM seq_1_to_90000', {
      database: 'shop',
    });
    execFileSync(requireTool('sqlite3'), [
      join(scratch.path, 'big.db'),
      'PRAGMA journal_mode=WAL; CREATE TABLE t AS SELECT randomblob(24000000) AS x',
    ]);
  }, 120_000);
  afterAll(() => mariadb?.stop());

  const CASES: readonly [engine: string, mode: string, uri: () => string][] = [
    ['pg', 'file', () => postgres.uri('shop')],
    ['pg', 'directory', () => postgres.uri('shop')],
    ['pg', 'tar', () => postgres.uri('shop')],
    ['mariadb', 'file', () => mariadb.uri('shop')],
    ['mariadb', 'directory', () => mariadb.uri('shop')],
    ['sqlite', 'file', () => `sqlite://${join(scratch.path, 'big.db')}`],
  ];

  it.each(CASES)(
    'F52: of %s in the mode %s: it names folder and room, leaves nothing, and the next run with room succeeds',
    async (engine, mode, uri) => {
      await using remote = await startRemote('local');
      await using disk = mountTmpfs(scratch, '8m', `${engine}-${mode}`);
      const env = { ...backupEnv(uri(), remote, scratch), BACKUP_TEMP_DIR: disk.path, BACKUP_MODE: mode };
      const run = await runDbstash(['backup'], env);
      expect(run.exitCode, run.stderr).toBe(1);
      expect(errorOf(run)).toMatch(/BACKUP_TEMP_DIR: [78](\.\d+)? MiB (we|a)re free in /);
      expect(errorOf(run)).toContain(disk.path);
      expect(readdirSync(disk.path, { recursive: true })).toEqual(['locks']);
      expect(await remote.list()).toEqual(new Map());
      execFileSync('mount', ['-o', 'remount,size=200m', disk.path]);
      await expectGood(env);
      expect(await listBackups(env)).toMatchObject([{ state: 'good' }]);
    },
    60_000,
  );
});

function tryMount(): boolean {
  try {
    const folder = scratchFolder();
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', folder.path], { stdio: 'ignore' });
    execFileSync('umount', [folder.path]);
    void folder[Symbol.asyncDispose]();
    return true;
  } catch {
    return false;
  }
}

function mountTmpfs({ path: parent }: Scratch, size: string, name = size): Scratch {
  const path = join(parent, `disk-${name}`);
  mkdirSync(path);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},nr_inodes=64`, 'none', path]);
  return { path, [Symbol.asyncDispose]: async () => void execFileSync('umount', ['--lazy', path]) };
}
