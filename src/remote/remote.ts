import { dirname, join } from 'node:path';
import { syncFile } from '../process/file.ts';
import type { Backend } from './backend.ts';
import { createListings, type Listings } from './listings.ts';
import type { Location } from './location.ts';
import type { Rclone } from './rclone.ts';
import { createIndexFile, type IndexFile } from './recordIndex.ts';
import { createRecords, type Records } from './records.ts';
import { placeOf } from './site.ts';
import { createTransfers, type Transfers } from './transfers.ts';
import { createUnfinished, type Unfinished } from './unfinished.ts';

/** Where backups lie. Paths are relative to it. All methods throw `RemoteError`. */
export interface Remote extends Listings, Records, IndexFile, Transfers, Unfinished {
  /** For people; holds no secret. */
  readonly title: string;
  readonly backend: Backend;
  /** Removes a folder and those in it, where they are empty; where that fails they stay. */
  removeFolder(path: string, signal: AbortSignal): Promise<void>;
  /** Makes objects outlast a power failure, where the remote is a local folder: elsewhere that is the storage's business. */
  sync(paths: readonly string[]): Promise<void>;
}

export function createRemote(rclone: Rclone, location: Location, backend: Backend): Remote {
  const site = { rclone, location, backend };
  const listings = createListings(site);
  return {
    title: location.title,
    backend,
    ...listings,
    ...createRecords(site),
    ...createIndexFile(site),
    ...createTransfers(site, listings),
    ...createUnfinished(site, listings),

    async removeFolder(path, signal) {
      await rclone.run({ verb: ['rmdirs'], paths: [placeOf(site, path)] }, signal).catch(() => {});
    },

    async sync(paths) {
      if (backend.types.join() !== 'local') return;
      const files = paths.map((path) => join(location.path, path));
      for (const path of [...files, ...new Set(files.map(dirname))]) await syncFile(path);
    },
  };
}
