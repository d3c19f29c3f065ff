import type { Call, Operation } from './call.ts';
import type { BentListing } from './listing.ts';

/** Which requests: `key` is tested on the object's key; operations on a bucket have an empty one. */
export interface Match {
  readonly operation: Operation | readonly Operation[] | '*';
  readonly key?: RegExp;
  /** So many matching requests pass first. */
  readonly after?: number;
  /** So many are hit then; all if absent. */
  readonly times?: number;
}

export interface Fault extends Match {
  /** Waits before anything is done. */
  readonly delayMs?: number;
  /** The body is not read, nothing is done, nothing is answered. */
  readonly stall?: true;
  /** Refuses with this status (500) and code (what S3 calls the status). */
  readonly status?: number;
  readonly code?: string;
  /** The connection is reset, after `afterBytes` (0) of the body, of the request or, for GetObject, of the answer. */
  readonly reset?: true;
  readonly afterBytes?: number;
  /** With `status`, `code` or `reset`: it is done all the same; only the answer says otherwise. */
  readonly performed?: true;
  /** One byte is changed: of what is stored (object, part, whole of a completed upload), or of what GetObject answers. */
  readonly corrupt?: true;
  /** The last byte of what is stored is dropped. */
  readonly shorten?: true;
  readonly listing?: BentListing;
}

export interface ActiveFault {
  /** Requests hit so far. */
  readonly hits: number;
  remove(): void;
}

export interface Hold {
  /** Resolves when the first request has arrived and is being held. */
  readonly arrived: Promise<void>;
  /** Lets held requests, and all later ones, go on. A request whose client went away meanwhile is dropped. */
  release(): void;
}

export interface HoldOptions {
  readonly after?: number;
  /** Holds the answer back, not the deed. */
  readonly performed?: true;
}

/** What will happen to one request. */
export interface Fate extends Omit<Fault, keyof Match> {
  readonly holdBefore: Promise<void> | undefined;
  readonly holdAfter: Promise<void> | undefined;
}

export interface Faults {
  fault(fault: Fault): ActiveFault;
  hold(operation: Match['operation'], key?: RegExp, options?: HoldOptions): Hold;
  clear(): void;
  decide(call: Call): Fate;
}

interface Entry {
  readonly match: Match;
  seen: number;
  hits: number;
  readonly take: () => Partial<Fate>;
}

export function createFaults(): Faults {
  const entries = new Set<Entry>();
  const add = (match: Match, take: () => Partial<Fate>): Entry => {
    const entry = { match, take, seen: 0, hits: 0 };
    entries.add(entry);
    return entry;
  };
  return {
    fault(fault) {
      const entry = add(fault, () => fault);
      return {
        get hits() {
          return entry.hits;
        },
        remove: () => void entries.delete(entry),
      };
    },
    hold(operation, key, { after = 0, performed } = {}) {
      const arrival = Promise.withResolvers<void>();
      const gate = Promise.withResolvers<void>();
      const entry = add({ operation, after, ...(key && { key }) }, () => {
        arrival.resolve();
        return performed ? { holdAfter: gate.promise } : { holdBefore: gate.promise };
      });
      const release = () => {
        entries.delete(entry);
        gate.resolve();
      };
      return { arrived: arrival.promise, release };
    },
    clear: () => entries.clear(),
    decide(call) {
      const hit = [...entries].filter((entry) => isHit(entry, call));
      return Object.assign({ holdBefore: undefined, holdAfter: undefined }, ...hit.map((entry) => entry.take()));
    },
  };
}

/** Counts the request where it matches. */
function isHit(entry: Entry, { operation, key }: Call): boolean {
  const { match } = entry;
  const isMeant = match.operation === '*' || [match.operation].flat().includes(operation);
  if (!isMeant || (match.key && !match.key.test(key))) return false;
  entry.seen += 1;
  if (entry.seen <= (match.after ?? 0) || entry.hits >= (match.times ?? Number.POSITIVE_INFINITY)) return false;
  entry.hits += 1;
  return true;
}
