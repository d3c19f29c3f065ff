import { mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Waits until a file, or the names in a folder, are on the disk. */
export async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes a folder and those above it, 0700. With `recursive`, Node tries for ever where none can be made, as in /proc (seen with 24). */
export async function makeFolders(path: string): Promise<void> {
  const make = (folder: string) => mkdir(folder, { mode: 0o700 });
  try {
    await make(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    await makeFolders(dirname(path));
    await make(path).catch((again: unknown) => {
      if (!(again instanceof Error && 'code' in again && again.code === 'EEXIST')) throw again;
    });
  }
}

/** A private folder below `parent`. */
export async function makeFolderIn(parent: string): Promise<AsyncDisposable & { readonly path: string }> {
  // Who was frozen for long may find its folder swept, and still has to clean up on the remote.
  await mkdir(parent, { recursive: true, mode: 0o700 });
  const path = await mkdtemp(join(parent, 'rclone-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
