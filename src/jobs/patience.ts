import type { Clock } from '../core/clock.ts';
import { RemoteError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import type { Run } from './run.ts';
import type { Host, Place } from './session.ts';
import { watchStall } from './stall.ts';

interface Limit {
  readonly clock: Clock;
  /** 0 for none. */
  readonly ms: number;
  /** Ends the work as well, and is then the cause. */
  readonly signal: AbortSignal;
  /** Grows as long as something moves. */
  readonly measure?: () => Promise<number>;
}

/** Work that asks, reads or writes the remote `title`. Throws `RemoteError` where nothing of it moves for so long. */
export async function giveUp<T>(
  title: string,
  { clock, ms, signal, measure = async () => 0 }: Limit,
  work: (signal: AbortSignal, touch: () => void) => Promise<T>,
): Promise<T> {
  using stall = watchStall(clock, ms, measure);
  try {
    return await work(AbortSignal.any([signal, stall.signal]), stall.touch);
  } catch (error) {
    if (!stall.signal.aborted || signal.aborted) throw error;
    const message = `${title} did not answer for ${formatDuration(ms)} (BACKUP_STALL_TIMEOUT): it was given up`;
    throw new RemoteError(message, { cause: error instanceof RemoteError ? error : undefined });
  }
}

/** For what has no run around it that would watch: the whole stall timeout, until the process has to end. */
export const limitOf = ({ clock, config, signal }: Host): Limit => ({ clock, ms: config.stallTimeoutMs, signal });

/**
 * Work on one of several remotes: where nothing of it moves for a third of the stall timeout it alone is given up, so that the
 * others are not lost with it. Of a single remote the run's own stall timeout is enough.
 */
export function withPatience<T>(
  { session: { host, places }, signal }: Pick<Run, 'session' | 'signal'>,
  { remote }: Place,
  work: (signal: AbortSignal, touch: () => void) => Promise<T>,
): Promise<T> {
  const ms = places.length > 1 ? host.config.stallTimeoutMs / 3 : 0;
  return giveUp(remote.title, { clock: host.clock, ms, signal }, work);
}
