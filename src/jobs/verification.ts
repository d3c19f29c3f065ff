import { createId } from '../core/backupId.ts';
import { DbstashError, EXIT, VerifyError } from '../core/errors.ts';
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
    const { exitCode, faults } = await verify(session, { name: 'latest', mayBeNone: true }, (one) => {
      judged.push(one);
      const { ok, artifact, remote, level } = one.verified;
      if (ok) logger.info(`verified ${artifact} on ${remote} (${level})`);
    });
    if (exitCode === EXIT.damaged) failure = new VerifyError(faults.join('; '));
    else if (exitCode !== EXIT.ok) failure = new DbstashError(faults.join('; '));
  } catch (error) {
    failure = signal.aborted ? signal.reason : error;
  }
  const notes = judged.flatMap(({ verified: { ok, artifact, reason } }) =>
    ok && reason ? [`${artifact}: ${reason}`] : [],
  );
  const ending = { id, job: 'verify', startedAt, results: [], warnings: [], failure } as const;
  const report = createReport(clock.now(), ending);
  for (const note of notes) logger.info(note);
  logReport(logger, report);
  if (judged.length > 0 || failure !== undefined) await notifier.ended(report);
  return { report, judged };
}
