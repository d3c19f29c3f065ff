import { chmod, chown, lstat, readdir, readlink, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Connection } from '../core/connection.ts';
import { DumpError } from '../core/errors.ts';
import type { FileSwap } from '../engines/engine.ts';
import { type Child, hasSucceeded, stopChild } from '../process/child.ts';
import { syncFile } from '../process/file.ts';
import type { Scratch } from '../process/scratch.ts';
import { type Session, startTool } from './session.ts';

/** The connection to the file that a symbolic link means: a rename onto the link would replace the link. */
export async function followLink(connection: Connection): Promise<Connection> {
  if (connection.engine !== 'sqlite') return connection;
  return { ...connection, database: await findFile(connection.database) };
}

async function findFile(path: string): Promise<string> {
  const found = await realpath(path).catch(() => undefined);
  if (found !== undefined) return found;
  const isLink = await lstat(path).then(
    (entry) => entry.isSymbolicLink(),
    () => false,
  );
  return isLink ? resolve(dirname(path), await readlink(path)) : path;
}

/** Says what restores that were killed, or that are still going on, have beside the target. */
export async function warnOfLeftovers({ host }: Session, { from, to }: FileSwap): Promise<void> {
  const prefix = `${basename(to)}.restoring-`;
  const names = await readdir(dirname(to)).catch(() => []);
  for (const name of names.filter((entry) => entry.startsWith(prefix) && entry !== basename(from))) {
    host.logger.warn(
      `${join(dirname(to), name)} is of a restore that was killed, or is still going on: remove it if it is dead`,
    );
  }
}

/** Puts a finished file in the place of the target, under an exclusive lock on the target if it is there. */
export async function swapFile(session: Session, scratch: Scratch, swap: FileSwap): Promise<void> {
  const { from, to, remove, lock } = swap;
  await syncFile(from);
  const old = await stat(to).catch(() => undefined);
  const holder = old && (await startTool(session.host, scratch, lock));
  try {
    holder?.stdin.write(lock.input ?? '');
    if (holder) await waitForLock(holder, to);
    if (old) await takeAfter(session, from, old);
    for (const path of remove) await rm(path, { force: true });
    await rename(from, to);
    await syncFile(dirname(to));
  } finally {
    if (holder) await stopChild(holder, 0);
  }
}

/** Whoever could open the database must be able to open the restored one. */
async function takeAfter(
  { host }: Session,
  path: string,
  { mode, uid, gid }: { mode: number; uid: number; gid: number },
): Promise<void> {
  await chmod(path, mode & 0o7777);
  await chown(path, uid, gid).catch((error: Error) => {
    host.logger.warn(`the restored file does not belong to ${uid}:${gid}, as the one before did: ${error.message}`);
  });
}

export async function removeUnfinished({ from }: FileSwap): Promise<void> {
  for (const path of ['', '-wal', '-shm', '-journal']) await rm(from + path, { force: true });
}

async function waitForLock(holder: Child, path: string): Promise<void> {
  for await (const chunk of holder.stdout) {
    if (/^locked/m.test(String(chunk))) return;
  }
  const exit = await holder.exit;
  const why = hasSucceeded(exit) ? '' : `: ${holder.stderrTail()}`;
  throw new DumpError(`${path} is in use: stop what has it open, then restore again${why}`);
}
