import { describeError, TimeoutError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import type { LogFields } from '../logger.ts';
import type { Channel, Surroundings } from './channel.ts';

/** What became of a message at one channel. */
export interface Delivery {
  readonly channel: string;
  readonly title: string;
  readonly state: 'delivered' | 'failed' | 'skipped';
  /** What the other said, or why it was not asked. */
  readonly detail: string;
}

const TIMEOUT_MS = 10_000;
/** Of the seven seconds from SIGTERM to our exit, our share. */
const HURRIED_MS = 2000;

type Addressee = Pick<Channel, 'kind' | 'title'>;

/** Delivers, says in the log what did not arrive, and counts it. */
export function createCourier({ logger, redact }: Surroundings, addressees: readonly Addressee[]) {
  const failures = new Map(addressees.map(({ kind }) => [kind, 0]));
  const deliver = async (
    { kind, title }: Addressee,
    signal: AbortSignal,
    send: () => Promise<void>,
    fields: LogFields,
  ): Promise<Delivery> => {
    try {
      await within(signal, send);
      logger.debug(`${title} was told`, fields);
      return { channel: kind, title, state: 'delivered', detail: '' };
    } catch (error) {
      failures.set(kind, (failures.get(kind) ?? 0) + 1);
      const detail = redact(describeError(error));
      logger.warn(`${title} was not told: ${detail}`, { ...fields, channel: kind });
      return { channel: kind, title, state: 'failed', detail };
    }
  };
  return { deliver, failures: () => Object.fromEntries(failures) };
}

/** Rejects when the signal fires, whether the work heeds it or not. */
async function within(signal: AbortSignal, start: () => Promise<void>): Promise<void> {
  const work = start();
  const late = Promise.withResolvers<never>();
  const abort = () => late.reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    await Promise.race([work, late.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
    work.catch(() => {});
  }
}

interface Deadline extends Disposable {
  readonly signal: AbortSignal;
  abort(reason: Error): void;
}

/** A signal that fires after the time there is, of which little is left once the process has to end. */
export function createDeadline({ clock, signal }: Surroundings): Deadline {
  const controller = new AbortController();
  const expire = (ms: number) => () => controller.abort(new TimeoutError(`no answer within ${formatDuration(ms)}`));
  const timers = [clock.setTimeout(expire(TIMEOUT_MS), TIMEOUT_MS)];
  const hurry = () => void timers.push(clock.setTimeout(expire(HURRIED_MS), HURRIED_MS));
  if (signal.aborted) hurry();
  else signal.addEventListener('abort', hurry, { once: true });
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    [Symbol.dispose]: () => {
      signal.removeEventListener('abort', hurry);
      for (const timer of timers) clock.clearTimeout(timer);
    },
  };
}
