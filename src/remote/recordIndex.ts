import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import * as z from 'zod';
import { RemoteError } from '../core/errors.ts';
import { hasSucceeded } from '../process/child.ts';
import type { Listed } from './listings.ts';
import { rcloneError } from './rclone.ts';
import { checksumFlags, ONE_OBJECT, placeOf, type Site, titleOf } from './site.ts';

/**
 * Records of a remote in one object, since asking for thousands takes a storage of objects long. It proves nothing: an entry counts
 * only for an object that is listed with the very size and time that it had when the entry was made.
 */
export const INDEX_PATH = 'dbstash-index.jsonl.gz';

/** An object, how it was listed before it was read, and its text. `modified` is in ms since 1970. */
const entrySchema = z.object({ path: z.string(), bytes: z.number(), modified: z.number(), text: z.string() });
export type Entry = z.infer<typeof entrySchema>;

/** The index of a remote: one, at its top. Where it is empty, missing or broken nothing else fails for it. */
export interface IndexFile {
  /** Hands on each entry, one by one; none where there is no index. Throws `RemoteError` where it cannot be read whole. `folder` is a private one. */
  readIndex(listed: Listed, folder: string, signal: AbortSignal, take: (entry: Entry) => void): Promise<void>;
  /** Writes it anew, of what `fill` puts in. */
  writeIndex(folder: string, signal: AbortSignal, fill: (put: (entry: Entry) => void) => Promise<void>): Promise<void>;
}

export const createIndexFile = (site: Site): IndexFile => ({
  readIndex: (listed, folder, signal, take) => readIndex(site, listed, folder, signal, take),
  writeIndex: (folder, signal, fill) => writeIndex(site, folder, signal, fill),
});

/** The first line; a later release with another kind of line says so here. */
const HEADER = '{"dbstash":1,"index":1}';

/** Far more than is ever written: larger ones are not ours, and would fill the disk or the memory. */
const MAX_BYTES = 64 * 1024 * 1024;
const MAX_TEXT_BYTES = 4 * MAX_BYTES;
const MAX_LINE_LENGTH = 4 * 1024 * 1024;

/** Whether it still holds: what an entry says itself is no reason. */
export const isListedSo = ({ listing, times }: Listed, { path, bytes, modified }: Omit<Entry, 'text'>): boolean =>
  listing.get(path) === bytes && times.get(path) === modified;

export async function readIndex(
  site: Site,
  { listing }: Listed,
  folder: string,
  signal: AbortSignal,
  take: (entry: Entry) => void,
): Promise<void> {
  const bytes = listing.get(INDEX_PATH);
  if (bytes === undefined) return;
  const title = titleOf(site, INDEX_PATH);
  const unfit = (cause: unknown) =>
    new RemoteError(`${title} is broken, of a later release, or somebody else's: it is left alone`, { cause });
  if (bytes > MAX_BYTES) throw unfit(new Error(`it has ${bytes} bytes`));
  const output = join(folder, 'index-read');
  const call = { verb: ['cat'], flags: [ONE_OBJECT], paths: [placeOf(site, INDEX_PATH)], output };
  const { exit, stderr } = await site.rclone.run(call, signal);
  if (!hasSucceeded(exit)) throw rcloneError(`cat ${title}`, exit, stderr);
  try {
    // Nothing of it counts before gzip's checksum, at its end, has proven that it is whole.
    await unpack(output, () => {});
    await readEntries(output, take);
  } catch (cause) {
    throw unfit(cause);
  }
}

/** Throws where gzip's checksum is wrong, or it is larger than any index. */
async function unpack(file: string, take: (chunk: Buffer) => void): Promise<void> {
  let total = 0;
  const takeAll = async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) {
      total += chunk.length;
      if (total > MAX_TEXT_BYTES) throw new Error('it holds more than any index');
      take(chunk);
    }
  };
  await pipeline(createReadStream(file), createGunzip({ chunkSize: 256 * 1024 }), takeAll);
}

/** What follows the last line break is no line. */
async function readEntries(file: string, take: (entry: Entry) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = '';
  let isOurs = false;
  const takeLine = (line: string) => {
    if (isOurs) take(entrySchema.parse(JSON.parse(line)));
    else if (line !== HEADER) throw new Error('its first line is another');
    isOurs = true;
  };
  await unpack(file, (chunk) => {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE_LENGTH) throw new Error('a line of it is longer than any record');
    for (const line of lines) takeLine(line);
  });
  if (!isOurs) throw new Error('it is empty');
}

async function writeIndex(
  site: Site,
  folder: string,
  signal: AbortSignal,
  fill: (put: (entry: Entry) => void) => Promise<void>,
): Promise<void> {
  const file = join(folder, INDEX_PATH);
  const gzip = createGzip();
  const written = pipeline(gzip, createWriteStream(file, { mode: 0o600 }), { signal });
  // Awaited below: until then it must not go unheard.
  written.catch(() => {});
  gzip.write(`${HEADER}\n`);
  const filled = fill((entry) => void gzip.write(`${JSON.stringify(entry)}\n`));
  await filled.then(
    () => gzip.end(),
    (error: unknown) => gzip.destroy(error as Error),
  );
  await written;
  const flags = ['--no-check-dest', ...checksumFlags(site)];
  const call = { verb: ['copyto'], flags, paths: [file, placeOf(site, INDEX_PATH)] };
  const { exit, stderr } = await site.rclone.run(call, signal);
  if (!hasSucceeded(exit)) throw rcloneError(`copyto ${titleOf(site, INDEX_PATH)}`, exit, stderr);
}
