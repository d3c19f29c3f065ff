import { access } from 'node:fs/promises';
import { describeError, EXIT } from './core/errors.ts';
import type { Report } from './core/report.ts';
import { readCatalogs } from './jobs/catalogs.ts';
import { warnOfOrphans } from './jobs/orphans.ts';
import { runBackup } from './jobs/run.ts';
import type { Host, Session } from './jobs/session.ts';
import { at, openSession } from './jobs/session.ts';
import { parseSchedule, runSchedule, type Schedule } from './schedule.ts';

/** Backs up when the schedule says so, until the host's signal fires. Returns the exit code. */
export async function runDaemon(host: Host): Promise<number> {
  const { config, logger, clock, signal } = host;
  const schedule = parseSchedule(config.schedule, config.timeZone);
  if (schedule.isOnce) return (await backupOnce(host)).exitCode;
  await using sessions = keepSession(host);
  const look = new AbortController();
  let looking = Promise.resolve();
  let current: Promise<Report> | undefined;
  let skipped = 0;
  const tick = () => {
    if (current) {
      skipped += 1;
      logger.warn('skipped: the run before is still going on', { skipped });
      return;
    }
    look.abort();
    current = looking
      .then(() => runBackup(host, sessions.open))
      .finally(() => {
        current = undefined;
        if (!signal.aborted) logNext(host, schedule);
      });
  };
  logNext(host, schedule);
  if (config.onStart) tick();
  else looking = reportOrphans(host, sessions.open, AbortSignal.any([signal, look.signal]));
  await runSchedule(schedule, tick, { clock, signal });
  const last = await current;
  await looking;
  logger.info(`stopped: ${signal.aborted ? describeError(signal.reason) : 'no further backup is due'}`);
  return last?.outcome === 'interrupted' ? last.exitCode : EXIT.ok;
}

/** One run. */
export async function backupOnce(host: Host): Promise<Report> {
  await using sessions = keepSession(host);
  return await runBackup(host, sessions.open);
}

/**
 * Opens the session when it is first needed, and again where that failed (a remote may be down when we start), or where its
 * private folder is gone: another process sweeps it if this one was frozen for longer than its lease. Not for two at once.
 */
function keepSession(host: Host): AsyncDisposable & { open: (signal: AbortSignal) => Promise<Session> } {
  let session: Session | undefined;
  const close = async () => {
    await session?.[Symbol.asyncDispose]();
    session = undefined;
  };
  return {
    open: async (signal) => {
      await access(session?.scratch.path ?? '').catch(close);
      // What could not be looked at may be there again.
      if (session && session.broken.length > 0) await close();
      session ??= await openSession(host, signal);
      return session;
    },
    [Symbol.asyncDispose]: close,
  };
}

/** Looks for what dead runs left, once. The first run, which looks itself, does not wait for it: `signal` then fires. */
async function reportOrphans(
  { logger }: Host,
  open: (signal: AbortSignal) => Promise<Session>,
  signal: AbortSignal,
): Promise<void> {
  try {
    const session = await open(signal);
    for (const { place, catalog } of await readCatalogs(session, signal))
      warnOfOrphans({ session: at(session, place), logger }, catalog);
  } catch (error) {
    if (!signal.aborted)
      logger.warn(`the remote could not be looked at, the next run will try again: ${describeError(error)}`);
  }
}

function logNext({ logger, clock }: Host, schedule: Schedule): void {
  const next = schedule.next(clock.now());
  logger.info(next ? `next backup at ${next.toISOString()}` : 'no further backup is due');
}
