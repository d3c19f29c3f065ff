import type { Writable } from 'node:stream';
import type { Clock } from '../core/clock.ts';
import { type Child, describeExit, hasSucceeded, stopChild } from '../process/child.ts';
import { fanOut } from './fanOut.ts';
import { watchLag } from './lag.ts';
import { pour, type Sent, type Tap } from './pour.ts';

/** One place in the chain: a process, and what is to be known about the bytes that it writes. */
export interface Stage {
  readonly child: Child;
  /** Makes the error of this stage from a message: who must act. */
  readonly fail: (message: string) => Error;
  /** Of a sink: a count that grows as long as it is alive. */
  readonly progress?: () => number;
}

/** A stage whose output goes on to the next one. */
export interface Producer extends Stage {
  /** Sees every byte of the stage's output, in order, before the next stage gets it. */
  readonly tap?: Tap;
  /**
   * Called when the stage has exited 0; throws if its output is not whole. Only then does the next stage's input end. May
   * return how many bytes at the end of the output are not to go on, at most `HOLD_BYTES`.
   */
  readonly approve?: () => undefined | number | Promise<undefined | number>;
  /** Sees every byte that goes on to the next stage, but for the trailer. */
  readonly sent?: Sent;
  /** Written behind the stage's output once that was approved: what makes it permanent, so that our death does not. */
  readonly trailer?: string | undefined;
}

/** Of several sinks one that alone holds up the others for `ms` is cut off. */
export interface Patience {
  readonly clock: Clock;
  /** 0 for no limit. */
  readonly ms: number;
}

/** How long an upload may take to give up after SIGTERM: the first part of the seven seconds we have to exit in. */
const SINK_GRACE_MS = 3000;
const STAGE_GRACE_MS = 500;

/**
 * Moves bytes from the first producer through the others into the sink, and resolves when all have exited 0.
 *
 * End-of-input is permission to commit: `rclone rcat` stores whatever it has by then, and a database client commits. So
 * a stage's input is ended only after the stage before it exited 0 and was approved. On any failure, or when `signal`
 * fires, the sink is told to stop while its input is still open, then the rest is killed. Rejects with the first cause.
 */
export async function relay(producers: readonly Producer[], sink: Stage, signal: AbortSignal): Promise<void> {
  await relayToAll(producers, [sink], signal);
}

/**
 * The same into several sinks. One that fails is stopped, and the others go on: resolves with the failure of each, undefined
 * for those that took everything. Rejects where all failed.
 */
export async function relayToAll(
  producers: readonly Producer[],
  sinks: readonly Stage[],
  signal: AbortSignal,
  patience?: Patience,
): Promise<readonly (Error | undefined)[]> {
  const failure = new AbortController();
  const stop = failure.signal;
  // Not by AbortSignal.any: what listens to such a signal, with all that it holds, stays as long as the process's own signal.
  const forward = () => failure.abort(signal.reason);
  const stages: readonly Stage[] = [...producers, ...sinks];
  const group = groupSinks(sinks, (error) => failure.abort(error));
  using _ = watchLag(sinks, group, patience);
  try {
    signal.throwIfAborted();
    expectUnread(producers[0]!);
    signal.addEventListener('abort', forward, { once: true });
    const inputs = [...producers.slice(1).map(({ child }) => createInput(child.stdin)), group.input];
    const ends = producers.map((stage, index) => watchExit(stage, inputs[index - 1]));
    const pumps = producers.map((producer, index) => pump(producer, ends[index]!, inputs[index]!, stop));
    await Promise.race([Promise.all([...ends, ...pumps, ...group.ends]), rejectOnAbort(stop)]);
    return group.failures();
  } catch (error) {
    // Now, and not when all have stopped: a signal that comes meanwhile is not the cause.
    const cause: unknown = signal.aborted ? signal.reason : error;
    failure.abort(cause);
    await Promise.all(sinks.map((sink) => stopChild(sink.child, SINK_GRACE_MS)));
    await Promise.all(producers.map((producer) => stopChild(producer.child, STAGE_GRACE_MS)));
    for (const { child } of stages) {
      child.stdin.destroy();
      child.stdout.destroy();
    }
    throw cause;
  } finally {
    signal.removeEventListener('abort', forward);
  }
}

/**
 * What a child wrote that has exited Node throws away, where nobody has begun to read it: the first producer is to be started
 * last, with nothing awaited between it and the relay. The others wait for their input, or their exit says why not.
 */
function expectUnread({ child: { name, stdout }, fail }: Producer): void {
  if (stdout.readableDidRead || stdout.readableEnded)
    throw fail(`${name} was done before anybody read what it wrote: try again`);
}

/** Where a stage's output goes. */
interface Input {
  readonly stream: Writable;
  /**
   * All that there was has been taken. The stream itself does not tell: it is destroyed at its child's exit, which may come
   * before its end, as that of pg_restore does, which knows by the archive's table where the archive ends.
   */
  isTaken: boolean;
}

const createInput = (stream: Writable): Input => ({ stream, isTaken: false });

/** Where the last producer writes to. */
export interface SinkGroup {
  readonly input: Input;
  /** Each settles when its sink has ended, or was stopped; none rejects. */
  readonly ends: readonly Promise<void>[];
  failures(): readonly (Error | undefined)[];
  /** Those that have not ended. */
  live(): readonly Stage[];
  /** Whether the sink has not taken what it was given. */
  isBehind(sink: Stage): boolean;
  /** Stops it, its input still open. */
  cut(sink: Stage, error: Error): Promise<void>;
}

/** `onAllFailed` is given the first failure. */
function groupSinks(sinks: readonly Stage[], onAllFailed: (error: Error) => void): SinkGroup {
  const single = sinks.length === 1 ? sinks[0]!.child.stdin : undefined;
  const fan = single ? undefined : fanOut(sinks.map(({ child }) => child.stdin));
  const failures = new Map<Stage, Error>();
  const ended = new Set<Stage>();
  const cut = async (sink: Stage, error: Error) => {
    if (failures.has(sink)) return;
    failures.set(sink, error);
    ended.add(sink);
    if (failures.size === sinks.length) return onAllFailed([...failures.values()][0]!);
    await stopChild(sink.child, SINK_GRACE_MS);
    fan?.drop(sink.child.stdin);
    sink.child.stdin.destroy();
  };
  const input = createInput(single ?? fan!.input);
  const follow = (sink: Stage) =>
    watchExit(sink, input).then(
      () => void ended.add(sink),
      (error: Error) => cut(sink, error),
    );
  return {
    input,
    ends: sinks.map(follow),
    failures: () => sinks.map((sink) => failures.get(sink)),
    live: () => sinks.filter((sink) => !ended.has(sink)),
    isBehind: ({ child }) => fan?.waitingFor().includes(child.stdin) === true,
    cut,
  };
}

/** Rejects when the stage ends badly, or ends well before it took all of its input; a source has none. */
async function watchExit({ child, fail }: Stage, input: Input | undefined): Promise<void> {
  const exit = await child.exit;
  if (!hasSucceeded(exit)) throw fail(describeExit(child.name, exit, child.stderrTail()));
  if (input && !input.isTaken) throw fail(`${child.name} exited before the end of its input`);
}

/** `ended` is the producer's: where it ended badly or too early, nobody may take what it wrote for the whole. */
async function pump(producer: Producer, ended: Promise<void>, input: Input, stop: AbortSignal): Promise<void> {
  const { sent = () => {}, tap = () => {}, trailer = '' } = producer;
  const rest = await pour(producer.child.stdout, input.stream, tap, stop, sent);
  await ended;
  const excess = await producer.approve?.();
  stop.throwIfAborted();
  const last = cutEnd(rest, excess ?? 0);
  for (const chunk of last) sent(chunk);
  await writeLast(input, [...last, Buffer.from(trailer)]);
  input.stream.end();
}

/** Resolves when all is taken; never, where nobody takes it: the exit of the stage tells. */
function writeLast(input: Input, chunks: readonly Buffer[]): Promise<void> {
  return new Promise((resolve) => {
    input.stream.write(Buffer.concat(chunks), (error) => {
      if (error) return;
      input.isTaken = true;
      resolve();
    });
  });
}

/** The chunks without the last `bytes`. */
function cutEnd(chunks: readonly Buffer[], bytes: number): readonly Buffer[] {
  let left = chunks.reduce((sum, { length }) => sum + length, 0) - bytes;
  return chunks.flatMap((chunk) => {
    const part = chunk.subarray(0, Math.max(left, 0));
    left -= chunk.length;
    return part.length > 0 ? [part] : [];
  });
}

function rejectOnAbort(stop: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    stop.addEventListener('abort', () => reject(stop.reason), { once: true });
  });
}
