import { createId } from '../core/backupId.ts';
import { ConfigError, describeError, RemoteError, VerifyError } from '../core/errors.ts';
import { isAhead } from '../core/health.ts';
import { asWritten, MANIFEST_SUFFIX, type Manifest, parseManifest } from '../core/manifest.ts';
import { findTime, listDays, type NameReading, readName } from '../core/nameTime.ts';
import { isRecordName } from '../core/naming.ts';
import { matchesAny } from '../core/pattern.ts';
import type { Recognised } from '../engines/engine.ts';
import { createScratch, type Scratch } from '../process/scratch.ts';
import { digestStored, type Reading, recordVerdict, type Stored } from './artifact.ts';
import { readCatalogs } from './catalogs.ts';
import { expectReadable, UNREADABLE } from './content.ts';
import { giveUp, limitOf } from './patience.ts';
import { keepHead, type Layers, peel } from './peel.ts';
import { exitCodeOf } from './report.ts';
import { at, type Session } from './session.ts';
import { findOnlySource, findSource, type Source } from './sources.ts';

export interface AdoptOptions {
  /** Paths on the remote, or patterns of them; none for all whose names BACKUP_NAME_TEMPLATE makes of the configured databases. */
  readonly names: readonly string[];
  readonly isDryRun: boolean;
}

/** What became of one object that was not ours. */
export interface Adoption {
  readonly remote: string;
  readonly path: string;
  /** What it is now, or would be; undefined where it was left as it is. */
  readonly manifest: Manifest | undefined;
  /** Why it was left. */
  readonly reason: string | undefined;
  /** What told its time: of copies a storage often knows no more than when they were copied. */
  readonly dated: Dated | undefined;
}

type Dated = 'name' | 'storage';

/**
 * Makes backups of the configured databases out of dumps that another tool left: looks at all of their content, as `verify` does, and
 * writes a manifest beside those that are whole. What is no such dump is left alone. Returns the exit code: that of the first that failed.
 */
export async function adopt(
  session: Session,
  { names, isDryRun }: AdoptOptions,
  onAdoption: (adoption: Adoption) => void,
): Promise<number> {
  const { host } = session;
  const missed = new Set(names);
  const failures: unknown[] = [];
  for (const { place, catalog } of await readCatalogs(session, host.signal)) {
    const { remote } = place;
    if (catalog.unreadable) {
      // What could not be read may say that an object is no stranger's.
      failures.push(catalog.unreadable.failure);
      host.logger.error(`nothing is adopted on ${remote.title}: not all of its records could be read`);
      for (const name of names) missed.delete(name);
      continue;
    }
    const isTaken = (path: string) => catalog.listing.has(path + MANIFEST_SUFFIX);
    for (const path of catalog.foreign.filter((name) => !isRecordName(name))) {
      const fitting = names.filter((name) => name === path || matchesAny(path, [name]));
      for (const name of fitting) missed.delete(name);
      const found = readName(host.config.template, path, host.config.timeZone);
      if (fitting.length === 0 && (names.length > 0 || !isConfigured(session, found))) continue;
      const tell = (manifest?: Manifest, reason?: string, dated?: Dated) =>
        onAdoption({ remote: remote.title, path, manifest, reason: reason && host.redact(reason), dated });
      const isNamed = fitting.some((name) => name === path || name.includes(found?.database ?? name));
      try {
        if (isTaken(path))
          throw new ConfigError('the manifest beside it cannot be read: it may be a backup of a newer version');
        const bytes = catalog.listing.get(path) ?? 0;
        const { manifest, dated } = await adoptOne(at(session, place), { path, bytes, found, isNamed }, isDryRun);
        tell(manifest, undefined, dated);
      } catch (error) {
        host.signal.throwIfAborted();
        failures.push(error);
        tell(undefined, error instanceof VerifyError ? error.finding : describeError(error));
      }
    }
  }
  for (const name of missed) {
    const failure = new ConfigError(
      `${name}: there is nothing of that name that is not a backup already (dbstash list --all)`,
    );
    failures.push(failure);
    host.logger.error(failure.message);
  }
  return failures.length === 0 ? 0 : exitCodeOf(failures[0]);
}

interface Stray {
  readonly path: string;
  readonly bytes: number;
  readonly found: NameReading | undefined;
  /** Whoever asked for it has spelled out what its name says of its database. */
  readonly isNamed: boolean;
}

/** Whether a name was made by our template, of a database of ours. */
const isConfigured = ({ host: { config } }: Session, found: NameReading | undefined): boolean =>
  found !== undefined &&
  (found.database === undefined ? findOnlySource(config) : findSource(config, found.database)) !== undefined;

async function adoptOne(
  given: Session,
  stray: Stray,
  isDryRun: boolean,
): Promise<{ readonly manifest: Manifest; readonly dated: Dated }> {
  const { host } = given;
  // Nothing is written beside what is not ours, whatever is found of it.
  const session = { ...given, host: { ...host, config: { ...host.config, dryRun: true } } };
  await using scratch = await createScratch(host.config.tempDir, `adopt-${host.randomHex(4)}`);
  const { startedAt, dated } = await dateOf(session, stray);
  const draft = draftOf(session, stray, startedAt);
  const reading = (manifest: Manifest): Reading => ({ session, scratch, backup: asWritten(manifest) });
  const head = keepHead();
  const stored = await digestStored(reading(draft), head.add);
  const layers = await peel(session, scratch, head.bytes());
  const recognised = recognise(session, layers.head);
  const source = chooseSource(session, stray, recognised);
  const manifest = describe(draft, { stored, layers, recognised, source });
  let dumpBytes = 0;
  const examination = recognised.examine?.();
  await expectWhole(reading(manifest), recognised, (chunk) => {
    dumpBytes += chunk.length;
    examination?.add(chunk);
  });
  refuse(examination?.end().problem);
  const whole = { ...manifest, dumpBytes };
  if (!isDryRun) await commit(given, scratch, whole);
  return { manifest: whole, dated };
}

/** When it was made. Throws `ConfigError` where that is not clear: retention goes by it. */
async function dateOf({ host, remote }: Session, { path, found }: Stray): Promise<{ startedAt: Date; dated: Dated }> {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const { timeZone } = host.config;
  if (!found?.startedAt && listDays(name).length > 1)
    throw new ConfigError(
      `its name holds ${listDays(name).join(' and ')}: BACKUP_NAME_TEMPLATE can say which of them is its date`,
    );
  const named = found?.startedAt ?? findTime(name, timeZone);
  const askStorage = (signal: AbortSignal) => remote.modifiedAt(path, signal);
  const startedAt = named ?? (await giveUp(remote.title, limitOf(host), askStorage));
  if (!startedAt)
    throw new ConfigError('neither its name nor the storage tells when it was made: put the time into its name');
  if (isAhead(startedAt, host.clock.now()))
    throw new ConfigError(
      `it would be of ${startedAt.toISOString()}, which is yet to come: put its time into its name`,
    );
  return { startedAt, dated: named ? 'name' : 'storage' };
}

/** As much of the manifest as is known before the first byte was read. */
function draftOf({ host, engine }: Session, { path, bytes }: Stray, startedAt: Date): Manifest {
  const id = createId(startedAt, host.randomHex(3));
  return {
    dbstash: 1,
    id,
    run: id,
    series: '',
    serverId: null,
    engine: engine.name,
    database: '',
    mode: 'stream',
    artifact: path,
    startedAt: startedAt.toISOString(),
    finishedAt: startedAt.toISOString(),
    bytes,
    sha256: '0'.repeat(64),
    dumpBytes: bytes,
    format: '',
    compression: null,
    encryption: null,
    tool: 'unknown',
    server: 'unknown',
    version: host.version,
    target: {},
  };
}

function recognise({ engine }: Session, head: Buffer): Recognised {
  const found = engine.recognise(head.toString('latin1'));
  if (!found)
    throw new ConfigError(
      `it is no dump of ${engine.title} in a form that dbstash makes, nor one of those in gzip, zstd, lz4, xz, bzip2 or age`,
    );
  refuse(found.refusal);
  return found;
}

function refuse(refusal: string | undefined): void {
  if (refusal !== undefined) throw new ConfigError(`${refusal}: a restore could not be kept to one place`);
}

function chooseSource(
  { host: { config }, engine }: Session,
  { found, isNamed }: Stray,
  { databases }: Recognised,
): Source {
  const labels = [found?.database, databases?.length === 1 ? databases[0] : undefined];
  const named = labels.flatMap((label) => (label === undefined ? [] : (findSource(config, label) ?? [])));
  const source = named[0] ?? findOnlySource(config);
  if (!source)
    throw new ConfigError('which database it is of is not clear: name that one alone with DB_NAME (--db-name)');
  const { database } = source.connection;
  if (database !== '' && !engine.isWhole && databases && !databases.includes(database))
    throw new ConfigError(
      `it is of ${databases.join(', ')}, not of ${database}: DB_NAME (--db-name) says which one is meant`,
    );
  if (database !== '' && !engine.isWhole && !databases && !isNamed && !named[0] && found?.database !== undefined)
    throw new ConfigError(
      `its name says that it is of ${found.database}, not of ${source.database}: if it is of that, give its path, or a pattern that holds ${found.database}`,
    );
  return source;
}

function describe(
  draft: Manifest,
  {
    stored,
    layers,
    recognised,
    source,
  }: { readonly stored: Stored; readonly layers: Layers; readonly recognised: Recognised; readonly source: Source },
): Manifest {
  const { mode, format, facts, tool, server } = recognised;
  return {
    ...draft,
    ...stored,
    dumpBytes: stored.bytes,
    series: source.series,
    database: source.database,
    mode,
    format,
    compression: layers.compression,
    encryption: layers.encryption,
    tool: tool ?? draft.tool,
    server: server ?? draft.server,
    target: { ...facts, adopted: true },
  };
}

async function expectWhole(reading: Reading, { marks }: Recognised, see: (chunk: Buffer) => void): Promise<void> {
  try {
    await expectReadable(reading, { marks, see });
  } catch (error) {
    if (!(error instanceof VerifyError)) throw error;
    const finding = `it is not whole: ${error.finding.replace(`${UNREADABLE}: `, '')}`;
    throw new VerifyError(`${reading.backup.path}: ${finding}`, { finding });
  }
}

/** The manifest makes it a backup. It is read back: what is written at the same moment by somebody else shows. */
async function commit(session: Session, scratch: Scratch, manifest: Manifest): Promise<void> {
  const { host, remote } = session;
  const path = manifest.artifact + MANIFEST_SUFFIX;
  await giveUp(remote.title, limitOf(host), async (signal) => {
    if ((await remote.stat(path, signal)) !== undefined) throw new RemoteError('somebody else has just adopted it');
    await remote.write(path, `${JSON.stringify(manifest, null, 2)}\n`, signal);
    const back = parseManifest((await remote.readAll([path], scratch.path, signal)).get(path) ?? '');
    if (!back) await remote.remove([path], scratch.path, signal);
    if (back?.id !== manifest.id) throw new RemoteError(`${remote.title} does not hold ${path} as it was written`);
    await remote.sync([path]);
  });
  await recordVerdict(session, asWritten(manifest), { level: 'content', ok: true, reason: null });
}
