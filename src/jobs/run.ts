import { createId } from '../core/backupId.ts';
import {
  DbstashError,
  DumpError,
  describeError,
  EXIT,
  InterruptedError,
  LockedError,
  RemoteError,
  TimeoutError,
  VerifyError,
} from '../core/errors.ts';
import type { Manifest } from '../core/manifest.ts';
import type { Outcome, Report } from '../core/report.ts';
import { formatDuration } from '../core/units.ts';
import { lockSeries } from '../lock.ts';
import type { Logger } from '../logger.ts';
import { createScratch, type Scratch } from '../process/scratch.ts';
import { openTunnel } from '../ssh.ts';
import { backup } from './backup.ts';
import { createProgress, type Progress } from './progress.ts';
import type { Host, Session } from './session.ts';
import { findSources, forSource, type Source } from './sources.ts';
import { watchStall } from './stall.ts';

/** One execution of a job, with what every job gets. */
export interface Run {
  readonly id: string;
  readonly session: Session;
  readonly logger: Logger;
  readonly source: Source;
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
 * Runs the backup job once, each database under the lock of its series. Never rejects: what went wrong, the opening of the
 * session included, is in the report and the log.
 */
export async function runBackup(host: Host, openSession: OpenSession): Promise<Report> {
  const startedAt = host.clock.now();
  const id = createId(startedAt, host.randomHex(3));
  const logger = host.logger.child({ run: id });
  const warnings: string[] = [];
  const warn = (message: string, log = logger) => {
    warnings.push(message);
    log.warn(message);
  };
  const results: Result[] = [];
  let failure: unknown;
  try {
    using deadline = createDeadline(host.clock, host.config.timeoutMs);
    const opened = await openInTime(host, openSession, deadline.signal);
    const session = { ...opened, host: { ...opened.host, logger } };
    for (const sentence of session.broken) warn(sentence);
    await using tunnel = await openTunnel(
      host.config.ssh,
      host.config.connection,
      AbortSignal.any([host.signal, deadline.signal]),
    );
    const over = AbortSignal.any([deadline.signal, tunnel.lost]);
    const start = { id, session: { ...session, reach: tunnel.reach }, logger, startedAt, warn, deadline: over };
    await backupAll(start, results);
  } catch (error) {
    failure = error;
  }
  if (host.signal.aborted && failure !== host.signal.reason) {
    // Also after the commit, where it cut the pruning short: the report holds the backup all the same.
    if (failure !== undefined) warn(describeError(failure));
    failure = host.signal.reason;
  }
  const report = createReport(host.clock.now(), { id, startedAt, results, warnings, failure });
  logReport(logger, report);
  return report;
}

/** What all backups of one run share. */
interface RunStart {
  readonly id: string;
  readonly session: Session;
  readonly logger: Logger;
  readonly startedAt: Date;
  readonly warn: (message: string, log: Logger) => void;
  /** Fires when the time is over, or the tunnel to the database is gone. */
  readonly deadline: AbortSignal;
}

/** One failing does not stop the rest, but for what ends the whole run. Throws the failures together. */
async function backupAll(start: RunStart, results: Result[]): Promise<void> {
  const { session, deadline } = start;
  const { host } = session;
  const over = AbortSignal.any([host.signal, deadline]);
  const sources = await listSources(start, over);
  if (!sources.some(({ part }) => part === 'database')) throw new DumpError('there is no database to back up');
  const failures: Failure[] = [];
  const untried = new Set(sources);
  for (const source of sources) {
    if (over.aborted) break;
    untried.delete(source);
    try {
      results.push(await backupSource(start, forSource(session, source), source));
    } catch (error) {
      if (sources.length === 1) throw error;
      noteFailure(start, { source, error }, failures, over);
    }
  }
  settleFailures(start, failures, sources, [...untried]);
}

function noteFailure(start: RunStart, failure: Failure, failures: Failure[], over: AbortSignal): void {
  const { source, error } = failure;
  const { logger } = forSource(start.session, source).host;
  if (source.part === 'globals' && error instanceof DumpError && !over.aborted) {
    start.warn(`what belongs to the whole server is not backed up: ${describeError(error)}`, logger);
    return;
  }
  if (!over.aborted) logger.error(`${source.database}: ${describeError(error)}`);
  failures.push(failure);
}

/** Those that another run is just backing up are a warning, as long as others are saved. Throws for all else. */
function settleFailures(
  start: RunStart,
  failures: readonly Failure[],
  sources: readonly Source[],
  untried: readonly Source[],
): void {
  if (failures.length === 0 && untried.length === 0) return;
  const isLocked = failures.every(({ error }) => error instanceof LockedError);
  if (isLocked && untried.length === 0 && failures.length < sources.length) {
    for (const { source, error } of failures) start.warn(`${source.database}: ${describeError(error)}`, start.logger);
    return;
  }
  throw joinFailures(failures, sources.length, untried);
}

async function listSources({ id, session }: RunStart, signal: AbortSignal): Promise<readonly Source[]> {
  const { config, clock } = session.host;
  if (config.selection.kind !== 'all') return await findSources(session, session.scratch, signal);
  await using scratch = await createScratch(config.tempDir, `${id}-look`);
  using stall = watchStall(clock, config.stallTimeoutMs, async () => 0);
  return await findSources(session, scratch, AbortSignal.any([signal, stall.signal]));
}

async function backupSource(start: RunStart, session: Session, source: Source): Promise<Result> {
  const { logger } = session.host;
  const warn = (message: string) => start.warn(message, logger);
  const run = { ...start, session, logger, source, warn };
  return await underLock(session, (lock) => execute(run, lock, start.deadline));
}

interface Failure {
  readonly source: Source;
  readonly error: unknown;
}

/** All skipped is skipped; one that asks for somebody else's action than the others makes it a plain failure. */
function joinFailures(failures: readonly Failure[], count: number, untried: readonly Source[]): unknown {
  const [first] = failures;
  const parts = failures.map(({ source, error }) => `${source.database}: ${describeError(error)}`);
  const rest = untried.length > 0 ? `; not tried: ${untried.map(({ database }) => database).join(', ')}` : '';
  const message = `${failures.length} of ${count} databases failed: ${parts.join('; ')}${rest}`;
  const Kind = [LockedError, RemoteError, VerifyError].find((kind) =>
    failures.every(({ error }) => error instanceof kind),
  );
  return new (Kind ?? DumpError)(message, { cause: first?.error });
}

type OpenSession = (signal: AbortSignal) => Promise<Session>;

/** Opening a session asks the remote, which may be stalled. */
async function openInTime(host: Host, openSession: OpenSession, deadline: AbortSignal): Promise<Session> {
  using stall = watchStall(host.clock, host.config.stallTimeoutMs, async () => 0);
  return await openSession(AbortSignal.any([host.signal, deadline, stall.signal]));
}

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

type Started = Pick<Run, 'id' | 'session' | 'logger' | 'source' | 'startedAt' | 'warn'>;

async function execute(start: Started, lock: Lock, deadline: AbortSignal): Promise<Result> {
  const { host } = start.session;
  const { clock, config } = host;
  await using scratch = await createScratch(config.tempDir, `${start.id}-${host.randomHex(2)}`);
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
  readonly results: readonly Result[];
  readonly warnings: readonly string[];
  readonly failure: unknown;
}

function createReport(now: Date, { id, startedAt, results, warnings, failure }: Ending): Report {
  return {
    run: id,
    job: 'backup',
    outcome: outcomeOf(failure, warnings),
    exitCode: failure === undefined ? EXIT.ok : exitCodeOf(failure),
    startedAt,
    durationMs: now.getTime() - startedAt.getTime(),
    backups: results.flatMap(({ backups }) => backups),
    removed: results.flatMap(({ removed }) => removed),
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
