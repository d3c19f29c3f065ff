import { expect, it } from 'vitest';
import { InterruptedError, LockedError, RemoteError, TimeoutError } from '../src/core/errors.ts';
import { joinFailures } from '../src/jobs/attempt.ts';
import { createReport } from '../src/jobs/report.ts';

const named = (database: string) => ({ database });
const timeout = new TimeoutError('the run took longer than BACKUP_TIMEOUT, 1h');
const startedAt = new Date('2026-02-07T02:00:00Z');
const reportOf = (failure: unknown) =>
  createReport(startedAt, { id: 'run', startedAt, results: [], warnings: [], failure });

it('a run that had to end between two databases failed: it was not skipped, and names those that are left', () => {
  const report = reportOf(joinFailures([], 3, [named('audit'), named('shop')], timeout));
  expect(report).toMatchObject({
    outcome: 'failed',
    exitCode: 1,
    error: 'the run took longer than BACKUP_TIMEOUT, 1h; not tried: audit, shop',
    failures: [
      { database: 'audit', error: 'not tried' },
      { database: 'shop', error: 'not tried' },
    ],
  });
});

it.each([new LockedError('another run has it'), new RemoteError('the bucket is gone')])(
  'of databases that were not tried nobody says why another one failed: %s',
  (error) => {
    const failures = [{ source: named('orders'), error }];
    expect(reportOf(joinFailures(failures, 2, [named('shop')], timeout))).toMatchObject({
      outcome: 'failed',
      exitCode: 1,
    });
    const all = reportOf(joinFailures(failures, 1, [], undefined));
    expect(all.exitCode).toBe(error.exitCode);
  },
);

it('an interrupted run names the signal', () => {
  const report = reportOf(joinFailures([], 1, [named('shop')], new InterruptedError('SIGTERM')));
  expect(report.error).toBe('interrupted by SIGTERM; not tried: shop');
});
