import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backupEnv, type ListedBackup, listBackups } from './support/backups.ts';
import { type DbstashProcess, runDbstash, startDbstash } from './support/dbstash.ts';
import { createGates, type Gates } from './support/gates.ts';
import { expireLeases } from './support/leases.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { REMOTE_KINDS, type RemoteKind, startRemote, type TestRemote } from './support/remotes.ts';
import type { Hold } from './support/s3/faults.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

/** More than one part of an upload to S3: what rclone has sent of it at MIDWAY includes a whole part. */
const ROWS = `CREATE TABLE orders AS SELECT i AS id, repeat(md5(i::text), 8) AS note FROM generate_series(1, 32000) i;`;
/** What the relay keeps back until the end was approved, at most. */
const HELD_BACK = 400_000;
/** What the dump has written where it is less than the 100 KiB that rclone keeps in memory. */
const UNDER_100_KIB = 90_000;
const MIDWAY = 7_000_000;

let postgres: PostgresServer;
let scratch: Scratch;
/** A real dump of the database, and its bytes. */
let dump: string;
let dumpBytes: number;
let sha256: string;
/** Three good backups of the series, as they lie on a remote. */
let seeds: ReadonlyMap<string, Buffer>;

beforeAll(async () => {
  scratch = scratchFolder();
  postgres = await startPostgres();
  await postgres.createDatabase('shop');
  await postgres.sql(ROWS, { database: 'shop' });
  dump = join(scratch.path, 'shop.sql');
  const text = execFileSync(requireTool('pg_dump'), ['--dbname', postgres.uri('shop')], {
    maxBuffer: 64 * 1024 * 1024,
  });
  writeFileSync(dump, text);
  dumpBytes = text.length;
  sha256 = createHash('sha256').update(text).digest('hex');
  seeds = await makeSeeds();
});

afterAll(async () => {
  await postgres?.stop();
  await scratch?.[Symbol.asyncDispose]();
});

/** Made by the program itself, of a small dump, so that their series is the real one. */
async function makeSeeds(): Promise<ReadonlyMap<string, Buffer>> {
  await using remote = await startRemote('local');
  await using home = scratchFolder();
  const small = join(home.path, 'small.sql');
  const text = readFileSync(dump, 'latin1');
  writeFileSync(small, text.replace(/^(COPY .*\n)[\s\S]*?(?=\\\.\n)/m, '$1'), 'latin1');
  const { path: PATH } = createGates(home, { dump: small });
  const env = backupEnv(postgres.uri('shop'), remote, home, { PATH, BACKUP_NAME_TEMPLATE: '{db}-{uuid}' });
  for (let count = 0; count < 3; count += 1) {
    const { exitCode, stderr } = await runDbstash(['backup'], env);
    expect(exitCode, stderr).toBe(0);
  }
  const paths = [...(await remote.list()).keys()];
  return new Map(await Promise.all(paths.map(async (path) => [path, await remote.read(path)] as const)));
}

type Victim = 'daemon' | 'dump' | 'rclone';

interface Point {
  readonly victims: readonly Victim[];
  readonly kinds: readonly RemoteKind[];
  /** How much the dump has written; all of it where absent. */
  readonly written?: () => number;
  /** The calls of rclone at which it happens instead, as shell patterns. */
  readonly call?: string;
  /** The last request of an upload to S3, at which it happens instead. */
  readonly request?: 'CompleteMultipartUpload';
  /** The victims whose death leaves a good backup of that run; that of the others leaves none. */
  readonly commits?: readonly Victim[];
  /** Retention is on, and wants three backups. */
  readonly prunes?: true;
}

const POINTS: Readonly<Record<string, Point>> = {
  'before the first byte': { victims: ['daemon', 'dump', 'rclone'], kinds: REMOTE_KINDS, written: () => 0 },
  'under 100 KiB': { victims: ['daemon', 'dump', 'rclone'], kinds: REMOTE_KINDS, written: () => UNDER_100_KIB },
  midway: { victims: ['daemon', 'dump', 'rclone'], kinds: REMOTE_KINDS, written: () => MIDWAY },
  'after the last byte': { victims: ['daemon', 'dump', 'rclone'], kinds: REMOTE_KINDS, written: () => dumpBytes },
  'when all was sent and not yet put together': {
    victims: ['daemon', 'rclone'],
    kinds: ['s3'],
    request: 'CompleteMultipartUpload',
  },
  'at the change of name': { victims: ['daemon', 'rclone'], kinds: ['local'], call: 'moveto*' },
  'between upload and the look at it': { victims: ['daemon', 'rclone'], kinds: ['s3'], call: 'lsjson*.sql" "' },
  // By then rclone has been given all of the manifest, and we need not live for it to be written.
  'at the manifest': {
    victims: ['daemon', 'rclone'],
    kinds: REMOTE_KINDS,
    call: 'rcat*.manifest.json*',
    commits: ['daemon'],
  },
  'between manifest and the end of its pending record': {
    victims: ['daemon', 'rclone'],
    kinds: ['local'],
    call: 'delete*.pending.json*',
    commits: ['daemon', 'rclone'],
  },
  'during pruning, before the manifests go': {
    victims: ['daemon', 'rclone'],
    kinds: REMOTE_KINDS,
    call: 'delete*.manifest.json*',
    commits: ['daemon', 'rclone'],
    prunes: true,
  },
  'during pruning, before the artifacts go': {
    victims: ['daemon', 'rclone'],
    kinds: REMOTE_KINDS,
    call: 'delete*.verify.json*',
    commits: ['daemon', 'rclone'],
    prunes: true,
  },
};

/** What the process that lives on says: the dump's and rclone's death are failures of theirs, or warnings after the commit. */
const exitCodeAfter = (victim: Victim, { commits }: Point): number =>
  commits?.includes(victim) ? 0 : victim === 'dump' ? 1 : 3;

const UPLOAD = /^rcat \S+\.sql(\.partial)? $/;

interface Cell extends AsyncDisposable {
  readonly remote: TestRemote;
  readonly env: Record<string, string>;
  readonly gates: Gates;
}

/** A remote with three good backups on it. */
async function openCell(kind: RemoteKind, { written, call, prunes }: Point): Promise<Cell> {
  await using opening = new AsyncDisposableStack();
  const home = opening.use(scratchFolder());
  const remote = opening.use(await startRemote(kind));
  for (const [path, body] of seeds) await remote.write(path, body);
  const stops = written ? [...new Set([0, written()])] : [];
  const gates = createGates(home, { dump, stops, rclone: call ? { call } : {} });
  opening.defer(gates.drain);
  const more = {
    PATH: gates.path,
    ...(prunes && { RETENTION_MAX_FILES: '3' }),
    BACKUP_NAME_TEMPLATE: '{db}-{uuid}',
    NODE_COMPILE_CACHE: join(scratch.path, 'compiled'),
    // rclone takes its last, and so 5 MiB are a part.
    ...(kind === 's3' && { RCLONE_EXTRA_ARGS: '--s3-chunk-size=5M' }),
  };
  const env = backupEnv(postgres.uri('shop'), remote, home, more);
  const opened = opening.move();
  return { remote, env, gates, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** Brings a backup to the point, and says which processes could be killed there. */
async function reach(cell: Cell, { call, request, written }: Point): Promise<Reached> {
  const { gates, env, remote } = cell;
  const hold = request && remote.s3?.hold(request);
  const program = startDbstash(['backup'], env, { timeoutMs: 120_000 });
  const reached = (rclone: number, dump = 0): Reached => ({
    program,
    pids: { daemon: program.pid, dump, rclone },
    hold,
  });
  if (call) return reached(await gates.arrived('call'));
  if (hold) await hold.arrived;
  const upload = await waitFor(() => gates.calls().find(({ text }) => UPLOAD.test(text))?.pid, WAIT);
  if (!written) return reached(upload);
  const dump = await gates.arrived('dump@0');
  await waitFor(() => readFileSync(`/proc/${upload}/comm`, 'utf8') === 'rclone\n', WAIT);
  if (written() > 0) await passTo(written(), gates, upload);
  return reached(upload, dump);
}

interface Reached {
  readonly program: DbstashProcess;
  readonly pids: Readonly<Record<Victim, number>>;
  readonly hold: Hold | undefined;
}

const WAIT = { timeoutMs: 60_000 };

/** Until the dump has written so many bytes, and rclone has read them but for what is held back. What else it reads comes before. */
async function passTo(bytes: number, gates: Gates, rclone: number): Promise<void> {
  const readBytes = () => Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${rclone}/io`, 'utf8'))?.[1]);
  const before = await waitUntilStill(readBytes);
  gates.open('dump@0');
  await gates.arrived(`dump@${bytes}`);
  const due = Math.max(0, bytes - HELD_BACK);
  await waitFor(() => readBytes() - before >= due, { timeoutMs: 60_000, title: `rclone has read ${due} bytes` });
}

async function waitUntilStill(measure: () => number): Promise<number> {
  let last = -1;
  let looks = 0;
  return await waitFor(() => {
    const now = measure();
    looks = now === last ? looks + 1 : 0;
    last = now;
    return looks > 5 && now;
  });
}

type Listed = Pick<ListedBackup, 'id' | 'artifact' | 'bytes' | 'sha256' | 'startedAt'>;

/** The backups on a remote that are whole, newest first, by a look of our own: a manifest, and an artifact that is as it says. */
async function readWhole({ remote }: Cell): Promise<Listed[]> {
  const files = await remote.list();
  const paths = [...files.keys()].filter((path) => path.endsWith('.manifest.json'));
  const texts = await Promise.all(paths.map(async (path) => `${await remote.read(path)}`));
  // One that rclone was given nothing of is none.
  return texts
    .filter((text) => text !== '')
    .map((text): Listed => JSON.parse(text))
    .filter(
      ({ artifact, bytes, sha256 }) => files.get(artifact)?.sha256 === sha256 && files.get(artifact)?.bytes === bytes,
    )
    .sort((a, b) => b.startedAt.localeCompare(a.startedAt));
}

/** What is listed as good is whole, whatever else lies there is an orphan, and nothing that was good has gone. */
async function expectSound(cell: Cell, removed: readonly string[]): Promise<Listed[]> {
  const [listed, whole] = [await listBackups(cell.env, '--all'), await readWhole(cell)];
  const good = listed.filter(({ state }) => state === 'good');
  expect(good.map(({ artifact }) => artifact)).toEqual(whole.map(({ artifact }) => artifact));
  expect(listed.filter(({ state }) => !['good', 'orphan'].includes(state))).toEqual([]);
  expectKept(whole, removed);
  await expectNoStrayUpload(cell.remote);
  return whole;
}

function expectKept(whole: readonly Listed[], removed: readonly string[]): void {
  const ids = whole.map(({ id }) => id);
  expect(ids).toEqual(expect.arrayContaining(seedIds().filter((id) => !removed.includes(id))));
}

/** Newest first. */
const seedIds = (): string[] =>
  [...seeds]
    .filter(([path]) => path.endsWith('.manifest.json'))
    .map(([, body]): ListedBackup => JSON.parse(body.toString()))
    .sort((a, b) => b.startedAt.localeCompare(a.startedAt))
    .map(({ id }) => id);

/** Parts of an upload that nobody finished cost money: a pending record must name them. */
async function expectNoStrayUpload({ s3, list, read }: TestRemote): Promise<void> {
  const uploads = s3?.uploads() ?? [];
  const records = [...(await list()).keys()].filter((path) => path.endsWith('.pending.json'));
  const texts = await Promise.all(records.map(async (path) => (await read(path)).toString()));
  for (const { key } of uploads) expect(texts.join(), key).toContain(`"${key.replace('backups/', '')}"`);
}

/** Hits one process at one point, and looks at what is left; then a run must succeed, and leave all the rest as it is. */
async function crash(victim: Victim, point: Point, cell: Cell): Promise<void> {
  const { gates, env } = cell;
  const { program, pids, hold } = await reach(cell, point);
  process.kill(pids[victim], 'SIGKILL');
  if (victim === 'daemon') await program.exited;
  hold?.release();
  await gates.drain();
  const run = await program.exited;
  expect(run, run.stderr).toMatchObject(
    victim === 'daemon' ? { signal: 'SIGKILL' } : { exitCode: exitCodeAfter(victim, point) },
  );
  const [newest, middle, oldest] = seedIds();
  const before = await expectSound(cell, point.prunes ? [oldest!] : []);
  const own = before.filter(({ id }) => !seedIds().includes(id));
  const expected = point.commits?.includes(victim) ? [sha256] : [];
  // rclone may be there a moment before the text that it is to store: an orphan, then.
  const isOpen = victim === 'daemon' && point.call === 'rcat*.manifest.json*';
  expect(isOpen ? [[], expected] : [expected]).toContainEqual(own.map((backup) => backup.sha256));

  expireLeases(env.BACKUP_TEMP_DIR!);
  const next = await runDbstash(['backup'], env);
  expect(next, next.stderr).toMatchObject({ exitCode: 0 });
  const after = (await readWhole(cell)).map(({ id }) => id);
  const all = [expect.anything(), ...own.map(({ id }) => id), newest, middle, oldest];
  expect(after).toEqual(point.prunes ? all.slice(0, 3) : all);
}

const cells = Object.entries(POINTS).flatMap(([title, point]) =>
  point.kinds.flatMap((kind) => point.victims.map((victim) => ({ title, point, kind, victim }))),
);

const IDS: Readonly<Record<Victim, string>> = { daemon: 'F06', dump: 'F02', rclone: 'F51' };

describe.concurrent('after a SIGKILL every listed backup is whole, nothing good is gone, and the next run succeeds', () => {
  for (const { title, point, kind, victim } of cells) {
    it(`${IDS[victim]}: ${victim} killed ${title}, on ${kind}`, { timeout: 120_000 }, async () => {
      await using cell = await openCell(kind, point);
      await crash(victim, point, cell);
    });
  }
});

const MIDWAY_POINT: Point = { victims: ['daemon'], kinds: REMOTE_KINDS, written: () => MIDWAY };

/** A cell whose first run died midway, all of it: nothing of it goes on. */
async function openCrashed(kind: RemoteKind, alsoRclone: boolean): Promise<Cell> {
  await using opening = new AsyncDisposableStack();
  const cell = opening.use(await openCell(kind, MIDWAY_POINT));
  const { program, pids } = await reach(cell, MIDWAY_POINT);
  if (alsoRclone) process.kill(pids.rclone, 'SIGKILL');
  program.kill('SIGKILL');
  await program.exited;
  await cell.gates.drain();
  expireLeases(cell.env.BACKUP_TEMP_DIR!);
  const opened = opening.move();
  return { ...cell, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

const pathsOf = async ({ remote }: Cell, pattern: RegExp): Promise<string[]> =>
  [...(await remote.list()).keys()].filter((path) => pattern.test(path));

/** Its run gave its last sign of life `hours` ago. */
async function ageRecord({ remote }: Cell, path: string, hours: number): Promise<void> {
  const refreshedAt = new Date(Date.now() - hours * 3_600_000).toISOString();
  await remote.write(path, JSON.stringify({ ...JSON.parse(`${await remote.read(path)}`), refreshedAt }));
}

const runAgain = async ({ env }: Cell, ...args: string[]) => {
  const run = await runDbstash(args.length > 0 ? args : ['backup'], env, { timeoutMs: 120_000 });
  expect(run, run.stderr).toMatchObject({ exitCode: 0 });
  return run;
};

describe.concurrent('what a run that died has left', () => {
  const TIMEOUT = { timeout: 180_000 };

  for (const kind of REMOTE_KINDS) {
    it(
      `F06: is an orphan on ${kind}, told of at the next start, left alone for a day, then swept`,
      TIMEOUT,
      async () => {
        await using cell = await openCrashed(kind, false);
        const [record = ''] = await pathsOf(cell, /\.pending\.json$/);
        const left = await pathsOf(cell, /^shop-[0-9a-f]{8}\.sql(\.partial)?$/);
        const orphans = left.filter((path) => !seeds.has(path));
        expect(orphans).toHaveLength(1);
        expect(record.startsWith(orphans[0]!.replace(/\.partial$/, ''))).toBe(true);

        const next = await runAgain(cell);
        expect(
          next.lines.filter(({ level, message }) => level === 'warn' && message.includes(orphans[0]!)),
        ).toHaveLength(1);
        await ageRecord(cell, record, 23);
        await runAgain(cell);
        expect([...(await cell.remote.list()).keys()]).toEqual(expect.arrayContaining([record, ...orphans]));

        await ageRecord(cell, record, 25);
        await runAgain(cell);
        const paths = [...(await cell.remote.list()).keys()];
        expect(paths.filter((path) => path === record || orphans.includes(path))).toEqual([]);
        expect(await readWhole(cell)).toHaveLength(6);
      },
    );

    it(
      `F06: on ${kind} does not keep the next backup from being restored, equal to the database`,
      TIMEOUT,
      async () => {
        await using cell = await openCrashed(kind, false);
        await runAgain(cell);
        const database = `copy_${kind}`;
        await runAgain(cell, 'restore', 'latest', '--database', database);
        const copy = execFileSync(requireTool('pg_dump'), ['--dbname', postgres.uri(database)], {
          maxBuffer: 64 * 1024 * 1024,
        });
        expect(withoutKey(copy) === withoutKey(readFileSync(dump))).toBe(true);
      },
    );
  }

  it('F06: is told of by a daemon when it starts, before any run', TIMEOUT, async () => {
    await using cell = await openCrashed('local', false);
    const env = { ...cell.env, BACKUP_SCHEDULE: '0 0 1 1 *' };
    await using daemon = startDbstash(['start'], env);
    expect(await daemon.waitForLog(/has not committed/)).toContain('.sql.partial');
    daemon.kill('SIGTERM');
    expect(await daemon.exited).toMatchObject({ exitCode: 0 });
  });

  it(
    'F07: is an unfinished upload on s3 after a loss of power, which is aborted a day later, and no other',
    TIMEOUT,
    async () => {
      await using cell = await openCrashed('s3', true);
      const s3 = cell.remote.s3!;
      const [record = ''] = await pathsOf(cell, /\.pending\.json$/);
      const key = `backups/${JSON.parse(`${await cell.remote.read(record)}`).objects[0]}`;
      expect(s3.uploads().map((upload) => upload.key)).toEqual([key]);

      const old = new Date(Date.now() - 25 * 3_600_000);
      const foreign = s3.addUpload('backups/of-another-tool.sql', old);
      const aged = s3.addUpload(key, old);
      await runAgain(cell);
      expect(s3.uploads()).toHaveLength(3);

      await ageRecord(cell, record, 25);
      await runAgain(cell);
      const ids = s3.uploads().map(({ id }) => id);
      expect(ids).toContain(foreign);
      expect(ids).not.toContain(aged);
      expect(await readWhole(cell)).toHaveLength(5);
    },
  );
});

/** Every pg_dump 15.14 and later puts a random key into its output. */
const withoutKey = (text: Buffer): string => text.toString('latin1').replace(/^\\(un)?restrict .*\n/gm, '');
