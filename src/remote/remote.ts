import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as z from 'zod';
import type { Command } from '../core/command.ts';
import { RemoteError } from '../core/errors.ts';
import { PARTIAL_SUFFIX } from '../core/manifest.ts';
import { type Child, hasSucceeded } from '../process/child.ts';
import { syncFile } from '../process/file.ts';
import type { Backend } from './backend.ts';
import { joinPath, type Location } from './location.ts';
import { isMissing, parseLogLine, type Rclone, rcloneError } from './rclone.ts';

/** Every object under a remote: path relative to it -> bytes. */
export type Listing = ReadonlyMap<string, number>;

/** Where backups lie. Paths are relative to it. All methods throw `RemoteError`. */
export interface Remote {
  /** For people; holds no secret. */
  readonly title: string;
  readonly backend: Backend;
  /** Everything there is. A remote that does not exist yet is empty; a listing cut short is an error. */
  list(signal: AbortSignal): Promise<Listing>;
  /** What there is below a folder. */
  listFolder(path: string, signal: AbortSignal): Promise<Listing>;
  /** Bytes of an object, undefined if it is not there. */
  stat(path: string, signal: AbortSignal): Promise<number | undefined>;
  /** When an object was stored, by the storage's own clock; undefined where it has none that we could tell. */
  storedAt(path: string, signal: AbortSignal): Promise<Date | undefined>;
  /** The texts of small objects, through the private folder `folder`; those that are gone meanwhile are left out. */
  readAll(paths: readonly string[], folder: string, signal: AbortSignal): Promise<ReadonlyMap<string, string>>;
  /** As `readAll`, but what cannot be read does not hide the rest: `failure` says that something could not. */
  readSome(paths: readonly string[], folder: string, signal: AbortSignal): Promise<Reading>;
  /** Stores a small object. A failure does not prove that it is not there. */
  write(path: string, text: string, signal: AbortSignal): Promise<void>;
  /** Removes exactly these objects; they may be gone already. `folder` is a private one. */
  remove(paths: readonly string[], folder: string, signal: AbortSignal): Promise<void>;
  /** Starts an upload: what is written to the child's standard input. End-of-input commits it. `onProgress` gets rclone's count of bytes sent. */
  upload(path: string, chunkBytes: number | undefined, onProgress: (bytes: number) => void): Child;
  /** What `upload` would run, or for a folder at `from` `uploadFolder`. */
  describeUpload(path: string, chunkBytes: number | undefined, from?: string): Command;
  /** The name to upload to, so that a half-written object never has the final one. */
  uploadPath(path: string): string;
  /** Gives an upload its final name, which must be free; from `onMove` on it may be ours. */
  publish(path: string, signal: AbortSignal, onMove?: () => void): Promise<void>;
  /** Copies the files of the local folder `from` to the folder `path`, which nobody else writes to. */
  uploadFolder(from: string, path: string, onProgress: (bytes: number) => void, signal: AbortSignal): Promise<void>;
  /** Copies the files of the folder `path` to the local folder `to`. */
  downloadFolder(path: string, to: string, onProgress: (bytes: number) => void, signal: AbortSignal): Promise<void>;
  /** Removes a folder and those in it, where they are empty; where that fails they stay. */
  removeFolder(path: string, signal: AbortSignal): Promise<void>;
  /** Starts reading an object; nothing comes of one that is missing, so `stat` it first. */
  open(path: string): Child;
  /** Makes objects outlast a power failure, where the remote is a local folder: elsewhere that is the storage's business. */
  sync(paths: readonly string[]): Promise<void>;
  /** Whether there are unfinished multipart uploads of exactly this object, as far as the storage tells. */
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

interface Reading {
  readonly texts: ReadonlyMap<string, string>;
  readonly failure: RemoteError | undefined;
}

const entrySchema = z.object({ Path: z.string(), Size: z.number(), IsDir: z.boolean() });
const timedSchema = z.object({ ModTime: z.string() });
const listingSchema = z.array(entrySchema);
const uploadsSchema = z.record(z.string(), z.array(z.object({ Key: z.string() })).nullable());

/** What another instance removes in the same moment is an error to rclone, and nothing to do the next time. */
const REMOVE_ATTEMPTS = 3;

/** How storages say that a login lacks the right. */
export const FORBIDDEN = /access ?denied|forbidden|permission[ _]denied|not permitted|insufficient permission|\b403\b/i;

/** Storages where rclone's own checksum only repeats what it holds in memory; our SHA-256 stands in the manifest. */
const SKIP_CHECKSUM = new Set(['local', 's3', 'alias']);

/** rclone tells its count of bytes every few seconds. */
const STATISTICS = ['--use-json-log', '--stats=5s', '--stats-log-level=NOTICE'];

const isKeyOf = (path: string, key: string): boolean => key === path || key.endsWith(`/${path}`);

export function createRemote(rclone: Rclone, location: Location, backend: Backend): Remote {
  const at = (path: string) => joinPath(location.path, path);
  const ask = async (verb: string, path: string, flags: readonly string[], signal: AbortSignal, input?: string) => {
    const output = await rclone.run(
      { verb: [verb], flags, paths: [at(path)], ...(input === undefined ? {} : { input }) },
      signal,
    );
    if (!hasSucceeded(output.exit))
      throw rcloneError(`${verb} ${joinPath(location.title, path)}`, output.exit, output.stderr);
    return output.stdout;
  };
  const checksumFlags = backend.types.every((type) => SKIP_CHECKSUM.has(type)) ? ['--ignore-checksum'] : [];

  const list = async (folder: string, signal: AbortSignal): Promise<Listing> => {
    // A volume's own folder, which only root may read, must not fail the listing of everybody else.
    const flags = ['--recursive', '--files-only', '--no-modtime', '--no-mimetype', '--exclude=/lost+found/**'];
    const place = folder === '' ? location.path : at(folder);
    const output = await rclone.run({ verb: ['lsjson'], flags, paths: [place] }, signal);
    if (isMissing(output.exit)) return new Map();
    const title = folder === '' ? location.title : joinPath(location.title, folder);
    if (!hasSucceeded(output.exit)) throw rcloneError(`lsjson ${title}`, output.exit, output.stderr);
    const entries = parse(listingSchema, output.stdout, `the listing of ${title}`);
    return new Map(entries.map((entry) => [folder === '' ? entry.Path : `${folder}/${entry.Path}`, entry.Size]));
  };
  const uploadCall = (path: string, chunkBytes: number | undefined) => {
    const parts = chunkBytes === undefined || !backend.parts ? [] : [`${backend.parts.flag}=${chunkBytes}B`];
    return { verb: ['rcat'], flags: [...checksumFlags, ...parts, ...STATISTICS], paths: [at(remote.uploadPath(path))] };
  };
  const copyCall = (from: string, to: string) => ({
    verb: ['copy'],
    flags: ['--no-check-dest', ...STATISTICS],
    paths: [from, to],
  });
  const copy = async (from: string, to: string, onProgress: (bytes: number) => void, signal: AbortSignal) => {
    const output = await rclone.run(copyCall(from, to), signal, readStatistics(onProgress));
    if (!hasSucceeded(output.exit)) throw rcloneError(`copy ${location.title}`, output.exit, output.stderr);
  };

  const remote: Remote = {
    title: location.title,
    backend,
    uploadPath: (path) => (backend.isAtomic ? path : path + PARTIAL_SUFFIX),

    list: (signal) => list('', signal),
    listFolder: list,
    uploadFolder: (from, path, onProgress, signal) => copy(from, at(path), onProgress, signal),
    downloadFolder: (path, to, onProgress, signal) => copy(at(path), to, onProgress, signal),

    async removeFolder(path, signal) {
      await rclone.run({ verb: ['rmdirs'], paths: [at(path)] }, signal).catch(() => {});
    },

    async stat(path, signal) {
      const output = await rclone.run(
        { verb: ['lsjson'], flags: ['--stat', '--no-modtime', '--no-mimetype'], paths: [at(path)] },
        signal,
      );
      if (isMissing(output.exit)) return undefined;
      if (!hasSucceeded(output.exit))
        throw rcloneError(`lsjson ${joinPath(location.title, path)}`, output.exit, output.stderr);
      const entry = parse(entrySchema.nullable(), output.stdout, `what rclone says of ${path}`);
      // Of nothing, bucket storages say a directory of size -1.
      return entry === null || entry.IsDir ? undefined : entry.Size;
    },

    async storedAt(path, signal) {
      // Elsewhere the time is what rclone has set, or this machine's.
      if (!backend.isAtomic || backend.types.includes('local')) return undefined;
      const flags = ['--stat', '--use-server-modtime', '--no-mimetype'];
      const stdout = await ask('lsjson', path, flags, signal);
      const time = parse(timedSchema.nullable(), stdout, `what rclone says of ${path}`)?.ModTime;
      return time === undefined || Number.isNaN(Date.parse(time)) ? undefined : new Date(time);
    },

    async readAll(paths, folder, signal) {
      const { texts, failure } = await remote.readSome(paths, folder, signal);
      if (failure) throw failure;
      return texts;
    },

    async readSome(paths, folder, signal) {
      if (paths.length === 0) return { texts: new Map(), failure: undefined };
      // A folder of its own: what an earlier call left must not pass for an object that is gone meanwhile.
      await using own = await makeFolder(folder);
      const names = join(own.path, 'names');
      const target = join(own.path, 'objects');
      await writeFile(names, paths.join('\n'), { mode: 0o600 });
      const flags = [
        '--files-from-raw',
        names,
        '--no-traverse',
        '--no-check-dest',
        '--transfers=16',
        '--checkers=16',
        '--use-server-modtime',
        // Another instance may be writing its record anew; what is read by halves does not parse.
        '--local-no-check-updated',
      ];
      const output = await rclone.run({ verb: ['copy'], flags, paths: [location.path, target] }, signal);
      const isWhole = hasSucceeded(output.exit);
      const read = await Promise.all(paths.map((path) => readFile(join(target, path), 'utf8').catch(() => undefined)));
      return {
        texts: new Map(paths.flatMap((path, index) => (read[index] === undefined ? [] : [[path, read[index]]]))),
        failure: isWhole ? undefined : rcloneError(`copy ${location.title}`, output.exit, output.stderr),
      };
    },

    async write(path, text, signal) {
      await ask('rcat', path, checksumFlags, signal, text);
    },

    async remove(paths, folder, signal) {
      if (paths.length === 0) return;
      const broken = paths.find((path) => /[\r\n]/.test(path));
      if (broken !== undefined)
        throw new RemoteError(`${JSON.stringify(broken)} is no name of ours: it is not removed`);
      await using own = await makeFolder(folder);
      const names = join(own.path, 'names');
      await writeFile(names, paths.join('\n'), { mode: 0o600 });
      await removeNamed(names, REMOVE_ATTEMPTS, signal);
    },

    upload: (path, chunkBytes, onProgress) => rclone.start(uploadCall(path, chunkBytes), readStatistics(onProgress)),
    describeUpload: (path, chunkBytes, from) =>
      rclone.describe(from === undefined ? uploadCall(path, chunkBytes) : copyCall(from, at(path))),

    async publish(path, signal, onMove) {
      if (backend.isAtomic) return;
      // Onto an existing object moveto may keep the old content and exit 0.
      if ((await remote.stat(path, signal)) !== undefined) {
        throw new RemoteError(
          `${joinPath(location.title, path)} exists: somebody else wrote it during the upload; it was left alone`,
        );
      }
      onMove?.();
      const output = await rclone.run(
        { verb: ['moveto'], flags: checksumFlags, paths: [at(path + PARTIAL_SUFFIX), at(path)] },
        signal,
      );
      if (!hasSucceeded(output.exit))
        throw rcloneError(`moveto ${joinPath(location.title, path)}`, output.exit, output.stderr);
    },

    async sync(paths) {
      if (backend.types.join() !== 'local') return;
      const files = paths.map((path) => join(location.path, path));
      for (const path of [...files, ...new Set(files.map(dirname))]) await syncFile(path);
    },

    open: (path) => rclone.start({ verb: ['cat'], paths: [at(path)] }),

    hasUpload: async (path, signal) => (await listUploads(path, signal)).some((key) => isKeyOf(path, key)),

    findUploads: async (paths, signal) => {
      const keys = await listUploads('', signal);
      return paths.filter((path) => keys.some((key) => isKeyOf(path, key)));
    },

    async abortUpload(path, age, signal) {
      if ((await remote.stat(path, signal)) !== undefined) return false;
      const uploads = await listUploads(path, signal);
      // rclone takes the path for a prefix: act only where nothing but this very object is meant.
      if (uploads.length === 0 || !uploads.every((key) => isKeyOf(path, key))) return false;
      const done = await rclone.run(
        { verb: ['backend', 'cleanup'], flags: ['-o', `max-age=${MIN_AGE[age]}`], paths: [at(path)] },
        signal,
      );
      return hasSucceeded(done.exit);
    },
  };

  /** Keys of unfinished uploads under the path as a prefix ('' for all); of its folder, where there is such an object. */
  async function listUploads(path: string, signal: AbortSignal): Promise<readonly string[]> {
    // Wrapped in crypt and its like, the key is not the name we gave; a bucket's life-cycle rule must do there.
    if (backend.types.find((type) => type !== 'alias') !== 's3') return [];
    const place = path === '' ? location.path : at(path);
    const listed = await rclone.run({ verb: ['backend', 'list-multipart-uploads'], paths: [place] }, signal);
    if (!hasSucceeded(listed.exit)) return [];
    const uploads = Object.values(parse(uploadsSchema, listed.stdout, 'the list of uploads'));
    return uploads.flatMap((list) => (list ?? []).map(({ Key }) => Key));
  }

  async function removeNamed(names: string, attempts: number, signal: AbortSignal): Promise<void> {
    try {
      await ask('delete', '', ['--files-from-raw', names, '--no-traverse', '--retries=1'], signal);
    } catch (cause) {
      if (!(cause instanceof RemoteError)) throw cause;
      if (FORBIDDEN.test(cause.message))
        throw new RemoteError(`forbidden: the login may not remove objects from ${location.title}`, { cause });
      if (attempts <= 1) throw cause;
      await removeNamed(names, attempts - 1, signal);
    }
  }

  return remote;
}

async function makeFolder(parent: string): Promise<AsyncDisposable & { readonly path: string }> {
  // Who was frozen for long may find its folder swept, and still has to clean up on the remote.
  await mkdir(parent, { recursive: true, mode: 0o700 });
  const path = await mkdtemp(join(parent, 'rclone-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Reads rclone's statistics out of its JSON log, whole lines at a time. */
function readStatistics(onProgress: (bytes: number) => void): (text: string) => void {
  let rest = '';
  return (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const bytes = parseLogLine(line)?.stats?.bytes;
      if (bytes !== undefined) onProgress(bytes);
    }
  };
}

function parse<T>(schema: z.ZodType<T>, text: string, what: string): T {
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw new RemoteError(`${what} does not parse: it may have been cut short`, { cause: error });
  }
}
