import { PENDING_SUFFIX } from '../core/manifest.ts';
import { isRecord } from './catalog.ts';
import type { Listed } from './listings.ts';
import { MIN_INDEXED } from './reading.ts';
import { type Entry, INDEX_PATH } from './recordIndex.ts';
import type { Remote } from './remote.ts';

/**
 * Storages tell times in seconds: of two texts of one size within one the first could pass for the second. What nobody has written to for
 * so long, by the storage's clock, is not about to be.
 */
const SETTLED_MS = 60 * 60_000;

/** More than this of text would cost more memory than it saves time; the largest are left out. */
const MAX_TEXT_BYTES = 32 * 1024 * 1024;

/**
 * Writes the index anew where many records are missing in it, or many of it are gone; reads those that are missing. None is begun
 * where records are few, or the storage tells no times. Returns how many it then holds, 0 where it was left as it is. Throws `RemoteError`.
 */
export async function refreshIndex(
  remote: Remote,
  listed: Listed,
  folder: string,
  signal: AbortSignal,
): Promise<number> {
  const worth = pickRecords(listed);
  if (worth.length < MIN_INDEXED && !listed.listing.has(INDEX_PATH)) return 0;
  const { entries, gone } = await remote.readIndex(listed, folder, signal);
  const missing = worth.filter(({ path }) => !entries.has(path));
  if (Math.max(missing.length, gone) < MIN_INDEXED) return 0;
  const texts = new Map<string, string>();
  const paths = missing.map(({ path }) => path);
  const failure = await remote.readEach({ paths }, folder, signal, (path, text) => texts.set(path, text).has(path));
  if (failure) throw failure;
  const fresh = missing.flatMap((record) => {
    const text = texts.get(record.path);
    return text === undefined ? [] : [{ ...record, text }];
  });
  const kept = worth.flatMap(({ path }) => entries.get(path) ?? []);
  const all = [...kept, ...fresh];
  await remote.writeIndex(all, folder, signal);
  return all.length;
}

type Record = Omit<Entry, 'text'>;

/** The records that the index should hold; not pending ones, which change every hour. */
function pickRecords({ listing, times }: Listed): readonly Record[] {
  const newest = [...times.values()].reduce((a, b) => Math.max(a, b), 0);
  const settled = [...times].flatMap(([path, modified]): Record[] => {
    const bytes = listing.get(path) ?? 0;
    const isLasting = isRecord(path, bytes) && !path.endsWith(PENDING_SUFFIX);
    return isLasting && modified <= newest - SETTLED_MS ? [{ path, bytes, modified }] : [];
  });
  let total = 0;
  return settled
    .sort((a, b) => a.bytes - b.bytes)
    .filter(({ bytes }) => {
      total += bytes;
      return total <= MAX_TEXT_BYTES;
    });
}
