import { createHash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import type { Report } from '../../src/core/report.ts';
import type { Engine, Server } from '../../src/engines/engine.ts';
import { engines } from '../../src/engines/index.ts';
import { prune } from '../../src/jobs/prune.ts';
import { type OpenSession, runBackup } from '../../src/jobs/run.ts';
import type { Host, Place, Session } from '../../src/jobs/session.ts';
import { createScratch } from '../../src/process/scratch.ts';
import { type Backup, type Catalog, type ManifestCache, objectsOf, readCatalog } from '../../src/remote/catalog.ts';
import { createFakeClock, type FakeClock } from './fakeClock.ts';
import { createTestHost } from './host.ts';
import { createMemoryRemote, type Fate, type Storage } from './memoryRemote.ts';
import { scratchFolder } from './scratch.ts';

/** Numbers from 0 to 1 that are the same for the same seed. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** How often something goes wrong, from 0 to 1; for calls of a remote for each of them. */
export interface Trouble {
  readonly calls: number;
  readonly crashes: number;
  readonly dumps: number;
  /** A call takes hours. */
  readonly delays: number;
}

export const CALM: Trouble = { calls: 0, crashes: 0, dumps: 0, delays: 0 };

/** A world with remotes in memory, a database that costs nothing, and time that passes when it is told to. */
export interface World extends AsyncDisposable {
  readonly clock: FakeClock;
  readonly host: Host;
  readonly storages: ReadonlyMap<string, Storage>;
  /** Most uploads that there were at once on one remote. */
  mostUploads(): number;
  setTrouble(trouble: Trouble): void;
  /** One run of a process, to its end or to its death. */
  backUp(): Promise<Report>;
  /** Whether the process died of the last call. */
  isDead(): boolean;
  /** A new process takes its place. */
  restart(): Promise<void>;
  /** The prune command; undefined where it failed. */
  prune(): Promise<readonly string[] | undefined>;
  /** What lies on a remote, looked at from outside. */
  look(title: string): Promise<Catalog>;
}

const SERVER: Server = {
  title: 'Fake 1',
  serverId: 'one',
  bytes: 1000,
  target: {},
  major: undefined,
  needsCopy: false,
  warnings: [],
};

/** Dumps in the ways in which they end; the first is the good one. */
const DUMPS = [
  (id: number) => `echo 'begin ${id} ${'x'.repeat(id % 97)} end'`,
  () => 'printf begin; exit 1',
  () => "echo 'begin without an'",
  () => ':',
  () => "printf 'begin '; kill -9 $$",
] as const;

/** What is whole of such a dump. */
export const isWholeDump = (body: Buffer): boolean => /^begin \d+ x* end\n$/.test(body.toString());

export async function createWorld(
  start: string,
  random: () => number,
  env: Readonly<Record<string, string>>,
): Promise<World> {
  const home = scratchFolder();
  const clock = createFakeClock(start);
  let isPausing = false;
  const all = { DB_URI: 'sqlite:///x.db', RCLONE_REMOTE: '/x', BACKUP_SERIES: 'app', BACKUP_TEMP_DIR: home.path };
  const host = createTestHost(
    { ...all, BACKUP_STALL_TIMEOUT: '0', ...env },
    {
      clock,
      write: (line) => {
        if (line.includes('to be tried again in')) isPausing = true;
      },
    },
  );
  let trouble = CALM;
  let dumps = 0;
  let most = 0;
  const storages = new Map<string, Storage>([
    ['whole:', new Map()],
    ['halves:', new Map()],
  ]);
  let life = { isDead: false };
  const engine: Engine = {
    ...engines.sqlite,
    tool: { command: { file: 'true', args: [] }, parse: () => 'fake 1' },
    inspect: () => ({
      command: { file: random() < trouble.dumps / 4 ? 'false' : 'true', args: [] },
      parse: () => SERVER,
    }),
    planDump: () => {
      const kind = random() < trouble.dumps ? 1 + Math.floor(random() * (DUMPS.length - 1)) : 0;
      return {
        prepare: [],
        dump: { file: 'sh', args: ['-c', DUMPS[kind]!(++dumps)] },
        format: 'plain',
        compression: null,
        container: null,
        extension: '.txt',
        marks: { begins: /^begin /, ends: / end\n$/ },
        warnings: [],
      };
    },
  };

  const createDecide = (own: typeof life) => (): Fate => {
    if (own.isDead) throw new Error('this process is dead');
    clock.jump(Math.floor(random() * 3000));
    if (random() < trouble.delays) clock.jump(Math.floor(random() * 30 * 3_600_000));
    if (random() < trouble.crashes) {
      own.isDead = true;
      // Before, or right after: then the call is the last that it did.
      if (random() < 0.5) throw new Error('this process is dead');
      return 'lost';
    }
    if (random() >= trouble.calls) return 'done';
    return (['refused', 'lost', 'short'] as const)[Math.floor(random() * 3)]!;
  };
  const createPlace = (title: string, decide: () => Fate): Place => {
    let uploads = 0;
    const remote = createMemoryRemote(storages.get(title)!, {
      title,
      isAtomic: title === 'whole:',
      decide,
      onUpload: (change) => {
        uploads += change;
        most = Math.max(most, uploads);
      },
    });
    const cache: ManifestCache = new Map();
    return { remote, readCatalog: (signal, known) => readCatalog(remote, cache, home.path, signal, known) };
  };
  const openPlaces = () => [...storages.keys()].map((title) => createPlace(title, createDecide(life)));
  let places = openPlaces();
  const open: OpenSession = async (): Promise<Session> => {
    isPausing = false;
    const scratch = await createScratch(home.path, `session-${host.randomHex(4)}`);
    return {
      host,
      engine,
      series: host.config.series,
      reach: (connection) => connection,
      ...places[0]!,
      places,
      broken: [],
      rcloneVersion: '1.75.0',
      scratch,
      [Symbol.asyncDispose]: () => scratch[Symbol.asyncDispose](),
    };
  };

  let session: Session | undefined;
  const keep: OpenSession = async (signal) => {
    isPausing = false;
    session ??= await open(signal);
    return session;
  };
  const kill = async () => {
    await session?.[Symbol.asyncDispose]();
    session = undefined;
  };
  return {
    clock,
    host,
    storages,
    mostUploads: () => most,
    setTrouble: (next) => {
      trouble = next;
    },
    async backUp() {
      let isOver = false;
      const running = runBackup(host, keep).finally(() => {
        isOver = true;
      });
      while (!isOver) {
        await turn();
        if (isPausing) clock.step();
      }
      return await running;
    },
    isDead: () => life.isDead,
    async restart() {
      life = { isDead: false };
      places = openPlaces();
      await kill();
    },
    async prune() {
      const own = await keep(host.signal);
      const removed: string[] = [];
      for (const place of places) {
        const done = await prune({ ...own, ...place }, false, host.signal).catch(() => undefined);
        removed.push(...(done?.removed ?? []));
      }
      return removed;
    },
    look: (title) =>
      readCatalog(
        createMemoryRemote(storages.get(title)!, { title, isAtomic: true, decide: () => 'done' }),
        new Map(),
        home.path,
        new AbortController().signal,
      ),
    [Symbol.asyncDispose]: async () => {
      await kill();
      await home[Symbol.asyncDispose]();
    },
  };
}

/** What of a storage is of good backups. */
export const objectsOfGood = (catalog: Catalog): Set<string> => new Set(goodOf(catalog).flatMap(objectsOf));

export const goodOf = ({ backups }: Catalog): readonly Backup[] => backups.filter(({ state }) => state === 'good');

export const digestOf = (body: Buffer): string => createHash('sha256').update(body).digest('hex');
