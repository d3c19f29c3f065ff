import { describeError, RemoteError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import type { Scratch } from '../process/scratch.ts';
import type { Catalog } from '../remote/catalog.ts';
import type { Listed } from '../remote/listings.ts';
import { refreshIndex } from '../remote/refreshIndex.ts';
import { giveUp, limitOf } from './patience.ts';
import type { Place, Session } from './session.ts';
import { watchStall } from './stall.ts';

/** A remote and what lies there. */
export interface Found {
  readonly place: Place;
  readonly catalog: Catalog;
}

/** A remote that could not be listed. */
export interface Unlisted {
  readonly place: Place;
  readonly failure: unknown;
}

/** Whether there are remotes that are not among `found`: what is said of the others is not said of all. */
export const isLeftOut = ({ places, broken }: Session, found: readonly unknown[]): boolean =>
  found.length < places.length + broken.length;

const OTHERS_MS = 60_000;

/** What lies on each remote; one that cannot be listed is warned about. Throws where none can. */
export async function readCatalogs(session: Session, signal: AbortSignal): Promise<readonly Found[]> {
  const looked = await lookAtPlaces(session, signal);
  const found = looked.filter((one): one is Found => 'catalog' in one);
  const unlisted = looked.filter((one): one is Unlisted => 'failure' in one);
  if (found.length === 0) throw unlisted[0]?.failure;
  for (const { place, failure } of unlisted)
    session.host.logger.warn(`a remote is left out: ${place.remote.title}: ${describeError(failure)}`);
  return found;
}

/** What lies on each remote, or why it cannot be listed, in their order. Never rejects. */
export async function lookAtPlaces(session: Session, signal: AbortSignal): Promise<readonly (Found | Unlisted)[]> {
  const { places, host } = session;
  const others = new AbortController();
  // Once one has answered, who asked must not wait for ever for the rest.
  const lookAt = async (place: Place): Promise<Found | Unlisted> => {
    try {
      const catalog = await readInTime(session, place, AbortSignal.any([signal, others.signal]));
      timer ??= host.clock.setTimeout(
        () => others.abort(new RemoteError(`it did not answer within ${formatDuration(OTHERS_MS)} after another one`)),
        OTHERS_MS,
      );
      return { place, catalog };
    } catch (failure) {
      return { place, failure };
    }
  };
  let timer: unknown;
  const looked = await Promise.all(places.map(lookAt));
  host.clock.clearTimeout(timer);
  return looked;
}

/** The catalog of one remote. Throws `RemoteError` where nothing of it comes for the stall timeout. */
export function readInTime({ host, scratch }: Session, place: Place, signal: AbortSignal): Promise<Catalog> {
  const limit = { ...limitOf(host), signal, measure: () => scratch.size() };
  return giveUp(place.remote.title, limit, (stop) => place.readCatalog(stop));
}

/** Nobody waits longer for what only saves time. */
const INDEX_STALL_MS = 5 * 60_000;

/** Lets later readings of a long catalog be short. What fails costs them time, and is only told. */
export async function keepIndex(
  { host, remote }: Pick<Session, 'host' | 'remote'>,
  listed: Listed,
  scratch: Pick<Scratch, 'path' | 'size'>,
  signal: AbortSignal,
): Promise<void> {
  using stall = watchStall(host.clock, INDEX_STALL_MS, () => scratch.size());
  try {
    const stop = AbortSignal.any([signal, stall.signal]);
    const count = await refreshIndex(remote, listed, host.clock.now(), scratch.path, stop);
    if (count > 0) host.logger.info(`wrote the index of ${count} records to ${remote.title}`);
  } catch (error) {
    const reason = stall.signal.aborted
      ? `nothing of it moved for ${formatDuration(INDEX_STALL_MS)}`
      : describeError(error);
    host.logger.warn(`the index of ${remote.title}, which only saves time, was not written: ${reason}`);
  }
}
