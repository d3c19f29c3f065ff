import { describeError, RemoteError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import type { Catalog } from '../remote/catalog.ts';
import { giveUp, limitOf } from './patience.ts';
import type { Place, Session } from './session.ts';

/** A remote and what lies there. */
export interface Found {
  readonly place: Place;
  readonly catalog: Catalog;
}

const OTHERS_MS = 60_000;

/** What lies on each remote; one that cannot be listed is warned about. Throws where none can. */
export async function readCatalogs(session: Session, signal: AbortSignal): Promise<readonly Found[]> {
  const { places, host } = session;
  const others = new AbortController();
  // Once one has answered, who asked must not wait for ever for the rest.
  const readOne = async (place: Place): Promise<Catalog> => {
    const catalog = await readInTime(session, place, AbortSignal.any([signal, others.signal]));
    timer ??= host.clock.setTimeout(
      () => others.abort(new RemoteError(`it did not answer within ${formatDuration(OTHERS_MS)} after another one`)),
      OTHERS_MS,
    );
    return catalog;
  };
  let timer: unknown;
  const results = await Promise.allSettled(places.map(readOne));
  host.clock.clearTimeout(timer);
  const found: Found[] = [];
  const failures: unknown[] = [];
  results.forEach((result, index) => {
    if (result.status === 'fulfilled') found.push({ place: places[index]!, catalog: result.value });
    else failures.push(new RemoteError(`${places[index]?.remote.title}: ${describeError(result.reason)}`));
  });
  if (found.length === 0) throw results.find((result) => result.status === 'rejected')?.reason;
  for (const failure of failures) host.logger.warn(`a remote is left out: ${describeError(failure)}`);
  return found;
}

/** The catalog of one remote. Throws `RemoteError` where nothing of it comes for the stall timeout. */
export function readInTime({ host, scratch }: Session, place: Place, signal: AbortSignal): Promise<Catalog> {
  const limit = { ...limitOf(host), signal, measure: () => scratch.size() };
  return giveUp(place.remote.title, limit, (stop) => place.readCatalog(stop));
}
