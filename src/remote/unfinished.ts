import * as z from 'zod';
import { hasSucceeded } from '../process/child.ts';
import type { Listings } from './listings.ts';
import { parse, placeOf, type Site } from './site.ts';

/** Multipart uploads that were begun and not ended, as far as the storage tells of them. */
export interface Unfinished {
  /** Whether there are some of exactly this object. */
  hasUpload(path: string, signal: AbortSignal): Promise<boolean>;
  /** Which of these objects may have some: one question, however many they are. */
  findUploads(paths: readonly string[], signal: AbortSignal): Promise<readonly string[]>;
  /** Aborts those of an object that is not there. True if there were any. */
  abortUpload(path: string, age: UploadAge, signal: AbortSignal): Promise<boolean>;
}

/** Only those begun over a day ago; or all, where the name is ours alone. */
export type UploadAge = 'over a day' | 'any';
/** As rclone's cleanup takes it. A storage's clock may be ahead of ours. */
const MIN_AGE: Readonly<Record<UploadAge, string>> = { 'over a day': '24h', any: '-24h' };

const uploadsSchema = z.record(z.string(), z.array(z.object({ Key: z.string() })).nullable());

const isKeyOf = (path: string, key: string): boolean => key === path || key.endsWith(`/${path}`);

export const createUnfinished = (site: Site, { stat }: Pick<Listings, 'stat'>): Unfinished => ({
  hasUpload: async (path, signal) => (await listUploads(site, path, signal)).some((key) => isKeyOf(path, key)),

  async findUploads(paths, signal) {
    const keys = await listUploads(site, '', signal);
    return paths.filter((path) => keys.some((key) => isKeyOf(path, key)));
  },

  async abortUpload(path, age, signal) {
    if ((await stat(path, signal)) !== undefined) return false;
    const uploads = await listUploads(site, path, signal);
    // rclone takes the path for a prefix: act only where nothing but this very object is meant.
    if (uploads.length === 0 || !uploads.every((key) => isKeyOf(path, key))) return false;
    const done = await site.rclone.run(
      { verb: ['backend', 'cleanup'], flags: ['-o', `max-age=${MIN_AGE[age]}`], paths: [placeOf(site, path)] },
      signal,
    );
    return hasSucceeded(done.exit);
  },
});

/** Keys of unfinished uploads under the path as a prefix ('' for all); of its folder, where there is such an object. */
async function listUploads(site: Site, path: string, signal: AbortSignal): Promise<readonly string[]> {
  // Wrapped in crypt and its like, the key is not the name we gave; a bucket's life-cycle rule must do there.
  if (site.backend.types.find((type) => type !== 'alias') !== 's3') return [];
  const call = { verb: ['backend', 'list-multipart-uploads'], paths: [placeOf(site, path)] };
  const listed = await site.rclone.run(call, signal);
  if (!hasSucceeded(listed.exit)) return [];
  const uploads = Object.values(parse(uploadsSchema, listed.stdout, 'the list of uploads'));
  return uploads.flatMap((list) => (list ?? []).map(({ Key }) => Key));
}
