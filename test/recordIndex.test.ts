import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MANIFEST_SUFFIX, type Manifest, VERDICT_SUFFIX } from '../src/core/manifest.ts';
import { backupEnv } from './support/backups.ts';
import type { DbstashRun } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { RCLONES } from './support/rclone.ts';
import { type RemoteKind, startRemote, type TestRemote } from './support/remotes.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { createSqlite, daysAgo, hoursAgo, rclonePath, seedBackup, seedPending } from './support/seeds.ts';
import { expectSuccess } from './support/succeed.ts';

const INDEX = 'dbstash-index.jsonl.gz';
/** As many as an index begins with. */
const MANY = 256;

let scratch: Scratch;
let uri: string;

beforeAll(() => {
  scratch = scratchFolder();
  uri = createSqlite(scratch);
});
afterAll(() => scratch?.[Symbol.asyncDispose]());

type Env = Record<string, string>;
const envFor = (remote: TestRemote, more: Env = {}): Env =>
  backupEnv(uri, remote, scratch, { BACKUP_SERIES: 'app', ...more });

const run = expectSuccess({ timeoutMs: 120_000 });

const nameOf = (hour: number): string => `app-${String(hour).padStart(4, '0')}.sql`;

/** Backups an hour apart, stored two hours apart; the first of the list two hours ago. */
async function seedHours(remote: TestRemote, count: number): Promise<Manifest[]> {
  const manifests: Manifest[] = [];
  for (let hour = 1; hour <= count; hour++) {
    const dates = { startedAt: hoursAgo(hour), storedAt: hoursAgo(2 * hour) };
    manifests.push(await seedBackup(remote, { artifact: nameOf(hour), ...dates }));
  }
  return manifests;
}

const verdictOf = ({ id }: Manifest, ok: boolean, reason: string | null): string =>
  JSON.stringify({ dbstash: 1, id, at: daysAgo(1).toISOString(), level: 'content', ok, reason });

/** What `list --all` prints, and how many objects it read. */
async function look(remote: TestRemote, more: Env = {}): Promise<{ rows: readonly string[]; reads: number }> {
  const before = remote.s3?.requests.length ?? 0;
  const { stdout } = await run(['list', '--json', '--all'], envFor(remote, more));
  const rows = JSON.parse(stdout) as { state: string; artifact?: string; path?: string; reason: string | null }[];
  const reads = (remote.s3?.requests ?? []).slice(before).filter(({ operation }) => operation === 'GetObject');
  return {
    rows: rows.map(({ state, artifact, path, reason }) => `${state} ${artifact ?? path} ${reason ?? ''}`),
    reads: reads.length,
  };
}

/** With nothing to prune: what it leaves is the index. */
const prune = (remote: TestRemote, more: Env = {}): Promise<DbstashRun> =>
  run(['prune'], envFor(remote, { RETENTION_KEEP_LAST: '9999', ...more }));

const readLines = async (remote: TestRemote): Promise<string[]> =>
  gunzipSync(await remote.read(INDEX))
    .toString()
    .trimEnd()
    .split('\n');

/** A remote with many backups, two verdicts of them, a stranger's record, and an index of it all. */
async function startIndexed(): Promise<{ remote: TestRemote; manifests: Manifest[] }> {
  const remote = await startRemote('s3');
  const manifests = await seedHours(remote, MANY + 20);
  for (const [index, [ok, reason]] of [[true, 'yes'] as const, [false, 'bits have changed'] as const].entries()) {
    const manifest = manifests[10 + index]!;
    await remote.write(manifest.artifact + VERDICT_SUFFIX, verdictOf(manifest, ok, reason), hoursAgo(5));
  }
  await remote.write(`stranger${MANIFEST_SUFFIX}`, '{}', hoursAgo(90));
  await prune(remote);
  return { remote, manifests };
}

for (const tool of RCLONES) {
  describeWith([tool], `with ${tool}`, () => {
    it('prune writes it, and a list that reads it finds the same, with one object read for hundreds', async () => {
      await using remote = await startRemote('s3');
      const path = rclonePath(scratch, tool);
      const manifests = await seedHours(remote, MANY + 20);
      await remote.write(manifests[9]!.artifact + VERDICT_SUFFIX, verdictOf(manifests[9]!, false, 'bits'), hoursAgo(5));
      const before = await look(remote, path);
      expect(before.reads).toBe(MANY + 21);
      const pruned = await prune(remote, path);
      expect(pruned.stderr).toContain(`wrote the index of ${MANY + 20} records`);
      const after = await look(remote, path);
      expect(after.rows).toEqual(before.rows);
      expect(after.rows).toContain(`damaged ${nameOf(10)} bits`);
      // And the newest one, which was stored within the hour before the newest object.
      expect(after.reads).toBe(2);
    }, 120_000);
  });
}

describe('the index of a remote', () => {
  it('is written by a backup, which it costs no more than a line of the log; the next one leaves it as it is', async () => {
    await using remote = await startRemote('s3');
    await seedHours(remote, MANY);
    const first = await run(['backup'], envFor(remote));
    expect(first.stderr).toContain(`wrote the index of ${MANY} records`);
    expect(first.lines.at(-1)?.outcome).toBe('succeeded');
    const body = await remote.read(INDEX);
    const second = await run(['backup'], envFor(remote));
    expect(second.stderr).not.toContain('index');
    expect(await remote.read(INDEX)).toEqual(body);
    expect((await look(remote)).rows).toHaveLength(MANY + 2);
  }, 120_000);

  it('is not begun where records are few, or all written within the last hour', async () => {
    for (const isFew of [true, false]) {
      await using remote = await startRemote('s3');
      const manifests = await seedHours(remote, isFew ? MANY - 1 : MANY);
      for (const { artifact } of isFew ? [] : manifests) {
        const path = artifact + MANIFEST_SUFFIX;
        await remote.write(path, await remote.read(path), hoursAgo(0.5));
      }
      await prune(remote);
      expect((await remote.list()).has(INDEX)).toBe(false);
    }
  }, 120_000);

  it.each<RemoteKind>(['local', 'sftp'])(
    'is not made on %s',
    async (kind) => {
      await using remote = await startRemote(kind);
      for (let hour = 1; hour <= MANY + 1; hour++)
        await seedBackup(remote, { artifact: nameOf(hour), startedAt: hoursAgo(hour) });
      await prune(remote);
      expect((await remote.list()).has(INDEX)).toBe(false);
    },
    120_000,
  );

  it('is left as it is by a remote that tells no times, to which it was copied', async () => {
    const { remote } = await startIndexed();
    await using _ = remote;
    await using copy = await startRemote('local');
    for (const path of (await remote.list()).keys()) await copy.write(path, await remote.read(path));
    await prune(copy);
    expect(await copy.read(INDEX)).toEqual(await remote.read(INDEX));
  }, 120_000);

  it('holds nothing that was written within the last hour, also where an object is dated in the future', async () => {
    await using remote = await startRemote('s3');
    const manifests = await seedHours(remote, MANY + 1);
    await remote.write(manifests[3]!.artifact + VERDICT_SUFFIX, verdictOf(manifests[3]!, true, null), hoursAgo(0.5));
    await remote.write('tomorrow.txt', 'dated', hoursAgo(-24));
    await seedPending(remote, { artifact: 'young.sql', refreshedAt: hoursAgo(1) });
    for (const path of (await remote.list()).keys())
      if (path.startsWith('young')) await remote.write(path, await remote.read(path), hoursAgo(9));
    await prune(remote);
    const lines = await readLines(remote);
    expect(lines).toHaveLength(1 + MANY + 1);
    expect(lines.slice(1).every((line) => JSON.parse(line).path.endsWith(MANIFEST_SUFFIX))).toBe(true);
  }, 120_000);

  it('works behind crypt, and its content is then encrypted like the rest', async () => {
    await using remote = await startRemote('s3');
    const crypt = {
      RCLONE_CONFIG_SECRET_TYPE: 'crypt',
      RCLONE_CONFIG_SECRET_REMOTE: remote.remote,
      RCLONE_CONFIG_SECRET_PASSWORD: 'uY9-6jkDgh3Y5wnQ5nU3jXqjxK1Z1pY',
      RCLONE_CONFIG_SECRET_FILENAME_ENCRYPTION: 'off',
      RCLONE_REMOTE: 'secret:',
    };
    const own = envFor(remote, crypt);
    await run(['backup'], own);
    const written = [...(await remote.list()).keys()].filter((path) => path.includes('.sql'));
    const manifestPath = written.find((path) => path.includes(MANIFEST_SUFFIX))!;
    // Strangers' records are indexed as well: what they say is not looked at before.
    const body = await remote.read(manifestPath);
    for (let hour = 2; hour < MANY + 2; hour++)
      remote.s3?.put(`backups/${nameOf(hour)}${MANIFEST_SUFFIX}.bin`, body, hoursAgo(hour));
    await prune(remote, crypt);
    const index = await remote.read(`${INDEX}.bin`);
    expect(index.subarray(0, 6).toString()).toBe('RCLONE');
    const { reads } = await look(remote, crypt);
    expect(reads).toBeLessThanOrEqual(4);
  }, 120_000);

  it('is written anew once as many records are missing in it, or gone', async () => {
    const { remote, manifests } = await startIndexed();
    await using _ = remote;
    const lines = (await readLines(remote)).length;
    await seedBackup(remote, { artifact: 'later.sql', startedAt: daysAgo(1), storedAt: daysAgo(1) });
    await prune(remote);
    expect(await readLines(remote)).toHaveLength(lines);
    for (const { artifact } of manifests.slice(2))
      for (const suffix of ['', MANIFEST_SUFFIX]) await remote.remove(artifact + suffix);
    expect((await look(remote)).rows.filter((row) => row.startsWith('good'))).toHaveLength(3);
    await prune(remote);
    const left = await readLines(remote);
    expect(left.length).toBeLessThan(10);
    expect(left.join()).toContain('later.sql');
  }, 120_000);
});

describe('what an index says', () => {
  it('F12: is nothing of what is not there any more', async () => {
    const { remote } = await startIndexed();
    await using _ = remote;
    await remote.remove(nameOf(30) + MANIFEST_SUFFIX);
    await remote.remove(nameOf(31));
    const { rows } = await look(remote);
    expect(rows).toContain(`foreign ${nameOf(30)} `);
    expect(rows).not.toContain(`good ${nameOf(30)} `);
    expect(rows).toContain(`missing ${nameOf(31)} the artifact is not there any more`);
  }, 120_000);

  it('F12: is nothing of a record that was written since, be it of the very same size', async () => {
    const { remote, manifests } = await startIndexed();
    await using _ = remote;
    const [wasGood, wasDamaged] = [manifests[10]!, manifests[11]!];
    const rewrite = async ({ artifact }: Manifest, suffix: string, change: (text: string) => string) => {
      const before = (await remote.read(artifact + suffix)).toString();
      const after = change(before);
      expect([after.length, after !== before]).toEqual([before.length, true]);
      await remote.write(artifact + suffix, after, hoursAgo(3));
    };
    await rewrite(wasGood, VERDICT_SUFFIX, () => verdictOf(wasGood, false, 'no'));
    const atOnce = manifests[20]!;
    const { modified } = remote.s3!.objects().get(`backups/${atOnce.artifact}${MANIFEST_SUFFIX}`)!;
    const shorter = { ...atOnce, bytes: 1 };
    await remote.write(atOnce.artifact + MANIFEST_SUFFIX, JSON.stringify(shorter), modified);
    await rewrite(wasDamaged, VERDICT_SUFFIX, () => verdictOf(wasDamaged, false, 'bytes have turned'));
    const other = manifests[40]!;
    await rewrite(other, MANIFEST_SUFFIX, (text) =>
      text.replace(`"bytes":${other.bytes}`, `"bytes":${other.bytes + 1}`),
    );
    const { rows } = await look(remote);
    expect(rows).toContain(`damaged ${wasGood.artifact} no`);
    expect(rows.find((row) => row.includes(atOnce.artifact))).toMatch(/^damaged .* its manifest says 1$/);
    expect(rows).toContain(`damaged ${wasDamaged.artifact} bytes have turned`);
    expect(rows.find((row) => row.includes(other.artifact))).toMatch(/^damaged .* its manifest says/);
  }, 120_000);

  it.each<[string, (index: Buffer) => Buffer | string]>([
    ['is cut short', (index) => index.subarray(0, index.length >> 1)],
    ['has one bit turned', (index) => index.map((byte, at) => (at === index.length >> 1 ? byte ^ 4 : byte)) as Buffer],
    ['is empty', () => ''],
    ["is somebody else's", () => 'a file that happens to have the name'],
    ['is of a later release', () => gzipSync('{"dbstash":1,"index":2}\n{}\n')],
    ['has lines that are no entries', () => gzipSync('{"dbstash":1,"index":1}\n{"path":"x"}\n')],
  ])(
    'F12: counts for nothing where it %s; it is left alone, and that is said',
    async (_, bend) => {
      const { remote } = await startIndexed();
      await using _remote = remote;
      const before = await look(remote);
      const bent = Buffer.from(bend(await remote.read(INDEX)));
      await remote.write(INDEX, bent);
      const after = await look(remote);
      expect(after.rows).toEqual(before.rows);
      expect(after.reads).toBeGreaterThan(MANY);
      const { stderr } = await prune(remote);
      expect(stderr).toMatch(/dbstash-index\.jsonl\.gz is broken, of a later release, or somebody else's/);
      expect(await remote.read(INDEX)).toEqual(bent);
    },
    120_000,
  );

  it('is not even read where it is larger than any index', async () => {
    await using remote = await startRemote('s3');
    await seedHours(remote, MANY);
    await remote.write(INDEX, Buffer.alloc(64 * 1024 * 1024 + 1), daysAgo(1));
    expect((await look(remote)).rows).toHaveLength(MANY);
    const { stderr } = await prune(remote);
    expect(stderr).toContain('it is left alone');
    const got = remote.s3?.requests.filter(({ operation }) => operation === 'GetObject').map(({ key }) => key);
    expect(got).toHaveLength(2 * MANY);
    expect(got).not.toContain(`backups/${INDEX}`);
  }, 120_000);

  it('costs time and nothing else where it can be neither read nor written', async () => {
    await using remote = await startRemote('s3');
    await seedHours(remote, MANY + 1);
    const env = { RCLONE_LOW_LEVEL_RETRIES: '1', RCLONE_RETRIES: '1' };
    remote.s3?.fault({ operation: ['PutObject', 'CreateMultipartUpload'], key: /dbstash-index/, status: 403 });
    const done = await run(['backup'], envFor(remote, env));
    const reads = remote.s3?.requests.filter(({ operation }) => operation === 'GetObject') ?? [];
    // Its own manifest, that it was written; for the index nothing.
    expect(reads.length).toBeLessThanOrEqual(MANY + 3);
    expect(done.stderr).toMatch(/the index of .*, which only saves time, was not written/);
    expect(done.lines.at(-1)?.outcome).toBe('succeeded');
    remote.s3?.clearFaults();
    await prune(remote);
    remote.s3?.fault({ operation: 'GetObject', key: /dbstash-index/, status: 403 });
    const { rows } = await look(remote, env);
    expect(rows).toHaveLength(MANY + 2);
  }, 120_000);

  it('F12: lets retention keep and remove what it would without', async () => {
    const { remote } = await startIndexed();
    await using _ = remote;
    const dry = async () => {
      const args = ['prune', '--dry-run', '--json'];
      const { keep, remove } = JSON.parse((await run(args, envFor(remote, { RETENTION_KEEP_DAILY: '3' }))).stdout);
      return [keep, remove].map((rows: { artifact: string }[]) => rows.map(({ artifact }) => artifact));
    };
    const withIndex = await dry();
    const index = await remote.read(INDEX);
    await remote.remove(INDEX);
    expect(await dry()).toEqual(withIndex);
    await remote.write(INDEX, index);
    await prune(remote, { RETENTION_KEEP_LAST: '0', RETENTION_KEEP_DAILY: '3' });
    const left = [...(await remote.list()).keys()].filter((path) => path.endsWith('.sql')).sort();
    // The damaged one is not retention's.
    expect(left).toEqual([...withIndex[0]!, nameOf(12)].sort());
    expect((await look(remote)).rows.filter((row) => row.startsWith('good'))).toHaveLength(withIndex[0]!.length);
  }, 120_000);
});
