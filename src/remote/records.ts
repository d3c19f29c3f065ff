import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RemoteError } from '../core/errors.ts';
import { hasSucceeded } from '../process/child.ts';
import { rcloneError } from './rclone.ts';
import { ask, checksumFlags, type Site } from './site.ts';

/** Small objects, many at a time. */
export interface Records {
  /** The texts of small objects, through the private folder `folder`; those that are gone meanwhile are left out. */
  readAll(paths: readonly string[], folder: string, signal: AbortSignal): Promise<ReadonlyMap<string, string>>;
  /** As `readAll`, but what cannot be read does not hide the rest: `failure` says that something could not. */
  readSome(paths: readonly string[], folder: string, signal: AbortSignal): Promise<Reading>;
  /** Stores a small object. A failure does not prove that it is not there. */
  write(path: string, text: string, signal: AbortSignal): Promise<void>;
  /** Removes exactly these objects, of any size; they may be gone already. `folder` is a private one. */
  remove(paths: readonly string[], folder: string, signal: AbortSignal): Promise<void>;
}

interface Reading {
  readonly texts: ReadonlyMap<string, string>;
  readonly failure: RemoteError | undefined;
}

/** What another instance removes in the same moment is an error to rclone, and nothing to do the next time. */
const REMOVE_ATTEMPTS = 3;

/** How storages say that a login lacks the right. */
export const FORBIDDEN = /access ?denied|forbidden|permission[ _]denied|not permitted|insufficient permission|\b403\b/i;

export const createRecords = (site: Site): Records => ({
  readSome: (paths, folder, signal) => readSome(site, paths, folder, signal),
  async readAll(paths, folder, signal) {
    const { texts, failure } = await readSome(site, paths, folder, signal);
    if (failure) throw failure;
    return texts;
  },
  write: async (path, text, signal) => void (await ask(site, 'rcat', path, checksumFlags(site), signal, text)),
  remove: (paths, folder, signal) => remove(site, paths, folder, signal),
});

async function readSome(site: Site, paths: readonly string[], folder: string, signal: AbortSignal): Promise<Reading> {
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
  const output = await site.rclone.run({ verb: ['copy'], flags, paths: [site.location.path, target] }, signal);
  const isWhole = hasSucceeded(output.exit);
  const read = await Promise.all(paths.map((path) => readFile(join(target, path), 'utf8').catch(() => undefined)));
  return {
    texts: new Map(paths.flatMap((path, index) => (read[index] === undefined ? [] : [[path, read[index]]]))),
    failure: isWhole ? undefined : rcloneError(`copy ${site.location.title}`, output.exit, output.stderr),
  };
}

async function remove(site: Site, paths: readonly string[], folder: string, signal: AbortSignal): Promise<void> {
  if (paths.length === 0) return;
  const broken = paths.find((path) => /[\r\n]/.test(path));
  if (broken !== undefined) throw new RemoteError(`${JSON.stringify(broken)} is no name of ours: it is not removed`);
  await using own = await makeFolder(folder);
  const names = join(own.path, 'names');
  await writeFile(names, paths.join('\n'), { mode: 0o600 });
  await removeNamed(site, names, REMOVE_ATTEMPTS, signal);
}

async function removeNamed(site: Site, names: string, attempts: number, signal: AbortSignal): Promise<void> {
  try {
    await ask(site, 'delete', '', ['--files-from-raw', names, '--no-traverse', '--retries=1'], signal);
  } catch (cause) {
    if (!(cause instanceof RemoteError)) throw cause;
    if (FORBIDDEN.test(cause.message))
      throw new RemoteError(`forbidden: the login may not remove objects from ${site.location.title}`, { cause });
    if (attempts <= 1) throw cause;
    await removeNamed(site, names, attempts - 1, signal);
  }
}

async function makeFolder(parent: string): Promise<AsyncDisposable & { readonly path: string }> {
  // Who was frozen for long may find its folder swept, and still has to clean up on the remote.
  await mkdir(parent, { recursive: true, mode: 0o700 });
  const path = await mkdtemp(join(parent, 'rclone-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
