import { createId } from '../core/backupId.ts';
import { DbstashError, EXIT, RemoteError, VerifyError } from '../core/errors.ts';
import type { Report } from '../core/report.ts';
import { createReport, logReport } from './report.ts';
import { type Host, openSession } from './session.ts';
import { type Judged, verify } from './verify.ts';

export interface Verification {
  readonly report: Report;
  readonly judged: readonly Judged[];
}

/**
 * Runs the verify job once: the newest backup of each series, on each remote, and who is to be told of it. On a session of its
 * own, since a backup may be due meanwhile. Never rejects; a series without any backup is no failure, its backup job tells.
 */
export async function runVerification(given: Host): Promise<Verification> {
  const { clock, notifier, signal } = given;
  const startedAt = clock.now();
  const id = createId(startedAt, given.randomHex(3));
  const logger = given.logger.child({ run: id });
  const host = { ...given, logger };
  const judged: Judged[] = [];
  let failure: unknown;
  try {
    await using session = await openSession(host);
    const outcome = await verify(session, { name: 'latest', mayBeNone: true }, (one) => {
      judged.push(one);
      const { ok, artifact, remote, level } = one.verified;
      if (ok) logger.info(`verified ${artifact} on ${remote} (${level})`);
    });
    failure = failureOf(outcome);
  } catch (error) {
    failure = signal.aborted ? signal.reason : error;
  }
  for (const { verified } of judged) {
    const { ok, artifact, reason } = verified;
    if (ok && reason) logger.info(`${artifact}: ${reason}`);
  }
  const report = reportOf(host, { id, startedAt, failure });
  logReport(logger, report);
  if (judged.length > 0 || failure !== undefined) await notifier.ended(report);
  return { report, judged };
}

interface Ending {
  readonly id: string;
  readonly startedAt: Date;
  readonly failure: unknown;
}

const reportOf = ({ clock }: Host, ending: Ending): Report =>
  createReport(clock.now(), { ...ending, job: 'verify', results: [], warnings: [] });

/** What `verify` found, as what a job fails of; undefined where all is well. */
const failureOf = ({ exitCode, faults }: Awaited<ReturnType<typeof verify>>): DbstashError | undefined => {
  if (exitCode === EXIT.ok) return undefined;
  return new (exitCode === EXIT.damaged ? VerifyError : DbstashError)(faults.join('; '));
};

/** Does the work of the `verify` command, and tells the channels of its end as a scheduled one does; of a mistyped name nobody. */
export async function tellOfVerification(host: Host, work: () => ReturnType<typeof verify>): Promise<number> {
  const { clock, notifier, randomHex, signal } = host;
  const startedAt = clock.now();
  const id = createId(startedAt, randomHex(3));
  const tell = (failure: unknown) => notifier.ended(reportOf(host, { id, startedAt, failure }));
  try {
    const outcome = await work();
    await tell(failureOf(outcome));
    return outcome.exitCode;
  } catch (error) {
    if (signal.aborted || error instanceof RemoteError) await tell(signal.aborted ? signal.reason : error);
    throw error;
  }
}
