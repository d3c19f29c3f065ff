import type { Clock } from '../core/clock.ts';
import { formatBytes, formatDuration } from '../core/units.ts';
import type { Logger } from '../logger.ts';

/** Shows how far a run is: a line that is written over on a terminal, one in the log now and then elsewhere. */
export interface Progress extends Disposable {
  /** So many bytes of the dump went by. */
  add(bytes: number): void;
  /** So many did in all. */
  bytes(): number;
  /** Something else moved: the remote took bytes. */
  readonly touch: () => void;
}

const LOG_EVERY_MS = 30_000;
const TERMINAL_EVERY_MS = 250;

/** `touch` is called at every movement, for whoever watches that something moves. `totalBytes`: how many will go by; 0 where nobody knows. */
export function createProgress(
  clock: Clock,
  logger: Logger,
  showLine: ((line: string) => void) | undefined,
  touch: () => void,
  totalBytes = 0,
): Progress {
  const startMs = clock.now().getTime();
  let bytes = 0;
  let timer: unknown;
  const everyMs = showLine ? TERMINAL_EVERY_MS : LOG_EVERY_MS;
  const describe = () => {
    const ms = clock.now().getTime() - startMs;
    const line = `${formatBytes(bytes)}, ${formatBytes(ms === 0 ? 0 : (bytes * 1000) / ms)}/s, ${formatDuration(ms)}`;
    return totalBytes === 0 || bytes === 0 ? line : `${line}${describeRest(bytes, totalBytes, ms)}`;
  };
  const tick = () => {
    if (showLine) showLine(describe());
    else logger.info(`running: ${describe()}`, { bytes });
    timer = clock.setTimeout(tick, everyMs);
  };
  timer = clock.setTimeout(tick, everyMs);
  return {
    add: (count) => {
      bytes += count;
      touch();
    },
    bytes: () => bytes,
    touch,
    [Symbol.dispose]: () => {
      clock.clearTimeout(timer);
      showLine?.('');
    },
  };
}

function describeRest(bytes: number, totalBytes: number, ms: number): string {
  const share = Math.min(bytes / totalBytes, 1);
  // Read, not done: a server that still loads and builds indexes tells nobody how far it is.
  if (share === 1) return `, all of it read; not done yet`;
  const leftMs = (ms * (1 - share)) / share;
  return `, ${Math.floor(share * 100)} % of ${formatBytes(totalBytes)}, ${formatDuration(leftMs)} left`;
}

interface Watched {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly showProgress: ((line: string) => void) | undefined;
}

/** Of a backup that is read: `bytes` are what its manifest says is stored. */
export const followReading = (
  { clock, logger, showProgress }: Watched,
  { bytes }: { readonly bytes: number },
): Progress => createProgress(clock, logger, showProgress, () => {}, bytes);
