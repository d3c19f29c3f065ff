import { DbstashError } from '../core/errors.ts';
import type { Report } from '../core/report.ts';
import type { LogFields } from '../logger.ts';
import type { Channel, Format, Surroundings } from './channel.ts';
import { createCourier, createDeadline, type Delivery } from './courier.ts';
import { discord } from './discord.ts';
import { createEmail } from './email.ts';
import { createMessage, createTestMessage, type Message } from './message.ts';
import { createPing, type Ping } from './ping.ts';
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
  /** Messages that did not arrive, by kind of channel, since the process started; kinds that are not configured are absent. */
  failures(): Readonly<Record<string, number>>;
}

/** What the ping of a start still gets once the run has ended: the next one must not overtake it. */
const START_MS = 2000;

/** The first one that fits an address says how messages look to it. */
const FORMATS: readonly Format[] = [slack, discord, webhook];

export function createNotifier(around: Surroundings): Notifier {
  const { config, clock } = around;
  const channels = createChannels(around);
  const ping = config.notify.pingUrl === undefined ? undefined : createPing(config.notify.pingUrl, around);
  const decide = createPolicy(config.notify.on);
  const { deliver, failures } = createCourier(around, ping ? [...channels, ping] : channels);
  let beginning: { readonly done: Promise<unknown>; stop(): void } | undefined;

  const tellAll = (message: Message, signal: AbortSignal, fields: LogFields) =>
    channels.map((channel) => deliver(channel, signal, () => channel.send(message, signal), fields));

  const pingEnd = async (message: Message, report: Report, signal: AbortSignal) => {
    const timer = clock.setTimeout(() => beginning?.stop(), around.signal.aborted ? 0 : START_MS);
    await beginning?.done;
    clock.clearTimeout(timer);
    beginning = undefined;
    if (!ping || report.outcome === 'skipped') return;
    await deliver(ping, signal, () => ping.end(message, report, signal), { run: report.run });
  };

  return {
    started: (run) => {
      const start = ping?.start;
      if (!ping || !start) return;
      const deadline = createDeadline(around);
      const sending = deliver(ping, deadline.signal, () => start(run, deadline.signal), { run });
      const done = sending.finally(() => deadline[Symbol.dispose]());
      beginning = { done, stop: () => deadline.abort(new DbstashError('the run was over before an answer came')) };
    },
    ended: async (report) => {
      using deadline = createDeadline(around);
      const { isTold, recoveredAfter } = decide(report);
      const message = createMessage(around, report, recoveredAfter);
      const told = isTold ? tellAll(message, deadline.signal, { run: report.run }) : [];
      await Promise.all([...told, pingEnd(message, report, deadline.signal)]);
    },
    test: async () => {
      using deadline = createDeadline(around);
      const { signal } = deadline;
      const message = createTestMessage(around);
      return await Promise.all([
        ...tellAll(message, signal, {}),
        ...(ping ? [ping.test ? deliver(ping, signal, () => ping.test!(message, signal), {}) : skipPing(ping)] : []),
      ]);
    },
    failures,
  };
}

const skipPing = ({ kind, title }: Ping): Delivery => ({
  channel: kind,
  title,
  state: 'skipped',
  detail: 'not asked: there all that comes counts as a run that went well, or as one that did not',
});

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
