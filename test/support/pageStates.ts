import type { BackupState, Facts, RemoteState, RunRecord, SeriesState, State, Totals } from '../../src/core/state.ts';

export const NOW = new Date('2026-02-07T05:00:00Z');
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MIB = 1024 ** 2;

/** So long before NOW. */
export const ago = (ms: number): Date => new Date(NOW.getTime() - ms);
export const hours = (count: number): number => count * HOUR_MS;
const days = (count: number): number => count * DAY_MS;

/** At 02:00 UTC. */
const previousDue = (before: Date): Date => {
  const due = new Date(before);
  due.setUTCHours(2, 0, 0, 0);
  return due < before ? due : new Date(due.getTime() - DAY_MS);
};

const FACTS: Facts = {
  version: '1.2.3',
  startedAt: ago(days(12)),
  engine: 'pg',
  engineTitle: 'PostgreSQL',
  database: 'orders',
  server: 'db.internal:5432',
  schedule: '0 2 * * *',
  timeZone: 'UTC',
  graceMs: HOUR_MS,
  previousDue,
  expected: [{ series: 'pg://db.internal:5432/orders', database: 'orders' }],
  mode: 'stream',
  compression: 'zstd',
  isEncrypted: true,
  retention: '7 daily, 4 weekly',
};

const NO_RUNS = { succeeded: 0, warning: 0, failed: 0, skipped: 0, interrupted: 0 };

export function stateOf(more: Partial<Omit<State, 'facts'>> & { facts?: Partial<Facts> } = {}): State {
  return {
    running: undefined,
    nextDue: new Date('2026-02-08T02:00:00Z'),
    lastDue: new Date('2026-02-07T02:00:00Z'),
    runs: [],
    remotes: [],
    ...more,
    totals: { runs: NO_RUNS, skippedTicks: 0, pruned: 0, notificationFailures: {}, ...more.totals },
    facts: { ...FACTS, ...more.facts },
  };
}

/** One that was made in the night so many days before NOW. */
export function backupOf(nights: number, more: Partial<BackupState> = {}): BackupState {
  const startedAt = new Date(Date.parse('2026-02-07T02:00:00Z') - days(nights));
  const stamp = startedAt.toISOString().replace(/[-:]|\.\d+/g, '');
  // A size that grows, with weekends.
  const bytes = Math.round((900 - 4 * nights + 35 * Math.sin(nights * 2.1)) * MIB);
  return {
    id: `${stamp}-${(0xabc000 + nights).toString(16)}`,
    run: `${stamp}-d4e5f6`,
    artifact: `orders-${startedAt.toISOString().slice(0, 10)}-020000.sql.zst.age`,
    startedAt,
    finishedAt: new Date(startedAt.getTime() + 95_000 + 9_000 * Math.cos(nights * 1.7)),
    bytes: Math.max(bytes, MIB),
    dumpBytes: Math.max(bytes, MIB) * 5,
    state: 'good',
    reason: undefined,
    verdict: undefined,
    ...more,
  };
}

const verdictOf = (id: string, at: Date, more: Partial<NonNullable<BackupState['verdict']>> = {}) =>
  ({ dbstash: 1, id, at: at.toISOString(), level: 'content', ok: true, reason: null, ...more }) as const;

export const seriesOf = (backups: readonly BackupState[], database = 'orders'): SeriesState => ({
  series: `pg://db.internal:5432/${encodeURIComponent(database)}`,
  database,
  backups,
});

export const remoteOf = (title: string, series: readonly SeriesState[], more: Partial<RemoteState> = {}) => ({
  title,
  listedAt: ago(5 * 60_000),
  fault: undefined,
  missedRuns: 0,
  series,
  ...more,
});

export const runOf = (nights: number, more: Partial<RunRecord> = {}): RunRecord => {
  const { run, startedAt, finishedAt, bytes, artifact } = backupOf(nights);
  const durationMs = finishedAt.getTime() - startedAt.getTime();
  return {
    run,
    outcome: 'succeeded',
    startedAt,
    durationMs,
    error: undefined,
    warnings: [],
    bytes,
    artifacts: [artifact],
    removed: 1,
    ...more,
  };
};

const nights = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
const history = (count: number): BackupState[] => nights(count).map((night) => backupOf(night));
const totalsOf = (runs: Partial<Totals['runs']>, more: Partial<Totals> = {}) => ({
  runs: { ...NO_RUNS, ...runs },
  skippedTicks: 0,
  pruned: 12,
  notificationFailures: {},
  ...more,
});

export function healthyState(): State {
  const backups = history(32).map((backup, night) =>
    night % 7 === 1
      ? { ...backup, verdict: verdictOf(backup.id, new Date(backup.startedAt.getTime() + hours(4))) }
      : backup,
  );
  return stateOf({
    remotes: [remoteOf('s3:backups/orders', [seriesOf(backups)])],
    runs: nights(12).map((night) => runOf(night)),
    totals: totalsOf({ succeeded: 12 }),
  });
}

const FAULT =
  'pg_dump exited with 1: connection to server at "db.internal" (10.0.0.7), port 5432 failed: FATAL: password authentication failed for user "backup"';

export function failedState(): State {
  const failed = runOf(0, { outcome: 'failed', error: FAULT, bytes: 0, artifacts: [], removed: 0, durationMs: 1234 });
  return stateOf({
    remotes: [remoteOf('s3:backups/orders', [seriesOf(history(12).slice(1))])],
    runs: [failed, ...nights(11).map((night) => runOf(night + 1))],
    totals: totalsOf({ succeeded: 11, failed: 1 }),
  });
}

/** Just started; the remote was listed, and nothing is there. */
export const emptyState = (): State =>
  stateOf({ lastDue: undefined, facts: { startedAt: ago(60_000) }, remotes: [remoteOf('s3:backups/orders', [])] });

/** Just started; nothing is known. */
export const unknownState = (): State =>
  stateOf({
    lastDue: undefined,
    facts: { startedAt: ago(2_000) },
    remotes: [remoteOf('s3:backups/orders', [], { listedAt: undefined })],
  });

/** As severalState, and one of its databases has no backup since it was due. */
const overdueState = (): State => {
  const state = severalState();
  return { ...state, facts: { ...state.facts, expected: [...state.facts.expected, seriesOf([], 'users')] } };
};

export const runningState = (): State => ({
  ...healthyState(),
  running: { run: '20260207T045500Z-d4e5f6', startedAt: ago(5 * 60_000) },
});

/** Of three remotes one is down, and one has a damaged backup. */
export function severalState(): State {
  const orders = history(20);
  const hurt = orders.map((backup, night) =>
    night === 0
      ? { ...backup, state: 'damaged' as const, reason: 'its size is 12 B, its manifest says 900.0 MiB' }
      : backup,
  );
  const shop = history(9).map((backup) => ({
    ...backup,
    id: backup.id.replace('abc', 'bcd'),
    artifact: backup.artifact.replace('orders', 'shop'),
  }));
  const users = history(6)
    .slice(3)
    .map((backup) => ({ ...backup, id: backup.id.replace('abc', 'cde') }));
  const warnings = ['nas:dbstash: cut off after 20m without progress', 'retention: nas:dbstash could not be listed'];
  return stateOf({
    facts: { database: 'orders,shop,users', timeZone: 'Europe/Berlin', expected: [seriesOf([]), seriesOf([], 'shop')] },
    remotes: [
      remoteOf('s3:backups/prod', [
        seriesOf(
          orders.with(2, { ...orders[2]!, verdict: verdictOf(orders[2]!.id, ago(days(1)), { level: 'restore' }) }),
        ),
        seriesOf(shop, 'shop'),
        seriesOf(users, 'users'),
      ]),
      remoteOf('b2:offsite/prod', [seriesOf(hurt), seriesOf(shop.slice(0, 5), 'shop'), seriesOf(users, 'users')]),
      remoteOf('nas:dbstash', [], { listedAt: undefined, fault: 'dial tcp 10.0.0.9:22: i/o timeout', missedRuns: 3 }),
    ],
    runs: nights(4).map((night) => runOf(night, { outcome: 'warning', warnings })),
    totals: totalsOf({ succeeded: 8, warning: 4 }, { notificationFailures: { slack: 2, email: 0 }, skippedTicks: 1 }),
  });
}

/** Names that an unescaped page, or exposition, would take for its own words. */
export const HOSTILE_NAMES = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(2)>',
  'a\'b\\c"d\n# HELP e',
  '</style><svg onload=alert(3)>',
  '\u202egnp.exe \u0000\u0007 \u{1f418} {{7*7}} &amp;',
  `${'long'.repeat(80)}`,
];

export function hostileState(): State {
  const [first = ''] = HOSTILE_NAMES;
  const backups = (name: string) => [
    backupOf(0, { artifact: `${name}.sql` }),
    backupOf(1, { artifact: name, state: 'damaged', reason: name }),
    backupOf(2, { artifact: name, verdict: verdictOf('x', ago(days(2)), { ok: false, reason: name }) }),
  ];
  return stateOf({
    facts: { database: HOSTILE_NAMES.join(','), server: first, schedule: first, retention: first, engineTitle: first },
    remotes: HOSTILE_NAMES.map((title) =>
      remoteOf(
        title,
        HOSTILE_NAMES.map((name) => seriesOf(backups(name), name)),
        { fault: title },
      ),
    ),
    runs: HOSTILE_NAMES.map((name, night) =>
      runOf(night, { outcome: 'failed', error: name, warnings: [name], artifacts: [name] }),
    ),
    totals: totalsOf(
      { failed: 6 },
      { notificationFailures: Object.fromEntries(HOSTILE_NAMES.map((name) => [name, 1])) },
    ),
  });
}

/** So many backups of one database, an hour apart. */
export function longState(count = 10_000): State {
  const backups = nights(count).map((index) => {
    const at = ago(hours(index + 3));
    return backupOf(index % 200, { id: `${index}`, startedAt: at, finishedAt: new Date(at.getTime() + 60_000) });
  });
  return stateOf({
    facts: { schedule: '0 * * * *' },
    remotes: [remoteOf('s3:a', [seriesOf(backups)]), remoteOf('s3:b', [seriesOf(backups)])],
    runs: nights(200).map((night) => runOf(night)),
    totals: totalsOf({ succeeded: 200 }),
  });
}

/** So many databases. */
export function wideState(count = 300): State {
  const series = nights(count).map((index) =>
    seriesOf(
      nights(30).map((night) => backupOf(night, { id: `${index}-${night}` })),
      `tenant_${String(index).padStart(3, '0')}`,
    ),
  );
  return stateOf({
    facts: { database: '*', expected: [] },
    remotes: [remoteOf('s3:tenants', series)],
    runs: [runOf(0)],
    totals: totalsOf({ succeeded: 1 }),
  });
}

export const SAMPLES: Readonly<Record<string, () => State>> = {
  healthy: healthyState,
  failed: failedState,
  empty: emptyState,
  unknown: unknownState,
  running: runningState,
  several: severalState,
  overdue: overdueState,
  hostile: hostileState,
  long: longState,
  wide: wideState,
};
