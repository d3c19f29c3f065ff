import { describeError } from '../core/errors.ts';
import { MANIFEST_SUFFIX, PARTIAL_SUFFIX, type Pending, pendingPath } from '../core/manifest.ts';
import { artifactName, isSameName, withId } from '../core/naming.ts';
import type { Catalog } from '../remote/catalog.ts';
import type { Run } from './run.ts';
import { cleanupSignal } from './session.ts';

/** A name that is ours alone, with the pending record that proves it. */
export interface Claim {
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

/**
 * Takes a name for the artifact of backup `id`. First our record is written, then the remote is listed: of two
 * instances that want one name in the same second at least one sees the other's record, and who sees anything under
 * the name (compared without case) goes on under a name with its own id in it, which nobody else can want. Until the
 * name is known to be free the record names only itself: what lies under the name may be a stranger's, and if we died
 * now it would be swept as ours.
 */
export async function claimName(run: Run, base: string, extension: string, id: string): Promise<Claim> {
  const first = createRecord(run, artifactName(base, extension), id);
  const second = createRecord(run, withId(base, extension, id), id);
  let record = first;
  try {
    const bare = { ...first, content: { ...first.content, objects: [first.path] as [string] } };
    await writeRecord(run, bare);
    const catalog = await run.session.readCatalog(run.signal, new Map([[bare.path, format(bare.content)]]));
    // A listing without the record just written cannot tell that the name is free.
    const isFree = catalog.listing.has(first.path) && !isTaken(catalog, first.artifact, first.path);
    record = isFree ? first : second;
    await writeRecord(run, record);
    if (!isFree) await removeRecords(run, [first]);
    return createClaim(run, record, catalog);
  } catch (error) {
    // Where writing failed the record may be there all the same.
    await removeRecords(run, record === first ? [first] : [first, second]);
    throw error;
  }
}

/** A record that cannot be removed is swept in a day. */
async function removeRecords(run: Run, records: readonly Record[]): Promise<void> {
  const { remote, host } = run.session;
  const paths = records.map(({ path }) => path);
  await remote.remove(paths, run.scratch.path, cleanupSignal(host)).catch(() => {});
}

interface Record {
  readonly artifact: string;
  readonly path: string;
  readonly content: Pending;
}

function createRecord(run: Run, artifact: string, id: string): Record {
  const now = run.session.host.clock.now().toISOString();
  const content: Pending = {
    dbstash: 1,
    id,
    run: run.id,
    series: run.session.series,
    startedAt: run.startedAt.toISOString(),
    refreshedAt: now,
    objects: [artifact, artifact + PARTIAL_SUFFIX, artifact + MANIFEST_SUFFIX],
  };
  return { artifact, path: pendingPath(artifact, id), content };
}

const writeRecord = (run: Run, { path, content }: Record): Promise<void> =>
  run.session.remote.write(path, format(content), run.signal);

const format = (record: Pending): string => `${JSON.stringify(record, null, 2)}\n`;

function isTaken(catalog: Catalog, artifact: string, ownRecord: string): boolean {
  const isOurs = (path: string) => path === ownRecord;
  const names = [artifact, artifact + PARTIAL_SUFFIX, artifact + MANIFEST_SUFFIX];
  const isPending = (path: string) =>
    path.length > artifact.length && isSameName(path.replace(PENDING_NAME, ''), artifact);
  return [...catalog.listing.keys()].some(
    (path) =>
      !isOurs(path) && (names.some((name) => isSameName(name, path)) || (PENDING_NAME.test(path) && isPending(path))),
  );
}

/** What a pending record's name has behind the artifact's. */
const PENDING_NAME = /\.\d{8}T\d{6}Z-[0-9a-f]{6}\.pending\.json$/;

function createClaim(run: Run, record: Record, catalog: Catalog): Claim {
  const { remote, host } = run.session;
  const folder = run.scratch.path;
  const written = new Set([remote.uploadPath(record.artifact)]);
  return {
    artifact: record.artifact,
    catalog,
    publish: (signal) => remote.publish(record.artifact, signal, () => void written.add(record.artifact)),
    refresh: (signal) => {
      const refreshedAt = host.clock.now().toISOString();
      return remote.write(record.path, format({ ...record.content, refreshedAt }), signal);
    },
    release: (signal) => remote.remove([record.path], folder, signal),
    discard: async (signal) => {
      try {
        // An rclone that was killed has not aborted what it began, and without the record nobody would know.
        const [isUnfinished] = await Promise.all([
          remote.hasUpload(record.artifact, signal),
          remote.remove([...written], folder, signal),
        ]);
        if (isUnfinished) await remote.abortUpload(record.artifact, 'any', signal);
        await remote.remove([record.path], folder, signal);
      } catch (error) {
        run.warn(
          `what the failed backup left under ${record.artifact} could not be removed, and is swept in a day: ${describeError(error)}`,
        );
      }
    },
  };
}
