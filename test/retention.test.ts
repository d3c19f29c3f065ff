import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Dated, isRetentionOff, planRetention, type RetentionPolicy } from '../src/core/retention.ts';

const DAY_MS = 86_400_000;
const NOW = new Date('2026-02-07T12:00:00Z');
const OFF: RetentionPolicy = {
  maxFiles: 0,
  maxDays: 0,
  keepLast: 0,
  keepHourly: 0,
  keepDaily: 0,
  keepWeekly: 0,
  keepMonthly: 0,
  keepYearly: 0,
  minKeep: 1,
};

/** Backups whose ids are their times. */
const at = (...times: string[]): Dated[] => times.map((startedAt) => ({ id: startedAt, startedAt }));

/** One a day at 02:00, the newest on the day of NOW. */
const daily = (count: number, newest = NOW): Dated[] =>
  at(
    ...Array.from(
      { length: count },
      (_, days) => `${new Date(newest.getTime() - days * DAY_MS).toISOString().slice(0, 10)}T02:00:00Z`,
    ),
  );

const plan = (backups: readonly Dated[], policy: Partial<RetentionPolicy>, now = NOW) =>
  planRetention(backups, { ...OFF, ...policy }, now);

const ids = (judged: readonly { backup: Dated }[]): string[] => judged.map(({ backup }) => backup.id);
const keptOf = (backups: readonly Dated[], policy: Partial<RetentionPolicy>, now = NOW) =>
  ids(plan(backups, policy, now).keep);

describe('planRetention', () => {
  it('removes nothing when no rule is set, whatever minKeep says', () => {
    const { keep, remove } = plan(daily(400), { minKeep: 3 });
    expect(remove).toEqual([]);
    expect(keep).toHaveLength(400);
    expect(keep[7]?.reasons).toEqual(['no retention is set']);
  });

  it('says of a policy whether it removes anything', () => {
    expect(isRetentionOff(OFF)).toBe(true);
    expect(isRetentionOff({ ...OFF, minKeep: 9 })).toBe(true);
    for (const rule of Object.keys(OFF).filter((key) => key !== 'minKeep')) {
      expect(isRetentionOff({ ...OFF, [rule]: 1 }), rule).toBe(false);
    }
  });

  it('answers newest first', () => {
    const { keep, remove } = plan(daily(9).toReversed(), { maxFiles: 4 });
    expect([...ids(keep), ...ids(remove)]).toEqual(daily(9).map(({ id }) => id));
  });

  it('plans nothing for nothing', () => {
    expect(plan([], { maxFiles: 1, keepDaily: 1 })).toEqual({ keep: [], remove: [] });
  });

  it.each<[string, Partial<RetentionPolicy>, Dated[], string[]]>([
    ['keeps the newest files', { maxFiles: 2 }, daily(4), ['2026-02-07T02:00:00Z', '2026-02-06T02:00:00Z']],
    ['keeps what is exactly as old as allowed', { maxDays: 2 }, daily(4), daily(3).map(({ id }) => id)],
    [
      'removes what exceeds either of two limits',
      { maxFiles: 3, maxDays: 1 },
      at('2026-02-07T02:00:00Z', '2026-02-07T01:00:00Z', '2026-02-07T00:00:00Z', '2026-02-06T23:00:00Z'),
      ['2026-02-07T02:00:00Z', '2026-02-07T01:00:00Z', '2026-02-07T00:00:00Z'],
    ],
    ['keeps the last ones', { keepLast: 3 }, daily(5), daily(3).map(({ id }) => id)],
    [
      'keeps the newest of each hour that has one',
      { keepHourly: 2 },
      at(
        '2026-02-07T11:59:59Z',
        '2026-02-07T11:00:00Z',
        '2026-02-07T03:10:00Z',
        '2026-02-07T03:05:00Z',
        '2026-02-06T03:00:00Z',
      ),
      ['2026-02-07T11:59:59Z', '2026-02-07T03:10:00Z'],
    ],
    [
      'keeps the newest of each day that has one',
      { keepDaily: 2 },
      at('2026-02-07T00:00:00Z', '2026-02-06T23:59:59Z', '2026-02-06T00:00:00Z', '2026-02-01T00:00:00Z'),
      ['2026-02-07T00:00:00Z', '2026-02-06T23:59:59Z'],
    ],
    [
      'counts weeks from Monday to Sunday, across a year that has 53 of them',
      { keepWeekly: 3 },
      at(
        '2021-01-04T00:00:00Z',
        '2021-01-03T23:00:00Z',
        '2020-12-28T00:00:00Z',
        '2020-12-27T23:00:00Z',
        '2020-12-20T00:00:00Z',
      ),
      ['2021-01-04T00:00:00Z', '2021-01-03T23:00:00Z', '2020-12-27T23:00:00Z'],
    ],
    [
      'keeps the newest of each month',
      { keepMonthly: 2 },
      at('2026-02-01T00:00:00Z', '2026-01-31T23:59:59Z', '2026-01-01T00:00:00Z', '2025-12-31T00:00:00Z'),
      ['2026-02-01T00:00:00Z', '2026-01-31T23:59:59Z'],
    ],
    [
      'keeps the newest of each year',
      { keepYearly: 2 },
      at('2026-01-01T00:00:00Z', '2025-12-31T23:59:59Z', '2025-01-01T00:00:00Z', '2023-01-01T00:00:00Z'),
      ['2026-01-01T00:00:00Z', '2025-12-31T23:59:59Z'],
    ],
    [
      'keeps the oldest too while a rule has periods left, so that history can grow',
      { keepDaily: 3 },
      at(
        '2026-02-07T03:00:00Z',
        '2026-02-07T02:00:00Z',
        '2026-02-06T03:00:00Z',
        '2026-02-06T02:00:00Z',
        '2026-02-06T01:00:00Z',
      ),
      ['2026-02-07T03:00:00Z', '2026-02-06T03:00:00Z', '2026-02-06T01:00:00Z'],
    ],
    [
      'lets a keep rule save what exceeds a limit',
      { maxFiles: 1, keepDaily: 3 },
      daily(5),
      daily(3).map(({ id }) => id),
    ],
    [
      'lets what is within the limits stay without a keep rule',
      { maxFiles: 3, keepDaily: 1 },
      daily(5),
      daily(3).map(({ id }) => id),
    ],
    ['always keeps the newest ones', { maxFiles: 1, minKeep: 4 }, daily(6), daily(4).map(({ id }) => id)],
    ['never goes below one, whatever it is told', { maxFiles: 1, minKeep: 0 }, daily(3), daily(1).map(({ id }) => id)],
  ])('%s', (_, policy, backups, kept) => {
    expect(keptOf(backups, policy)).toEqual(kept);
  });

  it('keeps of a backup a day what restic keeps', () => {
    // The example of restic's manual, over ten years: 7 days, 5 weeks, 12 months, 75 years.
    const kept = keptOf(daily(3653), { keepDaily: 7, keepWeekly: 5, keepMonthly: 12, keepYearly: 75 });
    expect(kept.slice(0, 11)).toEqual([
      ...daily(7).map(({ id }) => id), // 7 to 1 February, a Sunday
      '2026-01-31T02:00:00Z', // the month
      '2026-01-25T02:00:00Z', // Sundays, the first of February among the five
      '2026-01-18T02:00:00Z',
      '2026-01-11T02:00:00Z',
    ]);
    // 11 months but January, already there; 10 years but 2026 and 2025, whose last day is a month's; the very oldest.
    expect(kept.slice(11).map((id) => id.slice(0, 10))).toEqual([
      ...[
        '2025-12-31',
        '2025-11-30',
        '2025-10-31',
        '2025-09-30',
        '2025-08-31',
        '2025-07-31',
        '2025-06-30',
        '2025-05-31',
      ],
      ...['2025-04-30', '2025-03-31'],
      ...['2024', '2023', '2022', '2021', '2020', '2019', '2018', '2017', '2016'].map((year) => `${year}-12-31`),
      '2016-02-08',
    ]);
  });

  it('gives every reason in words', () => {
    const backups = at('2026-02-07T02:00:00Z', '2026-02-06T02:00:00Z', '2026-01-27T02:00:00Z', '2025-12-28T00:00:00Z');
    const { keep, remove } = plan(backups, { maxDays: 30, maxFiles: 2, keepLast: 1, keepDaily: 2, keepWeekly: 2 });
    expect(keep.map(({ reasons }) => reasons)).toEqual([
      [
        'newest 1 always stay',
        'last 1 of 1',
        'daily 1 of 2: 2026-02-07',
        'weekly 1 of 2: 2026-W06',
        'within the limits',
      ],
      ['daily 2 of 2: 2026-02-06', 'within the limits'],
      ['weekly 2 of 2: 2026-W05'],
    ]);
    expect(remove.map(({ reasons }) => reasons)).toEqual([
      ['older than 30 days (41 days 2 h before the newest)', 'more than 2 files', 'selected by no keep rule'],
    ]);
  });

  it('calls the oldest by its name', () => {
    const { keep } = plan(at('2026-02-07T03:00:00Z', '2026-02-07T02:00:00Z'), { keepMonthly: 12 });
    expect(keep[1]?.reasons).toEqual(['oldest: monthly has only 1 of 12']);
  });

  it('breaks a tie in time by id', () => {
    const twins = ['b', 'c', 'a'].map((id) => ({ id, startedAt: '2026-02-07T02:00:00Z' }));
    expect(keptOf(twins, { maxFiles: 1 })).toEqual(['c']);
    expect(keptOf(twins, { keepHourly: 1 })).toEqual(['c']);
  });

  it('F13: goes by the start that the manifest gives, not by the id', () => {
    const backups = [
      { id: '20260101T000000Z-ffffff', startedAt: '2026-02-01T00:00:00Z' },
      { id: '20260301T000000Z-000000', startedAt: '2026-01-01T00:00:00Z' },
    ];
    expect(keptOf(backups, { maxFiles: 1 })).toEqual(['20260101T000000Z-ffffff']);
  });

  it('F09: keeps the newest good ones when every backup is older than the window', () => {
    const old = daily(10, new Date('2024-02-07T00:00:00Z'));
    expect(keptOf(old, { maxDays: 3 })).toEqual(old.slice(0, 4).map(({ id }) => id));
    expect(keptOf(old, { maxDays: 1, minKeep: 5 })).toEqual(old.slice(0, 5).map(({ id }) => id));
  });

  it('F09: removes no more after a month without a backup than before it', () => {
    const backups = daily(20);
    const policy = { maxDays: 7, keepDaily: 3, keepWeekly: 2 };
    const later = new Date(NOW.getTime() + 31 * DAY_MS);
    expect(plan(backups, policy, later)).toEqual(plan(backups, policy));
  });

  it('F14: neither counts nor removes a backup dated in the future', () => {
    const future = at('2036-01-01T00:00:00Z', '2026-02-07T12:10:01Z');
    const backups = [...daily(5), ...future];
    for (const policy of [
      { maxFiles: 2 },
      { maxDays: 1 },
      { keepLast: 2 },
      { keepDaily: 2 },
      { maxFiles: 1, keepYearly: 2, keepDaily: 2 },
    ]) {
      const { keep } = plan(backups, policy);
      expect(ids(keep).slice(0, 4), JSON.stringify(policy)).toEqual([
        ...ids(future.map((backup) => ({ backup }))),
        ...daily(2).map(({ id }) => id),
      ]);
      expect(keep[0]?.reasons).toEqual(['dated in the future: not counted, never removed']);
    }
  });

  it('F14: counts a backup that another clock dates up to ten minutes ahead', () => {
    const ahead = at('2026-02-07T12:10:00Z');
    expect(keptOf([...daily(3), ...ahead], { maxFiles: 1 })).toEqual(['2026-02-07T12:10:00Z']);
  });

  it('F14: removes nothing while our own clock is behind every backup', () => {
    expect(plan(daily(9), { maxFiles: 1, maxDays: 1 }, new Date(0)).remove).toEqual([]);
  });

  it('leaves a backup alone whose start cannot be read', () => {
    const odd = { id: 'odd', startedAt: 'yesterday' };
    expect(keptOf([...daily(3), odd], { maxFiles: 1 })).toEqual(['odd', '2026-02-07T02:00:00Z']);
  });

  it('F14: plans the same in every time zone', () => {
    const script = `
      import { planRetention } from ${JSON.stringify(new URL('../src/core/retention.ts', import.meta.url).href)};
      const hours = Array.from({ length: 9000 }, (_, n) => new Date(Date.UTC(2026, 1, 7, 12) - n * 3_599_000).toISOString());
      const backups = hours.map((startedAt) => ({ id: startedAt, startedAt }));
      const policy = { maxFiles: 2, maxDays: 1, keepLast: 1, keepHourly: 5, keepDaily: 9, keepWeekly: 9, keepMonthly: 9, keepYearly: 3, minKeep: 2 };
      const { keep } = planRetention(backups, policy, new Date('2026-02-07T12:00:00Z'));
      console.log(JSON.stringify({ hour: new Date(0).getHours(), keep }));`;
    const zones = ['UTC', 'Pacific/Kiritimati', 'America/Los_Angeles', 'Australia/Lord_Howe'];
    const answers = zones.map((TZ) =>
      JSON.parse(
        execFileSync(process.execPath, ['--input-type=module', '--eval', script], {
          env: { ...process.env, TZ },
          encoding: 'utf8',
        }),
      ),
    );
    expect(new Set(answers.map(({ hour }) => hour)).size).toBe(4);
    for (const { keep } of answers) expect(keep).toEqual(answers[0].keep);
    expect(answers[0].keep.length).toBeGreaterThan(20);
  });
});

describe('planRetention, whatever it is given', () => {
  /** Times in clumps: the same second, hour, day, month, up to some years apart, some of them in the future. */
  const arbTime = fc
    .tuple(
      fc.constantFrom(0, 1, 30, 364, 365, 366, 2000),
      fc.integer({ min: -3, max: 3 }),
      fc.integer({ min: -2, max: 26 }),
      fc.constantFrom(0, 1000, 59_000, 3_540_000),
    )
    .map(([far, days, hours, ms]) =>
      new Date(NOW.getTime() - (far + days) * DAY_MS - hours * 3_600_000 - ms).toISOString(),
    );
  const arbBackups = fc
    .array(arbTime, { maxLength: 60, size: 'max' })
    .map((times) => times.map((startedAt, index) => ({ id: `${(index * 7919) % 1000}-${index}`, startedAt })));
  const arbCount = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 40 }));
  const arbPolicy: fc.Arbitrary<RetentionPolicy> = fc.record({
    maxFiles: arbCount,
    maxDays: arbCount,
    keepLast: arbCount,
    keepHourly: arbCount,
    keepDaily: arbCount,
    keepWeekly: arbCount,
    keepMonthly: arbCount,
    keepYearly: arbCount,
    minKeep: fc.integer({ min: 1, max: 8 }),
  });
  /** Few rules at a time, or everything is kept by one of them. */
  const arbSparse = fc
    .tuple(arbPolicy, fc.subarray(Object.keys(OFF) as (keyof RetentionPolicy)[], { maxLength: 4 }))
    .map(
      ([policy, keys]): RetentionPolicy => ({ ...OFF, ...Object.fromEntries(keys.map((key) => [key, policy[key]])) }),
    );
  const arbAnyPolicy = fc.oneof(arbPolicy, { arbitrary: arbSparse, weight: 3 });

  const check = (claim: (backups: Dated[], policy: RetentionPolicy) => void) =>
    fc.assert(fc.property(arbBackups, arbAnyPolicy, claim), { numRuns: 1000 });
  const counted = (backups: readonly Dated[]) =>
    backups
      .filter(({ startedAt }) => Date.parse(startedAt) <= NOW.getTime() + 600_000)
      .toSorted((a, b) => b.startedAt.localeCompare(a.startedAt) || (a.id < b.id ? 1 : -1));

  it('removes something often enough for these claims to mean something', () => {
    const samples = fc.sample(fc.tuple(arbBackups, arbAnyPolicy), 500);
    expect(
      samples.filter(([backups, policy]) => planRetention(backups, policy, NOW).remove.length > 0).length,
    ).toBeGreaterThan(150);
  });

  it('splits the input in two', () => {
    check((backups, policy) => {
      const { keep, remove } = planRetention(backups, policy, NOW);
      expect([...ids(keep), ...ids(remove)].toSorted()).toEqual(backups.map(({ id }) => id).toSorted());
    });
  });

  it('gives a reason for each', () => {
    check((backups, policy) => {
      const { keep, remove } = planRetention(backups, policy, NOW);
      for (const { reasons } of [...keep, ...remove]) expect(reasons.join()).not.toBe('');
    });
  });

  it('F09: never removes the newest, and leaves as many of the newest as minKeep says', () => {
    check((backups, policy) => {
      const newest = counted(backups).slice(0, policy.minKeep);
      expect(ids(planRetention(backups, policy, NOW).keep)).toEqual(expect.arrayContaining(newest.map(({ id }) => id)));
    });
  });

  it('F14: never removes one from the future', () => {
    check((backups, policy) => {
      const past = new Set(counted(backups).map(({ id }) => id));
      expect(ids(planRetention(backups, policy, NOW).remove).filter((id) => !past.has(id))).toEqual([]);
    });
  });

  it('F21: removes nothing more when it plans again on what stayed', () => {
    check((backups, policy) => {
      const stayed = planRetention(backups, policy, NOW).keep.map(({ backup }) => backup);
      expect(planRetention(stayed, policy, NOW).remove).toEqual([]);
    });
  });

  it('F21: comes to the same end when only a part of what goes was removed', () => {
    fc.assert(
      fc.property(arbBackups, arbAnyPolicy, fc.infiniteStream(fc.boolean()), (backups, policy, coin) => {
        const { keep, remove } = planRetention(backups, policy, NOW);
        const left = remove.filter(() => coin.next().value);
        const again = planRetention(
          [...left, ...keep].map(({ backup }) => backup),
          policy,
          NOW,
        );
        expect(ids(again.keep)).toEqual(expect.arrayContaining(ids(keep)));
      }),
      { numRuns: 1000 },
    );
  });

  it('does not depend on the order of the input', () => {
    const arbShuffled = arbBackups.chain((backups) =>
      fc.tuple(fc.constant(backups), fc.shuffledSubarray(backups, { minLength: backups.length })),
    );
    fc.assert(
      fc.property(arbShuffled, arbAnyPolicy, ([backups, shuffled], policy) => {
        expect(planRetention(shuffled, policy, NOW)).toEqual(planRetention(backups, policy, NOW));
      }),
      { numRuns: 1000 },
    );
  });

  it('removes nothing when all is off', () => {
    fc.assert(
      fc.property(arbBackups, fc.integer({ min: 1, max: 9 }), (backups, minKeep) => {
        expect(planRetention(backups, { ...OFF, minKeep }, NOW).remove).toEqual([]);
      }),
    );
  });

  /** Each period as a number, by another way than the code's. */
  const PERIODS: readonly [keyof RetentionPolicy, (date: Date) => number][] = [
    ['keepHourly', (date) => Math.floor(date.getTime() / 3_600_000)],
    ['keepDaily', (date) => Math.floor(date.getTime() / DAY_MS)],
    ['keepWeekly', (date) => Math.floor((date.getTime() / DAY_MS + 3) / 7)], // 1970 began on a Thursday
    ['keepMonthly', (date) => date.getUTCFullYear() * 12 + date.getUTCMonth()],
    ['keepYearly', (date) => date.getUTCFullYear()],
  ];

  it.each(PERIODS)('%s keeps the newest of each period, and the oldest while there are too few', (rule, periodOf) => {
    fc.assert(
      fc.property(arbBackups, fc.integer({ min: 1, max: 12 }), (backups, limit) => {
        const all = counted(backups);
        const groups = [...Map.groupBy(all, ({ startedAt }) => periodOf(new Date(startedAt))).values()];
        const expected = groups.slice(0, limit).map((group) => group[0]?.id);
        if (groups.length < limit) expected.push(all.at(-1)?.id);
        const { keep } = planRetention(all, { ...OFF, [rule]: limit }, NOW);
        expect(new Set(ids(keep))).toEqual(new Set(expected.filter((id) => id !== undefined)));
      }),
      { numRuns: 500 },
    );
  });
});
