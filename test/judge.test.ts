import { describe, expect, it } from 'vitest';
import { findMissed } from '../src/core/catchUp.ts';
import { judgeHealth } from '../src/core/health.ts';
import { createState, noteStart } from '../src/core/memory.ts';
import type { State } from '../src/core/state.ts';
import { afterRun, createFacts, createKnown } from './support/states.ts';

/** What is wrong by /healthz and by /readyz, or nothing. */
const judge = (state: State, now: string) => judgeHealth(state, new Date(now));
const WELL = { unhealthy: [], unready: [] };

/** A daemon that started on the 1st at noon, after the backup of that night. */
const usual = createKnown({}, [{ at: '2026-02-01T02:00:00Z' }, { at: '2026-01-31T02:00:00Z' }]);
const LATE = 'orders was due at 2026-02-02T02:00:00Z, and its newest good backup is of 2026-02-01T02:00:00Z';

describe('F20: health', () => {
  it.each<[title: string, state: State, now: string, healthy: boolean, ready: boolean]>([
    ['is well after a good night', usual, '2026-02-01T13:00:00Z', true, true],
    ['is well when a backup is due, and within its grace', usual, '2026-02-02T03:00:00Z', true, true],
    ['says so once the grace is over', usual, '2026-02-02T03:00:01Z', false, false],
    ['is well again after a run', afterRun(usual, { at: '2026-02-02T03:30:00Z' }), '2026-02-02T03:31:00Z', true, true],
    [
      'is well while a run goes on, however late',
      noteStart(usual, 'x', new Date('2026-02-02T02:00:00Z')),
      '2026-02-02T11:00:00Z',
      true,
      true,
    ],
    [
      'counts a backup that another process made',
      createKnown({}, [{ at: '2026-02-02T02:30:00Z' }]),
      '2026-02-02T09:00:00Z',
      true,
      true,
    ],
    [
      'blames a process for nothing that was due before it started, and tells the truth',
      createKnown({}, [{ at: '2026-01-20T02:00:00Z' }]),
      '2026-02-01T12:01:00Z',
      true,
      false,
    ],
    [
      'blames it until a due time of its own has passed with its grace',
      createKnown({}, [{ at: '2026-01-20T02:00:00Z' }]),
      '2026-02-02T03:00:00Z',
      true,
      false,
    ],
    ['and then does', createKnown({}, [{ at: '2026-01-20T02:00:00Z' }]), '2026-02-02T03:00:01Z', false, false],
    ['has no backup yet on the first day', createKnown({}, []), '2026-02-01T12:01:00Z', true, false],
    ['nor ever', createKnown({}, []), '2026-02-02T03:00:01Z', false, false],
    [
      'is not ready before the first listing',
      createState(createFacts(), ['/backup']),
      '2026-02-01T12:00:01Z',
      true,
      false,
    ],
    [
      'is not ready where the remote cannot be listed',
      createKnown({}, 'no route to host'),
      '2026-02-01T12:00:01Z',
      true,
      false,
    ],
    [
      'takes no damaged backup for one',
      createKnown({}, [{ at: '2026-02-02T02:00:00Z', state: 'damaged' }, { at: '2026-02-01T02:00:00Z' }]),
      '2026-02-02T03:00:01Z',
      false,
      false,
    ],
    [
      'is not ready while the newest backup is missing',
      createKnown({}, [{ at: '2026-02-01T02:00:00Z', state: 'missing' }, { at: '2026-01-31T02:00:00Z' }]),
      '2026-02-01T13:00:00Z',
      true,
      false,
    ],
  ])('%s', (_, state, now, healthy, ready) => {
    const { unhealthy, unready } = judge(state, now);
    expect({ healthy: unhealthy.length === 0, ready: unready.length === 0 }).toEqual({ healthy, ready });
  });

  it('says what was due and what there is', () => {
    expect(judge(usual, '2026-02-02T03:30:00Z')).toEqual({ unhealthy: [LATE], unready: [LATE] });
    expect(judge(createKnown({}, []), '2026-02-02T03:30:00Z').unhealthy).toEqual([
      'orders was due at 2026-02-02T02:00:00Z, and has no good backup',
    ]);
    expect(judge(createKnown({}, 'no route to host'), '2026-02-01T12:01:00Z').unready).toContain(
      '/backup cannot be listed: no route to host',
    );
  });

  it('says why the last run failed, until a run did not', () => {
    const failed = afterRun(usual, { at: '2026-02-01T14:00:00Z', outcome: 'failed' });
    const sentence = 'the last run, of 2026-02-01T14:00:00Z, failed: the disk is full';
    expect(judge(failed, '2026-02-01T14:02:00Z')).toEqual({ unhealthy: [sentence], unready: [sentence] });
    expect(judge(noteStart(failed, 'x', new Date('2026-02-01T15:00:00Z')), '2026-02-01T15:00:01Z')).toEqual(WELL);
    expect(judge(afterRun(failed, { at: '2026-02-01T15:00:00Z' }), '2026-02-01T15:02:00Z')).toEqual(WELL);
    expect(judge(afterRun(failed, { at: '2026-02-01T15:00:00Z', outcome: 'warning' }), '2026-02-01T15:02:00Z')).toEqual(
      WELL,
    );
  });

  it('a run that another instance kept from running is no failure, and hides none', () => {
    expect(judge(afterRun(usual, { at: '2026-02-01T14:00:00Z', outcome: 'skipped' }), '2026-02-01T14:02:00Z')).toEqual(
      WELL,
    );
    const failed = afterRun(usual, { at: '2026-02-01T14:00:00Z', outcome: 'failed' });
    const skipped = afterRun(failed, { at: '2026-02-01T15:00:00Z', outcome: 'skipped' });
    expect(judge(skipped, '2026-02-01T15:02:00Z').unhealthy).toHaveLength(1);
  });

  it('a failure is mended by a good backup that another process made after it', () => {
    const made = createKnown({}, [{ at: '2026-02-01T16:00:00Z' }]);
    expect(judge(afterRun(made, { at: '2026-02-01T15:00:00Z', outcome: 'failed' }), '2026-02-01T17:00:00Z')).toEqual(
      WELL,
    );
    const before = afterRun(made, { at: '2026-02-01T16:30:00Z', outcome: 'failed' });
    expect(judge(before, '2026-02-01T17:00:00Z').unhealthy).toHaveLength(1);
  });

  it('a run that failed after it had backed up has failed all the same', () => {
    const at = '2026-02-01T14:00:00Z';
    const known = createKnown({}, [{ at: '2026-02-01T14:00:01Z', run: `run of ${at}` }]);
    expect(judge(afterRun(known, { at, outcome: 'failed' }), '2026-02-01T14:02:00Z').unhealthy).toHaveLength(1);
  });
});

describe('F14: health, whatever the clock says', () => {
  it('takes no backup dated in the future for now', () => {
    const known = createKnown({}, [{ at: '2030-01-01T02:00:00Z' }, { at: '2026-02-01T02:00:00Z' }]);
    expect(judge(known, '2026-02-01T13:00:00Z')).toEqual(WELL);
    expect(judge(known, '2026-02-02T03:30:00Z').unhealthy).toEqual([LATE]);
  });

  it('takes one of a machine whose clock is some minutes ahead', () => {
    const known = createKnown({}, [{ at: '2026-02-02T02:05:00Z' }]);
    expect(judge(known, '2026-02-02T02:00:00Z')).toEqual(WELL);
  });

  it('is not silenced for years where the process started with a clock that was ahead', () => {
    const known = createKnown({ startedAt: '2030-01-01T00:00:00Z' }, [{ at: '2026-02-01T02:00:00Z' }]);
    expect(judge(known, '2026-02-01T13:00:00Z')).toEqual(WELL);
    expect(judge(known, '2026-02-02T03:30:00Z').unhealthy).toEqual([LATE]);
  });

  it('is not upset by a clock that was set back a little', () => {
    const known = createKnown({ startedAt: '2026-02-01T12:00:00Z' }, [{ at: '2026-01-20T02:00:00Z' }]);
    expect(judge(known, '2026-02-01T11:59:50Z').unhealthy).toEqual([]);
  });

  it('goes by the time zone of the schedule through a change of clocks', () => {
    // 02:30 does not come on the 29th of March: due at 01:00Z; a day later at 00:30Z.
    const facts = { schedule: '30 2 * * *', timeZone: 'Europe/Berlin', startedAt: '2026-03-28T12:00:00Z' };
    const known = createKnown(facts, [{ at: '2026-03-29T01:00:00Z' }]);
    expect(judge(known, '2026-03-29T13:00:00Z')).toEqual(WELL);
    expect(judge(known, '2026-03-30T01:30:00Z')).toEqual(WELL);
    expect(judge(known, '2026-03-30T01:30:01Z').unhealthy).toEqual([
      'orders was due at 2026-03-30T00:30:00Z, and its newest good backup is of 2026-03-29T01:00:00Z',
    ]);
  });

  it('gives each due time its grace where they follow each other faster', () => {
    const facts = { schedule: '* * * * * *', startedAt: '2026-02-01T00:00:00Z' };
    const known = createKnown(facts, [{ at: '2026-02-01T12:00:00Z' }]);
    expect(judge(known, '2026-02-01T13:00:00Z')).toEqual(WELL);
    expect(judge(known, '2026-02-01T13:00:01.500Z').unhealthy).toEqual([
      'orders was due at 2026-02-01T12:00:01Z, and its newest good backup is of 2026-02-01T12:00:00Z',
    ]);
  });

  it('gives a run a second to begin where there is no grace', () => {
    const known = createKnown({ graceMs: 0 }, [{ at: '2026-02-01T02:00:00Z' }]);
    expect(judge(known, '2026-02-02T02:00:01Z')).toEqual(WELL);
    expect(judge(known, '2026-02-02T02:00:01.001Z').unhealthy).toEqual([LATE]);
  });
});

const LIST = {
  database: 'orders,users',
  expected: ['orders', 'users'].map((database) => ({ series: `pg://db:5432/${database}`, database })),
};
const night = (day: string, ...databases: string[]) =>
  databases.map((database) => ({ at: `2026-02-${day}T02:00:00Z`, database, run: `night ${day}` }));

describe('health of several databases', () => {
  it('counts each of a list, also one of which there was never a backup', () => {
    const known = createKnown(LIST, night('01', 'orders'));
    expect(judge(known, '2026-02-01T13:00:00Z').unready).toEqual([
      'users was due at 2026-02-01T02:00:00Z, and has no good backup',
    ]);
    expect(judge(createKnown(LIST, night('02', 'orders')), '2026-02-02T03:30:00Z').unhealthy).toEqual([
      'users was due at 2026-02-02T02:00:00Z, and has no good backup',
    ]);
  });

  it('counts of all databases those of the newest night: one that was dropped is missed by nobody', () => {
    const known = createKnown({ expected: [], database: '*' }, [...night('01', 'a', 'b'), ...night('02', 'a')]);
    expect(judge(known, '2026-02-02T13:00:00Z')).toEqual(WELL);
    const late = judge(createKnown({ expected: [] }, night('01', 'a', 'b')), '2026-02-02T13:00:00Z').unhealthy;
    expect(late.map((reason) => reason.slice(0, 1))).toEqual(['a', 'b']);
  });

  it('does not take a backup of one alone for the whole night', () => {
    const known = createKnown({ expected: [] }, [
      ...night('01', 'a', 'b'),
      { at: '2026-02-01T09:00:00Z', database: 'a' },
    ]);
    expect(judge(known, '2026-02-02T13:00:00Z').unhealthy).toHaveLength(2);
  });

  it('says of all databases that there is nothing', () => {
    expect(judge(createKnown({ expected: [], database: '*' }, []), '2026-02-02T13:00:00Z').unhealthy).toEqual([
      'the server was due at 2026-02-02T02:00:00Z, and has no good backup',
    ]);
  });
});

describe('health of several remotes', () => {
  it('is not ready where a further one missed two runs in a row', () => {
    const [first, second] = ['/backup', '/backup2'];
    let state = createKnown({}, night('01', 'orders'), night('01', 'orders'));
    state = afterRun(state, { at: '2026-02-01T14:00:00Z', outcome: 'warning', remotes: [first!] });
    expect(judge(state, '2026-02-01T14:02:00Z')).toEqual(WELL);
    state = afterRun(state, { at: '2026-02-01T15:00:00Z', outcome: 'warning', remotes: [first!] });
    const sentence = '/backup2 got nothing of the last 2 runs';
    expect(judge(state, '2026-02-01T15:02:00Z')).toEqual({ unhealthy: [], unready: [sentence] });
    state = afterRun(state, { at: '2026-02-01T16:00:00Z', remotes: [first!, second!] });
    expect(judge(state, '2026-02-01T16:02:00Z')).toEqual(WELL);
  });

  it('knows that after a restart, too', () => {
    const old = night('01', 'orders');
    const state = createKnown({}, [...old, { at: '2026-02-01T03:00:00Z' }, { at: '2026-02-01T04:00:00Z' }], old);
    expect(judge(state, '2026-02-01T13:00:00Z').unready).toEqual(['/backup2 got nothing of the last 2 runs']);
  });

  it('one that is new, and empty, is not blamed', () => {
    expect(judge(createKnown({}, night('01', 'orders'), []), '2026-02-01T13:00:00Z')).toEqual(WELL);
  });

  it('keeps what it knew of one that cannot be listed any more', () => {
    const state = createKnown({}, night('01', 'orders'), 'no route to host');
    expect(judge(state, '2026-02-01T13:00:00Z')).toEqual({
      unhealthy: [],
      unready: ['/backup2 cannot be listed: no route to host'],
    });
  });
});

describe('catching up', () => {
  const now = '2026-02-05T12:00:00Z';
  it.each<[title: string, state: State, triedAt: string | undefined, due: string | undefined]>([
    ['where the last due time passed without a backup', usual, undefined, '2026-02-05T02:00:00.000Z'],
    ['not where there is one', createKnown({}, night('05', 'orders')), undefined, undefined],
    ['nor where one was made by hand since', createKnown({}, [{ at: '2026-02-05T11:00:00Z' }]), undefined, undefined],
    ['never on an empty series', createKnown({}, []), undefined, undefined],
    ['nor where nothing could be listed', createKnown({}, 'no route to host'), undefined, undefined],
    ['not where a run was tried since, and failed', usual, '2026-02-05T02:00:00Z', undefined],
    ['where the last try was for another due time', usual, '2026-02-04T02:00:00Z', '2026-02-05T02:00:00.000Z'],
    ['F14: whatever was tried in the future', usual, '2030-01-01T00:00:00Z', '2026-02-05T02:00:00.000Z'],
    [
      'F14: whatever is dated in the future',
      createKnown({}, [{ at: '2030-01-01T00:00:00Z' }]),
      undefined,
      '2026-02-05T02:00:00.000Z',
    ],
    [
      'where the only one since is damaged',
      createKnown({}, [{ at: '2026-02-05T02:00:00Z', state: 'damaged' }]),
      undefined,
      '2026-02-05T02:00:00.000Z',
    ],
    [
      'where one of several databases is late',
      createKnown(LIST, [...night('05', 'orders'), ...night('04', 'users')]),
      undefined,
      '2026-02-05T02:00:00.000Z',
    ],
    ['not for one of several that never had a backup', createKnown(LIST, night('05', 'orders')), undefined, undefined],
    [
      'of all databases as well',
      createKnown({ expected: [] }, night('04', 'a', 'b')),
      undefined,
      '2026-02-05T02:00:00.000Z',
    ],
    ['of all databases where there is none', createKnown({ expected: [] }, []), undefined, undefined],
  ])('%s', (_, state, triedAt, due) => {
    const found = findMissed(state, triedAt === undefined ? undefined : new Date(triedAt), new Date(now));
    expect(found?.toISOString()).toBe(due);
  });
});
