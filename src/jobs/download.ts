import { access, chmod, mkdir, open, rename, rm, statfs } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ConfigError, DbstashError, DumpError, describeError } from '../core/errors.ts';
import { PARTIAL_SUFFIX } from '../core/manifest.ts';
import { formatBytes } from '../core/units.ts';
import { holdBackup } from '../lock.ts';
import { decodedName, planDecoding } from '../pipeline/filters.ts';
import { createScratch } from '../process/scratch.ts';
import type { Backup } from '../remote/catalog.ts';
import { expectSound, expectThere, pass, type Reading } from './artifact.ts';
import { readCatalogs } from './catalogs.ts';
import { chooseBackups } from './choose.ts';
import { copyFolder } from './fetch.ts';
import { expectOpen } from './identity.ts';
import { followReading } from './progress.ts';
import { at, type Session } from './session.ts';

export interface DownloadOptions {
  /** An artifact, an id, or `latest`. */
  readonly name: string;
  /** An existing folder. */
  readonly folder: string;
  /** Decrypted and decompressed. */
  readonly decode: boolean;
}

export interface Downloaded {
  readonly backup: Backup;
  readonly remote: string;
  /** The file, or the folder. */
  readonly path: string;
}

/**
 * Brings a backup's artifact into a folder, whole and checked, or nothing of it. Where a remote fails, the next one that has
 * the backup is read.
 */
export async function download(session: Session, options: DownloadOptions): Promise<Downloaded> {
  const { host } = session;
  const found = await readCatalogs(session, host.signal);
  const candidates = chooseBackups(found, session.series, host.clock.now(), { name: options.name, at: undefined });
  const failures: unknown[] = [];
  for (const { place, backup } of candidates) {
    try {
      return await downloadFrom(at(session, place), backup, options);
    } catch (error) {
      // Another remote changes nothing in the configuration, or in a signal.
      if (host.signal.aborted || error instanceof ConfigError) throw error;
      failures.push(error);
      if (failures.length < candidates.length) host.logger.warn(`the next remote is tried: ${describeError(error)}`);
    }
  }
  throw failures[0];
}

async function downloadFrom(session: Session, backup: Backup, options: DownloadOptions): Promise<Downloaded> {
  const { host, remote } = session;
  const { tempDir } = host.config;
  const path = join(options.folder, nameOf(backup, options.decode));
  await expectFree(path, options.folder, backup);
  await using scratch = await createScratch(tempDir, `download-${host.randomHex(4)}`);
  const lease = await holdBackup(tempDir, backup.manifest.id, host.randomHex(4));
  const partial = path + PARTIAL_SUFFIX;
  const reading = { session, scratch, backup };
  try {
    await expectThere(reading);
    if (options.decode) await expectDecodable(reading);
    await begin(partial, backup.manifest.files !== undefined);
    try {
      if (backup.manifest.files) await fetchFiles(reading, partial);
      else await fetchFile(reading, partial, options.decode);
      await rename(partial, path);
    } catch (error) {
      await rm(partial, { recursive: true, force: true });
      throw error;
    }
  } finally {
    await lease?.release();
  }
  return { backup, remote: remote.title, path };
}

/** A name that lies on the remote leads nowhere but into the folder. */
const nameOf = ({ path, manifest }: Backup, decode: boolean): string => {
  const name = basename(path);
  return decode ? decodedName(name, manifest) : name;
};

async function expectFree(path: string, folder: string, { manifest }: Backup): Promise<void> {
  const free = await statfs(folder).then(
    ({ bavail, bsize }) => bavail * bsize,
    (cause: unknown) => {
      throw new ConfigError(`${folder} is no folder that can be written to`, { cause });
    },
  );
  const isTaken = await access(path).then(
    () => true,
    () => false,
  );
  if (isTaken) throw new ConfigError(`${path} is there already: name another folder, or remove it`);
  if (free < manifest.bytes)
    throw new ConfigError(
      `${folder} has ${formatBytes(free)} free, ${manifest.artifact} needs ${formatBytes(manifest.bytes)}`,
    );
}

/** Makes what is to be filled: from now on it is ours. Private, since it will hold what the database held. */
async function begin(path: string, isFolder: boolean): Promise<void> {
  try {
    if (isFolder) await mkdir(path, { mode: 0o700 });
    else await (await open(path, 'wx', 0o600)).close();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST')
      throw new DbstashError(`${path} cannot be written`, { cause });
    throw new ConfigError(
      `${path} is there already: another download is going on, or one that was killed left it; then remove it`,
    );
  }
}

async function fetchFile(reading: Reading, to: string, decode: boolean): Promise<void> {
  const { session, backup } = reading;
  const { host } = session;
  const decoders = decode ? planDecoding(backup.manifest, host.config.identity) : [];
  using progress = followReading(host, backup.manifest);
  try {
    // On disk when it exits 0.
    await pass(
      reading,
      [...decoders, { file: 'dd', args: [`of=${to}`, 'bs=1M', 'conv=notrunc,fsync', 'status=none'] }],
      { progress },
    );
  } catch (error) {
    if (error instanceof DumpError) await expectSound(reading);
    throw error;
  }
}

async function expectDecodable(reading: Reading): Promise<void> {
  const { manifest, path } = reading.backup;
  try {
    planDecoding(manifest, reading.session.host.config.identity);
  } catch (error) {
    throw new ConfigError(`${path} ${describeError(error)}`);
  }
  await expectOpen(reading);
}

async function fetchFiles(reading: Reading, to: string): Promise<void> {
  using progress = followReading(reading.session.host, reading.backup.manifest);
  await copyFolder(reading, to, progress);
  await chmod(to, 0o700);
}
