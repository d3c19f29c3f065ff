import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import lockfile from 'proper-lockfile';

/**
 * A lease is a folder whose modification time its holder renews. Who stops renewing (killed, frozen, machine gone) loses
 * it after `STALE_MS`, whatever became of the process id; a holder that wakes up after that is told by `onLost`.
 */
const STALE_MS = 30_000;
const RENEW_MS = 5_000;

export interface Lease {
  release(): Promise<void>;
}

/** Takes the lease at `path`, or returns undefined while another holds it. */
export async function acquireLease(path: string, onLost: (error: Error) => void): Promise<Lease | undefined> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  try {
    const release = await lockfile.lock(path, {
      lockfilePath: path,
      realpath: false,
      stale: STALE_MS,
      update: RENEW_MS,
      retries: 0,
      onCompromised: onLost,
    });
    // A lease that was lost meanwhile is another's now: nothing to release.
    return { release: () => release().catch(() => {}) };
  } catch (error) {
    if (isHeldError(error)) return undefined;
    throw error;
  }
}

export const isLeaseHeld = (path: string): Promise<boolean> =>
  lockfile.check(path, { lockfilePath: path, realpath: false, stale: STALE_MS });

const isHeldError = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ELOCKED';
