import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MANIFEST_SUFFIX, type Manifest, VERDICT_SUFFIX } from '../src/core/manifest.ts';
import { backupEnv, fakePath } from './support/backups.ts';
import { runDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { RCLONES } from './support/rclone.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { createSqlite, daysAgo, hoursAgo, rclonePath, seedBackup, seedPending } from './support/seeds.ts';
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

const envFor = (remote: TestRemote, more: Env = {}): Env =>
  backupEnv(uri, remote, scratch, { BACKUP_SERIES: 'app', ...more });

const run = expectSuccess({ timeoutMs: 180_000 });

/** A name of always the same length, so that manifests are of one size. */
const nameOf = (hour: number): string => `app-${String(hour).padStart(4, '0')}.sql`;

async function seedHours(remote: TestRemote, count: number): Promise<Manifest[]> {
  const manifests: Manifest[] = [];
  for (let hour = 1; hour <= count; hour++)
    manifests.push(await seedBackup(remote, { artifact: nameOf(hour), startedAt: hoursAgo(hour) }));
  return manifests;
}

const seedVerdict = (remote: TestRemote, { artifact, id }: Manifest, verdict: object): Promise<void> =>
  remote.write(
    artifact + VERDICT_SUFFIX,
    JSON.stringify({ dbstash: 1, id, at: daysAgo(1).toISOString(), level: 'content', ...verdict }),
  );

let logs = 0;

/** PATH with an rclone that notes the verb of each start, and what tells which were. */
function countStarts(): { PATH: string; verbs: () => string[] } {
  const log = join(scratch.path, `starts-${++logs}`);
  const { PATH } = fakePath(scratch, { rclone: `echo "$1" >>'${log}'; exec '${requireTool('rclone')}' "$@"` });
  return {
    PATH,
    verbs: () => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []).sort(),
  };
}

describe('what a command costs', () => {
  it.each(['local', 's3'] as const)(
    'on %s list and prune start as many rclones for 300 backups as for 3',
    async (kind) => {
      const starts: string[][][] = [];
      for (const count of [3, 300]) {
        await using remote = await startRemote(kind);
        await seedHours(remote, count);
        const [list, prune] = [countStarts(), countStarts()];
        const listed = await run(['list', '--json'], envFor(remote, { PATH: list.PATH }));
        expect(JSON.parse(listed.stdout)).toHaveLength(count);
        await run(['prune'], envFor(remote, { PATH: prune.PATH, RETENTION_KEEP_LAST: '1' }));
        expect((await remote.list()).size).toBe(2);
        starts.push([list.verbs(), prune.verbs()]);
      }
      expect(starts[1]).toEqual(starts[0]);
      const [list, prune] = starts[1]!;
      expect(list!.filter((verb) => verb === 'lsjson')).toHaveLength(1);
      expect(prune!.filter((verb) => verb === 'lsjson')).toHaveLength(1);
      expect(list!.length, list!.join()).toBeLessThanOrEqual(5);
      expect(prune!.length, prune!.join()).toBeLessThanOrEqual(9);
    },
    240_000,
  );

  for (const tool of RCLONES) {
    describeWith([tool], `with ${tool}`, () => {
      it('on S3 list asks for each manifest once, and besides for a listing or two', async () => {
        await using remote = await startRemote('s3');
        await seedHours(remote, 300);
        await run(['list'], envFor(remote, rclonePath(scratch, tool)));
        const requests = remote.s3?.requests ?? [];
        const got = requests.filter(({ operation }) => operation === 'GetObject').map(({ key }) => key);
        expect(got).toHaveLength(300);
        expect(new Set(got).size).toBe(300);
        expect(requests.length - got.length).toBeLessThanOrEqual(10);
      }, 120_000);

      it('on S3 an artifact is read without a listing of what lies beside it', async () => {
        await using remote = await startRemote('s3');
        await seedHours(remote, 5);
        await using target = scratchFolder();
        await run(['download', nameOf(3), target.path], envFor(remote, rclonePath(scratch, tool)));
        const { requests = [] } = remote.s3 ?? {};
        const first = requests.findIndex(({ operation, key }) => operation === 'GetObject' && key.endsWith(nameOf(3)));
        expect(first).toBeGreaterThan(0);
        expect(requests.filter(({ operation }) => operation.startsWith('ListObjects'))).toHaveLength(1);
      }, 60_000);
    });
  }

  it('of several series prune lists again only for those of which something goes', async () => {
    await using remote = await startRemote('local');
    const series = (database: string) => `pg://127.0.0.1:1/${database}`;
    for (const [database, days] of [
      ['one', [1, 2, 3]],
      ['two', [1]],
      ['three', [1]],
    ] as const) {
      for (const day of days) {
        const artifact = `${database}-${day}.sql`;
        await seedBackup(remote, { artifact, startedAt: daysAgo(day), series: series(database), database });
      }
    }
    const env = envFor(remote, {
      DB_URI: 'postgres://u@127.0.0.1:1/',
      DB_NAME: 'one,two,three',
      RETENTION_KEEP_LAST: '1',
    });
    const { BACKUP_SERIES: _, ...own } = env;
    const dry = countStarts();
    const planned = await run(['prune', '--dry-run', '--json'], { ...own, PATH: dry.PATH });
    expect(JSON.parse(planned.stdout).remove).toHaveLength(2);
    expect(dry.verbs().filter((verb) => verb === 'lsjson')).toHaveLength(1);
    const wet = countStarts();
    await run(['prune'], { ...own, PATH: wet.PATH });
    expect(wet.verbs().filter((verb) => verb === 'lsjson')).toHaveLength(2);
    expect([...(await remote.list()).keys()].filter((path) => path.endsWith('.sql')).sort()).toEqual([
      'one-1.sql',
      'three-1.sql',
      'two-1.sql',
    ]);
  }, 120_000);
});

/** What is to be found whichever way it is read. */
async function seedMixture(remote: TestRemote): Promise<void> {
  const [first, second, third, fourth] = await seedHours(remote, 40);
  await seedVerdict(remote, first!, { ok: true, reason: 'yes' });
  await seedVerdict(remote, second!, { ok: false, reason: null });
  await seedVerdict(remote, third!, { ok: false, reason: 'bits have changed' });
  await remote.remove(fourth!.artifact);
  for (const artifact of ['ünï/日本.sql', 'a b/c.sql', 'a/c.sql', 'a b.sql'])
    await seedBackup(remote, { artifact, startedAt: daysAgo(9) });
  // Moved as a whole, a stray copy, a stranger's, and one cut short.
  const moved = await seedBackup(remote, { artifact: 'old/moved.sql', startedAt: daysAgo(10) });
  for (const suffix of ['', MANIFEST_SUFFIX]) {
    await remote.write(`new/moved.sql${suffix}`, await remote.read(moved.artifact + suffix));
    await remote.remove(moved.artifact + suffix);
  }
  await remote.write('stray.sql', '');
  await remote.write(`stray.sql${MANIFEST_SUFFIX}`, JSON.stringify(first));
  await remote.write(`stranger${MANIFEST_SUFFIX}`, '{}');
  await remote.write(`cut.sql${MANIFEST_SUFFIX}`, JSON.stringify(second).slice(0, -1));
  await seedPending(remote, { artifact: 'young.sql', refreshedAt: hoursAgo(1) });
}

type Row = { state: string; artifact?: string; path?: string };
const statesOf = (stdout: string): string[] =>
  (JSON.parse(stdout) as Row[]).map(({ state, artifact, path }) => `${state} ${artifact ?? path}`).sort();

/** Prints the files of two backups in each other's place. */
const swap = (suffix: string, one: number, other: number): string => `
while read -r name; do
  case $name in
  ${nameOf(one)}${suffix}) name=${nameOf(other)}${suffix} ;;
  ${nameOf(other)}${suffix}) name=${nameOf(one)}${suffix} ;;
  esac
  cat "$last/$name"
done <"$list"`;

describe('what is read of a catalog', () => {
  for (const tool of RCLONES) {
    describeWith([tool], `with ${tool}`, () => {
      it('is the same on local disk, where one rclone prints it all, and on S3, from where it is copied', async () => {
        const states: string[][] = [];
        for (const kind of ['local', 's3'] as const) {
          await using remote = await startRemote(kind);
          await seedMixture(remote);
          const { stdout } = await run(['list', '--json', '--all'], envFor(remote, rclonePath(scratch, tool)));
          states.push(statesOf(stdout).map((line) => line.replace(/\d{8}T.*\.pending/, 'ID.pending')));
        }
        expect(states[0]).toEqual(states[1]);
        expect(states[0]).toEqual(
          expect.arrayContaining([
            `good ${nameOf(1)}`,
            `damaged ${nameOf(2)}`,
            `damaged ${nameOf(3)}`,
            `missing ${nameOf(4)}`,
            'good new/moved.sql',
            'good ünï/日本.sql',
            'foreign stray.sql',
            `foreign stranger${MANIFEST_SUFFIX}`,
            `foreign cut.sql${MANIFEST_SUFFIX}`,
            'orphan young.sql.ID.pending.json',
          ]),
        );
      }, 120_000);

      it('is whole with thousands of backups, which several rclones print side by side', async () => {
        await using remote = await startRemote('local');
        await seedHours(remote, 2200);
        const { stdout } = await run(['list', '--json'], envFor(remote, rclonePath(scratch, tool)));
        expect(statesOf(stdout)).toEqual(Array.from({ length: 2200 }, (_, index) => `good ${nameOf(index + 1)}`));
      }, 180_000);
    });
  }

  // Each in place of `rclone cat`; `$list` are the names, `$last` is the remote, and `real` is what rclone prints.
  it.each([
    ['ends in the midst, and says that all went well', 'real | head -c 5000; exit 0'],
    ['says nothing and fails', 'exit 1'],
    ['begins with a byte of somebody else', 'printf x; real'],
    ['comes in another order', 'tac "$list" | while read -r name; do cat "$last/$name"; done'],
    ["has verdicts of one size in each other's place", swap(VERDICT_SUFFIX, 1, 2)],
    ["has manifests of one size in each other's place", swap(MANIFEST_SUFFIX, 5, 6)],
  ])(
    'F12: where what rclone prints %s, it is read again by its names',
    async (_, script) => {
      await using remote = await startRemote('local');
      await seedMixture(remote);
      const { stdout } = await run(['list', '--json', '--all'], envFor(remote));
      const real = requireTool('rclone');
      const marker = join(scratch.path, `printed-${++logs}`);
      const rclone = `
if [ "$1" != cat ]; then exec '${real}' "$@"; fi
: >'${marker}'
real() { '${real}' "$@"; }
args() { for word; do [ "$before" = --files-from-raw ] && list=$word; before=$word; last=$word; done; }
args "$@"
${script.replaceAll(/\breal\b/g, 'real "$@"')}`;
      const again = await run(['list', '--json', '--all'], envFor(remote, fakePath(scratch, { rclone })));
      expect(existsSync(marker)).toBe(true);
      expect(statesOf(again.stdout)).toEqual(statesOf(stdout));
      expect(statesOf(again.stdout)).toContain(`damaged ${nameOf(2)}`);
    },
    60_000,
  );

  it.each(['cut', 'partial', 'empty'] as const)(
    'F12: what a second, %s listing of S3 does not show is asked for by its name, and not taken for gone',
    async (listing) => {
      await using remote = await startRemote('s3');
      await seedHours(remote, 150);
      const fault = remote.s3?.fault({ operation: ['ListObjects', 'ListObjectsV2'], listing, after: 1 });
      const env = envFor(remote, { RCLONE_LOW_LEVEL_RETRIES: '1' });
      const { stdout } = await run(['list', '--json'], env);
      expect(fault?.hits).toBeGreaterThan(0);
      expect(statesOf(stdout)).toEqual(Array.from({ length: 150 }, (_, index) => `good ${nameOf(index + 1)}`));
    },
    120_000,
  );

  it('F12: where nothing can be read, nothing is pruned, and list fails', async () => {
    await using remote = await startRemote('local');
    await seedHours(remote, 5);
    const rclone = `case $1 in cat | copy) echo 'no such luck' >&2; exit 1 ;; esac; exec '${requireTool('rclone')}' "$@"`;
    const env = envFor(remote, { RETENTION_KEEP_LAST: '1', ...fakePath(scratch, { rclone }) });
    for (const command of ['list', 'prune']) {
      const done = await runDbstash([command], env);
      expect(done.exitCode).toBe(3);
      expect(done.stderr).toContain('no such luck');
    }
    expect((await remote.list()).size).toBe(10);
  }, 60_000);
});
