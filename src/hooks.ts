import type { Clock } from './core/clock.ts';
import { DbstashError, TimeoutError } from './core/errors.ts';
import { formatDuration } from './core/units.ts';
import type { Logger } from './logger.ts';
import { type Child, describeExit, hasSucceeded, spawnChild, stopChild } from './process/child.ts';
import { killStrays } from './process/strays.ts';

/** A command of the user. */
export interface Hook {
  /** Of its variable. */
  readonly name: string;
  readonly command: string;
  /** Its whole environment, in which `DBSTASH_HOOK_ID` is a value that no other process has. */
  readonly env: Readonly<Record<string, string>>;
  /** 0 is none. */
  readonly timeoutMs: number;
}

interface Surroundings {
  readonly clock: Clock;
  /** Gets what the hook prints, line by line. */
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const GRACE_MS = 1000;
const MAX_LINES = 1000;

/** Runs a hook by the shell to its exit 0. Throws `DbstashError`; by then it and all its descendants are gone. */
export async function runHook(hook: Hook, { clock, logger, signal }: Surroundings): Promise<void> {
  signal.throwIfAborted();
  const print = createPrinter(logger);
  // By way of its environment: argv can be read by every user of the machine.
  const command = { file: '/bin/sh', args: ['-c', 'eval "$DBSTASH_HOOK"'] };
  const child = spawnChild(command, { env: { ...hook.env, DBSTASH_HOOK: hook.command }, onStderr: print });
  child.stdin.end();
  child.stdout
    .setEncoding('utf8')
    .on('data', print)
    .on('error', () => {});
  const over = new AbortController();
  const expire = () =>
    over.abort(new TimeoutError(`${hook.name} took longer than HOOK_TIMEOUT, ${formatDuration(hook.timeoutMs)}`));
  const timer = hook.timeoutMs === 0 ? undefined : clock.setTimeout(expire, hook.timeoutMs);
  try {
    await endOf(child, hook, AbortSignal.any([signal, over.signal]));
  } finally {
    clock.clearTimeout(timer);
    // A descendant that was left running must not hold us.
    child.stdout.destroy();
    print('\n');
  }
}

async function endOf(child: Child, hook: Hook, signal: AbortSignal): Promise<void> {
  const stopped = Promise.withResolvers<'stopped'>();
  const stop = async () => {
    await stopChild(child, GRACE_MS);
    await killStrays(`DBSTASH_HOOK_ID=${hook.env.DBSTASH_HOOK_ID}`);
    stopped.resolve('stopped');
  };
  const abort = () => void stop();
  signal.addEventListener('abort', abort, { once: true });
  const exit = await Promise.race([child.exit, stopped.promise]);
  signal.removeEventListener('abort', abort);
  if (signal.aborted) {
    await stopped.promise;
    throw signal.reason;
  }
  if (exit !== 'stopped' && !hasSucceeded(exit))
    throw new DbstashError(describeExit(hook.name, exit, child.stderrTail()));
}

/** Whole lines to the log, and not without end. */
function createPrinter(logger: Logger): (text: string) => void {
  let rest = '';
  let count = 0;
  return (text) => {
    const lines = (rest + text).split(/\r?\n/);
    rest = (lines.pop() ?? '').slice(-64 * 1024);
    for (const line of lines.filter((one) => one.trim() !== '')) {
      count += 1;
      if (count <= MAX_LINES) logger.info(line);
      else if (count === MAX_LINES + 1)
        logger.warn(`the hook printed more than ${MAX_LINES} lines: no more are logged`);
    }
  };
}
