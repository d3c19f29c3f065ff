import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RemoteError } from '../core/errors.ts';
import { makeFolderIn } from '../process/file.ts';
import { readEach, type Take, type Wanted } from './reading.ts';
import { ask, checksumFlags, type Site } from './site.ts';

/** Small objects, many at a time. */
export interface Records {
  /** The texts of small objects, through the private folder `folder`; those that are gone meanwhile are left out. */
  readAll(paths: readonly string[], folder: string, signal: AbortSignal): Promise<ReadonlyMap<string, string>>;
  /** Hands many texts on, one by one; what cannot be read does not hide the rest. Returns why something could not. */
  readEach(wanted: Wanted, folder: string, signal: AbortSignal, take: Take): Promise<RemoteError | undefined>;
  /** Stores a small object. A failure does not prove that it is not there. */
  write(path: string, text: string, signal: AbortSignal): Promise<void>;
  /** Removes exactly these objects, of any size; they may be gone already. `folder` is a private one. */
  remove(paths: readonly string[], folder: string, signal: AbortSignal): Promise<void>;
}

/** What another instance removes in the same moment is an error to rclone, and nothing to do the next time. */
const REMOVE_ATTEMPTS = 3;

/** How storages say that a login lacks the right. */
export const FORBIDDEN = /access ?denied|forbidden|permission[ _]denied|not permitted|insufficient permission|\b403\b/i;

export const createRecords = (site: Site): Records => ({
  readEach: (wanted, folder, signal, take) => readEach(site, wanted, folder, signal, take),
  async readAll(paths, folder, signal) {
    const texts = new Map<string, string>();
    const take: Take = (path, text) => texts.set(path, text).has(path);
    const failure = await readEach(site, { paths }, folder, signal, take);
    if (failure) throw failure;
    return texts;
  },
  write: async (path, text, signal) => void (await ask(site, 'rcat', path, checksumFlags(site), signal, text)),
  remove: (paths, folder, signal) => remove(site, paths, folder, signal),
});

async function remove(site: Site, paths: readonly string[], folder: string, signal: AbortSignal): Promise<void> {
  if (paths.length === 0) return;
  const broken = paths.find((path) => /[\r\n]/.test(path));
  if (broken !== undefined) throw new RemoteError(`${JSON.stringify(broken)} is no name of ours: it is not removed`);
  await using own = await makeFolderIn(folder);
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
