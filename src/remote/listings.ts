import * as z from 'zod';
import { hasSucceeded } from '../process/child.ts';
import { isMissing, rcloneError } from './rclone.ts';
import { ask, parse, placeOf, type Site, titleOf } from './site.ts';

/** Every object under a remote: path relative to it -> bytes. */
export type Listing = ReadonlyMap<string, number>;

/** A listing, and when each object was stored, by the storage's own clock, in ms since 1970; empty where that is not told. */
export interface Listed {
  readonly listing: Listing;
  readonly times: ReadonlyMap<string, number>;
}

/** What there is. */
export interface Listings {
  /** Everything. A remote that does not exist yet is empty; a listing cut short is an error. */
  list(signal: AbortSignal): Promise<Listed>;
  /** What there is below a folder. */
  listFolder(path: string, signal: AbortSignal): Promise<Listing>;
  /** Bytes of an object, undefined if it is not there. */
  stat(path: string, signal: AbortSignal): Promise<number | undefined>;
  /** When an object was stored, by the storage's own clock; undefined where it has none that we could tell. */
  storedAt(path: string, signal: AbortSignal): Promise<Date | undefined>;
  /** When an object was written, as far as the storage and whoever copied it there tell. */
  modifiedAt(path: string, signal: AbortSignal): Promise<Date | undefined>;
}

const entrySchema = z.object({
  Path: z.string(),
  Size: z.number(),
  IsDir: z.boolean(),
  ModTime: z.string().optional(),
});
const timedSchema = z.object({ ModTime: z.string() });
const listingSchema = z.array(entrySchema);

export const createListings = (site: Site): Listings => ({
  list: (signal) => list(site, '', signal),
  listFolder: async (path, signal) => (await list(site, path, signal)).listing,
  stat: (path, signal) => stat(site, path, signal),
  storedAt: (path, signal) => storedAt(site, path, signal),
  modifiedAt: (path, signal) => readTime(site, path, [], signal),
});

/** Storages that tell the time in a listing for nothing; asked without `--use-server-modtime`, S3 tells it object by object. */
const DATED = new Set(['s3', 'alias', 'crypt']);
const isDated = ({ backend: { types } }: Site): boolean =>
  types.includes('s3') && types.every((type) => DATED.has(type));

async function list(site: Site, folder: string, signal: AbortSignal): Promise<Listed> {
  const time = isDated(site) ? '--use-server-modtime' : '--no-modtime';
  // A volume's own folder, which only root may read, must not fail the listing of everybody else.
  const flags = ['--recursive', '--files-only', time, '--no-mimetype', '--exclude=/lost+found/**'];
  const output = await site.rclone.run({ verb: ['lsjson'], flags, paths: [placeOf(site, folder)] }, signal);
  if (isMissing(output.exit)) return { listing: new Map(), times: new Map() };
  const title = titleOf(site, folder);
  if (!hasSucceeded(output.exit)) throw rcloneError(`lsjson ${title}`, output.exit, output.stderr);
  const entries = parse(listingSchema, output.stdout, `the listing of ${title}`);
  const pathOf = ({ Path }: (typeof entries)[number]) => (folder === '' ? Path : `${folder}/${Path}`);
  const dated = isDated(site) ? entries : [];
  return {
    listing: new Map(entries.map((entry) => [pathOf(entry), entry.Size])),
    times: new Map(dated.map((entry) => [pathOf(entry), Date.parse(entry.ModTime ?? '')])),
  };
}

async function stat(site: Site, path: string, signal: AbortSignal): Promise<number | undefined> {
  const flags = ['--stat', '--no-modtime', '--no-mimetype'];
  const output = await site.rclone.run({ verb: ['lsjson'], flags, paths: [placeOf(site, path)] }, signal);
  if (isMissing(output.exit)) return undefined;
  if (!hasSucceeded(output.exit)) throw rcloneError(`lsjson ${titleOf(site, path)}`, output.exit, output.stderr);
  const entry = parse(entrySchema.nullable(), output.stdout, `what rclone says of ${path}`);
  // Of nothing, bucket storages say a directory of size -1.
  return entry === null || entry.IsDir ? undefined : entry.Size;
}

async function storedAt(site: Site, path: string, signal: AbortSignal): Promise<Date | undefined> {
  // Elsewhere the time is what rclone has set, or this machine's.
  if (!site.backend.isAtomic || site.backend.types.includes('local')) return undefined;
  return await readTime(site, path, ['--use-server-modtime'], signal);
}

async function readTime(
  site: Site,
  path: string,
  flags: readonly string[],
  signal: AbortSignal,
): Promise<Date | undefined> {
  const stdout = await ask(site, 'lsjson', path, ['--stat', '--no-mimetype', ...flags], signal);
  const time = parse(timedSchema.nullable(), stdout, `what rclone says of ${path}`)?.ModTime;
  return time === undefined || Number.isNaN(Date.parse(time)) ? undefined : new Date(time);
}
