import { createReadStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RemoteError } from '../core/errors.ts';
import { hasSucceeded } from '../process/child.ts';
import { makeFolderIn } from '../process/file.ts';
import type { Listed, Listing } from './listings.ts';
import { rcloneError } from './rclone.ts';
import { type Entry, isListedSo, readIndex } from './recordIndex.ts';
import type { Site } from './site.ts';

/** Small objects to be read. `listed` is the whole remote, as it was listed a moment ago. */
export interface Wanted {
  readonly paths: readonly string[];
  readonly listed?: Listed;
}

/**
 * Gets what was read. Where that is not `isSure` to lie under that path, it must be taken only if it says so itself: returns whether
 * it was taken, and what was not is read again by its name.
 */
export type Take = (path: string, text: string, isSure: boolean) => boolean;

/** Hands on each text, through the private folder `folder`; those that are gone meanwhile are left out. */
export async function readEach(
  site: Site,
  wanted: Wanted,
  folder: string,
  signal: AbortSignal,
  take: Take,
): Promise<RemoteError | undefined> {
  if (wanted.paths.length === 0) return undefined;
  // A folder of its own: what an earlier call left must not pass for an object that is gone meanwhile.
  await using own = await makeFolderIn(folder);
  const taken = new Set<string>();
  const isTaken: Take = (path, text, isSure) => {
    const isHere = take(path, text, isSure);
    if (isHere) taken.add(path);
    return isHere;
  };
  if (isNear(site)) await readPrinted(site, wanted, own.path, signal, isTaken);
  else if (wanted.paths.length >= MIN_INDEXED) await takeIndexed(site, wanted, own.path, signal, isTaken);
  const paths = wanted.paths.filter((path) => !taken.has(path));
  return paths.length === 0 ? undefined : await readCopies(site, { ...wanted, paths }, own.path, signal, take);
}

/** Fewer are read as soon without the index, and are no reason to write it anew. */
export const MIN_INDEXED = 256;

/** An index that cannot be read costs time, no more. */
async function takeIndexed(
  site: Site,
  { paths, listed }: Wanted,
  folder: string,
  signal: AbortSignal,
  take: Take,
): Promise<void> {
  if (!listed || listed.times.size === 0) return;
  const wanted = new Set(paths);
  const takeEntry = (entry: Entry) => {
    if (wanted.has(entry.path) && isListedSo(listed, entry)) take(entry.path, entry.text, true);
  };
  await readIndex(site, listed, folder, signal, takeEntry).catch(() => {});
}

/** Storages that answer so soon that rclone may read one object after the other, for which it needs no local files. */
const NEAR = new Set(['local', 'alias', 'crypt']);
const isNear = ({ backend: { types } }: Site): boolean => types.length > 0 && types.every((type) => NEAR.has(type));

/** Fewer are not worth a further rclone; a folder that is mounted from elsewhere is the slower the more wait in line. */
const MIN_SHARE = 500;
const MAX_SHARES = 4;

/** Reads all in few streams, in which nothing but their sizes, as listed, parts one from the next. */
async function readPrinted(
  site: Site,
  { paths, listed }: Wanted,
  folder: string,
  signal: AbortSignal,
  take: Take,
): Promise<void> {
  if (!listed) return;
  const sorted = [...paths].sort(asRclonePrints);
  const share = Math.max(MIN_SHARE, Math.ceil(sorted.length / MAX_SHARES));
  const shares = Array.from({ length: Math.ceil(sorted.length / share) }, (_, index) =>
    sorted.slice(index * share, (index + 1) * share),
  );
  const readShare = async (names: readonly string[], index: number) => {
    const [list, output] = [join(folder, `names-${index}`), join(folder, `printed-${index}`)];
    await writeFile(list, names.join('\n'), { mode: 0o600 });
    const flags = ['--files-from-raw', list, ...FLAGS, '--no-traverse'];
    await site.rclone.run({ verb: ['cat'], flags, paths: [site.location.path], output }, signal);
    // However that ended, and whatever there is of it: what is not whole is not taken.
    await part(output, names, listed.listing, take).catch(() => {});
  };
  await Promise.all(shares.map(readShare));
}

/** Folder by folder, each sorted. Where it is done otherwise, nothing fits and all is read again. */
function asRclonePrints(a: string, b: string): number {
  const [folderA, folderB] = [a.slice(0, a.lastIndexOf('/') + 1), b.slice(0, b.lastIndexOf('/') + 1)];
  return compare(folderA.slice(0, -1), folderB.slice(0, -1)) || compare(a, b);
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Cuts a file into texts of the sizes that were listed. */
async function part(file: string, names: readonly string[], listing: Listing, take: Take): Promise<void> {
  let rest = Buffer.alloc(0);
  let next = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) {
    rest = Buffer.concat([rest, chunk as Buffer]);
    let from = 0;
    for (; next < names.length; next++) {
      const to = from + (listing.get(names[next]!) ?? 0);
      if (to > rest.length) break;
      take(names[next]!, rest.toString('utf8', from, to), false);
      from = to;
    }
    rest = rest.subarray(from);
  }
}

const FLAGS = [
  '--checkers=16',
  '--use-server-modtime',
  '--buffer-size=0',
  // Another instance may be writing its record anew; what is read by halves does not parse.
  '--local-no-check-updated',
];

/** So many objects of a listing take as long as asking for one by its name; and with few it does not matter. */
const LISTED_AS_SOON = 32;
const MANY = 100;
const AT_ONCE = 64;

/** Reads by way of local files of the same names. Only what was asked for by its name and is not there is gone. */
async function readCopies(
  site: Site,
  { paths, listed }: Wanted,
  folder: string,
  signal: AbortSignal,
  take: Take,
): Promise<RemoteError | undefined> {
  const isMost = listed !== undefined && paths.length >= MANY && paths.length * LISTED_AS_SOON > listed.listing.size;
  const ways = isMost ? ['--fast-list', '--no-traverse'] : ['--no-traverse'];
  let left = paths;
  let failure: RemoteError | undefined;
  for (const way of ways) {
    if (left.length === 0) return undefined;
    const copied = join(folder, `objects${way}`);
    failure = await copy(site, left, way, folder, copied, signal);
    left = await takeFiles(left, copied, take);
  }
  return failure;
}

async function copy(
  { rclone, location, backend }: Site,
  paths: readonly string[],
  way: string,
  folder: string,
  target: string,
  signal: AbortSignal,
): Promise<RemoteError | undefined> {
  const names = join(folder, 'names');
  await writeFile(names, paths.join('\n'), { mode: 0o600 });
  // Storages of objects take many at once; servers with a login for each connection do not.
  const transfers = backend.parts ? 32 : 16;
  const own = ['--files-from-raw', names, way, '--no-check-dest', '--local-no-set-modtime', `--transfers=${transfers}`];
  const call = { verb: ['copy'], flags: [...own, ...FLAGS], paths: [location.path, target] };
  const output = await rclone.run(call, signal);
  return hasSucceeded(output.exit) ? undefined : rcloneError(`copy ${location.title}`, output.exit, output.stderr);
}

/** Returns those that are not there. */
async function takeFiles(paths: readonly string[], folder: string, take: Take): Promise<readonly string[]> {
  const left: string[] = [];
  for (let from = 0; from < paths.length; from += AT_ONCE) {
    const some = paths.slice(from, from + AT_ONCE);
    const texts = await Promise.all(some.map((path) => readFile(join(folder, path), 'utf8').catch(() => undefined)));
    for (const [index, text] of texts.entries()) {
      if (text === undefined) left.push(some[index]!);
      else take(some[index]!, text, true);
    }
  }
  return left;
}
