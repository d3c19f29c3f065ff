import { mkdir, rm } from 'node:fs/promises';
import type { Command } from '../core/command.ts';
import { ConfigError, RemoteError, VerifyError } from '../core/errors.ts';
import type { StoredFile } from '../core/manifest.ts';
import { formatBytes } from '../core/units.ts';
import { DUMP } from '../engines/engine.ts';
import { planDecoding } from '../pipeline/filters.ts';
import { pass, type Reading, recordDamage } from './artifact.ts';
import { digestFolder, folderOf } from './dump.ts';
import { giveUp, limitOf } from './patience.ts';
import { followReading, type Progress } from './progress.ts';

const UNTAR: Command = { file: 'tar', args: ['--extract', '--file=-', `--directory=${DUMP}`, '--no-same-owner'] };

/** Brings a dump that is a folder into the scratch folder, checked; false where it is none. Nothing else is touched. */
export async function fetchFolder(reading: Reading): Promise<boolean> {
  const { host } = reading.session;
  const { manifest } = reading.backup;
  const { mode } = manifest;
  if (mode !== 'tar' && mode !== 'directory') return false;
  const folder = folderOf(reading.scratch.path);
  using progress = followReading(host, manifest);
  await expectRoom(reading, `${reading.backup.path} needs`);
  await mkdir(folder, { mode: 0o700 });
  if (mode === 'directory') await copyFolder(reading, folder, progress);
  else await pass(reading, [...planDecoding(manifest, host.config.identity), UNTAR], { progress });
  return true;
}

/** Brings a dump that is one object into the scratch folder, decoded and checked. True. */
export async function fetchFile(reading: Reading): Promise<true> {
  const { host } = reading.session;
  const { manifest, path } = reading.backup;
  using progress = followReading(host, manifest);
  await expectRoom(reading, `${path} needs`);
  const store = { file: 'dd', args: [`of=${DUMP}`, 'bs=1M', 'iflag=fullblock', 'status=none'], files: { dump: '' } };
  await pass(reading, [...planDecoding(manifest, host.config.identity), store], { progress });
  return true;
}

/** `what` needs the room of a dump. Throws `ConfigError`. */
export async function expectRoom({ scratch, backup: { manifest } }: Reading, what: string): Promise<void> {
  const free = await scratch.freeBytes();
  if (free >= manifest.dumpBytes) return;
  throw new ConfigError(
    `BACKUP_TEMP_DIR: ${formatBytes(free)} are free in ${scratch.path}, ${what} ${formatBytes(manifest.dumpBytes)}: give it room, or name another folder`,
  );
}

/** The files of a folder, checked, into one that is there and empty. One bad read is no proof against what is stored: it is read twice. */
export async function copyFolder(reading: Reading, folder: string, progress: Progress): Promise<void> {
  const { session, backup } = reading;
  const problem = await copyOnce(reading, folder, progress);
  if (!problem) return;
  await rm(folder, { recursive: true });
  const again = await copyOnce(reading, folder, progress);
  if (!again)
    throw new RemoteError(
      `${backup.path} came changed from ${session.remote.title}, and whole when it was read again: restore once more`,
    );
  await recordDamage(session, backup, again);
  throw new VerifyError(`${backup.path} on ${session.remote.title} is damaged: ${again}`, { finding: again });
}

async function copyOnce(
  { session, backup, scratch }: Reading,
  folder: string,
  progress: Progress,
): Promise<string | undefined> {
  const { host, remote } = session;
  let taken = 0;
  const onProgress = (bytes: number) => {
    progress.add(Math.max(bytes - taken, 0));
    taken = Math.max(bytes, taken);
  };
  const limit = { ...limitOf(host), measure: async () => taken + (await scratch.size()) };
  await giveUp(remote.title, limit, (signal) => remote.downloadFolder(backup.path, folder, onProgress, signal));
  return compareFiles(await digestFolder(folder), backup.manifest.files ?? []);
}

/** Files that the manifest does not name are a stranger's: they must not be loaded. */
function compareFiles(found: readonly StoredFile[], expected: readonly StoredFile[]): string | undefined {
  const left = new Map(found.map((file) => [file.path, file]));
  for (const { path, bytes, sha256 } of expected) {
    const file = left.get(path);
    if (!file) return `${path} did not come`;
    if (file.bytes !== bytes) return `${path} has ${file.bytes} bytes, its manifest says ${bytes}`;
    if (file.sha256 !== sha256) return `the SHA-256 of ${path} is not the one in its manifest`;
    left.delete(path);
  }
  const [stranger] = left.keys();
  return stranger === undefined ? undefined : `it holds ${stranger}, which its manifest does not name`;
}
