import { describe, expect, it } from 'vitest';
import {
  createState,
  noteLooks,
  noteNotificationFailures,
  noteSkippedTick,
  noteStart,
  noteTime,
} from '../src/core/memory.ts';
import type { State } from '../src/core/state.ts';
import { parseSchedule } from '../src/schedule.ts';
import { afterRun, createFacts, createKnown, createLook, REMOTE } from './support/states.ts';

/** Also what lies within: a change in place is an error. */
function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) freeze(part);
  }
  return value;
}

const fresh = freeze(createState(createFacts(), [REMOTE, '/other']));
const ordersOf = (state: State, remote = 0) => state.remotes[remote]?.series[0]?.backups ?? [];

describe('what the daemon knows', () => {
  it('is at first what the configuration says, and of each remote that nobody has looked', () => {
    expect(fresh.remotes).toEqual(
      [REMOTE, '/other'].map((title) => ({
        title,
        listedAt: undefined,
        fault: undefined,
        missedRuns: 0,
        series: [{ series: 'pg://db:5432/orders', database: 'orders', backups: [] }],
      })),
    );
    expect(fresh.totals.runs).toEqual({ succeeded: 0, warning: 0, failed: 0, skipped: 0, interrupted: 0 });
  });

  it('is changed by no note in place', () => {
    let state = fresh;
    const notes: ((state: State) => State)[] = [
      (one) => noteStart(one, '', new Date()),
      noteSkippedTick,
      (one) => noteNotificationFailures(one, { slack: 2 }),
      (one) => noteTime(one, new Date(), new Date()),
      (one) => noteLooks(one, [createLook([{ at: '2026-02-01T02:00:00Z' }]), createLook('it is down', '/other')]),
      (one) => afterRun(one, { at: '2026-02-02T02:00:00Z' }),
    ];
    for (const note of [...notes, ...notes]) state = freeze(note(state));
    expect(state.totals).toMatchObject({ skippedTicks: 2, notificationFailures: { slack: 2 }, runs: { succeeded: 2 } });
  });

  it('shows a backup as soon as its run has ended, on the remotes that have it', () => {
    const state = afterRun(createKnown({}, [], []), { at: '2026-02-02T02:00:00Z' });
    expect(ordersOf(state)).toMatchObject([{ state: 'good', bytes: 100, dumpBytes: 200 }]);
    expect(ordersOf(state, 1)).toEqual([]);
    expect(state.runs).toMatchObject([
      { outcome: 'succeeded', bytes: 100, durationMs: 60_000, artifacts: [expect.any(String)] },
    ]);
  });

  it('goes by the next listing, which forgets what is gone', () => {
    let state = afterRun(createKnown({}, [{ at: '2026-02-01T02:00:00Z' }]), { at: '2026-02-02T02:00:00Z' });
    expect(ordersOf(state)).toHaveLength(2);
    state = noteLooks(state, [createLook([{ at: '2026-02-02T02:00:00Z' }])]);
    expect(ordersOf(state).map(({ startedAt }) => startedAt.toISOString())).toEqual(['2026-02-02T02:00:00.000Z']);
  });

  it('keeps what it knew of a remote that cannot be listed, and says why, until it can', () => {
    const before = createKnown({}, [{ at: '2026-02-01T02:00:00Z' }]);
    const down = noteLooks(before, [createLook('no route to host')]);
    expect(down.remotes[0]).toMatchObject({ fault: 'no route to host', listedAt: before.remotes[0]?.listedAt });
    expect(ordersOf(down)).toHaveLength(1);
    expect(noteLooks(down, [createLook([])]).remotes[0]).toMatchObject({ fault: undefined });
  });

  it('says of a run that it is going on from its start to its end', () => {
    const started = noteStart(fresh, 'x', new Date('2026-02-02T02:00:00Z'));
    expect(started.running).toEqual({ run: 'x', startedAt: new Date('2026-02-02T02:00:00Z') });
    expect(afterRun(started, { at: '2026-02-02T02:00:00Z', outcome: 'failed' }).running).toBeUndefined();
  });

  it('forgets the oldest of very many runs', () => {
    let state = fresh;
    const times = Array.from({ length: 120 }, (_, n) => new Date(Date.UTC(2026, 1, 2, 0, n)).toISOString());
    for (const at of times) state = afterRun(state, { at, outcome: 'failed' });
    expect(state.runs).toHaveLength(50);
    expect(state.runs[0]?.startedAt.toISOString()).toBe(times.at(-1));
    expect(state.totals.runs.failed).toBe(120);
  });

  it('F63: knows the last due time though nobody woke up for it, and forgets it for no clock set back', () => {
    const schedule = parseSchedule('0 2 * * *', 'UTC');
    const at = (state: State, now: string) =>
      noteTime(state, schedule.next(new Date(now)), schedule.previous(new Date(now)));
    let state = at(fresh, '2026-02-01T13:00:00Z');
    expect(state).toMatchObject({ nextDue: new Date('2026-02-02T02:00:00Z'), lastDue: undefined });
    state = at(state, '2026-02-09T13:00:00Z');
    expect(state).toMatchObject({
      nextDue: new Date('2026-02-10T02:00:00Z'),
      lastDue: new Date('2026-02-09T02:00:00Z'),
    });
    state = at(state, '2026-02-05T13:00:00Z');
    expect(state).toMatchObject({
      nextDue: new Date('2026-02-06T02:00:00Z'),
      lastDue: new Date('2026-02-09T02:00:00Z'),
    });
    expect(at(state, '2026-02-05T13:00:01Z')).toBe(state);
  });

  it('is small, with ten thousand backups', () => {
    const found = Array.from({ length: 10_000 }, (_, n) => ({ at: new Date(Date.UTC(2020, 0, 1, n)).toISOString() }));
    const look = createLook(found);
    const before = process.memoryUsage().heapUsed;
    const used = process.cpuUsage();
    const state = noteLooks(fresh, [look]);
    expect(process.cpuUsage(used).user / 1000).toBeLessThan(2000);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(30 * 1024 * 1024);
    expect(ordersOf(state)).toHaveLength(10_000);
    expect(ordersOf(state)[0]?.startedAt.toISOString()).toBe(found.at(-1)?.at);
  });
});
