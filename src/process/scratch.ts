import { chmod, mkdir, readdir, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, renderCommand } from '../core/command.ts';
import { ConfigError } from '../core/errors.ts';
import { acquireLease, isLeaseHeld, type Lease } from './lease.ts';

/** A private folder (0700) for the temporary files of one run; gone when disposed. */
export interface Scratch extends AsyncDisposable {
  readonly path: string;
  /** The command with its `SCRATCH` replaced and its `files` written (0600). */
  prepare(command: Command): Promise<Command>;
  /** Bytes of all files in it. */
  size(): Promise<number>;
  /** Bytes that its file system can still take from us. */
  freeBytes(): Promise<number>;
}

const PREFIX = 'work-';
const LEASE = '.lease';

/** Makes the folder `work-<name>` under `tempDir`. Throws `ConfigError` where that cannot be written, or is not ours to trust. */
export async function createScratch(tempDir: string, name: string): Promise<Scratch> {
  const path = join(tempDir, PREFIX + name);
  await expectTrusted(tempDir);
  let lease: Lease | undefined;
  try {
    // The lease first: a folder without one is swept by the next start of anybody.
    lease = await acquireLease(path + LEASE, () => {});
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    throw unwritableFolder(tempDir, error);
  }
  return {
    path,
    prepare: (command) => prepareCommand(command, path),
    size: () => folderSize(path),
    freeBytes: () => statfs(path).then(({ bavail, bsize }) => bavail * bsize),
    [Symbol.asyncDispose]: async () => {
      // What cannot be removed is swept at the next start: it must not hide how the run ended.
      await rm(path, { recursive: true, force: true }).catch(() => {});
      await lease?.release();
    },
  };
}

export const unwritableFolder = (tempDir: string, cause: unknown): ConfigError =>
  new ConfigError(
    `BACKUP_TEMP_DIR: ${tempDir} is not writable by uid ${process.getuid?.()}: mount a volume or a tmpfs there, or name another folder`,
    { cause },
  );

/** Whoever owns a folder can put other files in the place of ours, whatever their mode is: rclone's configuration, say. */
async function expectTrusted(tempDir: string): Promise<void> {
  const owner = await stat(tempDir).then(
    ({ uid }) => uid,
    () => undefined,
  );
  if (owner === undefined || owner === 0 || owner === process.getuid?.()) return;
  throw new ConfigError(
    `BACKUP_TEMP_DIR: ${tempDir} belongs to uid ${owner}, who could change our files in it; right is a folder of uid ${process.getuid?.()} or of root`,
  );
}

/**
 * Removes the folders that dead runs left under `tempDir`; those of living ones, here or elsewhere, hold a lease. Returns
 * the names of what was there. What cannot be removed, as another user's, is left alone.
 */
export async function sweepScratch(tempDir: string): Promise<readonly string[]> {
  const entries = (await readdir(tempDir).catch(() => [])).filter((entry) => entry.startsWith(PREFIX));
  const swept: string[] = [];
  for (const name of new Set(entries.map((entry) => entry.replace(/\.lease$/, '')))) {
    const path = join(tempDir, name);
    if (await isLeaseHeld(path + LEASE).catch(() => true)) continue;
    // Its owner may have removed it while we looked.
    const isThere = await stat(path).then(
      () => true,
      () => false,
    );
    const [folder] = await Promise.allSettled(
      [path, path + LEASE].map((each) => rm(each, { recursive: true, force: true })),
    );
    if (isThere && folder?.status === 'fulfilled') swept.push(name);
  }
  return swept;
}

async function prepareCommand(command: Command, folder: string): Promise<Command> {
  for (const [name, content] of Object.entries(command.files ?? {})) {
    const file = join(folder, name);
    await writeFile(file, content, { mode: 0o600 });
    await chmod(file, 0o600);
  }
  return renderCommand(command, folder);
}

async function folderSize(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(folder, name)).then(
        (s) => s.size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
