import type { Manifest } from './manifest.ts';

/** `warning`: the backup is good, something about it or after it was not. */
export type Outcome = 'succeeded' | 'warning' | 'failed' | 'skipped' | 'interrupted';

/** A backup that a run made. */
export interface StoredBackup extends Manifest {
  /** Titles of the remotes that have it; a title joined with the artifact is its path. */
  readonly remotes: readonly string[];
}

/** Of several databases one that has no backup. */
interface DatabaseFailure {
  readonly database: string;
  readonly error: string;
}

/** What one run did. The same fields whether it went well or not. Times are UTC, durations milliseconds. */
export interface Report {
  readonly run: string;
  readonly job: 'backup' | 'verify';
  readonly outcome: Outcome;
  readonly exitCode: number;
  readonly startedAt: Date;
  readonly durationMs: number;
  readonly backups: readonly StoredBackup[];
  /** Of a run over several databases: those that have no backup. */
  readonly failures: readonly DatabaseFailure[];
  /** Paths of backups that retention removed. */
  readonly removed: readonly string[];
  readonly warnings: readonly string[];
  /** The first cause, in a sentence; undefined unless failed, skipped or interrupted. */
  readonly error: string | undefined;
}

/** As rclone writes it, on each remote that has it. */
export const pathsOf = ({ remotes, artifact }: Pick<StoredBackup, 'remotes' | 'artifact'>): readonly string[] =>
  remotes.map((title) => (/[:/]$/.test(title) ? title + artifact : `${title}/${artifact}`));
