import { access } from 'node:fs/promises';
import { findMissed } from './core/catchUp.ts';
import { describeError, EXIT } from './core/errors.ts';
import { noteReport, noteSkippedTick, noteStart, noteVerdicts } from './core/memory.ts';
import type { Report } from './core/report.ts';
import { startServer } from './http/server.ts';
import { awaitDatabase } from './jobs/awaitDatabase.ts';
import { awaitLock } from './jobs/awaitLock.ts';
import { createLooks } from './jobs/looks.ts';
import { createMemory, type Memory } from './jobs/memory.ts';
import { type OpenSession, runBackup } from './jobs/run.ts';
import type { Host, Session } from './jobs/session.ts';
import { openSession } from './jobs/session.ts';
import { createTries } from './jobs/tries.ts';
import { runVerification } from './jobs/verification.ts';
import { parseSchedule, runSchedule, type Schedule } from './schedule.ts';

/** Backs up when the schedule says so, until the host's signal fires. Returns the exit code. */
export async function runDaemon(host: Host): Promise<number> {
  const { config, logger, clock, signal } = host;
  const schedule = parseSchedule(config.schedule, config.timeZone);
  if (schedule.isOnce) return (await backupOnce(host)).exitCode;
  const memory = createMemory(host, schedule);
  const { port } = config.health;
  await using _server = port === 0 ? undefined : await startServer({ ...config.health, ...host, read: memory.read });
  await using sessions = keepSession(host);
  const turns = createTurns(host, schedule, memory, sessions.open);
  logNext(host, schedule);
  turns.start();
  await Promise.all([runSchedule(schedule, turns.tick, { clock, signal }), verifyOnSchedule(host, memory)]);
  const last = await turns.end();
  logger.info(`stopped: ${signal.aborted ? describeError(signal.reason) : 'no further backup is due'}`);
  return last?.outcome === 'interrupted' ? last.exitCode : EXIT.ok;
}

/** Runs, and looks at the remotes between them: never two of these at once. */
interface Turns {
  /** Does what is to be done before the first due time. */
  start(): void;
  /** A run is due. */
  tick(): void;
  /** Waits for what is going on; the report of the run, if it is one. */
  end(): Promise<Report | undefined>;
}

function createTurns(host: Host, schedule: Schedule, memory: Memory, open: OpenSession): Turns {
  const { config, logger, clock, signal } = host;
  const tries = createTries(host);
  const looks = createLooks(host, { memory, open, onListed: () => void catchUp() });
  let current: Promise<Report | undefined> | undefined;
  const run = async (isEarly: boolean): Promise<Report | undefined> => {
    await looks.stop();
    if (isEarly) await awaitDatabase(host);
    if (isEarly) await awaitLock(host);
    if (signal.aborted) return undefined;
    await tries.note(clock.now());
    const report = await runBackup(tellMemory(host, memory), open);
    if (report.outcome === 'interrupted') await tries.forget();
    remember(host, memory, report);
    return report;
  };
  const begin = (isEarly: boolean) => {
    memory.note((state) => noteStart(state, '', clock.now()));
    current = run(isEarly).finally(() => {
      // The last one is asked for how it ended, perhaps long after it.
      if (signal.aborted) return;
      current = undefined;
      logNext(host, schedule);
      looks.start();
    });
  };
  const tick = () => {
    if (!current) return begin(false);
    memory.note(noteSkippedTick);
    const { skippedTicks: skipped } = memory.read().state.totals;
    logger.warn('skipped: the run before is still going on', { skipped });
  };
  const catchUp = async () => {
    if (!config.catchUp) return;
    const triedAt = await tries.last();
    const { state, now } = memory.read();
    const due = findMissed(state, triedAt, now);
    // What a run of ours made of it is not made up for.
    if (!due || current || signal.aborted || state.runs.length > 0) return;
    logger.info(`catches up on the backup that was due at ${due.toISOString()}`);
    begin(true);
  };
  const end = async () => {
    const last = await current;
    await looks.stop();
    return last;
  };
  return { start: () => (config.onStart ? begin(true) : looks.start()), tick, end };
}

/** Beside the backups, which do not wait for it; one at a time. Ends, when the signal fires, after what is going on. */
async function verifyOnSchedule(host: Host, memory: Memory): Promise<void> {
  const { config, logger, clock, signal } = host;
  if (config.verifySchedule === undefined) return;
  let current: Promise<void> | undefined;
  const verify = async () => {
    const { judged } = await runVerification(host);
    const found = judged.flatMap(({ verified: { remote, artifact }, verdict }) =>
      verdict ? [{ remote, artifact, verdict }] : [],
    );
    memory.note((state) => noteVerdicts(state, found));
  };
  const tick = () => {
    if (current) return logger.warn('skipped: the verification before is still going on');
    current = verify().finally(() => {
      current = undefined;
    });
  };
  await runSchedule(parseSchedule(config.verifySchedule, config.timeZone), tick, { clock, signal });
  await current;
}

/** The host, where a run that begins is noted. */
function tellMemory(host: Host, memory: Memory): Host {
  const { notifier, clock } = host;
  const started: typeof notifier.started = (...about) => {
    memory.note((state) => noteStart(state, about[0], clock.now()));
    notifier.started(...about);
  };
  return { ...host, notifier: { ...notifier, started } };
}

function remember({ redact }: Host, memory: Memory, report: Report): void {
  const { error, warnings } = report;
  const shown = { ...report, error: error === undefined ? undefined : redact(error), warnings: warnings.map(redact) };
  memory.note((state) => noteReport(state, shown));
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

function logNext({ logger, clock }: Host, schedule: Schedule): void {
  const next = schedule.next(clock.now());
  logger.info(next ? `next backup at ${next.toISOString()}` : 'no further backup is due');
}
