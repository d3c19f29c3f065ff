import { createId } from '../core/backupId.ts';
import { DbstashError, describeError, EXIT, InterruptedError, LockedError, TimeoutError } from '../core/errors.ts';
import type { Manifest } from '../core/manifest.ts';
import type { Outcome, Report } from '../core/report.ts';
import { formatDuration } from '../core/units.ts';
import { lockSeries } from '../lock.ts';
import type { Logger } from '../logger.ts';
import { createScratch, type Scratch } from '../process/scratch.ts';
import { backup } from './backup.ts';
import { createProgress, type Progress } from './progress.ts';
import type { Host, Session } from './session.ts';
import { watchStall } from './stall.ts';

/** One execution of a job, with what every job gets. */
export interface Run {
  readonly id: string;
  readonly session: Session;
  readonly logger: Logger;
  readonly scratch: Scratch;
  readonly progress: Progress;
  readonly startedAt: Date;
  /** Fires on a signal to the process, a timeout, or a lost lock. */
  readonly signal: AbortSignal;
  /** Looks whether the lock of the series still is ours, and throws if it was lost. */
  confirmLock(): Promise<void>;
  /** Says and remembers what is not as it should be, without failing the run. */
  warn(message: string): void;
}

export interface Result {
  readonly backups: readonly Manifest[];
  readonly removed: readonly string[];
}

/**
 * Runs the backup job once, under the lock of its series. Never rejects: what went wrong, the opening of the session
 * included, is in the report and the log.
 */
export async function runBackup(host: Host, openSession: OpenSession): Promise<Report> {
  const startedAt = host.clock.now();
  const id = createId(startedAt, host.randomHex(3));
  const logger = host.logger.child({ run: id });
  const warnings: string[] = [];
  const warn = (message: string) => {
    warnings.push(message);
    logger.warn(message);
  };
  let result: Result = { backups: [], removed: [] };
  let failure: unknown;
  try {
    using deadline = createDeadline(host.clock, host.config.timeoutMs);
    const session = await openInTime(host, openSession, deadline.signal);
    const start = { id, session, logger, startedAt, warn };
    result = await underLock(session, (lock) => execute(start, lock, deadline.signal));
  } catch (error) {
    failure = error;
  }
  if (host.signal.aborted && failure !== host.signal.reason) {
    // Also after the commit, where it cut the pruning short: the report holds the backup all the same.
    if (failure !== undefined) warn(describeError(failure));
    failure = host.signal.reason;
  }
  const report = createReport(host.clock.now(), { id, startedAt, result, warnings, failure });
  logReport(logger, report);
  return report;
}

type OpenSession = (signal: AbortSignal) => Promise<Session>;

/** Opening a session asks the remote, which may be stalled. */
async function openInTime(host: Host, openSession: OpenSession, deadline: AbortSignal): Promise<Session> {
  using stall = watchStall(host.clock, host.config.stallTimeoutMs, async () => 0);
  return await openSession(AbortSignal.any([host.signal, deadline, stall.signal]));
}

type RunStart = Pick<Run, 'id' | 'session' | 'logger' | 'startedAt' | 'warn'>;

interface Lock {
  /** Fires when it is known to be lost. */
  readonly lost: AbortSignal;
  readonly confirm: Run['confirmLock'];
}

async function underLock(session: Session, work: (lock: Lock) => Promise<Result>): Promise<Result> {
  const { config } = session.host;
  const lost = new AbortController();
  const lose = (cause?: Error) =>
    lost.abort(new DbstashError('the lock of the series was lost to another run', { cause }));
  const lease = config.useLock ? await lockSeries(config.tempDir, session.series, lose) : undefined;
  const confirm = async () => {
    if (lease && !(await lease.isOurs())) lose();
    lost.signal.throwIfAborted();
  };
  try {
    return await work({ lost: lost.signal, confirm });
  } catch (error) {
    // What failed may have failed because another run swept it away.
    await confirm();
    throw error;
  } finally {
    await lease?.release();
  }
}

async function execute(start: RunStart, lock: Lock, deadline: AbortSignal): Promise<Result> {
  const { host } = start.session;
  const { clock, config } = host;
  await using scratch = await createScratch(config.tempDir, start.id);
  using stall = watchStall(clock, config.stallTimeoutMs, () => scratch.size());
  using progress = createProgress(clock, start.logger, host.showProgress, stall.touch);
  const signal = AbortSignal.any([host.signal, deadline, lock.lost, stall.signal]);
  return await backup({ ...start, scratch, progress, signal, confirmLock: lock.confirm });
}

/** A signal that fires after `ms`; never, where that is 0. */
function createDeadline(clock: Session['host']['clock'], ms: number): Disposable & { signal: AbortSignal } {
  const controller = new AbortController();
  const expire = () =>
    controller.abort(new TimeoutError(`the run took longer than BACKUP_TIMEOUT, ${formatDuration(ms)}`));
  const timer = ms === 0 ? undefined : clock.setTimeout(expire, ms);
  return { signal: controller.signal, [Symbol.dispose]: () => clock.clearTimeout(timer) };
}

interface Ending {
  readonly id: string;
  readonly startedAt: Date;
  readonly result: Result;
  readonly warnings: readonly string[];
  readonly failure: unknown;
}

function createReport(now: Date, { id, startedAt, result, warnings, failure }: Ending): Report {
  return {
    run: id,
    job: 'backup',
    outcome: outcomeOf(failure, warnings),
    exitCode: failure === undefined ? EXIT.ok : exitCodeOf(failure),
    startedAt,
    durationMs: now.getTime() - startedAt.getTime(),
    backups: result.backups,
    removed: result.removed,
    warnings,
    error: failure === undefined ? undefined : describeError(failure),
  };
}

function outcomeOf(failure: unknown, warnings: readonly string[]): Outcome {
  if (failure instanceof LockedError) return 'skipped';
  if (failure instanceof InterruptedError) return 'interrupted';
  if (failure !== undefined) return 'failed';
  return warnings.length > 0 ? 'warning' : 'succeeded';
}

export const exitCodeOf = (error: unknown): number => (error instanceof DbstashError ? error.exitCode : EXIT.failed);

function logReport(logger: Logger, report: Report): void {
  const fields = { outcome: report.outcome, duration: report.durationMs / 1000 };
  if (report.outcome === 'succeeded') logger.info('run succeeded', fields);
  else if (report.outcome === 'warning') logger.warn(`run succeeded with ${report.warnings.length} warning(s)`, fields);
  else if (report.outcome === 'skipped') logger.warn(`run skipped: ${report.error}`, fields);
  else logger.error(`run ${report.outcome}: ${report.error}`, fields);
}
