import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import * as z from 'zod';
import { RemoteError } from '../core/errors.ts';
import { hasSucceeded } from '../process/child.ts';
import { makeFolderIn } from '../process/file.ts';
import type { Listed } from './listings.ts';
import { rcloneError } from './rclone.ts';
import { checksumFlags, ONE_OBJECT, placeOf, type Site, titleOf } from './site.ts';

/**
 * Records of a remote in one object, since asking for thousands takes a storage of objects long. It proves nothing: an entry counts
 * only for an object that is listed with the very size and time that it had when the entry was made.
 */
export const INDEX_PATH = 'dbstash-index.jsonl.gz';

/** An object's text, and how it was listed before that was read. `modified` is in ms since 1970. */
export interface Entry {
  readonly path: string;
  readonly bytes: number;
  readonly modified: number;
  readonly text: string;
}

/** What the index holds of objects that are still as they were, by path. `gone` is how many of its entries are of others. */
export interface RecordIndex {
  readonly entries: ReadonlyMap<string, Entry>;
  readonly gone: number;
}

/** The index of a remote: one, at its top. */
export interface IndexFile {
  /** Throws `RemoteError` where it cannot be read whole, or is not one. Empty where there is none. `folder` is a private one. */
  readIndex(listed: Listed, folder: string, signal: AbortSignal): Promise<RecordIndex>;
  /** Writes it anew. */
  writeIndex(entries: readonly Entry[], folder: string, signal: AbortSignal): Promise<void>;
}

export const createIndexFile = (site: Site): IndexFile => ({
  readIndex: (listed, folder, signal) => readIndex(site, listed, folder, signal),
  writeIndex: (entries, folder, signal) => writeIndex(site, entries, folder, signal),
});

/** The first line; a later release with another kind of line says so here. */
const HEADER = '{"dbstash":1,"index":1}';
const entrySchema = z.object({ path: z.string(), bytes: z.number(), modified: z.number(), text: z.string() });

/** How an entry that still holds is told: by nothing that it says itself. */
const isListedSo = ({ listing, times }: Listed, { path, bytes, modified }: Omit<Entry, 'text'>): boolean =>
  listing.get(path) === bytes && times.get(path) === modified;

export async function readIndex(site: Site, listed: Listed, folder: string, signal: AbortSignal): Promise<RecordIndex> {
  if (!listed.listing.has(INDEX_PATH)) return { entries: new Map(), gone: 0 };
  await using own = await makeFolderIn(folder);
  const output = join(own.path, INDEX_PATH);
  const call = { verb: ['cat'], flags: [ONE_OBJECT], paths: [placeOf(site, INDEX_PATH)], output };
  const { exit, stderr } = await site.rclone.run(call, signal);
  if (!hasSucceeded(exit)) throw rcloneError(`cat ${titleOf(site, INDEX_PATH)}`, exit, stderr);
  try {
    return await parseIndex(output, listed);
  } catch (cause) {
    throw new RemoteError(
      `${titleOf(site, INDEX_PATH)} is no index of dbstash, or broken: it is left alone; remove it`,
      {
        cause,
      },
    );
  }
}

/** What `createRecords` writes of the largest is less. */
const MAX_TEXT_BYTES = 256 * 1024 * 1024;

/** gzip's checksum proves that it is whole. */
async function parseIndex(file: string, listed: Listed): Promise<RecordIndex> {
  const unpacked = await promisify(gunzip)(await readFile(file), { maxOutputLength: MAX_TEXT_BYTES });
  const [header, ...lines] = unpacked.toString().trimEnd().split('\n');
  if (header !== HEADER) throw new Error('its first line is another');
  const entries = lines.map((line) => entrySchema.parse(JSON.parse(line)));
  const held = entries.filter((entry) => isListedSo(listed, entry));
  return { entries: new Map(held.map((entry) => [entry.path, entry])), gone: entries.length - held.length };
}

async function writeIndex(site: Site, entries: readonly Entry[], folder: string, signal: AbortSignal): Promise<void> {
  await using own = await makeFolderIn(folder);
  const file = join(own.path, INDEX_PATH);
  const lines = [HEADER, ...entries.map((entry) => JSON.stringify(entry))];
  await writeFile(file, await promisify(gzip)(`${lines.join('\n')}\n`), { mode: 0o600 });
  const flags = ['--no-check-dest', ...checksumFlags(site)];
  const call = { verb: ['copyto'], flags, paths: [file, placeOf(site, INDEX_PATH)] };
  const { exit, stderr } = await site.rclone.run(call, signal);
  if (!hasSucceeded(exit)) throw rcloneError(`copyto ${titleOf(site, INDEX_PATH)}`, exit, stderr);
}
