import type { Verdict } from './manifest.ts';
import type { Outcome } from './report.ts';

/**
 * What the daemon knows, in memory: all that health, metrics and the status page say comes from here, so that nobody who
 * asks makes us ask the remote. Never changed in place; holds no secret. Times are Dates, durations milliseconds.
 */
export interface State {
  readonly facts: Facts;
  /** The run that is going on; its id is empty as long as it waits, for a database that is still starting say. */
  readonly running: { readonly run: string; readonly startedAt: Date } | undefined;
  /** The first due time to come; undefined where there is none. */
  readonly nextDue: Date | undefined;
  /** The latest due time that has passed since this process started. */
  readonly lastDue: Date | undefined;
  /** Of this process, finished, newest first; the oldest are forgotten. */
  readonly runs: readonly RunRecord[];
  /** In the order of their variables. */
  readonly remotes: readonly RemoteState[];
  readonly totals: Totals;
}

/** What stays while the process lives. */
export interface Facts {
  readonly version: string;
  readonly startedAt: Date;
  readonly engine: string;
  /** As people call it: "PostgreSQL". */
  readonly engineTitle: string;
  /** Name, list, or `*`. */
  readonly database: string;
  /** Host and port, or a path; without login. */
  readonly server: string;
  readonly schedule: string;
  readonly timeZone: string;
  readonly graceMs: number;
  /** The latest due time earlier than `before`, by the schedule. */
  readonly previousDue: (before: Date) => Date | undefined;
  /** The databases that must be backed up; none where the server is asked for them at each run (`DB_NAME=*`). */
  readonly expected: readonly Pick<SeriesState, 'series' | 'database'>[];
  readonly mode: string;
  readonly compression: string | undefined;
  readonly isEncrypted: boolean;
  /** What stays, in words: "7 daily, 4 weekly"; undefined where nothing is removed. */
  readonly retention: string | undefined;
}

export interface RunRecord {
  readonly run: string;
  readonly outcome: Outcome;
  readonly startedAt: Date;
  readonly durationMs: number;
  readonly error: string | undefined;
  readonly warnings: readonly string[];
  /** Stored, all its backups together. */
  readonly bytes: number;
  readonly artifacts: readonly string[];
  readonly removed: number;
}

export interface RemoteState {
  readonly title: string;
  /** When it was last listed; undefined where it never was. */
  readonly listedAt: Date | undefined;
  /** Why it could not be listed the last time. */
  readonly fault: string | undefined;
  /** How many runs in a row committed somewhere, and not here. */
  readonly missedRuns: number;
  /** Only those of this configuration; those that are expected also where nothing of them is there. */
  readonly series: readonly SeriesState[];
}

export interface SeriesState {
  readonly series: string;
  readonly database: string;
  /** Newest first, good or not. */
  readonly backups: readonly BackupState[];
}

export interface BackupState {
  readonly id: string;
  readonly run: string;
  readonly artifact: string;
  readonly startedAt: Date;
  readonly finishedAt: Date;
  /** Stored. */
  readonly bytes: number;
  readonly dumpBytes: number;
  readonly state: 'good' | 'missing' | 'damaged';
  /** Why it is not good. */
  readonly reason: string | undefined;
  readonly verdict: Verdict | undefined;
}

/** Since this process started. */
export interface Totals {
  readonly runs: Readonly<Record<Outcome, number>>;
  /** Due times that passed while a run was going on. */
  readonly skippedTicks: number;
  readonly pruned: number;
  /** Messages that did not arrive, by channel. */
  readonly notificationFailures: Readonly<Record<string, number>>;
}
