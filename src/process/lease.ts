import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import lockfile from 'proper-lockfile';
import { makeFolders } from './file.ts';

/**
 * A lease is a folder whose modification time its holder renews. Who stops renewing (killed, frozen, machine gone) loses
 * it after `STALE_MS`, whatever became of the process id; a holder that wakes up after that is told by `onLost`.
 */
export const STALE_MS = 30_000;
const RENEW_MS = 5_000;

export interface Lease {
  /** Looks whether it still is: who was frozen may go on for a moment before `onLost` is called. */
  isOurs(): Promise<boolean>;
  release(): Promise<void>;
}

/** Takes the lease at `path`, or returns undefined while another holds it. */
export async function acquireLease(path: string, onLost: (error: Error) => void): Promise<Lease | undefined> {
  await makeFolders(dirname(path));
  try {
    const release = await lockfile.lock(path, {
      lockfilePath: path,
      realpath: false,
      stale: STALE_MS,
      update: RENEW_MS,
      retries: 0,
      onCompromised: onLost,
    });
    const own = await identify(path);
    return {
      isOurs: async () => (await identify(path)) === own,
      // A lease that was lost meanwhile is another's now: nothing to release.
      release: () => release().catch(() => {}),
    };
  } catch (error) {
    if (isHeldError(error)) return undefined;
    throw error;
  }
}

export const isLeaseHeld = (path: string): Promise<boolean> =>
  lockfile.check(path, { lockfilePath: path, realpath: false, stale: STALE_MS });

const isHeldError = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ELOCKED';

/** Who takes a lease over makes the folder anew. */
const identify = (path: string): Promise<string | undefined> =>
  stat(path, { bigint: true }).then(
    ({ ino, birthtimeNs }) => `${ino} ${birthtimeNs}`,
    () => undefined,
  );
