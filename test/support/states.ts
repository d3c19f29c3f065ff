import { createState, type Look, noteLooks, noteReport } from '../../src/core/memory.ts';
import type { Outcome, Report, StoredBackup } from '../../src/core/report.ts';
import type { Facts, State } from '../../src/core/state.ts';
import { parseSchedule } from '../../src/schedule.ts';

export interface FactsGiven extends Partial<Omit<Facts, 'previousDue' | 'startedAt'>> {
  readonly startedAt?: string;
}

/** What is known of a daemon that has just started at `startedAt`, 2026-02-01T12:00:00Z if absent; daily at 02:00, an hour of grace. */
export function createFacts(given: FactsGiven = {}): Facts {
  const { schedule = '0 2 * * *', timeZone = 'UTC', startedAt = '2026-02-01T12:00:00Z' } = given;
  return {
    version: '1.2.3',
    engine: 'pg',
    engineTitle: 'PostgreSQL',
    database: 'orders',
    server: 'db:5432',
    graceMs: 3_600_000,
    expected: [{ series: 'pg://db:5432/orders', database: 'orders' }],
    mode: 'stream',
    compression: undefined,
    isEncrypted: false,
    retention: undefined,
    ...given,
    schedule,
    timeZone,
    startedAt: new Date(startedAt),
    previousDue: parseSchedule(schedule, timeZone).previous,
  };
}

interface BackupGiven {
  readonly at: string;
  readonly database?: string;
  readonly run?: string;
  readonly state?: 'good' | 'missing' | 'damaged';
}

/** A backup of a database of the server `db`, called by its database and time. */
export function createSeen({ at, database = 'orders', run = `run of ${at}`, state = 'good' }: BackupGiven) {
  const startedAt = new Date(at).toISOString();
  const path = `${database}-${startedAt}.sql`;
  const manifest: Omit<StoredBackup, 'remotes'> = {
    dbstash: 1,
    id: path,
    run,
    series: `pg://db:5432/${database}`,
    serverId: null,
    engine: 'pg',
    database,
    mode: 'stream',
    artifact: path,
    startedAt,
    finishedAt: new Date(Date.parse(at) + 60_000).toISOString(),
    bytes: 100,
    sha256: '0'.repeat(64),
    dumpBytes: 200,
    format: 'plain',
    compression: null,
    encryption: null,
    tool: 'pg_dump 17.6',
    server: 'PostgreSQL 17.6',
    version: '1.2.3',
    target: {},
  };
  const reason = state === 'good' ? undefined : 'the artifact is not there any more';
  return { manifest, path, state, reason, verdict: undefined };
}

export const REMOTE = '/backup';

/** What a look at a remote found: backups, or why there is no knowing. */
export const createLook = (found: readonly BackupGiven[] | string, title = REMOTE): Look => {
  const at = new Date('2026-02-01T12:00:01Z');
  if (typeof found === 'string') return { title, at, fault: found };
  const newest = found.toSorted((a, b) => Date.parse(b.at) - Date.parse(a.at));
  return { title, at, backups: newest.map(createSeen) };
};

/** A daemon that has listed its remotes, `/backup` and `/backup2`, as far as there is something given for them. */
export function createKnown(facts: FactsGiven, ...found: readonly (readonly BackupGiven[] | string)[]): State {
  const titles = found.map((_, index) => `${REMOTE}${index === 0 ? '' : index + 1}`);
  const looks = found.map((one, index) => createLook(one, titles[index]));
  return noteLooks(createState(createFacts(facts), titles), looks);
}

interface ReportGiven {
  readonly at: string;
  readonly outcome?: Outcome;
  readonly databases?: readonly string[];
  readonly remotes?: readonly string[];
}

/** A run of a minute that backed up what is given. */
export function createReport({ at, outcome = 'succeeded', databases = ['orders'], remotes }: ReportGiven): Report {
  const isDone = outcome === 'succeeded' || outcome === 'warning';
  const run = `run of ${at}`;
  return {
    run,
    job: 'backup',
    outcome,
    exitCode: isDone ? 0 : 1,
    startedAt: new Date(at),
    durationMs: 60_000,
    backups: (isDone ? databases : []).map((database) => ({
      ...createSeen({ at, database, run }).manifest,
      remotes: remotes ?? [REMOTE],
    })),
    removed: [],
    failures: [],
    warnings: [],
    error: isDone ? undefined : 'the disk is full',
  };
}

export const afterRun = (state: State, run: ReportGiven): State => noteReport(state, createReport(run));
