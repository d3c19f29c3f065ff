import { createId } from '../core/backupId.ts';
import { pause } from '../core/clock.ts';
import { DbstashError, describeError, isWorthRetrying } from '../core/errors.ts';
import type { Report, StoredBackup } from '../core/report.ts';
import { formatDuration } from '../core/units.ts';
import type { Logger } from '../logger.ts';
import type { Scratch } from '../process/scratch.ts';
import { attempt } from './attempt.ts';
import { createDeadline } from './deadline.ts';
import { runPostHook, runPreHook } from './hooks.ts';
import type { Progress } from './progress.ts';
import { createReport, logReport } from './report.ts';
import { type RunLock, takeLock } from './runLock.ts';
import type { Host, Session } from './session.ts';
import type { Source } from './sources.ts';

/** One backup of one database, with what every job gets. */
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
  readonly backups: readonly StoredBackup[];
  readonly removed: readonly string[];
}

interface Warning {
  readonly message: string;
  readonly series: string | undefined;
}

export type OpenSession = (signal: AbortSignal) => Promise<Session>;

/** What all attempts of one execution of the job share. */
export interface RunStart {
  readonly id: string;
  readonly host: Host;
  readonly logger: Logger;
  readonly openSession: OpenSession;
  readonly lock: RunLock;
  /** Fires when the run has to end. */
  readonly over: AbortSignal;
  /** `series` where it is said of one of several. */
  readonly warn: (message: string, log?: Logger, series?: string) => void;
  readonly results: Result[];
  /** Series that need no further attempt. */
  readonly done: Set<string>;
}

/**
 * Runs the backup job once: lock, pre hook, attempts, post hook, report, notification. Never rejects: what went wrong, the
 * opening of the session included, is in the report and the log.
 */
export async function runBackup(host: Host, openSession: OpenSession): Promise<Report> {
  const { clock, notifier, signal } = host;
  const startedAt = clock.now();
  const id = createId(startedAt, host.randomHex(3));
  const logger = host.logger.child({ run: id });
  const said: Warning[] = [];
  const results: Result[] = [];
  const warn: RunStart['warn'] = (message, log = logger, series) => {
    said.push({ message, series });
    log.warn(message);
  };
  const report = (failure: unknown) => {
    const warnings = said.map(({ message }) => message);
    return createReport(clock.now(), { id, startedAt, results, warnings, failure });
  };
  await using locks = new AsyncDisposableStack();
  const failure = await outcomeOf(signal, warn, async () => {
    const { timeoutMs } = host.config;
    using deadline = createDeadline(
      clock,
      timeoutMs,
      `the run took longer than BACKUP_TIMEOUT, ${formatDuration(timeoutMs)}`,
    );
    const lock = locks.use(await takeLock(host, lockName(host)));
    const over = AbortSignal.any([signal, deadline.signal, lock.lost]);
    // Not of a run that is skipped: whoever waits for its end would wait in vain.
    notifier.started(id);
    await runPreHook(host, logger, id, over);
    await attemptAll({ id, host, logger, openSession, lock, over, warn, results, done: new Set() }, said);
  });
  const ending = report(failure);
  // Whoever stops us gives us seconds, and of a failure nobody must have to wait for a hook that hangs: side by side, then.
  const told = signal.aborted || failure !== undefined ? tell(host, logger, ending) : undefined;
  await runPostHook(host, logger, ending).catch((error: unknown) => warn(describeError(error)));
  const ended = report(failure);
  await (told ?? tell(host, logger, ended));
  return ended;
}

async function tell({ notifier }: Host, logger: Logger, report: Report): Promise<void> {
  logReport(logger, report);
  await notifier.ended(report);
}

/** Of several databases each has its series and lock too. */
export const lockName = ({ config }: Host): string =>
  config.selection.kind === 'one' ? config.series : `the databases of ${config.series}`;

/** What was thrown; a signal to the process wins over what it made fail. */
async function outcomeOf(signal: AbortSignal, warn: (message: string) => void, work: () => Promise<void>) {
  let failure: unknown;
  try {
    await work();
  } catch (error) {
    failure = error;
  }
  if (!signal.aborted || failure === signal.reason) return failure;
  // Also after the commit, where it cut the pruning short: the report holds the backup all the same.
  if (failure !== undefined) warn(describeError(failure));
  return signal.reason as unknown;
}

const RETRY_MS = 5000;
const MAX_RETRY_MS = 5 * 60_000;

/** What failed is tried again, as often as BACKUP_RETRIES says, where that may help. */
async function attemptAll(start: RunStart, said: Warning[]): Promise<void> {
  const { host, logger, over } = start;
  const { retries } = host.config;
  for (let tries = 0; ; tries++) {
    const before = { said: said.length, done: start.done.size };
    try {
      return await attempt(start);
    } catch (error) {
      if (tries === retries || over.aborted || !isWorthRetrying(error)) throw error;
      forgetFailed(start, said, before);
      const waitMs = Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** tries);
      const which = retries === 1 ? '' : ` (try ${tries + 1} of ${retries} more)`;
      logger.warn(`to be tried again in ${formatDuration(waitMs)}${which}: ${describeError(error)}`);
      await pause(host.clock, waitMs, over);
      if (over.aborted)
        throw host.signal.aborted ? over.reason : new DbstashError(describeError(over.reason), { cause: error });
    }
  }
}

/** What was said of what left nothing is no part of the outcome. */
function forgetFailed({ done }: RunStart, said: Warning[], before: { said: number; done: number }): void {
  const isKept = ({ series }: Warning) => (series === undefined ? done.size > before.done : done.has(series));
  said.push(...said.splice(before.said).filter(isKept));
}
