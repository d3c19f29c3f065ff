import { describeError, RemoteError } from '../core/errors.ts';
import { type Look, noteLooks } from '../core/memory.ts';
import { formatDuration } from '../core/units.ts';
import { type Found, lookAtPlaces } from './catalogs.ts';
import type { Memory } from './memory.ts';
import { warnOfOrphans } from './orphans.ts';
import type { OpenSession } from './run.ts';
import { at, type Host, locateRemotes, type Session } from './session.ts';
import { ownsBackup } from './sources.ts';

/** Looks at what lies on the remotes, between the runs. */
export interface Looks {
  /** Looks again and again: at once where something has not been listed yet, else soon, since runs tell what they made. */
  start(): void;
  /** Resolves once nothing is looked at any more. */
  stop(): Promise<void>;
}

/** Where runs follow each other closely, listing between all of them would be half of the work. */
const SOON_MS = 5000;
/** Backups that another process made show after so long. */
const AGAIN_MS = 60 * 60_000;
/** A remote that could not be listed is asked again after so long, then twice that, and so on. */
const RETRY_MS = 15_000;
const MAX_RETRY_MS = 5 * 60_000;
/** A listing of very many objects takes its time. */
const LONGEST_MS = 5 * 60_000;

export interface LooksOptions {
  readonly memory: Memory;
  readonly open: OpenSession;
  /** Called when something could be listed for the first time, and again until all could be. */
  readonly onListed: () => void;
}

export function createLooks(host: Host, { memory, open, onListed }: LooksOptions): Looks {
  const { clock, signal } = host;
  let timer: unknown;
  let looking = Promise.resolve();
  let over = new AbortController();
  let failures = 0;
  let isFirst = true;
  let isWhole = false;
  let lookedAt = clock.now().getTime();
  const look = async () => {
    const stopped = AbortSignal.any([signal, over.signal]);
    const { looks, found } = await lookAtRemotes(host, open, stopped);
    if (stopped.aborted) return;
    const faults = looks.filter((one) => 'fault' in one).length;
    failures = faults > 0 ? failures + 1 : 0;
    lookedAt = clock.now().getTime();
    const nextMs = faults > 0 ? Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** (failures - 1)) : AGAIN_MS;
    tellChanges(host, memory, looks, nextMs);
    memory.note((state) => noteLooks(state, looks));
    timer = clock.setTimeout(begin, nextMs);
    if (isWhole || found.length === 0) return;
    // A run has told of them.
    const isNews = isFirst && memory.read().state.runs.length === 0;
    isFirst = false;
    isWhole = faults === 0;
    for (const { session, catalog } of isNews ? found : []) warnOfOrphans({ session, logger: host.logger }, catalog);
    onListed();
  };
  const begin = () => {
    looking = look();
  };
  const start = () => {
    over = new AbortController();
    // Where the next run always comes before soon is over, what was removed would never be forgotten.
    const isLate = clock.now().getTime() - lookedAt > 2 * AGAIN_MS;
    if (isFirst || failures > 0 || isLate) begin();
    else timer = clock.setTimeout(begin, SOON_MS);
  };
  const stop = () => {
    clock.clearTimeout(timer);
    over.abort();
    return looking;
  };
  return { start, stop };
}

interface Looked {
  readonly looks: readonly Look[];
  readonly found: readonly (Pick<Found, 'catalog'> & { readonly session: Session })[];
}

/** Never rejects. */
async function lookAtRemotes(host: Host, open: OpenSession, stopped: AbortSignal): Promise<Looked> {
  const titles = locateRemotes(host.config).map(({ title }) => title);
  const slow = new AbortController();
  const expire = () => slow.abort(new RemoteError(`it did not answer within ${formatDuration(LONGEST_MS)}`));
  const timer = host.clock.setTimeout(expire, LONGEST_MS);
  try {
    const signal = AbortSignal.any([stopped, slow.signal]);
    const session = await open(signal);
    const looked = await lookAtPlaces(session, signal);
    const looks = describeLooks(session, titles, looked);
    return {
      looks,
      found: looked.flatMap((one) => ('catalog' in one ? { ...one, session: at(session, one.place) } : [])),
    };
  } catch (error) {
    const fault = host.redact(describeError(error));
    return { looks: titles.map((title) => ({ title, at: host.clock.now(), fault })), found: [] };
  } finally {
    host.clock.clearTimeout(timer);
  }
}

/** Two remotes may have one title: those of a title are taken in their order. */
function describeLooks(
  { host, broken }: Session,
  titles: readonly string[],
  looked: Awaited<ReturnType<typeof lookAtPlaces>>,
): readonly Look[] {
  const left = [...looked];
  const now = host.clock.now();
  return titles.map((title): Look => {
    const index = left.findIndex(({ place }) => place.remote.title === title);
    const [one] = index < 0 ? [] : left.splice(index, 1);
    if (!one) {
      const sentence = broken.find((text) => text.startsWith(`${title} is left out: `)) ?? 'it could not be opened';
      return { title, at: now, fault: host.redact(sentence.replace(`${title} is left out: `, '')) };
    }
    if ('failure' in one) return { title, at: now, fault: host.redact(describeError(one.failure)) };
    const { backups } = one.catalog;
    return { title, at: now, backups: backups.filter(({ manifest }) => ownsBackup(host.config, manifest)) };
  });
}

/** What has been said is not said again. */
function tellChanges({ logger }: Host, memory: Memory, looks: readonly Look[], nextMs: number): void {
  const { remotes } = memory.read().state;
  looks.forEach((look, index) => {
    const before = remotes[index]?.fault;
    if ('fault' in look && look.fault !== before)
      logger.warn(`${look.title} cannot be listed, and is asked again in ${formatDuration(nextMs)}: ${look.fault}`);
    else if (!('fault' in look) && before !== undefined) logger.info(`${look.title} can be listed again`);
  });
}
