import { DbstashError } from '../core/errors.ts';
import { lockSeries } from '../lock.ts';
import type { Host } from './session.ts';

/** One run at a time. */
export interface RunLock extends AsyncDisposable {
  /** Fires when it is known to be lost. */
  readonly lost: AbortSignal;
  /** Looks whether it still is ours, and throws if it was lost. */
  confirm(): Promise<void>;
}

/** Takes the lock of `series`, if locks are wanted. Throws `LockedError` where another run has it. */
export async function takeLock({ config }: Host, series: string): Promise<RunLock> {
  const lost = new AbortController();
  const lose = (cause?: Error) =>
    lost.abort(new DbstashError('the lock of the series was lost to another run', { cause }));
  const lease = config.useLock ? await lockSeries(config.tempDir, series, lose) : undefined;
  return {
    lost: lost.signal,
    confirm: async () => {
      if (lease && !(await lease.isOurs())) lose();
      lost.signal.throwIfAborted();
    },
    [Symbol.asyncDispose]: async () => lease?.release(),
  };
}
