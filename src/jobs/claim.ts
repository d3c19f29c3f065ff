import { describeError } from '../core/errors.ts';
import { MANIFEST_SUFFIX, PARTIAL_SUFFIX, type Pending, pendingPath } from '../core/manifest.ts';
import { artifactName, isSameName, withId } from '../core/naming.ts';
import type { Catalog } from '../remote/catalog.ts';
import { withPatience } from './patience.ts';
import type { Run } from './run.ts';
import { cleanupSignal, type Place } from './session.ts';

/** A name on one remote that is ours alone, with the pending record that proves it. */
export interface Claim {
  readonly place: Place;
  readonly artifact: string;
  /** What was on the remote when the name was taken. */
  readonly catalog: Catalog;
  /** Writes the record anew, so that nobody takes a long upload for a dead one. */
  refresh(signal: AbortSignal): Promise<void>;
  /** Gives the upload its final name. Throws `RemoteError`, also where somebody else took the name meanwhile. */
  publish(signal: AbortSignal): Promise<void>;
  /** Removes the record: after the commit. */
  release(signal: AbortSignal): Promise<void>;
  /** Removes what we wrote, and nothing that another put under the name; then the record. */
  discard(signal: AbortSignal): Promise<void>;
}

/** What is to be claimed: the name, and of a folder the paths of its files. */
export interface Wanted {
  readonly id: string;
  readonly base: string;
  readonly extension: string;
  readonly files: readonly string[] | undefined;
}

/**
 * Takes one name for the artifact of backup `id` on every remote. First our record is written, then the remote is listed:
 * of two instances that want one name in the same second at least one sees the other's record, and who sees anything under
 * the name (compared without case) goes on under a name with its own id in it, which nobody else can want. Until the
 * name is known to be free the record names only itself: what lies under the name may be a stranger's, and if we died
 * now it would be swept as ours. A remote where that fails is left out with a warning; throws where all fail.
 */
export async function claimName(run: Run, { id, base, extension, files }: Wanted): Promise<readonly Claim[]> {
  const first = createRecord(run, artifactName(base, extension), id, files);
  const second = createRecord(run, withId(base, extension, id), id, files);
  const looks = await eachPlace(run, run.session.places, (place) =>
    withPatience(run, place, (signal) => look(run, place, first, signal)),
  );
  const isFree = looks.every(({ value }) => isFreeFor(value, first));
  const record = isFree ? first : second;
  const catalogs = new Map(looks.map(({ place, value }) => [place, value]));
  const claims = await eachPlace(run, [...catalogs.keys()], async (place) => {
    try {
      await withPatience(run, place, (signal) => writeRecord(place, record, signal));
      if (!isFree) await removeRecords(run, place, [first]);
      return createClaim(run, place, record, files !== undefined, catalogs.get(place)!);
    } catch (error) {
      // Where writing failed the record may be there all the same.
      await removeRecords(run, place, isFree ? [first] : [first, second]);
      throw error;
    }
  });
  return claims.map(({ value }) => value);
}

interface Done<T> {
  readonly place: Place;
  readonly value: T;
}

/** Those where `work` succeeded; the others are warned about. Throws the first failure where there are none. */
async function eachPlace<T>(
  run: Run,
  places: readonly Place[],
  work: (place: Place) => Promise<T>,
): Promise<readonly Done<T>[]> {
  const results = await Promise.allSettled(places.map(work));
  const failures = results.flatMap((result, index) =>
    result.status === 'rejected' ? [{ place: places[index]!, reason: result.reason as unknown }] : [],
  );
  if (failures.length === places.length) throw failures[0]?.reason;
  for (const { place, reason } of failures) run.warn(`${place.remote.title} gets no backup: ${describeError(reason)}`);
  return results.flatMap((result, index) =>
    result.status === 'fulfilled' ? [{ place: places[index]!, value: result.value }] : [],
  );
}

async function look(run: Run, place: Place, first: Record, signal: AbortSignal): Promise<Catalog> {
  const bare: Record = { ...first, content: { ...first.content, objects: [first.path] } };
  try {
    await writeRecord(place, bare, signal);
    return await place.readCatalog(signal, new Map([[bare.path, format(bare.content)]]));
  } catch (error) {
    await removeRecords(run, place, [first]);
    throw error;
  }
}

/** A listing without the record just written cannot tell that the name is free. */
const isFreeFor = (catalog: Catalog, { path, artifact }: Record): boolean =>
  catalog.listing.has(path) && !isTaken(catalog, artifact, path);

/** A record that cannot be removed is swept in a day. */
async function removeRecords(run: Run, { remote }: Place, records: readonly Record[]): Promise<void> {
  const paths = records.map(({ path }) => path);
  await remote.remove(paths, run.scratch.path, cleanupSignal(run.session.host)).catch(() => {});
}

interface Record {
  readonly artifact: string;
  readonly path: string;
  readonly content: Pending;
}

function createRecord(run: Run, artifact: string, id: string, files: readonly string[] | undefined): Record {
  const now = run.session.host.clock.now().toISOString();
  const parts = files ? files.map((file) => `${artifact}/${file}`) : [artifact + PARTIAL_SUFFIX];
  const content: Pending = {
    dbstash: 1,
    id,
    run: run.id,
    series: run.session.series,
    startedAt: run.startedAt.toISOString(),
    refreshedAt: now,
    objects: [artifact, ...parts, artifact + MANIFEST_SUFFIX],
  };
  return { artifact, path: pendingPath(artifact, id), content };
}

const writeRecord = ({ remote }: Place, { path, content }: Record, signal: AbortSignal): Promise<void> =>
  remote.write(path, format(content), signal);

const format = (record: Pending): string => `${JSON.stringify(record, null, 2)}\n`;

/** Whether anything lies under a name, compared without case, but for `ownRecord`. */
export function isTaken(catalog: Pick<Catalog, 'listing'>, artifact: string, ownRecord?: string): boolean {
  const names = [artifact, artifact + PARTIAL_SUFFIX, artifact + MANIFEST_SUFFIX];
  const isPending = (path: string) =>
    path.length > artifact.length && isSameName(path.replace(PENDING_NAME, ''), artifact);
  const isInside = (path: string) =>
    path.length > artifact.length && isSameName(path.slice(0, artifact.length + 1), `${artifact}/`);
  return [...catalog.listing.keys()].some(
    (path) =>
      path !== ownRecord &&
      (names.some((name) => isSameName(name, path)) || (PENDING_NAME.test(path) && isPending(path)) || isInside(path)),
  );
}

/** What a pending record's name has behind the artifact's. */
const PENDING_NAME = /\.\d{8}T\d{6}Z-[0-9a-f]{6}\.pending\.json$/;

function createClaim(run: Run, place: Place, record: Record, isFolder: boolean, catalog: Catalog): Claim {
  const { remote } = place;
  const folder = run.scratch.path;
  const { artifact } = record;
  const written = new Set(
    isFolder ? record.content.objects.filter((path) => path !== artifact) : [remote.uploadPath(artifact)],
  );
  return {
    place,
    artifact,
    catalog,
    publish: async (signal) => {
      if (!isFolder) await remote.publish(artifact, signal, () => void written.add(artifact));
    },
    refresh: (signal) => {
      const refreshedAt = run.session.host.clock.now().toISOString();
      return remote.write(record.path, format({ ...record.content, refreshedAt }), signal);
    },
    release: (signal) => remote.remove([record.path], folder, signal),
    discard: async (signal) => {
      try {
        // An rclone that was killed has not aborted what it began, and without the record nobody would know.
        const [isUnfinished] = await Promise.all([
          remote.hasUpload(artifact, signal),
          remote.remove([...written], folder, signal),
        ]);
        if (isUnfinished) await remote.abortUpload(artifact, 'any', signal);
        if (isFolder) await remote.removeFolder(artifact, signal);
        await remote.remove([record.path], folder, signal);
      } catch (error) {
        run.warn(
          `what the failed backup left under ${artifact} could not be removed, and is swept in a day: ${describeError(error)}`,
        );
      }
    },
  };
}
