import { DatabaseErrors, DbstashError, describeError, EXIT, InterruptedError, LockedError } from '../core/errors.ts';
import type { Outcome, Report } from '../core/report.ts';
import type { Logger } from '../logger.ts';
import type { Result } from './run.ts';

/** How a run ended; `failure` undefined where it did not fail. */
export interface Ending {
  readonly id: string;
  readonly job?: Report['job'];
  readonly startedAt: Date;
  readonly results: readonly Result[];
  readonly warnings: readonly string[];
  readonly failure: unknown;
}

export function createReport(now: Date, { id, job = 'backup', startedAt, results, warnings, failure }: Ending): Report {
  return {
    run: id,
    job,
    outcome: outcomeOf(failure, warnings),
    exitCode: failure === undefined ? EXIT.ok : exitCodeOf(failure),
    startedAt,
    durationMs: now.getTime() - startedAt.getTime(),
    backups: results.flatMap(({ backups }) => backups),
    failures: failuresOf(failure),
    removed: results.flatMap(({ removed }) => removed),
    warnings,
    error: failure === undefined ? undefined : describeError(failure),
  };
}

function failuresOf(failure: unknown): Report['failures'] {
  if (failure instanceof DatabaseErrors)
    return failure.failures.map(({ database, error }) => ({ database, error: describeError(error) }));
  return failure instanceof Error ? failuresOf(failure.cause) : [];
}

function outcomeOf(failure: unknown, warnings: readonly string[]): Outcome {
  if (failure instanceof LockedError) return 'skipped';
  if (failure instanceof InterruptedError) return 'interrupted';
  if (failure !== undefined) return 'failed';
  return warnings.length > 0 ? 'warning' : 'succeeded';
}

export const exitCodeOf = (error: unknown): number => (error instanceof DbstashError ? error.exitCode : EXIT.failed);

export function logReport(logger: Logger, report: Report): void {
  const fields = { outcome: report.outcome, duration: report.durationMs / 1000 };
  const what = report.job === 'backup' ? 'run' : 'verification';
  if (report.outcome === 'succeeded') logger.info(`${what} succeeded`, fields);
  else if (report.outcome === 'warning')
    logger.warn(`${what} succeeded with ${report.warnings.length} warning(s)`, fields);
  else if (report.outcome === 'skipped') logger.warn(`${what} skipped: ${report.error}`, fields);
  else logger.error(`${what} ${report.outcome}: ${report.error}`, fields);
}
