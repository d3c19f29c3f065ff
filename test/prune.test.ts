import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MANIFEST_SUFFIX, VERDICT_SUFFIX } from '../src/core/manifest.ts';
import { findOtherServer } from '../src/jobs/prune.ts';
import { backupEnv, fakePath, listBackups } from './support/backups.ts';
import { type DbstashRun, runDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { RCLONES } from './support/rclone.ts';
import { type RemoteKind, startRemote, type TestRemote } from './support/remotes.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { createSqlite, daysAgo, hoursAgo, rclonePath, runSqlite, seedBackup, seedPending } from './support/seeds.ts';
import { expectSuccess } from './support/succeed.ts';
import { requireTool } from './support/tools.ts';

type Env = Record<string, string>;

let scratch: Scratch;
let uri: string;

beforeAll(() => {
  scratch = scratchFolder();
  uri = createSqlite(scratch);
});
afterAll(() => scratch?.[Symbol.asyncDispose]());

/** Names that cannot clash within one second. */
const envFor = (remote: TestRemote, more: Env = {}): Env =>
  backupEnv(uri, remote, scratch, { BACKUP_SERIES: 'app', BACKUP_NAME_TEMPLATE: 'app-{uuid}', ...more });

const warningsOf = (run: DbstashRun): string =>
  run.lines.flatMap(({ level, message }) => (level === 'warn' ? [message] : [])).join('\n');

const run = expectSuccess();

/** The artifacts whose manifest is there. */
const artifactsOn = async (remote: TestRemote): Promise<string[]> =>
  [...(await remote.list()).keys()].flatMap((path) =>
    path.endsWith(MANIFEST_SUFFIX) ? [path.slice(0, -MANIFEST_SUFFIX.length)] : [],
  );

const seedDays = async (remote: TestRemote, days: readonly number[]): Promise<void> => {
  for (const day of days) await seedBackup(remote, { artifact: `app-${day}.sql`, startedAt: daysAgo(day) });
};

const named = (days: readonly number[]): string[] => days.map((day) => `app-${day}.sql`).sort();

describe('retention', () => {
  let shared: TestRemote;
  beforeAll(async () => {
    shared = await startRemote('local');
    await seedDays(shared, DAYS);
  });
  afterAll(() => shared?.stop());

  /** Days before today on which there is a backup: the newest is a month old, after a long silence. */
  const DAYS = [31, 32, 33, 36, 40, 61, 95, 130, 400, 800];

  it.each<readonly [string, Env, readonly number[]]>([
    ['nothing set', {}, DAYS],
    ['F09: all are older than the window, ages count from the newest', { RETENTION_MAX_DAYS: '7' }, [31, 32, 33, 36]],
    ['F09: RETENTION_MIN_KEEP saves', { RETENTION_MAX_DAYS: '1', RETENTION_MIN_KEEP: '5' }, [31, 32, 33, 36, 40]],
    ['the newest so many', { RETENTION_MAX_FILES: '3' }, [31, 32, 33]],
    [
      'both limits: what exceeds either goes',
      { RETENTION_MAX_FILES: '8', RETENTION_MAX_DAYS: '70' },
      [31, 32, 33, 36, 40, 61, 95],
    ],
    ['last and monthly', { RETENTION_KEEP_LAST: '2', RETENTION_KEEP_YEARLY: '9' }, [31, 32, 400, 800]],
    [
      'a keep rule saves what a limit would remove',
      { RETENTION_MAX_FILES: '1', RETENTION_KEEP_LAST: '4' },
      [31, 32, 33, 36],
    ],
    ['all keep rules that are smaller than one', { RETENTION_KEEP_HOURLY: '1', RETENTION_KEEP_DAILY: '1' }, [31]],
    ['F09: daily ones that are there, however old', { RETENTION_KEEP_DAILY: '6' }, [31, 32, 33, 36, 40, 61]],
  ])('%s', async (_, policy, kept) => {
    const planned = await run(['prune', '--dry-run', '--json'], envFor(shared, policy));
    const plan: Record<'keep' | 'remove', { artifact: string }[]> = JSON.parse(planned.stdout);
    expect(plan.keep.map(({ artifact }) => artifact).sort()).toEqual(named(kept));
    expect(plan.remove.map(({ artifact }) => artifact).sort()).toEqual(
      named(DAYS.filter((day) => !kept.includes(day))),
    );
    expect((await artifactsOn(shared)).sort()).toEqual(named(DAYS));
  });

  it.each(['local', 'sftp', 's3'] as const)('on %s removes exactly what a dry run says', async (kind) => {
    await using remote = await startRemote(kind);
    await seedDays(remote, DAYS);
    await run(['prune'], envFor(remote, { RETENTION_MAX_DAYS: '7', RETENTION_KEEP_YEARLY: '3' }));
    expect([...(await remote.list()).keys()].sort()).toEqual(
      named([31, 32, 33, 36, 400, 800]).flatMap((name) => [name, name + MANIFEST_SUFFIX]),
    );
  });

  it('F09: a backup after a month of nothing keeps as many old ones as RETENTION_MIN_KEEP says', async () => {
    await using remote = await startRemote('local');
    await seedDays(remote, DAYS);
    await run(['backup'], envFor(remote, { RETENTION_MAX_DAYS: '7', RETENTION_MIN_KEEP: '3' }));
    const [fresh, ...old] = await listBackups(envFor(remote));
    expect(old.map(({ artifact }) => artifact)).toEqual(['app-31.sql', 'app-32.sql']);
    expect(fresh).toMatchObject({ state: 'good' });
  });

  it.each([
    ['F10: the newest that a drill restored stays while newer ones fail theirs', ['', 'failed', '', 'drilled'], [1, 4]],
    ['one whose drill has failed since is not taken for it', ['failed', 'both', 'drilled', 'drilled'], [1, 3]],
    ['it goes once a newer one could be restored', ['drilled', 'failed', 'drilled', ''], [1]],
    ['drills that failed alone save nothing', ['failed', 'failed', '', ''], [1]],
  ])('%s', async (_, drills, kept) => {
    await using remote = await startRemote('local');
    const at = daysAgo(1).toISOString();
    for (const [index, outcome] of drills.entries()) {
      const artifact = `app-${index + 1}.sql`;
      const { id } = await seedBackup(remote, { artifact, startedAt: daysAgo(index + 1) });
      const drill = { tables: 1, rows: 1, durationMs: 1, at };
      const verdict = {
        ...{ dbstash: 1, id, at, level: 'restore', ok: true, reason: null },
        ...(['drilled', 'both'].includes(outcome) && { drill }),
        ...(['failed', 'both'].includes(outcome) && { failedDrill: { at, reason: 'no room' } }),
      };
      if (outcome !== '') await remote.write(artifact + VERDICT_SUFFIX, JSON.stringify(verdict));
    }
    await run(['prune'], envFor(remote, { RETENTION_KEEP_LAST: '1' }));
    expect((await artifactsOn(remote)).sort()).toEqual(named(kept));
  });

  it('F24: of a series with two servers the command removes nothing, as its dry run says, what dead runs left neither', async () => {
    await using remote = await startRemote('local');
    for (const day of [1, 2, 3])
      await seedBackup(remote, { artifact: `app-${day}.sql`, startedAt: daysAgo(day), serverId: `server-${day % 2}` });
    await seedPending(remote, { artifact: 'left.sql', refreshedAt: daysAgo(3) });
    await remote.write('left.sql', 'half of it');
    const before = [...(await remote.list()).keys()];
    for (const flags of [['--dry-run'], []]) {
      const done = await run(['prune', '--json', ...flags], envFor(remote, { RETENTION_KEEP_LAST: '1' }));
      expect(JSON.parse(done.stdout)).toMatchObject({ remove: [], sweep: [], removed: [] });
      expect(warningsOf(done)).toContain('nothing is pruned');
    }
    expect([...(await remote.list()).keys()]).toEqual(before);
  });

  it('F10: orphans, partials, empty files and what has lost its artifact are not counted as kept', async () => {
    await using remote = await startRemote('local');
    await seedDays(remote, [4, 5, 6]);
    const record = await seedPending(remote, { artifact: 'app-1.sql', refreshedAt: hoursAgo(1) });
    await remote.write('app-1.sql', '-- an upload that is still going on');
    await remote.write('app-0.sql.partial', 'half');
    await remote.write('app-00.sql', '');
    await seedDays(remote, [2, 3]);
    await remote.remove('app-2.sql');
    await remote.write('app-3.sql', 'cut');
    await run(['prune'], envFor(remote, { RETENTION_MAX_FILES: '2' }));
    expect([...(await remote.list()).keys()].sort()).toEqual(
      [
        'app-0.sql.partial',
        'app-00.sql',
        'app-1.sql',
        'app-2.sql.manifest.json',
        'app-3.sql',
        'app-3.sql.manifest.json',
        'app-4.sql',
        'app-4.sql.manifest.json',
        'app-5.sql',
        'app-5.sql.manifest.json',
        record,
      ].sort(),
    );
  });

  it('F13: the order is that of the manifests, not of names or modification times', async () => {
    await using remote = await startRemote('local');
    // Newest first written, so the oldest has the newest modification time; and it has the name that sorts last.
    for (const [artifact, day] of [
      ['a.sql', 1],
      ['m-2020-01-01.sql', 2],
      ['z-2026-12-31.sql', 300],
    ] as const)
      await seedBackup(remote, { artifact, startedAt: daysAgo(day) });
    expect((await listBackups(envFor(remote))).map(({ artifact }) => artifact)).toEqual([
      'a.sql',
      'm-2020-01-01.sql',
      'z-2026-12-31.sql',
    ]);
    await run(['prune'], envFor(remote, { RETENTION_KEEP_LAST: '2' }));
    expect((await artifactsOn(remote)).sort()).toEqual(['a.sql', 'm-2020-01-01.sql']);
  });

  it('F14: a backup dated in the future is never removed, not counted, and not taken for the latest', async () => {
    await using remote = await startRemote('local');
    await seedDays(remote, [-400, -1, 2, 3]);
    const env = envFor(remote, { RETENTION_KEEP_LAST: '2', RETENTION_MAX_DAYS: '0' });
    await run(['backup'], env);
    const names = await artifactsOn(remote);
    expect(names).toHaveLength(4);
    expect(names).toEqual(expect.arrayContaining(['app--400.sql', 'app--1.sql', 'app-2.sql']));
    const target = join(scratch.path, 'future.db');
    const restored = await run(['restore', '--database', target], env);
    expect(restored.stdout).not.toContain('app--');
    expect(runSqlite(target, 'SELECT a FROM t;')).toBe('42');
  });
});

describe('F11: what is not ours', () => {
  const GO_DBSTASH = [1, 2, 3].flatMap((n) => [`app-2025-0${n}-01-020000.sql`, `app-2025-0${n}-01-020000.sql.gz`]);

  async function seedStrangers(remote: TestRemote): Promise<void> {
    for (const path of GO_DBSTASH) await remote.write(path, `years of backups: ${path}`);
    const ours = await seedBackup(remote, { artifact: 'app-copied.sql', startedAt: daysAgo(300), series: 'other' });
    const files: Env = {
      'notes.txt': 'do not delete',
      'app.sql': '-- by hand',
      'app-old/backup.sql': '-- by hand',
      'strange name [1]*?.sql': 'glob',
      'app.manifest.json': '{"name":"a web app","icons":[]}',
      'app-x.sql.manifest.json': '{"dbstash":1}',
      'app-y.sql.pending.json': '{"status":"pending"}',
      'app-z.sql.verify.json': 'not JSON',
      'report.json': '[]',
      'empty.sql.manifest.json': '',
      // A copy of a manifest beside another file vouches for nothing.
      'app.sql.manifest.json': JSON.stringify({ ...ours, series: 'app', artifact: 'app-0.sql' }),
      'app-half.sql.partial': 'half',
    };
    for (const [path, body] of Object.entries(files)) await remote.write(path, body);
    for (const series of ['app2', 'app-2', 'ap', 'APP', 'app/']) {
      for (const day of [400, 500])
        await seedBackup(remote, {
          artifact: `app-${Buffer.from(series).toString('hex')}-${day}.sql`,
          startedAt: daysAgo(day),
          series,
        });
    }
    // Copied aside by somebody, manifest and all: it is theirs now.
    const kept = await seedBackup(remote, { artifact: 'app-600.sql', startedAt: daysAgo(600) });
    await remote.write('archive/app-600.sql', await remote.read('app-600.sql'));
    await remote.write('archive/app-600.sql.manifest.json', JSON.stringify(kept));
    await remote.remove('app-600.sql');
    await remote.remove('app-600.sql.manifest.json');
    // A record that was copied names objects at the root, where other things lie under those names.
    await seedPending(remote, { artifact: 'app.sql', refreshedAt: daysAgo(40), path: 'archive/app.sql.pending.json' });
    await seedPending(remote, { artifact: 'app-2-of-another.sql', refreshedAt: daysAgo(40), series: 'app2' });
    await remote.write('app-2-of-another.sql', 'dead, but not ours to sweep');
  }

  const CASES: readonly (readonly [RemoteKind, string])[] = [
    ['local', 'rclone'],
    ['s3', 'rclone'],
    ['s3', 'rclone-current'],
    ['sftp', 'rclone-current'],
  ];
  for (const [kind, tool] of CASES) {
    describeWith([tool], `on ${kind} with ${tool}`, () => {
      it('F11: years of strangers are untouched, byte for byte, after many runs that keep one', async () => {
        await using remote = await startRemote(kind);
        await seedStrangers(remote);
        const before = await remote.list();
        const env = envFor(remote, { RETENTION_KEEP_LAST: '1', RETENTION_MAX_DAYS: '0', ...rclonePath(scratch, tool) });
        for (let runs = 0; runs < 2; runs += 1) await run(['backup'], env);
        await run(['prune'], { ...env, RETENTION_MAX_FILES: '1', RETENTION_MAX_DAYS: '1' });
        const after = await remote.list();
        for (const [path, file] of before) expect(after.get(path), path).toEqual(file);
        const added = [...after.keys()].filter((path) => !before.has(path));
        expect(added).toHaveLength(2);
        expect(added[1]).toBe(added[0] + MANIFEST_SUFFIX);
      });
    });
  }
});

describe('F12: a listing that cannot be trusted', () => {
  /** rclone whose listings, once there is a manifest written in this run, are what the script makes of them. */
  const bentRclone = (script: string): Env =>
    fakePath(scratch, {
      rclone: `
real='${requireTool('rclone')}'
case "$*" in
rcat*"manifest.json") "$real" "$@" || exit; touch "$HOME/committed" ;;
lsjson*--recursive*) if [ -e "$HOME/committed" ]; then ${script}; else exec "$real" "$@"; fi ;;
*) exec "$real" "$@" ;;
esac`,
    });

  it.each([
    ['fails', '"$real" "$@"; exit 1', /lsjson/],
    ['prints nothing and exits 0', 'exit 0', /does not parse/],
    ['is cut short in the middle and exits 0', '"$real" "$@" | head -c 200', /does not parse/],
    ['is cut between two entries', '"$real" "$@" | sed "3,\\$d"', /does not parse/],
    ['is whole JSON but empty', 'echo "[]"', /does not hold app-\w+\.sql/],
    [
      'lacks what was just written',
      '"$real" "$@" | grep -v "\\"app-[0-9a-f]\\{8\\}.sql\\""',
      /does not hold app-\w+\.sql/,
    ],
  ])('F12: after a backup it %s: nothing is pruned, a warning, the backup is good', async (_, script, why) => {
    await using remote = await startRemote('local');
    await using home = scratchFolder();
    await seedDays(remote, [100, 200, 300]);
    const orphan = await seedPending(remote, { artifact: 'app-dead.sql', refreshedAt: daysAgo(5) });
    const before = await remote.list();
    const env = envFor(remote, { RETENTION_KEEP_LAST: '1', ...bentRclone(script) });
    const done = await runDbstash(['backup'], env, { scratch: home });
    expect(done.exitCode, done.stderr).toBe(0);
    expect(warningsOf(done)).toMatch(/retention failed, the backup is good/);
    expect(warningsOf(done)).toMatch(why);
    expect(done.lines.at(-1)).toMatchObject({ outcome: 'warning' });
    const after = await remote.list();
    for (const [path, file] of before) expect(after.get(path), path).toEqual(file);
    expect(after.has(orphan)).toBe(true);
    const fresh = (await artifactsOn(remote)).filter((path) => !before.has(path));
    expect(fresh).toHaveLength(1);
    expect(after.get(fresh[0]!)?.bytes).toBeGreaterThan(100);
  });

  it.each([
    ['fails', 'exit 1'],
    ['is cut short', '"$real" "$@" | head -c 300'],
  ])('F12: prune removes nothing where it %s, and exits 3', async (_, script) => {
    await using remote = await startRemote('local');
    await using home = scratchFolder();
    await seedDays(remote, [100, 200, 300]);
    const before = await remote.list();
    writeFileSync(join(home.path, 'committed'), '');
    const env = envFor(remote, { RETENTION_KEEP_LAST: '1', ...bentRclone(script) });
    const done = await runDbstash(['prune'], env, { scratch: home });
    expect(done.exitCode, done.stderr).toBe(3);
    expect(await remote.list()).toEqual(before);
  });

  for (const tool of RCLONES) {
    describeWith([tool], `on S3 with ${tool}`, () => {
      it.each(tool === 'rclone' ? (['cut', 'partial', 'empty'] as const) : (['cut'] as const))(
        'F12: a %s listing after the commit prunes and sweeps nothing that a whole one would keep',
        async (listing) => {
          await using remote = await startRemote('s3');
          await seedDays(remote, [100, 200, 300]);
          // Committed, but its record stayed behind: where the listing hides the manifest it looks like an orphan.
          await seedPending(remote, { artifact: 'app-100.sql', refreshedAt: daysAgo(100) });
          const env = envFor(remote, {
            RETENTION_KEEP_LAST: '2',
            RCLONE_LOW_LEVEL_RETRIES: '1',
            ...rclonePath(scratch, tool),
          });
          const fault = remote.s3?.fault({ operation: ['ListObjects', 'ListObjectsV2'], listing, after: 1 });
          const done = await run(['backup'], env);
          expect(fault?.hits).toBeGreaterThan(0);
          expect(done.lines.at(-1)).toMatchObject({ outcome: 'warning' });
          remote.s3?.clearFaults();
          const left = (await listBackups(env)).map(({ artifact, state }) => `${artifact} ${state}`);
          expect(left).toEqual([
            expect.stringMatching(/ good$/),
            ...[100, 200, 300].map((day) => `app-${day}.sql good`),
          ]);
        },
      );
    });
  }

  it('F12: an object whose manifest the listing hides is not swept as an orphan', async () => {
    await using remote = await startRemote('s3');
    await seedBackup(remote, { artifact: 'app-good.sql', startedAt: daysAgo(3) });
    await seedPending(remote, { artifact: 'app-good.sql', refreshedAt: daysAgo(3) });
    await remote.write('z.txt', 'the last one in the listing');
    const hiding = fakePath(scratch, {
      rclone: `
case "$*" in
lsjson*--recursive*) '${requireTool('rclone')}' "$@" | grep -v 'app-good.sql.manifest.json' ;;
*) exec '${requireTool('rclone')}' "$@" ;;
esac`,
    });
    const done = await runDbstash(['prune'], envFor(remote, hiding));
    expect(done.stderr).toContain('app-good.sql has a manifest');
    expect(done.exitCode).toBe(3);
    expect((await listBackups(envFor(remote))).map(({ state }) => state)).toEqual(['good']);
  });
});

describe('retention that fails', () => {
  it('F65: the outcome is a warning, the backup is good, and the next run makes up for it', async () => {
    await using remote = await startRemote('s3');
    await seedDays(remote, [100, 200]);
    const env = envFor(remote, { RETENTION_KEEP_LAST: '1', RCLONE_LOW_LEVEL_RETRIES: '1' });
    remote.s3?.fault({ operation: ['DeleteObject', 'DeleteObjects'], key: /app-100/, status: 503 });
    const done = await run(['backup'], env);
    expect(warningsOf(done)).toMatch(/retention failed, the backup is good: .*app-100\.sql\.manifest\.json/);
    expect(done.lines.at(-1)).toMatchObject({ outcome: 'warning', message: expect.stringContaining('1 warning') });
    expect((await listBackups(env))[0]?.state).toBe('good');
    remote.s3?.clearFaults();
    await run(['backup'], env);
    const [fresh] = await artifactsOn(remote);
    const record = [...(await remote.list()).keys()].find((path) => path.endsWith('.pending.json'));
    // The manifest of one was gone before the other's could not be removed.
    expect([...(await remote.list()).keys()].sort()).toEqual(
      [fresh, `${fresh}.manifest.json`, 'app-200.sql', record].sort(),
    );
    const text = (await remote.read(record!)).toString().replace(/("refreshedAt": ")\d+/, '$12020');
    await remote.write(record!, text);
    await run(['prune'], env);
    expect([...(await remote.list()).keys()].sort()).toEqual([fresh, `${fresh}.manifest.json`].sort());
  });

  it('F37: a key that may not delete backs up, says "forbidden", and leaves no heap of junk', async () => {
    await using remote = await startRemote('s3');
    const { s3 } = remote;
    if (!s3) throw new Error('this is S3');
    s3.forbidDelete = true;
    const env = envFor(remote, { RETENTION_KEEP_LAST: '1', RCLONE_LOW_LEVEL_RETRIES: '1' });
    for (let runs = 0; runs < 3; runs += 1) {
      const done = await run(['backup'], env);
      expect(done.lines.at(-1)).toMatchObject({ outcome: 'warning' });
      expect(warningsOf(done)).toMatch(/forbidden: the login may not remove objects/);
    }
    const pruned = await runDbstash(['prune'], env);
    expect([pruned.exitCode, pruned.stderr]).toEqual([3, expect.stringContaining('forbidden')]);
    const backups = await listBackups(env);
    expect(backups.map(({ state }) => state)).toEqual(['good', 'good', 'good']);
    const records = [...(await remote.list()).keys()].filter((path) => path.endsWith('.pending.json'));
    expect(records.length).toBeLessThanOrEqual(backups.length + 1);
    expect([...(await remote.list()).keys()]).toHaveLength(2 * backups.length + records.length);
    const target = join(scratch.path, 'forbidden.db');
    await run(['restore', backups[2]!.artifact, '--database', target], env);
    expect(runSqlite(target, 'SELECT a FROM t;')).toBe('42');
    s3.forbidDelete = false;
    await run(['prune'], env);
    expect(await artifactsOn(remote)).toEqual([backups[0]!.artifact]);
  });

  it('F37: what one failed removal left behind is removed by the next, and no artifact is forgotten', async () => {
    await using remote = await startRemote('s3');
    await seedDays(remote, [1, 100, 200, 300]);
    const env = envFor(remote, { RETENTION_KEEP_LAST: '1', RCLONE_LOW_LEVEL_RETRIES: '1' });
    remote.s3?.fault({ operation: ['DeleteObject', 'DeleteObjects'], key: /app-300/, status: 403 });
    expect((await runDbstash(['prune'], env)).exitCode).toBe(3);
    expect((await artifactsOn(remote)).sort()).toEqual(named([1, 300]));
    expect((await runDbstash(['prune'], env)).exitCode).toBe(3);
    expect((await remote.list()).has('app-200.sql')).toBe(false);
    remote.s3?.clearFaults();
    await run(['prune'], env);
    expect([...(await remote.list()).keys()].sort()).toEqual(['app-1.sql', 'app-1.sql.manifest.json']);
  });
});

it.each(['local', 's3'] as const)(
  'F07: what a prune of a folder of 200 files left midway on %s is swept a day later, in a few calls',
  async (kind) => {
    await using remote = await startRemote(kind);
    const files = Array.from({ length: 200 }, (_, index) => ({
      path: `${index}.dat`,
      bytes: 1,
      sha256: '0'.repeat(64),
    }));
    await seedDays(remote, [1, 40]);
    const folder = { ...(await seedBackup(remote, { artifact: 'app-50', startedAt: daysAgo(50) })), files };
    await remote.remove('app-50');
    await remote.write(`app-50${MANIFEST_SUFFIX}`, JSON.stringify({ ...folder, bytes: 200 }));
    for (const { path } of files) await remote.write(`app-50/${path}`, 'x');
    const log = join(scratch.path, `calls-${kind}`);
    const start = `echo "$1" >>'${log}'; exec '${requireTool('rclone')}' "$@"`;
    const once = fakePath(scratch, {
      rclone: `[ "$1" = delete ] && [ -e '${log}' ] && grep -q delete '${log}' && exit 1; ${start}`,
    });
    const died = await runDbstash(['prune'], envFor(remote, { RETENTION_MAX_DAYS: '7', ...once }));
    expect(died.exitCode, died.stderr).toBe(3);

    const [record = ''] = [...(await remote.list()).keys()].filter((path) => path.endsWith('.pending.json'));
    const aged = { ...JSON.parse(`${await remote.read(record)}`), refreshedAt: hoursAgo(30).toISOString() };
    await remote.write(record, JSON.stringify(aged));
    for (const { path } of files.slice(0, 100)) await remote.remove(`app-50/${path}`);
    const keys = ['app-50/3.dat', 'of-another-tool'].map((path) => `backups/${path}`);
    for (const key of keys) remote.s3?.addUpload(key, hoursAgo(50));
    writeFileSync(log, '');
    await run(['prune'], envFor(remote, fakePath(scratch, { rclone: start })));
    expect([...(await remote.list()).keys()].sort()).toEqual(['app-1.sql', `app-1.sql${MANIFEST_SUFFIX}`]);
    if (kind === 'local') expect(readdirSync(remote.remote)).not.toContain('app-50');
    expect(remote.s3?.uploads().map(({ key }) => key) ?? []).toEqual(kind === 's3' ? keys.slice(1) : []);
    const calls = readFileSync(log, 'utf8').trim().split('\n');
    expect(calls.length, calls.join('\n')).toBeLessThan(20);
  },
  300_000,
);

describe('F21: several instances', () => {
  it.each(['local', 's3'] as const)('F21: two prunes at once on %s remove the same, and no more', async (kind) => {
    await using remote = await startRemote(kind);
    await seedDays(remote, [1, 2, 3, 4, 5, 6, 7, 8]);
    const policy = { RETENTION_KEEP_LAST: '3' };
    const envs = ['one', 'two', 'three'].map((name) =>
      envFor(remote, { ...policy, BACKUP_TEMP_DIR: join(scratch.path, name) }),
    );
    const done = await Promise.all(envs.map((env) => runDbstash(['prune'], env)));
    expect(
      done.map(({ exitCode }) => exitCode),
      done.map(({ stderr }) => stderr).join(),
    ).toEqual([0, 0, 0]);
    expect([...(await remote.list()).keys()].sort()).toEqual(
      named([1, 2, 3]).flatMap((name) => [name, name + MANIFEST_SUFFIX]),
    );
  });

  it.each(['local', 's3'] as const)(
    'F21: backups of one series at once on %s, each pruning, all end well and lose nothing that stays',
    async (kind) => {
      await using remote = await startRemote(kind);
      await seedDays(remote, [1, 2, 3, 4]);
      const envs = ['one', 'two', 'three'].map((name) =>
        envFor(remote, {
          RETENTION_KEEP_LAST: '5',
          BACKUP_NAME_TEMPLATE: 'app-{date}-{time}',
          BACKUP_TEMP_DIR: join(scratch.path, name),
        }),
      );
      const done = await Promise.all(envs.map((env) => runDbstash(['backup'], env)));
      expect(
        done.map(({ exitCode }) => exitCode),
        done.map(({ stderr }) => stderr).join(),
      ).toEqual([0, 0, 0]);
      await run(['prune'], envs[0]!);
      const backups = await listBackups(envs[0]!);
      expect(backups.map(({ state }) => state)).toEqual(['good', 'good', 'good', 'good', 'good']);
      expect(backups.slice(3).map(({ artifact }) => artifact)).toEqual(['app-1.sql', 'app-2.sql']);
      expect([...(await remote.list()).keys()]).toHaveLength(10);
    },
  );
});

describe('F24: two servers that write to one series', () => {
  const of = (...serverIds: (string | null)[]) =>
    serverIds.map((serverId) => ({ state: 'good', manifest: { series: 'app', serverId } })) as unknown as Parameters<
      typeof findOtherServer
    >[1];

  it.each<readonly [string, (string | null)[], boolean]>([
    ['none', [], false],
    ['one server', ['a', 'a', 'a'], false],
    ['engines without ids', [null, null], false],
    ['the first backup of another', ['b', 'a', 'a'], true],
    ['one that moved, or that runs more often', ['b', 'b', 'a', 'a'], true],
    ['taking turns', ['a', 'b', 'a', 'b'], true],
    ['taking turns, one far more often', ['a', 'a', 'a', 'b', 'a', 'a'], true],
    ['taking turns, with one that has no id', ['a', null, 'a', 'b', 'a'], true],
  ])('F24: whether latest is clear, newest first: %s', (_, ids, isOther) => {
    expect(findOtherServer('app', of(...ids)) !== undefined).toBe(isOther);
    expect(findOtherServer('another', of(...ids))).toBeUndefined();
  });

  describeWith(['postgres', 'initdb', 'psql'], 'real ones', () => {
    let servers: readonly PostgresServer[];
    beforeAll(async () => {
      servers = await Promise.all([startPostgres(), startPostgres()]);
      for (const server of servers) await server.createDatabase('shop');
    });
    afterAll(async () => {
      for (const server of servers ?? []) await server.stop();
    });

    it('F24: both are committed, nothing is pruned, a warning says why, and latest asks for a name', async () => {
      await using remote = await startRemote('local');
      const [one, two] = servers.map((server) =>
        backupEnv(server.uri('shop'), remote, scratch, {
          BACKUP_SERIES: 'pg://db:5432/shop',
          BACKUP_NAME_TEMPLATE: 'shop-{uuid}',
          RETENTION_KEEP_LAST: '1',
        }),
      ) as [Env, Env];
      const first = await run(['backup'], one);
      expect(first.lines.at(-1)).toMatchObject({ outcome: 'succeeded' });
      for (const env of [two, one]) {
        const done = await run(['backup'], env);
        expect(done.lines.at(-1)).toMatchObject({ outcome: 'warning' });
        expect(warningsOf(done)).toMatch(/nothing is pruned: .* several servers .*BACKUP_SERIES/);
      }
      expect(await artifactsOn(remote)).toHaveLength(3);
      expect(warningsOf(await run(['prune'], two))).toMatch(/nothing is pruned/);
      expect(await artifactsOn(remote)).toHaveLength(3);
      // However often one of them runs, what it prunes is its own.
      for (let i = 0; i < 3; i++)
        expect((await run(['backup'], one)).lines.at(-1)).toMatchObject({ outcome: 'succeeded' });
      const left = await listBackups(one);
      expect(new Set(left.map(({ serverId }) => serverId)).size).toBe(2);
      expect(left).toHaveLength(2);
      const refused = await runDbstash(['restore', 'latest', '--database', 'copy'], one);
      expect([refused.exitCode, refused.stderr]).toEqual([2, expect.stringContaining('latest is not clear')]);
      const [newest] = await listBackups(one);
      await run(['restore', newest!.artifact, '--database', 'copy'], one);
    });
  });
});
