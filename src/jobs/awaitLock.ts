import { pause } from '../core/clock.ts';
import { isSeriesLocked } from '../lock.ts';
import { STALE_MS } from '../process/lease.ts';
import { lockName } from './run.ts';
import type { Host } from './session.ts';

const PAUSE_MS = 1000;

/**
 * Waits as long as a lock may be that of a process which was killed and started again: a run at start would be skipped for the
 * sake of the one before it. Never rejects; who still has the lock then is alive.
 */
export async function awaitLock(host: Host): Promise<void> {
  const { config, clock, logger, signal } = host;
  const until = clock.now().getTime() + STALE_MS + PAUSE_MS;
  const isHeld = () => config.useLock && isSeriesLocked(config.tempDir, lockName(host));
  for (let isTold = false; !signal.aborted && clock.now().getTime() < until && (await isHeld()); isTold = true) {
    if (!isTold) logger.info('waits for the lock of the series, which a process that was killed may have left');
    await pause(clock, PAUSE_MS, signal);
  }
}
