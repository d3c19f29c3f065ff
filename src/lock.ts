import { createHash } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { LockedError } from './core/errors.ts';
import { acquireLease, isLeaseHeld, type Lease } from './process/lease.ts';
import { unwritableFolder } from './process/scratch.ts';

/** Lets one run at a time have a series, among all processes that share `tempDir`. `onLost` is told when the lease is gone. */
export async function lockSeries(tempDir: string, series: string, onLost: (error: Error) => void): Promise<Lease> {
  const lease = await take(tempDir, lockOf(series), onLost);
  if (!lease) throw new LockedError(`another run of ${series} is going on (its lock is in ${tempDir})`);
  return lease;
}

/** Whether somebody has the lock of the series, or died with it so shortly ago that nobody can tell. */
export const isSeriesLocked = (tempDir: string, series: string): Promise<boolean> =>
  isLeaseHeld(join(tempDir, lockOf(series))).catch(() => false);

const lockOf = (series: string): string =>
  join('locks', createHash('sha256').update(series).digest('hex').slice(0, 16));

/** Keeps prune from removing the backup `id` while it is read. `reader` tells several readers apart. */
export async function holdBackup(tempDir: string, id: string, reader: string): Promise<Lease | undefined> {
  return take(tempDir, join('reading', `${id}.${reader}`), () => {});
}

/** Ids of the backups that somebody is reading. Forgets readers that died. */
export async function readHeldBackups(tempDir: string): Promise<ReadonlySet<string>> {
  const folder = join(tempDir, 'reading');
  const held = new Set<string>();
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name);
    if (await isLeaseHeld(path)) held.add(name.slice(0, name.lastIndexOf('.')));
    else await rm(path, { recursive: true, force: true }).catch(() => {});
  }
  return held;
}

async function take(tempDir: string, name: string, onLost: (error: Error) => void): Promise<Lease | undefined> {
  try {
    return await acquireLease(join(tempDir, name), onLost);
  } catch (error) {
    throw unwritableFolder(tempDir, error);
  }
}
