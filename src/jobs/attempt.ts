import {
  DatabaseErrors,
  type DbstashError,
  DumpError,
  describeError,
  LockedError,
  RemoteError,
  VerifyError,
} from '../core/errors.ts';
import { createScratch } from '../process/scratch.ts';
import { openTunnel } from '../ssh.ts';
import { backup } from './backup.ts';
import { createProgress } from './progress.ts';
import type { Result, RunStart } from './run.ts';
import { type RunLock, takeLock } from './runLock.ts';
import type { Session } from './session.ts';
import { findSources, forSource, type Source } from './sources.ts';
import { watchStall } from './stall.ts';

/** One try at all that is not done yet. */
interface Attempt extends RunStart {
  readonly session: Session;
  readonly startedAt: Date;
  /** Fires when the run is over, or the tunnel to the database is gone. */
  readonly over: AbortSignal;
}

/** Backs up each source that `start.done` does not name yet. Throws the first cause, or the failures of several together. */
export async function attempt(start: RunStart): Promise<void> {
  const { host, logger, warn } = start;
  const startedAt = host.clock.now();
  const opened = await openInTime(start);
  const session = { ...opened, host: { ...opened.host, logger } };
  for (const sentence of session.broken) warn(sentence);
  await using tunnel = await openTunnel(host.config.ssh, host.config.connection, start.over);
  const over = AbortSignal.any([start.over, tunnel.lost]);
  await backupAll({ ...start, startedAt, session: { ...session, reach: tunnel.reach }, over });
}

/** Opening a session asks the remote, which may be stalled. */
async function openInTime({ host, openSession, over }: RunStart): Promise<Session> {
  using stall = watchStall(host.clock, host.config.stallTimeoutMs, async () => 0);
  return await openSession(AbortSignal.any([over, stall.signal]));
}

interface Failure {
  readonly source: Source;
  readonly error: unknown;
}

/** One failing does not stop the rest, but for what ends the whole run. */
async function backupAll(attempt: Attempt): Promise<void> {
  const { session, over, results, done } = attempt;
  const sources = await listSources(attempt);
  if (!sources.some(({ part }) => part === 'database')) throw new DumpError('there is no database to back up');
  const failures: Failure[] = [];
  const untried = new Set(sources.filter(({ series }) => !done.has(series)));
  for (const source of untried) {
    if (over.aborted) break;
    untried.delete(source);
    try {
      results.push(await backupSource(attempt, forSource(session, source), source));
      done.add(source.series);
    } catch (error) {
      if (sources.length === 1) throw error;
      noteFailure(attempt, { source, error }, failures);
    }
  }
  settleFailures(attempt, failures, sources, [...untried]);
}

function noteFailure({ session, over, warn, done }: Attempt, failure: Failure, failures: Failure[]): void {
  const { source, error } = failure;
  const { logger } = forSource(session, source).host;
  if (source.part === 'globals' && error instanceof DumpError && !over.aborted) {
    warn(`what belongs to the whole server is not backed up: ${describeError(error)}`, logger);
    done.add(source.series);
    return;
  }
  if (!over.aborted) logger.error(`${source.database}: ${describeError(error)}`);
  failures.push(failure);
}

/** Those that another run is just backing up are a warning, as long as others are saved. Throws for all else. */
function settleFailures(
  { warn, logger, results, over }: Attempt,
  failures: readonly Failure[],
  sources: readonly Source[],
  untried: readonly Source[],
): void {
  if (failures.length === 0 && untried.length === 0) return;
  const isLocked = failures.every(({ error }) => error instanceof LockedError);
  if (isLocked && untried.length === 0 && results.length > 0) {
    for (const { source, error } of failures) warn(`${source.database}: ${describeError(error)}`, logger);
    return;
  }
  throw joinFailures(failures, sources.length, untried, over.reason);
}

async function listSources({ id, session, over }: Attempt): Promise<readonly Source[]> {
  const { config, clock } = session.host;
  if (config.selection.kind !== 'all') return await findSources(session, session.scratch, over);
  await using scratch = await createScratch(config.tempDir, `${id}-look`);
  using stall = watchStall(clock, config.stallTimeoutMs, async () => 0);
  return await findSources(session, scratch, AbortSignal.any([over, stall.signal]));
}

/** Where there is but one source the run's own lock is that of its series. */
async function backupSource(attempt: Attempt, session: Session, source: Source): Promise<Result> {
  if (session.host.config.series === attempt.host.config.series && attempt.host.config.selection.kind === 'one')
    return await execute(attempt, session, source, attempt.lock);
  await using lock = await takeLock(session.host, session.series);
  return await execute(attempt, session, source, lock);
}

/**
 * All skipped is skipped; one that asks for somebody else's action than the others makes it a plain failure, and so does one that
 * was not tried since the run had to end, for `reason`.
 */
export function joinFailures(
  failures: readonly { readonly source: Pick<Source, 'database'>; readonly error: unknown }[],
  count: number,
  untried: readonly Pick<Source, 'database'>[],
  reason: unknown,
): DbstashError {
  const parts = failures.map(({ source, error }) => `${source.database}: ${describeError(error)}`);
  const what = `${failures.length} of ${count} databases failed: ${parts.join('; ')}`;
  const rest = untried.length > 0 ? `; not tried: ${untried.map(({ database }) => database).join(', ')}` : '';
  const message = `${failures.length > 0 ? what : describeError(reason)}${rest}`;
  const named = failures.map(({ source: { database }, error }) => ({ database, error }));
  const skipped = untried.map(({ database }) => ({ database, error: new DumpError('not tried') }));
  const Kind = [LockedError, RemoteError, VerifyError].find(
    (kind) => untried.length === 0 && failures.every(({ error }) => error instanceof kind),
  );
  return new (Kind ?? DumpError)(message, { cause: new DatabaseErrors([...named, ...skipped]) });
}

async function execute(attempt: Attempt, session: Session, source: Source, lock: RunLock): Promise<Result> {
  const { clock, config, randomHex, logger, showProgress } = session.host;
  const warn = (message: string) => attempt.warn(message, logger, session.series);
  await using scratch = await createScratch(config.tempDir, `${attempt.id}-${randomHex(2)}`);
  using stall = watchStall(clock, config.stallTimeoutMs, () => scratch.size());
  using progress = createProgress(clock, logger, showProgress, stall.touch);
  const signal = AbortSignal.any([attempt.over, lock.lost, stall.signal]);
  const { id, startedAt } = attempt;
  const run = { id, startedAt, session, logger, source, scratch, progress, warn, signal, confirmLock: lock.confirm };
  try {
    return await backup(run);
  } catch (error) {
    // What failed may have failed because another run swept it away.
    await lock.confirm();
    throw error;
  }
}
