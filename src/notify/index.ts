import { describeError, TimeoutError } from '../core/errors.ts';
import type { Report } from '../core/report.ts';
import { formatDuration } from '../core/units.ts';
import type { LogFields } from '../logger.ts';
import type { Channel, Format, Surroundings } from './channel.ts';
import { discord } from './discord.ts';
import { createEmail } from './email.ts';
import { createMessage, createTestMessage, type Message } from './message.ts';
import { createPolicy } from './policy.ts';
import { slack } from './slack.ts';
import { callWeb } from './web.ts';
import { webhook } from './webhook.ts';

/** Tells people of runs. Nothing that goes wrong here touches a run. */
export interface Notifier {
  /** A run has begun: it has its lock. Does not wait. */
  started(run: string): void;
  /** Resolves when every channel has taken it or was given up; never rejects. */
  ended(report: Report): Promise<void>;
  /** Tells every channel, whatever is to be told of. Never rejects. */
  test(): Promise<readonly Delivery[]>;
  /** Messages that did not arrive, by kind of channel, since the process started. */
  failures(): Readonly<Record<string, number>>;
}

/** What became of a message at one channel. */
export interface Delivery {
  readonly channel: string;
  readonly title: string;
  readonly state: 'delivered' | 'failed';
  /** What the other said. */
  readonly detail: string;
}

const TIMEOUT_MS = 10_000;
/** Of the seven seconds from SIGTERM to our exit, our share. */
const HURRIED_MS = 2000;

/** The first one that fits an address says how messages look to it. */
const FORMATS: readonly Format[] = [slack, discord, webhook];

export function createNotifier(around: Surroundings): Notifier {
  const { config, logger, redact } = around;
  const channels = createChannels(around);
  const decide = createPolicy(config.notify.on);
  const failures = new Map(channels.map(({ kind }) => [kind, 0]));

  const deliver = async ({ kind, title }: Place, work: Promise<void>, fields: LogFields): Promise<Delivery> => {
    try {
      await work;
      logger.debug(`${title} was told`, fields);
      return { channel: kind, title, state: 'delivered', detail: '' };
    } catch (error) {
      failures.set(kind, (failures.get(kind) ?? 0) + 1);
      const detail = redact(describeError(error));
      logger.warn(`${title} was not told: ${detail}`, { ...fields, channel: kind });
      return { channel: kind, title, state: 'failed', detail };
    }
  };
  const tellAll = (message: Message, signal: AbortSignal, fields: LogFields) =>
    Promise.all(channels.map((channel) => deliver(channel, within(signal, channel.send(message, signal)), fields)));

  return {
    started: () => {},
    ended: async (report) => {
      using deadline = createDeadline(around);
      const { isTold, recoveredAfter } = decide(report);
      if (!isTold) return;
      await tellAll(createMessage(around, report, recoveredAfter), deadline.signal, { run: report.run });
    },
    test: async () => {
      using deadline = createDeadline(around);
      return await tellAll(createTestMessage(around), deadline.signal, {});
    },
    failures: () => Object.fromEntries(failures),
  };
}

type Place = Pick<Channel, 'kind' | 'title'>;

function createChannels(around: Surroundings): readonly Channel[] {
  const { webhooks, mail } = around.config.notify;
  const web = webhooks.map((address) => createWebChannel(address, around));
  return mail === undefined ? web : [...web, createEmail(mail, around)];
}

function createWebChannel(address: string, around: Surroundings): Channel {
  const url = new URL(address);
  const { kind, render } = FORMATS.find(({ fits }) => fits(url))!;
  return {
    kind,
    title: `${kind} at ${url.host}`,
    send: (message, signal) => {
      const body = { type: 'application/json', text: JSON.stringify(render(message)) };
      return callWeb({ url: address, body }, around, signal);
    },
  };
}

/** Rejects when the signal fires, whether the work heeds it or not. */
async function within(signal: AbortSignal, work: Promise<void>): Promise<void> {
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

/** A signal that fires after the time there is, of which little is left once the process has to end. */
function createDeadline({ clock, signal }: Surroundings): Disposable & { signal: AbortSignal } {
  const controller = new AbortController();
  const expire = (ms: number) => () => controller.abort(new TimeoutError(`no answer within ${formatDuration(ms)}`));
  const timers = [clock.setTimeout(expire(TIMEOUT_MS), TIMEOUT_MS)];
  const hurry = () => void timers.push(clock.setTimeout(expire(HURRIED_MS), HURRIED_MS));
  if (signal.aborted) hurry();
  else signal.addEventListener('abort', hurry, { once: true });
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      signal.removeEventListener('abort', hurry);
      for (const timer of timers) clock.clearTimeout(timer);
    },
  };
}
