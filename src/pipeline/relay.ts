import { type Child, describeExit, hasSucceeded, stopChild } from '../process/child.ts';
import { pour, type Tap } from './pour.ts';

/** One place in the chain: a process, and what is to be known about the bytes that it writes. */
export interface Stage {
  readonly child: Child;
  /** Makes the error of this stage from a message: who must act. */
  readonly fail: (message: string) => Error;
}

/** A stage whose output goes on to the next one. */
export interface Producer extends Stage {
  /** Sees every byte of the stage's output, in order, before the next stage gets it. */
  readonly tap?: Tap;
  /** Called when the stage has exited 0; throws if its output is not whole. Only then does the next stage's input end. */
  readonly approve?: () => void | Promise<void>;
  /** Written behind the stage's output once that was approved: what makes it permanent, so that our death does not. */
  readonly trailer?: string | undefined;
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
  const failure = new AbortController();
  const stop = AbortSignal.any([signal, failure.signal]);
  const stages: readonly Stage[] = [...producers, sink];
  try {
    stop.throwIfAborted();
    const ends = stages.map((stage, index) => watchExit(stage, index === 0));
    const pumps = producers.map((producer, index) => pump(producer, ends[index]!, stages[index + 1]!.child, stop));
    await Promise.race([Promise.all([...ends, ...pumps]), rejectOnAbort(stop)]);
  } catch (error) {
    // Now, and not when all have stopped: a signal that comes meanwhile is not the cause.
    const cause: unknown = signal.aborted ? signal.reason : error;
    failure.abort(cause);
    await stopChild(sink.child, SINK_GRACE_MS);
    await Promise.all(producers.map((producer) => stopChild(producer.child, STAGE_GRACE_MS)));
    for (const { child } of stages) {
      child.stdin.destroy();
      child.stdout.destroy();
    }
    throw cause;
  }
}

/** Rejects when the stage ends badly, or ends well before it was given all of its input. */
async function watchExit({ child, fail }: Stage, isSource: boolean): Promise<void> {
  const exit = await child.exit;
  if (!hasSucceeded(exit)) throw fail(describeExit(child.name, exit, child.stderrTail()));
  if (!isSource && !child.stdin.writableFinished) throw fail(`${child.name} exited before the end of its input`);
}

/** `ended` is the producer's: where it ended badly or too early, nobody may take what it wrote for the whole. */
async function pump(producer: Producer, ended: Promise<void>, next: Child, stop: AbortSignal): Promise<void> {
  const rest = await pour(producer.child.stdout, next.stdin, producer.tap ?? (() => {}), stop);
  await ended;
  await producer.approve?.();
  stop.throwIfAborted();
  for (const chunk of rest) next.stdin.write(chunk);
  next.stdin.end(producer.trailer ?? '');
}

function rejectOnAbort(stop: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    stop.addEventListener('abort', () => reject(stop.reason), { once: true });
  });
}
