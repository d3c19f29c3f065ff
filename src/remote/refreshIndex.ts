import { PENDING_SUFFIX } from '../core/manifest.ts';
import { makeFolderIn } from '../process/file.ts';
import { isRecord } from './catalog.ts';
import type { Listed } from './listings.ts';
import { MIN_INDEXED } from './reading.ts';
import { type Entry, INDEX_PATH, isListedSo } from './recordIndex.ts';
import type { Remote } from './remote.ts';

/**
 * Storages tell times in seconds: of two texts of one size within one the first could pass for the second. What nobody has written to for
 * so long, by the storage's clock and by ours, is not about to be.
 */
const SETTLED_MS = 60 * 60_000;

/** Larger records, and of very many the largest, are left out: a container's memory is small. */
const MAX_RECORD_BYTES = 64 * 1024;
const MAX_TEXT_BYTES = 32 * 1024 * 1024;

/**
 * Writes the index anew where many records are missing in it, or many of it are gone; reads those that are missing. None is begun
 * where records are few, or the storage tells no times. Returns how many it then holds, 0 where it was left as it is. Throws `RemoteError`.
 */
export async function refreshIndex(
  remote: Remote,
  listed: Listed,
  now: Date,
  folder: string,
  signal: AbortSignal,
): Promise<number> {
  const isBegun = listed.listing.has(INDEX_PATH);
  const worth = pickRecords(listed, now);
  if (listed.times.size === 0 || (worth.size < MIN_INDEXED && !isBegun)) return 0;
  await using own = await makeFolderIn(folder);
  const held = new Set<string>();
  let gone = 0;
  await remote.readIndex(listed, own.path, signal, (entry) => {
    if (worth.has(entry.path) && isListedSo(listed, entry)) held.add(entry.path);
    else gone++;
  });
  const missing = [...worth.keys()].filter((path) => !held.has(path));
  if (Math.max(missing.length, gone) < MIN_INDEXED) return 0;
  // Where it may not be written, that is told before thousands of records are read.
  if (!isBegun) await remote.writeIndex(own.path, signal, async () => {});
  await remote.writeIndex(own.path, signal, async (put) => {
    await remote.readIndex(listed, own.path, signal, (entry) => {
      if (held.has(entry.path) && isListedSo(listed, entry)) put(entry);
    });
    await readMissing(remote, { listed, worth, missing }, own.path, signal, (entry) => {
      held.add(entry.path);
      put(entry);
    });
  });
  return held.size;
}

type Record = Omit<Entry, 'text'>;

/** The records that the index should hold, by path; not pending ones, which change every hour. */
function pickRecords({ listing, times }: Listed, now: Date): ReadonlyMap<string, Record> {
  const newest = [...times.values()].reduce((a, b) => Math.max(a, b), 0);
  const settledAt = Math.min(newest, now.getTime()) - SETTLED_MS;
  const settled = [...times].flatMap(([path, modified]): Record[] => {
    const bytes = listing.get(path) ?? 0;
    const isLasting = isRecord(path, bytes) && !path.endsWith(PENDING_SUFFIX);
    return isLasting && bytes <= MAX_RECORD_BYTES && modified <= settledAt ? [{ path, bytes, modified }] : [];
  });
  let total = 0;
  const picked = settled
    .sort((a, b) => a.bytes - b.bytes)
    .filter(({ bytes }) => {
      total += bytes;
      return total <= MAX_TEXT_BYTES;
    });
  return new Map(picked.map((record) => [record.path, record]));
}

interface Missing {
  readonly listed: Listed;
  readonly worth: ReadonlyMap<string, Record>;
  readonly missing: readonly string[];
}

async function readMissing(
  remote: Remote,
  { listed, worth, missing }: Missing,
  folder: string,
  signal: AbortSignal,
  put: (entry: Entry) => void,
): Promise<void> {
  // Without times the index is not asked for them.
  const wanted = { paths: missing, listed: { ...listed, times: new Map() } };
  const failure = await remote.readEach(wanted, folder, signal, (path, text) => {
    const record = worth.get(path);
    if (record) put({ ...record, text });
    return true;
  });
  if (failure) throw failure;
}
