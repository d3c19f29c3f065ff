import { describeError, RemoteError } from '../core/errors.ts';
import { MANIFEST_SUFFIX, type Pending, parseManifest } from '../core/manifest.ts';
import type { Logger } from '../logger.ts';
import type { Catalog, Orphan } from '../remote/catalog.ts';
import type { UploadAge } from '../remote/unfinished.ts';
import type { Session } from './session.ts';
import { ownsSeries } from './sources.ts';

/** A pending record that was not refreshed for so long belongs to a run that died: living ones refresh hourly. */
const DEAD_AFTER_MS = 24 * 60 * 60 * 1000;

/** Tells of what runs of this series left behind; `ownId` is of the backup being made. */
export function warnOfOrphans(run: { session: Session; logger: Logger }, catalog: Catalog, ownId?: string): void {
  const { session, logger } = run;
  for (const orphan of ofSeries(catalog, session)) {
    if (orphan.record.id === ownId || orphan.isCommitted) continue;
    const what = orphan.objects.length > 0 ? orphan.objects.join(', ') : 'only its record';
    logger.warn(
      `${orphan.recordPath}: a run that began at ${orphan.record.startedAt} has not committed (left: ${what}); ` +
        'it is still running elsewhere, or died: what is left is then removed a day after its last sign of life',
      { backup_id: orphan.record.id },
    );
  }
}

/**
 * Removes what dead runs of this series left: exactly the objects that their pending records name and no manifest
 * claims, uploads that they left unfinished, and last the records. Returns what was removed. Throws `RemoteError`.
 */
export async function sweepOrphans(
  session: Session,
  catalog: Catalog,
  signal: AbortSignal,
  ownRun?: string,
): Promise<readonly string[]> {
  const removed: string[] = [];
  const dead = findDead(session, catalog, ownRun);
  const unfinished = await findUnfinished(session, dead, signal);
  for (const orphan of dead) {
    const { record, recordPath, objects } = orphan;
    await removeLeft(session, orphan, signal);
    const age = record.run === ownRun ? 'any' : 'over a day';
    for (const object of record.objects) {
      if (unfinished.has(object) && !catalog.listing.has(object)) await abortUpload(session, object, age, signal);
    }
    for (const folder of foldersOf(record)) await session.remote.removeFolder(folder, signal);
    await session.remote.remove([recordPath], session.scratch.path, signal);
    removed.push(...objects, recordPath);
  }
  return removed;
}

/**
 * Those of the series whose run is dead. `ownRun` is a run that has just committed: what it still has a record of is of an
 * earlier try, whose own cleaning up failed.
 */
export function findDead(session: Session, catalog: Catalog, ownRun?: string): readonly Orphan[] {
  const now = session.host.clock.now().getTime();
  return ofSeries(catalog, session).filter(
    ({ record }) => record.run === ownRun || now - Date.parse(record.refreshedAt) > DEAD_AFTER_MS,
  );
}

const ofSeries = (catalog: Catalog, session: Session): readonly Orphan[] =>
  catalog.orphans.filter(({ record }) => ownsSeries(session.host.config, record.series));

/** Removes an orphan's objects, but not its record. Throws `RemoteError`. */
export async function removeLeft(session: Session, { record, objects }: Orphan, signal: AbortSignal): Promise<void> {
  // Of a folder the folder itself: its files, of which there may be very many, have no manifest of their own.
  const all = new Set(record.objects);
  const named = new Set(objects.map((object) => folderOf(object, all) ?? object));
  await expectUnclaimed(session, [...named], signal);
  await session.remote.remove(objects, session.scratch.path, signal);
}

/** The outermost folder above an object that is itself among the objects. */
function folderOf(object: string, objects: ReadonlySet<string>): string | undefined {
  for (let end = object.indexOf('/'); end >= 0; end = object.indexOf('/', end + 1)) {
    const folder = object.slice(0, end);
    if (objects.has(folder)) return folder;
  }
  return undefined;
}

function foldersOf({ objects }: Pending): ReadonlySet<string> {
  const all = new Set(objects);
  return new Set(objects.flatMap((object) => folderOf(object, all) ?? []));
}

/** The listing may have been cut short: the manifests are looked for once more before anything goes. */
async function expectUnclaimed(
  { remote, scratch }: Session,
  objects: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const paths = objects.map((object) => object + MANIFEST_SUFFIX);
  const found = await remote.readAll(paths, scratch.path, signal);
  const claimed = objects.find((object) => parseManifest(found.get(object + MANIFEST_SUFFIX) ?? ''));
  if (claimed !== undefined)
    throw new RemoteError(`${claimed} has a manifest, which the listing did not show: nothing is swept`);
}

/** Of all that dead runs name, what has unfinished uploads: one question, however many objects there are. */
async function findUnfinished(
  { remote, host }: Session,
  dead: readonly Orphan[],
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  if (dead.length === 0) return new Set();
  const objects = dead.flatMap(({ record }) => record.objects);
  try {
    return new Set(await remote.findUploads(objects, signal));
  } catch (error) {
    host.logger.debug(`unfinished uploads could not be looked for: ${describeError(error)}`);
    return new Set();
  }
}

/** Parts of an unfinished upload cost money, not safety: a storage that cannot say is left alone. */
async function abortUpload(session: Session, object: string, age: UploadAge, signal: AbortSignal): Promise<void> {
  try {
    if (await session.remote.abortUpload(object, age, signal))
      session.host.logger.info(`aborted the unfinished upload of ${object}`);
  } catch (error) {
    session.host.logger.debug(`unfinished uploads of ${object} could not be looked for: ${describeError(error)}`);
  }
}
