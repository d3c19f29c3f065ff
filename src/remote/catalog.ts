import type { RemoteError } from '../core/errors.ts';
import {
  MANIFEST_SUFFIX,
  type Manifest,
  PENDING_SUFFIX,
  type Pending,
  parseManifest,
  parsePending,
  parseVerdict,
  pendingPath,
  VERDICT_SUFFIX,
  type Verdict,
} from '../core/manifest.ts';
import type { Listed, Listing } from './listings.ts';
import type { Take } from './reading.ts';
import { INDEX_PATH } from './recordIndex.ts';
import type { Remote } from './remote.ts';

/** `missing`: the artifact is not there. `damaged`: its size, or what a look at its content found, is not the manifest's. */
export type State = 'good' | 'missing' | 'damaged';

export interface Backup {
  readonly manifest: Manifest;
  /** Of the artifact, where it lies now: the manifest's folder may have been moved as a whole. */
  readonly path: string;
  readonly state: State;
  /** Why it is not good. */
  readonly reason: string | undefined;
  readonly verdict: Verdict | undefined;
}

/**
 * What a pending record of ours names, without a backup having become of it. Where a crash came between the commit and
 * the removal of the record, nothing is left but the record itself.
 */
export interface Orphan {
  readonly record: Pending;
  readonly recordPath: string;
  /** Those of its objects that are there and that no manifest claims. */
  readonly objects: readonly string[];
  /** The backup of the record's id was committed all the same: only the record itself is left over. */
  readonly isCommitted: boolean;
}

export interface Catalog extends Listed {
  /** Newest first. */
  readonly backups: readonly Backup[];
  readonly orphans: readonly Orphan[];
  /** Not ours, or not provably: shown, never touched. */
  readonly foreign: readonly string[];
  /** Records that are there and could not be read, and why: nothing may be concluded from what is missing for it. */
  readonly unreadable: { readonly paths: readonly string[]; readonly failure: RemoteError } | undefined;
}

/** Of records, by path. */
export type Texts = ReadonlyMap<string, string>;

/** Manifests never change under one name, so what was read once is not read again. */
export type ManifestCache = Map<string, Manifest>;

/**
 * Lists the remote once and reads the records on it, but for those whose texts are `known`. Throws `RemoteError` rather than return a part of the listing; a
 * record that cannot be read, a stranger's perhaps, does not hide the others.
 */
export async function readCatalog(
  remote: Remote,
  cache: ManifestCache,
  folder: string,
  signal: AbortSignal,
  known: Texts = new Map(),
): Promise<Catalog> {
  const listed = await remote.list(signal);
  const { listing } = listed;
  const records = createRecordsFound(listing, cache);
  for (const [path, text] of known) if (listing.has(path)) records.take(path, text, true);
  const isWanted = ([path, bytes]: [string, number]) =>
    isRecord(path, bytes) && !known.has(path) && !cache.has(cacheKey(path, listing));
  const paths = [...listing].filter(isWanted).map(([path]) => path);
  const read = new Set<string>();
  const failure = await remote.readEach({ paths, listed }, folder, signal, (path, text, isSure) => {
    const isTaken = records.take(path, text, isSure);
    if (isTaken) read.add(path);
    return isTaken;
  });
  if (failure && read.size === 0 && paths.length > 0 && cache.size === 0) throw failure;
  forgetGone(cache, listing);
  const unreadable = failure && { paths: paths.filter((path) => !read.has(path)), failure };
  return { ...buildCatalog(listed, records, cache, known), unreadable };
}

/** What was read of the records. Manifests are in the cache. */
interface RecordsFound {
  readonly pending: ReadonlyMap<string, Pending>;
  readonly verdicts: ReadonlyMap<string, Verdict>;
  readonly take: Take;
}

/** A text that is not sure to lie under its path is taken if it says so itself; a stranger's says nothing. */
function createRecordsFound(listing: Listing, cache: ManifestCache): RecordsFound {
  const pending = new Map<string, Pending>();
  const verdicts = new Map<string, Verdict>();
  const takeManifest: Take = (path, text, isSure) => {
    const manifest = parseManifest(text);
    const fits = manifest !== undefined && manifest.artifact + MANIFEST_SUFFIX === path;
    if (manifest && (fits || isSure)) cache.set(cacheKey(path, listing), manifest);
    return fits || isSure;
  };
  const takePending: Take = (path, text, isSure) => {
    const record = parsePending(text);
    const fits = record !== undefined && isInPlace(record, path);
    if (record && fits) pending.set(path, record);
    return fits || isSure;
  };
  const takeVerdict: Take = (path, text, isSure) => {
    const verdict = parseVerdict(text);
    const manifestPath = path.slice(0, -VERDICT_SUFFIX.length) + MANIFEST_SUFFIX;
    // Printed before its verdict, or known from earlier.
    const fits = verdict !== undefined && verdict.id === cache.get(cacheKey(manifestPath, listing))?.id;
    if (verdict && (fits || isSure)) verdicts.set(path, verdict);
    return fits || isSure;
  };
  const take: Take = (path, text, isSure) => {
    if (path.endsWith(MANIFEST_SUFFIX)) return takeManifest(path, text, isSure);
    return (path.endsWith(PENDING_SUFFIX) ? takePending : takeVerdict)(path, text, isSure);
  };
  return { pending, verdicts, take };
}

/** What was pruned would be kept for as long as the process lives. */
function forgetGone(cache: ManifestCache, listing: Listing): void {
  for (const key of cache.keys()) if (!listing.has(key.slice(0, key.lastIndexOf('\n')))) cache.delete(key);
}

/** Larger, or with a line break in its name, it is a stranger's: records are small, and their names ours. */
const MAX_RECORD_BYTES = 16 * 1024 * 1024;

export const isRecord = (path: string, bytes: number): boolean =>
  bytes <= MAX_RECORD_BYTES &&
  !/[\r\n]/.test(path) &&
  [MANIFEST_SUFFIX, PENDING_SUFFIX, VERDICT_SUFFIX].some((suffix) => path.endsWith(suffix));

const cacheKey = (path: string, listing: Listing): string => `${path}\n${listing.get(path)}`;

function buildCatalog(
  { listing, times }: Listed,
  { pending, verdicts }: RecordsFound,
  cache: ManifestCache,
  known: Texts,
): Omit<Catalog, 'unreadable'> {
  const backups: Backup[] = [];
  const claimed = new Set<string>([INDEX_PATH]);
  for (const path of listing.keys()) {
    const manifest = cache.get(cacheKey(path, listing));
    if (!manifest || !path.endsWith(MANIFEST_SUFFIX)) continue;
    const backup = judgeBackup(manifest, path.slice(0, -MANIFEST_SUFFIX.length), listing, verdicts);
    if (!backup) continue;
    backups.push(backup);
    for (const object of objectsOf(backup)) claimed.add(object);
  }
  const ids = new Set(backups.map(({ manifest }) => manifest.id));
  const orphans: Orphan[] = [];
  for (const [recordPath, record] of inOrder(pending, known)) {
    const objects = record.objects.filter(
      (object) => object !== recordPath && listing.has(object) && !claimed.has(object),
    );
    for (const object of [recordPath, ...objects]) claimed.add(object);
    orphans.push({ record, recordPath, objects, isCommitted: ids.has(record.id) });
  }
  return {
    backups: backups.sort(byNewest),
    orphans,
    foreign: [...listing.keys()].filter((path) => !claimed.has(path)),
    listing,
    times,
  };
}

/** Those that were known before, then by their names: several are read at a time. */
function inOrder(pending: RecordsFound['pending'], known: Texts): readonly (readonly [string, Pending])[] {
  return [...pending].sort(([a], [b]) => Number(known.has(b)) - Number(known.has(a)) || (a < b ? -1 : 1));
}

/** A record that was copied elsewhere proves nothing of the objects that lie under its names. */
const isInPlace = ({ id, objects }: Pending, recordPath: string): boolean =>
  objects.some((object) => object === recordPath || pendingPath(object, id) === recordPath);

/** Everything on the remote that belongs to a backup; the manifest first, as it is removed. */
export const objectsOf = ({ path, manifest }: Pick<Backup, 'path' | 'manifest'>): readonly [string, ...string[]] => [
  path + MANIFEST_SUFFIX,
  path + VERDICT_SUFFIX,
  ...storedObjects(manifest, path).map((object) => object.path),
];

/** What was uploaded: one object, or the files of a folder. */
export const storedObjects = (
  { files, bytes }: Pick<Manifest, 'files' | 'bytes'>,
  path: string,
): readonly { readonly path: string; readonly bytes: number }[] =>
  files?.map((file) => ({ path: `${path}/${file.path}`, bytes: file.bytes })) ?? [{ path, bytes }];

/** What the remote holds now of an artifact: path -> bytes, without what is not there. */
export async function measureStored(
  remote: Remote,
  { files }: Pick<Manifest, 'files'>,
  path: string,
  signal: AbortSignal,
): Promise<Listing> {
  if (files) return await remote.listFolder(path, signal);
  const bytes = await remote.stat(path, signal);
  return new Map(bytes === undefined ? [] : [[path, bytes]]);
}

function judgeBackup(
  manifest: Manifest,
  path: string,
  listing: Listing,
  verdicts: ReadonlyMap<string, Verdict>,
): Backup | undefined {
  // A manifest under another artifact's name is a stray copy: it must vouch for nothing.
  if (baseName(manifest.artifact) !== baseName(path)) return undefined;
  const found = verdicts.get(path + VERDICT_SUFFIX);
  const verdict = found?.id === manifest.id ? found : undefined;
  const make = (state: State, reason?: string): Backup => ({ manifest, path, state, reason, verdict });
  const problem = findDifference(storedObjects(manifest, path), listing, path);
  if (problem) return make(problem.state, problem.reason);
  if (verdict && !verdict.ok) return make('damaged', verdict.reason ?? 'its last verification failed');
  return make('good');
}

function findDifference(
  objects: ReturnType<typeof storedObjects>,
  listing: Listing,
  artifact: string,
): { state: State; reason: string } | undefined {
  for (const { path, bytes } of objects) {
    const found = listing.get(path);
    const what = path === artifact ? 'it' : path;
    if (found === undefined)
      return {
        state: 'missing',
        reason: path === artifact ? 'the artifact is not there any more' : `${path} is not there any more`,
      };
    if (found !== bytes) return { state: 'damaged', reason: `${what} has ${found} bytes, its manifest says ${bytes}` };
  }
  return undefined;
}

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** By the manifest's time, never by name or modification time; ids break ties. */
const byNewest = (a: Backup, b: Backup): number =>
  Date.parse(b.manifest.startedAt) - Date.parse(a.manifest.startedAt) || (a.manifest.id < b.manifest.id ? 1 : -1);
