import type { Readable } from 'node:stream';
import type { Clock } from './core/clock.ts';
import { DbstashError, TimeoutError } from './core/errors.ts';
import { keepTail } from './core/tail.ts';
import { formatDuration } from './core/units.ts';
import type { Logger } from './logger.ts';
import { type Child, describeExit, type Exit, hasSucceeded, spawnChild, stopChild } from './process/child.ts';
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
  /** What it gets to end by itself once it has to. */
  readonly graceMs: () => number;
}

interface Surroundings {
  readonly clock: Clock;
  /** Gets what the hook prints, line by line. */
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const MAX_LINES = 1000;
const MAX_LINE_LENGTH = 64 * 1024;
const MAX_TAIL_LENGTH = 4096;
/** What a hook printed last is read after its end; a descendant that holds its output open must not hold us. */
const DRAIN_MS = 500;

/**
 * Runs a hook by the shell to its exit 0. Throws `DbstashError`. One that had to be stopped is gone by then with all its
 * descendants; of one that ended by itself, what it left running in the background goes on.
 */
export async function runHook(hook: Hook, { clock, logger, signal }: Surroundings): Promise<void> {
  signal.throwIfAborted();
  const output = createOutput(logger);
  // By way of its environment: argv can be read by every user of the machine.
  const command = { file: '/bin/sh', args: ['-c', 'eval "$DBSTASH_HOOK"'] };
  const child = spawnChild(command, {
    env: { ...hook.env, DBSTASH_HOOK: hook.command },
    onStderr: output.openStream(),
  });
  child.stdin.end();
  const drained = drain(child.stdout, output.openStream());
  const over = new AbortController();
  const expire = () =>
    over.abort(new TimeoutError(`${hook.name} took longer than HOOK_TIMEOUT, ${formatDuration(hook.timeoutMs)}`));
  const timer = hook.timeoutMs === 0 ? undefined : clock.setTimeout(expire, hook.timeoutMs);
  try {
    const exit = await endOf(child, hook, AbortSignal.any([signal, over.signal]));
    await drained(DRAIN_MS);
    if (!hasSucceeded(exit)) throw new DbstashError(describeExit(hook.name, exit, output.tail()));
  } finally {
    clock.clearTimeout(timer);
    await drained(0);
    output.end();
  }
}

/** Throws the signal's reason where that fires. */
async function endOf(child: Child, hook: Hook, signal: AbortSignal): Promise<Exit> {
  const stopped = Promise.withResolvers<never>();
  stopped.promise.catch(() => {});
  const stop = async () => {
    await stopChild(child, hook.graceMs());
    await killStrays(`DBSTASH_HOOK_ID=${hook.env.DBSTASH_HOOK_ID}`);
    stopped.reject(signal.reason);
  };
  const abort = () => void stop();
  signal.addEventListener('abort', abort, { once: true });
  const exit = await Promise.race([child.exit, stopped.promise]);
  signal.removeEventListener('abort', abort);
  return signal.aborted ? await stopped.promise : exit;
}

/** Reads a stream; what it returns waits for its end, but no longer than asked for, and then lets go of it. */
function drain(stream: Readable, onText: (text: string) => void): (ms: number) => Promise<void> {
  const closed = new Promise<void>((resolve) => stream.once('close', resolve));
  stream
    .setEncoding('utf8')
    .on('data', onText)
    .on('error', () => {});
  return async (ms) => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    });
    await Promise.race([closed, late]);
    clearTimeout(timer);
    stream.destroy();
  };
}

/** Whole lines to the log, and not without end; the last of all streams are kept. */
function createOutput(logger: Logger) {
  let count = 0;
  let tail = '';
  const rests: (() => void)[] = [];
  const print = (line: string) => {
    if (line.trim() === '') return;
    tail = keepTail(`${tail}${line}\n`, MAX_TAIL_LENGTH);
    count += 1;
    if (count <= MAX_LINES) logger.info(line);
    else if (count === MAX_LINES + 1) logger.warn(`the hook printed more than ${MAX_LINES} lines: no more are logged`);
  };
  const openStream = () => {
    let rest = '';
    const finish = () => {
      print(rest);
      rest = '';
    };
    rests.push(finish);
    return (text: string) => {
      const lines = (rest + text).split(/\r?\n/);
      rest = keepTail(lines.pop() ?? '', MAX_LINE_LENGTH);
      for (const line of lines) print(line);
    };
  };
  const end = () => {
    for (const finish of rests) finish();
  };
  return {
    openStream,
    end,
    tail: () => {
      end();
      return tail.trim();
    },
  };
}
