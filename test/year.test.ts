import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { parseSchedule, runSchedule, type Schedule } from '../src/schedule.ts';
import type { FakeClock } from './support/fakeClock.ts';
import {
  CALM,
  createRandom,
  createWorld,
  digestOf,
  goodOf,
  isWholeDump,
  objectsOfGood,
  type Trouble,
  type World,
} from './support/world.ts';

const DAY_MS = 86_400_000;
const FUTURE_MS = 600_000;
const YEAR = '2026-01-01T00:00:00Z';
const TIMEOUT = { timeout: 300_000 };
/** To be run again after a failure: DBSTASH_TEST_SEED=123. */
const SEED = Number(process.env.DBSTASH_TEST_SEED ?? Math.floor(Math.random() * 1_000_000));

const KEEP = { daily: 7, weekly: 4, monthly: 6, min: 2 };
const ENV = {
  BACKUP_SCHEDULE: '30 2 * * *',
  TZ: 'Europe/Berlin',
  BACKUP_RETRIES: '1',
  RETENTION_KEEP_DAILY: String(KEEP.daily),
  RETENTION_KEEP_WEEKLY: String(KEEP.weekly),
  RETENTION_KEEP_MONTHLY: String(KEEP.monthly),
  RETENTION_MIN_KEEP: String(KEEP.min),
};
const TROUBLE: Trouble = { calls: 0.02, crashes: 0.004, dumps: 0.08, delays: 0.001 };
const FOREIGN = [
  ['notes.txt', 'of somebody'],
  ['x-2020-01-01-000000.txt', 'begin 1 x end\n'],
  ['x-2020-01-01-000000.txt.partial', 'half'],
  ['other.manifest.json', '{"dbstash":1,"id":"nonsense"}'],
  ['lost.20200101T000000Z-abcdef.pending.json', '{"not":"ours"}'],
] as const;

interface Known {
  readonly id: string;
  readonly at: number;
}

/** What must be there, told once more in other words than the program's: ids. */
function mustStay(backups: readonly Known[], now: number): Set<string> {
  const stay = new Set(backups.filter(({ at }) => at > now + FUTURE_MS).map(({ id }) => id));
  const counted = backups.filter(({ id }) => !stay.has(id)).sort((a, b) => b.at - a.at || (a.id < b.id ? 1 : -1));
  for (const { id } of counted.slice(0, KEEP.min)) stay.add(id);
  const rules: [number, (at: number) => string | number][] = [
    [KEEP.daily, (at) => Math.floor(at / DAY_MS)],
    // 1970-01-05 was a Monday.
    [KEEP.weekly, (at) => Math.floor((at / DAY_MS - 4) / 7)],
    [KEEP.monthly, (at) => new Date(at).toISOString().slice(0, 7)],
  ];
  for (const [count, periodOf] of rules) {
    const periods = [...new Set(counted.map(({ at }) => periodOf(at)))];
    for (const period of periods.slice(0, count)) stay.add(counted.find(({ at }) => periodOf(at) === period)!.id);
    if (periods.length < count && counted.length > 0) stay.add(counted.at(-1)!.id);
  }
  return stay;
}

interface Year {
  readonly world: World;
  /** By remote: what is known to be good there. */
  readonly known: Map<string, Map<string, Known>>;
  readonly outcomes: Record<string, number>;
  readonly dues: Date[];
}

/** Everything that holds at every moment between two calls. */
async function inspect({ world, known }: Year, isExact: boolean): Promise<void> {
  const now = world.clock.now().getTime();
  for (const [title, storage] of world.storages) {
    const catalog = await world.look(title);
    const before = known.get(title)!;
    for (const { manifest, path } of goodOf(catalog)) {
      const body = storage.get(path)!;
      expect(isWholeDump(body), `${title} lists ${path} as good, and it is ${body}`).toBe(true);
      expect(digestOf(body)).toBe(manifest.sha256);
      before.set(manifest.id, { id: manifest.id, at: Date.parse(manifest.startedAt) });
    }
    const there = new Set(goodOf(catalog).map(({ manifest }) => manifest.id));
    const stay = mustStay([...before.values()], now);
    const lost = [...before.keys()].filter((id) => !there.has(id));
    expect(
      lost.filter((id) => stay.has(id)),
      `${title} lost what has to stay`,
    ).toEqual([]);
    if (isExact) expect([...there].sort(), `${title} keeps what has to go`).toEqual([...stay].sort());
    for (const id of lost) before.delete(id);
    for (const [path, text] of FOREIGN) expect(storage.get(path)?.toString(), `${title}${path}`).toBe(text);
  }
  expect(world.mostUploads()).toBeLessThanOrEqual(1);
}

/** Runs the schedule until `end`, as one process after the other; `meddle` is called after each run. */
async function live(year: Year, end: number, meddle: () => Promise<boolean>): Promise<void> {
  const { world, outcomes } = year;
  const { clock, host } = world;
  const schedule = parseSchedule(host.config.schedule, host.config.timeZone);
  while (clock.now().getTime() < end) {
    const life = new AbortController();
    const seen = new Set<number>();
    const due: Date[] = [];
    const running = runSchedule(schedule, (at) => due.push(at), { clock, signal: life.signal });
    while (!life.signal.aborted && clock.now().getTime() < end) {
      skip(clock, schedule, seen);
      clock.step();
      await turn();
      const at = due.shift();
      if (at === undefined) continue;
      expect(seen.has(at.getTime()), `${at.toISOString()} is due twice`).toBe(false);
      seen.add(at.getTime());
      year.dues.push(at);
      const report = await world.backUp();
      outcomes[report.outcome] = (outcomes[report.outcome] ?? 0) + 1;
      const isDead = world.isDead();
      await inspect(year, report.outcome === 'succeeded' && !isDead);
      if (isDead) await world.restart();
      if ((await meddle()) || isDead) life.abort();
    }
    life.abort();
    await running;
  }
}

/** The machine sleeps until two minutes before something is due: looking at every minute of a year takes minutes. */
function skip(clock: FakeClock, schedule: Schedule, seen: ReadonlySet<number>): void {
  const now = clock.now();
  let due = schedule.next(now);
  while (due && seen.has(due.getTime())) due = schedule.next(due);
  const ms = (due?.getTime() ?? 0) - now.getTime() - 120_000;
  if (ms > 0) clock.jump(ms);
}

async function openYear(random: () => number): Promise<Year> {
  const world = await createWorld(YEAR, random, ENV);
  for (const storage of world.storages.values())
    for (const [path, text] of FOREIGN) storage.set(path, Buffer.from(text));
  return {
    world,
    known: new Map([...world.storages.keys()].map((title) => [title, new Map()])),
    outcomes: {},
    dues: [],
  };
}

describe('a year', () => {
  it('F14: without trouble has a backup for every day, those of the clock changes too', TIMEOUT, async () => {
    const year = await openYear(createRandom(1));
    await using world = year.world;
    await live(year, Date.parse(YEAR) + 365 * DAY_MS, async () => false);
    expect(year.outcomes).toEqual({ succeeded: 365 });
    const hours = new Set(year.dues.map((due) => due.toISOString().slice(11, 16)));
    expect([...hours].sort()).toEqual(['00:30', '01:00', '01:30']);
    for (const title of world.storages.keys())
      expect(goodOf(await world.look(title)).length).toBeLessThanOrEqual(KEEP.daily + KEEP.weekly + KEEP.monthly);
  });

  it(`of failures, deaths, restarts and clocks that jump keeps every promise (seed ${SEED})`, TIMEOUT, async () => {
    const random = createRandom(SEED);
    const year = await openYear(random);
    await using world = year.world;
    world.setTrouble(TROUBLE);
    const end = Date.parse(YEAR) + 365 * DAY_MS;
    await live(year, end, async () => {
      const what = random();
      if (what < 0.05) world.clock.jump(Math.floor((random() - 0.5) * 6 * DAY_MS));
      if (what > 0.9) {
        await world.prune();
        if (world.isDead()) await world.restart();
        await inspect(year, false);
      }
      const isOver = random() < 0.05;
      if (isOver) await world.restart();
      return isOver;
    });
    const { succeeded = 0, failed = 0, warning = 0 } = year.outcomes;
    expect(succeeded + warning).toBeGreaterThan(100);
    expect(failed).toBeGreaterThan(3);

    // Quiet again: whatever was left is swept, and nothing else goes.
    world.setTrouble(CALM);
    await live(year, world.clock.now().getTime() + 15 * DAY_MS, async () => false);
    for (const [title, storage] of world.storages) {
      const ours = objectsOfGood(await world.look(title));
      const left = [...storage.keys()].filter((path) => !ours.has(path) && !FOREIGN.some(([name]) => name === path));
      expect(left, title).toEqual([]);
    }
  });
});
