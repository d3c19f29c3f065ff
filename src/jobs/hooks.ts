import { TimeoutError } from '../core/errors.ts';
import { pathsOf, type Report, type StoredBackup } from '../core/report.ts';
import { type Hook, runHook } from '../hooks.ts';
import type { Logger } from '../logger.ts';
import type { Host } from './session.ts';

const GRACE_MS = 1000;
/** Of the seven seconds from SIGTERM to our exit, the post hook's share are two: what it gets, and what its end takes. */
const HURRIED_MS = 1500;
const HURRIED_GRACE_MS = 300;
/** Linux takes no longer value. */
const MAX_VALUE_BYTES = 120_000;

/** Throws where the hook fails, which stops the run. */
export async function runPreHook(host: Host, logger: Logger, run: string, signal: AbortSignal): Promise<void> {
  const { pre } = host.config.hooks;
  if (pre === undefined) return;
  const facts = { ...describeRun(host, run), DBSTASH_STATUS: '', DBSTASH_OUTCOME: '' };
  await start(host, logger, { name: 'HOOK_PRE_BACKUP', command: pre, facts }, signal);
}

/** Always runs, on a time of its own. Throws where it fails. */
export async function runPostHook(host: Host, logger: Logger, report: Report): Promise<void> {
  const { post } = host.config.hooks;
  if (post === undefined) return;
  const hurry = new AbortController();
  let timer: unknown;
  const rush = () => {
    const expire = () => hurry.abort(new TimeoutError('HOOK_POST_BACKUP was killed: the process has to end'));
    timer = host.clock.setTimeout(expire, HURRIED_MS);
  };
  if (host.signal.aborted) rush();
  else host.signal.addEventListener('abort', rush, { once: true });
  try {
    const facts = describeReport(host, report);
    await start(host, logger, { name: 'HOOK_POST_BACKUP', command: post, facts }, hurry.signal);
  } finally {
    host.clock.clearTimeout(timer);
    host.signal.removeEventListener('abort', rush);
  }
}

type Facts = Readonly<Record<string, string>>;

async function start(
  { config, env, clock, randomHex, signal: ending }: Host,
  logger: Logger,
  { facts, ...hook }: Pick<Hook, 'name' | 'command'> & { facts: Facts },
  signal: AbortSignal,
): Promise<void> {
  const inherited = Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  const own = { ...facts, DBSTASH_HOOK_ID: randomHex(8) };
  const graceMs = () => (ending.aborted ? HURRIED_GRACE_MS : GRACE_MS);
  const whole = { ...hook, env: { ...inherited, ...own }, timeoutMs: config.hooks.timeoutMs, graceMs };
  logger.debug(`${hook.name} runs`);
  await runHook(whole, { clock, logger: logger.child({ hook: hook.name }), signal });
}

/** What is known before: all that the hook after it gets, empty where it is not known yet. */
const describeRun = ({ config }: Host, run: string): Facts => ({
  DBSTASH_RUN_ID: run,
  DBSTASH_ENGINE: config.connection.engine,
  DBSTASH_DATABASE: config.database,
  DBSTASH_FILE: '',
  DBSTASH_BYTES: '',
  DBSTASH_DURATION: '',
  DBSTASH_ERROR: '',
});

/** A line for each backup. Seconds; the first cause. */
function describeReport(host: Host, report: Report): Facts {
  const { backups, outcome, durationMs, run, error } = report;
  const lines = (describe: (backup: StoredBackup) => string | number) => fitLines(backups.map(describe));
  return {
    ...describeRun(host, run),
    // Of one, names and logs have a label where the manifest has a path or a number.
    ...(host.config.selection.kind !== 'one' &&
      backups.length > 0 && { DBSTASH_DATABASE: lines(({ database }) => database) }),
    DBSTASH_STATUS: outcome === 'succeeded' || outcome === 'warning' ? 'success' : 'failure',
    DBSTASH_OUTCOME: outcome,
    DBSTASH_FILE: lines((backup) => pathsOf(backup)[0] ?? ''),
    DBSTASH_BYTES: lines(({ bytes }) => bytes),
    DBSTASH_DURATION: String(Math.round(durationMs / 1000)),
    // Environments hold no NUL.
    DBSTASH_ERROR: host
      .redact(error ?? '')
      .replaceAll('\0', '')
      .slice(0, MAX_VALUE_BYTES / 4),
  };
}

/** As many whole lines as a variable holds: of thousands of databases not all. */
function fitLines(lines: readonly (string | number)[]): string {
  let room = MAX_VALUE_BYTES;
  return lines
    .filter((line) => {
      room -= Buffer.byteLength(String(line)) + 1;
      return room >= 0;
    })
    .join('\n');
}
