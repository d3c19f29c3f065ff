import { RemoteError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import type { Run } from './run.ts';
import type { Place } from './session.ts';
import { watchStall } from './stall.ts';

/**
 * Work on one of several remotes: where nothing of it moves for a third of the stall timeout it alone is given up, so that the
 * others are not lost with it. Of a single remote the run's own stall timeout is enough.
 */
export async function withPatience<T>(
  run: Pick<Run, 'session' | 'signal'>,
  { remote }: Place,
  work: (signal: AbortSignal, touch: () => void) => Promise<T>,
): Promise<T> {
  const { host, places } = run.session;
  const ms = places.length > 1 ? host.config.stallTimeoutMs / 3 : 0;
  using stall = watchStall(host.clock, ms, async () => 0);
  try {
    return await work(AbortSignal.any([run.signal, stall.signal]), stall.touch);
  } catch (error) {
    if (!stall.signal.aborted || run.signal.aborted) throw error;
    throw new RemoteError(`${remote.title} did not answer for ${formatDuration(ms)}: it was given up`, {
      cause: error,
    });
  }
}
