import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MANIFEST_SUFFIX, parseVerdict, VERDICT_SUFFIX } from '../src/core/manifest.ts';
import { backupEnv, listBackups } from './support/backups.ts';
import { type DbstashRun, runDbstash, startDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { RCLONES } from './support/rclone.ts';
import { REMOTE_KINDS, type RemoteKind, startRemote, type TestRemote } from './support/remotes.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { createSqlite, daysAgo, hoursAgo, rclonePath, runSqlite, seedBackup, seedPending } from './support/seeds.ts';
import { expectSuccess } from './support/succeed.ts';

type Env = Record<string, string>;

let scratch: Scratch;
let uri: string;

beforeAll(() => {
  scratch = scratchFolder();
  uri = createSqlite(scratch);
});
afterAll(() => scratch?.[Symbol.asyncDispose]());

const envFor = (remote: TestRemote, more: Env = {}): Env =>
  backupEnv(uri, remote, scratch, { BACKUP_SERIES: 'app', BACKUP_NAME_TEMPLATE: 'app-{uuid}', ...more });

const warningsOf = (run: DbstashRun): string =>
  run.lines.flatMap(({ level, message }) => (level === 'warn' ? [message] : [])).join('\n');

const run = expectSuccess();

const pathsOn = async (remote: TestRemote): Promise<string[]> => [...(await remote.list()).keys()].sort();

/** Those that a run of ours did not add. */
const withoutNew = (paths: readonly string[]): string[] =>
  paths.filter((path) => !/^app-[0-9a-f]{8}\.sql(\.manifest\.json)?$/.test(path));

describe('F06: what dead runs left', () => {
  interface Left {
    readonly dead: string;
    readonly young: string;
    readonly others: string;
    readonly claimed: string;
  }

  /** One orphan that is a day old, and what must not be taken for one. */
  async function seedLeft(remote: TestRemote): Promise<Left> {
    for (const path of ['dead.sql', 'dead.sql.partial', 'young.sql', 'others.sql', 'alone.sql', 'dead.sql.gz'])
      await remote.write(path, `-- ${path}`);
    await seedBackup(remote, { artifact: 'claimed.sql', startedAt: daysAgo(3) });
    return {
      dead: await seedPending(remote, { artifact: 'dead.sql', refreshedAt: hoursAgo(24.1) }),
      young: await seedPending(remote, { artifact: 'young.sql', refreshedAt: hoursAgo(23.9) }),
      others: await seedPending(remote, { artifact: 'others.sql', refreshedAt: daysAgo(30), series: 'app2' }),
      claimed: await seedPending(remote, { artifact: 'claimed.sql', refreshedAt: daysAgo(3) }),
    };
  }

  const STAYS = ['alone.sql', 'claimed.sql', 'claimed.sql.manifest.json', 'dead.sql.gz', 'others.sql', 'young.sql'];

  it.each(REMOTE_KINDS)(
    'F06: on %s they are shown, reported by the next run and swept when a day old',
    async (kind) => {
      await using remote = await startRemote(kind);
      const left = await seedLeft(remote);
      const all: { path?: string; state: string; left?: string[]; artifact?: string }[] = await listBackups(
        envFor(remote),
        '--all',
      );
      const shown = (state: string) =>
        all.flatMap((row) => (row.state === state ? [[row.path, ...(row.left ?? [])]] : []));
      expect(shown('orphan').sort()).toEqual([
        [left.claimed],
        [left.dead, 'dead.sql', 'dead.sql.partial'],
        [left.others, 'others.sql'],
        [left.young, 'young.sql'],
      ]);
      expect(shown('foreign').sort()).toEqual([['alone.sql'], ['dead.sql.gz']]);
      expect(all.filter(({ state }) => state === 'good').map(({ artifact }) => artifact)).toEqual(['claimed.sql']);

      const done = await run(['backup'], envFor(remote));
      expect(warningsOf(done)).toContain(left.dead);
      expect(warningsOf(done)).toContain(left.young);
      expect(warningsOf(done)).not.toContain(left.others);
      expect(withoutNew(await pathsOn(remote))).toEqual([...STAYS, left.young, left.others].sort());
    },
  );

  it('F06: the prune command sweeps them, a dry run only looks, and list says in words what is left', async () => {
    await using remote = await startRemote('local');
    const left = await seedLeft(remote);
    const before = await pathsOn(remote);
    const { stdout } = await run(['list', '--all'], envFor(remote));
    expect(stdout).toMatch(/orphans .*\n(.*\n)*? {2}dead\.sql\n/);
    await run(['prune', '--dry-run'], envFor(remote));
    expect(await pathsOn(remote)).toEqual(before);
    await run(['prune'], envFor(remote));
    expect(await pathsOn(remote)).toEqual([...STAYS, left.young, left.others].sort());
  });

  it('F06: a daemon reports them when it starts', async () => {
    await using remote = await startRemote('local');
    const { dead } = await seedLeft(remote);
    await using daemon = startDbstash(['start'], envFor(remote, { BACKUP_SCHEDULE: '0 0 1 1 *' }));
    const line = JSON.parse(await daemon.waitForLog(/dead\.sql\.\d.* has not committed/));
    expect(line).toMatchObject({ level: 'warn', message: expect.stringContaining(dead) });
    daemon.kill('SIGTERM');
    expect((await daemon.exited).exitCode).toBe(0);
  });

  it('F06: a run that died before it knew whose the name is leaves a record that sweeps nothing', async () => {
    await using remote = await startRemote('s3');
    await remote.write('app.sql', 'a dump that somebody made by hand');
    // Its lock dies with it, in its own folder.
    const env = envFor(remote, { BACKUP_NAME_TEMPLATE: 'app', BACKUP_TEMP_DIR: join(scratch.path, 'dying') });
    const hold = remote.s3?.hold(['ListObjects', 'ListObjectsV2']);
    await using dying = startDbstash(['backup'], env);
    await hold?.arrived;
    dying.kill('SIGKILL');
    await dying.exited;
    hold?.release();
    const record = (await pathsOn(remote)).find((path) => path.endsWith('.pending.json'));
    const text = (await remote.read(record!)).toString();
    await remote.write(record!, text.replace(/("refreshedAt": ")\d+/, '$12020'));
    await run(['backup'], envFor(remote));
    expect(withoutNew(await pathsOn(remote))).toEqual(['app.sql']);
    expect((await remote.read('app.sql')).toString()).toContain('by hand');
  });
});

describe('F07: unfinished uploads on S3', () => {
  for (const tool of RCLONES) {
    describeWith([tool], `with ${tool}`, () => {
      it('F07: those of dead runs are aborted, all others are left', async () => {
        await using remote = await startRemote('s3');
        const { s3 } = remote;
        if (!s3) throw new Error('this is S3');
        const old = daysAgo(2);
        await seedPending(remote, { artifact: 'dead.sql', refreshedAt: old });
        await seedPending(remote, { artifact: 'prefix.sql', refreshedAt: old });
        await seedPending(remote, { artifact: 'young.sql', refreshedAt: hoursAgo(23) });
        await seedPending(remote, { artifact: 'others.sql', refreshedAt: old, series: 'app2' });
        await seedPending(remote, { artifact: 'gone.sql', refreshedAt: old });
        const gone = [s3.addUpload('backups/dead.sql', old), s3.addUpload('backups/dead.sql', daysAgo(9))];
        const stays = [
          // Somebody begins to write under that name just now.
          s3.addUpload('backups/dead.sql', hoursAgo(1)),
          s3.addUpload('backups/young.sql', old),
          s3.addUpload('backups/others.sql', old),
          s3.addUpload('backups/unknown.sql', old),
          s3.addUpload('dead.sql', old),
          s3.addUpload('elsewhere/backups/dead.sql', old),
          // What rclone would abort together with ours, as it takes the name for a prefix.
          s3.addUpload('backups/prefix.sql', old),
          s3.addUpload('backups/prefix.sql.zst', old),
        ];
        await run(['backup'], envFor(remote, rclonePath(scratch, tool)));
        const left = s3.uploads().map(({ id }) => id);
        expect(left.sort()).toEqual(stays.sort());
        expect(left).not.toEqual(expect.arrayContaining(gone));
        expect((await pathsOn(remote)).filter((path) => /^(dead|gone|prefix)/.test(path))).toEqual([]);
      });
    });
  }

  it('F07: neither purge nor cleanup of a whole remote is ever asked of rclone', () => {
    const root = join(import.meta.dirname, '..');
    const sources = globSync('src/**/*.ts', { cwd: root }).map((path) => readFileSync(join(root, path), 'utf8'));
    expect(sources.length).toBeGreaterThan(30);
    const text = sources.join('\n');
    expect(text).not.toMatch(/['"`]purge['"`]/);
    expect([...text.matchAll(/^.*['"`]cleanup['"`].*$/gm)].map(([line]) => line.trim())).toEqual([
      expect.stringMatching(
        /verb: \['backend', 'cleanup'\], flags: \['-o', `max-age=[^`]*`\], paths: \[placeOf\(site, path\)\]/,
      ),
    ]);
  });
});

describe('F15: a remote that stores something else', () => {
  for (const tool of RCLONES) {
    describeWith([tool], `S3 with ${tool}`, () => {
      it('F15: a byte short at the commit: not committed, exit 3, nothing is left', async () => {
        await using remote = await startRemote('s3');
        await seedBackup(remote, { artifact: 'app-1.sql', startedAt: daysAgo(1) });
        const before = await pathsOn(remote);
        remote.s3?.fault({
          operation: ['PutObject', 'CompleteMultipartUpload'],
          key: /app-[0-9a-f]{8}\.sql$/,
          shorten: true,
        });
        const done = await runDbstash(
          ['backup'],
          envFor(remote, { RETENTION_KEEP_LAST: '1', ...rclonePath(scratch, tool) }),
        );
        expect(done.exitCode, done.stderr).toBe(3);
        expect(done.lines.at(-1)).toMatchObject({
          outcome: 'failed',
          message: expect.stringMatching(/bytes|size|corrupt/),
        });
        expect(await pathsOn(remote)).toEqual(before);
      });

      it('F15: another byte on the way in is found by restore', async () => {
        await using remote = await startRemote('s3');
        const env = envFor(remote, rclonePath(scratch, tool));
        remote.s3?.fault({ operation: 'PutObject', key: /app-[0-9a-f]{8}\.sql$/, corrupt: true });
        await run(['backup'], env);
        const target = join(scratch.path, `never-${tool}.db`);
        const restored = await runDbstash(['restore', '--database', target], env);
        expect([restored.exitCode, restored.stderr]).toEqual([4, expect.stringContaining('SHA-256')]);
        expect((await listBackups(env))[0]?.state).toBe('damaged');
      });
    });
  }

  it.each(REMOTE_KINDS)(
    'F15: a flipped byte on %s: exit 4, recorded, no longer good, latest or counted',
    async (kind) => {
      await using remote = await startRemote(kind);
      const env = envFor(remote);
      await run(['backup'], env);
      await run(['backup'], env);
      const [newest, older] = await listBackups(env);
      const body = await remote.read(newest!.artifact);
      body[body.length >> 1]! ^= 1;
      await remote.write(newest!.artifact, body);
      const target = join(scratch.path, `${kind}.db`);
      const damaged = await runDbstash(['restore', 'latest', '--database', target], env);
      expect([damaged.exitCode, damaged.stderr]).toEqual([4, expect.stringContaining('is damaged')]);
      const verdict = parseVerdict((await remote.read(newest!.artifact + VERDICT_SUFFIX)).toString());
      expect(verdict).toMatchObject({ id: newest!.id, ok: false, level: 'content' });
      expect((await listBackups(env)).map(({ state }) => state)).toEqual(['damaged', 'good']);
      const byName = await runDbstash(['restore', newest!.artifact, '--database', target], env);
      expect(byName.exitCode, byName.stderr).toBe(4);
      const { stdout, stderr } = await run(['restore', 'latest', '--database', target], env);
      expect(stdout).toContain(older!.artifact);
      expect(stderr).toContain(`${newest!.artifact} is newer than ${older!.artifact}, and left out: it is damaged`);
      expect(runSqlite(target, 'SELECT a FROM t;')).toBe('42');
      await run(['prune'], { ...env, RETENTION_KEEP_LAST: '1' });
      expect((await listBackups(env)).map(({ id }) => id)).toEqual([newest!.id, older!.id]);
    },
  );

  it('F15: a verdict about another backup of that name says nothing about this one', async () => {
    await using remote = await startRemote('local');
    const { id } = await seedBackup(remote, { artifact: 'app-1.sql', startedAt: daysAgo(1) });
    const verdict = {
      dbstash: 1,
      id: '20200101T000000Z-abcdef',
      at: daysAgo(0).toISOString(),
      level: 'content',
      ok: false,
      reason: 'x',
    };
    const path = `app-1.sql${VERDICT_SUFFIX}`;
    await remote.write(path, JSON.stringify(verdict));
    expect((await listBackups(envFor(remote)))[0]?.state).toBe('good');
    await remote.write(path, JSON.stringify({ ...verdict, id }));
    expect((await listBackups(envFor(remote)))[0]).toMatchObject({ state: 'damaged', reason: 'x' });
  });
});

describe('F23: artifacts that somebody removed or cut', () => {
  it.each<RemoteKind>(['local', 's3'])(
    'F23: on %s they are missing or damaged, never latest, never counted',
    async (kind) => {
      await using remote = await startRemote(kind);
      const env = envFor(remote, { RETENTION_KEEP_LAST: '1', RETENTION_MAX_DAYS: '0' });
      await run(['backup'], env);
      const [good] = await listBackups(env);
      await seedBackup(remote, { artifact: 'app-cut.sql', startedAt: hoursAgo(-0.05) });
      await seedBackup(remote, { artifact: 'app-gone.sql', startedAt: hoursAgo(-0.1) });
      await remote.remove('app-gone.sql');
      await remote.write('app-cut.sql', '-- a d');
      const states = (await listBackups(env)).map(({ artifact, state }) => [artifact, state]);
      expect(states).toEqual([
        ['app-gone.sql', 'missing'],
        ['app-cut.sql', 'damaged'],
        [good!.artifact, 'good'],
      ]);
      const target = join(scratch.path, `gone-${kind}.db`);
      for (const name of ['app-gone.sql', 'app-cut.sql']) {
        const refused = await runDbstash(['restore', name, '--database', target], env);
        expect(refused.exitCode, refused.stderr).toBe(4);
      }
      expect((await run(['restore', '--database', target], env)).stdout).toContain(good!.artifact);
      await run(['prune'], env);
      expect((await listBackups(env)).map(({ artifact }) => artifact)).toContain(good!.artifact);
      expect((await run(['check'], env)).stdout).toMatch(/app-gone\.sql is missing/);
    },
  );
});

describe('records', () => {
  it('are believed only beside what they speak of', async () => {
    await using remote = await startRemote('local');
    const manifest = await seedBackup(remote, { artifact: 'app-1.sql', startedAt: daysAgo(1) });
    // A folder that was moved as a whole is still good; a manifest beside another file is a stranger.
    await remote.write('moved/app-1.sql', await remote.read('app-1.sql'));
    await remote.write('moved/app-1.sql.manifest.json', JSON.stringify(manifest));
    await remote.write('other.sql', await remote.read('app-1.sql'));
    await remote.write('other.sql.manifest.json', JSON.stringify(manifest));
    await remote.write('cut.sql', 'x');
    await remote.write('cut.sql.manifest.json', JSON.stringify({ ...manifest, artifact: 'cut.sql' }).slice(0, -20));
    await remote.write('large.sql.manifest.json', Buffer.alloc(17 * 1024 * 1024, 32));
    await remote.write('line\nbreak.sql.manifest.json', JSON.stringify(manifest));
    const all = await listBackups(envFor(remote), '--all');
    const good = all.filter(({ state }) => state === 'good').map(({ artifact }) => artifact);
    expect(good.sort()).toEqual(['app-1.sql', 'moved/app-1.sql']);
    expect(all.filter(({ state }) => state === 'foreign')).toHaveLength(6);
    const twice = await runDbstash(['restore', manifest.id, '--database', join(scratch.path, 'x.db')], envFor(remote));
    expect([twice.exitCode, twice.stderr]).toEqual([2, expect.stringContaining('moved/app-1.sql')]);
  });

  it('are found under any name that a template makes', async () => {
    await using remote = await startRemote('s3');
    const names = ["a b/it's [1] {x}*?", 'ünï/日本', '-dash', '#c;omment', ' 100%+&'];
    for (const [index, name] of names.entries())
      await seedBackup(remote, { artifact: `${name}-${index}.sql`, startedAt: daysAgo(index + 1) });
    const env = envFor(remote, { RETENTION_KEEP_LAST: '1' });
    expect((await listBackups(env)).map(({ artifact, state }) => [artifact, state])).toEqual(
      names.map((name, index) => [`${name}-${index}.sql`, 'good']),
    );
    await run(['prune'], env);
    expect(await pathsOn(remote)).toEqual([`${names[0]}-0.sql`, `${names[0]}-0.sql${MANIFEST_SUFFIX}`]);
  });
});

describe('where there is no good backup, restore says what there is', () => {
  it.each([
    ['of another series', { BACKUP_SERIES: 'other' }, [], 'of the series other; the remote holds app'],
    [
      'before a time',
      {},
      ['--at', daysAgo(9).toISOString()],
      /or before of the series app: the oldest one is app-2\.sql, of /,
    ],
    ['at all', {}, [], 'the newest one, app-1.sql, is missing: the artifact is not there any more'],
  ])('%s', async (what, env, flags, expected) => {
    await using remote = await startRemote('local');
    for (const day of [1, 2]) {
      await seedBackup(remote, { artifact: `app-${day}.sql`, startedAt: daysAgo(day) });
      if (day === 1 || what === 'at all') await remote.remove(`app-${day}.sql`);
    }
    const target = join(scratch.path, 'no.db');
    const done = await runDbstash(['restore', 'latest', ...flags, '--database', target], envFor(remote, env));
    expect(done.exitCode).toBe(1);
    expect(done.stderr).toEqual(expect.stringMatching(expected));
  });
});
