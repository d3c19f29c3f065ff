import { createHash } from 'node:crypto';
import type { Report } from '../core/report.ts';
import type { Surroundings } from './channel.ts';
import { isGood, type Message } from './message.ts';
import { cut } from './text.ts';
import { callWeb } from './web.ts';

/** A dead-man switch: a service that raises the alarm where it hears nothing of a run. */
export interface Ping {
  readonly kind: 'ping';
  /** For people, without the address. */
  readonly title: string;
  /** Undefined where the service knows no such thing. */
  readonly start: ((run: string, signal: AbortSignal) => Promise<void>) | undefined;
  /** Not for a run that was skipped: the one that goes on will tell its own end. */
  readonly end: (message: Message, report: Report, signal: AbortSignal) => Promise<void>;
  /** Counts as nothing there; undefined where all that it hears counts. */
  readonly test: ((message: Message, signal: AbortSignal) => Promise<void>) | undefined;
}

/** What an address is asked for at one moment. */
type Change = (url: URL, facts: { readonly run: string; readonly text: string }) => void;

/** How a kind of service is told. */
interface Service {
  readonly fits: (url: URL) => boolean;
  readonly start?: Change;
  readonly success: Change;
  readonly failure: Change;
  readonly test?: Change;
  /** Takes a text as the body of a POST; where there is none, and by others, it is a GET. */
  readonly takesText: boolean;
}

/** Healthchecks takes ten times as much. */
const MAX_TEXT = 10_000;
/** In an address. */
const MAX_PARAMETER = 200;

const append = (url: URL, step: string): void => {
  url.pathname = `${url.pathname.replace(/\/+$/, '')}${step}`;
};

/** Of healthchecks.io: the start and the end that have the same `rid` belong together. */
const healthchecks = (step: string): Change => {
  return (url, { run }) => {
    append(url, step);
    url.searchParams.set('rid', uuidOf(run));
  };
};

/** Of Uptime Kuma's push monitors. */
const kuma = (status: string): Change => {
  return (url, { text }) => {
    url.searchParams.set('status', status);
    url.searchParams.set('msg', cut(text, MAX_PARAMETER));
  };
};

/** The first that fits; what is unknown is taken for healthchecks.io, whose way most others follow. */
const SERVICES: readonly Service[] = [
  {
    fits: ({ pathname }) => pathname.includes('/api/push/'),
    success: kuma('up'),
    failure: kuma('down'),
    takesText: false,
  },
  {
    // Better Stack.
    fits: ({ pathname }) => pathname.includes('/api/v1/heartbeat/'),
    success: () => {},
    failure: (url) => append(url, '/fail'),
    takesText: true,
  },
  {
    fits: () => true,
    start: healthchecks('/start'),
    success: healthchecks(''),
    failure: healthchecks('/fail'),
    test: healthchecks('/log'),
    takesText: true,
  },
];

export function createPing(address: string, around: Surroundings): Ping {
  const { start, success, failure, test, takesText } = SERVICES.find(({ fits }) => fits(new URL(address)))!;
  const call = async (change: Change, run: string, text: string, signal: AbortSignal) => {
    const url = new URL(address);
    change(url, { run, text });
    const body = { type: 'text/plain; charset=utf-8', text: cut(text, MAX_TEXT) };
    await callWeb({ url: url.href, ...(takesText && text !== '' && { body }) }, around, signal);
  };
  return {
    kind: 'ping',
    title: `ping at ${new URL(address).host}`,
    start: start && ((run, signal) => call(start, run, '', signal)),
    end: ({ title, lines }, { run, outcome }, signal) => {
      const text = takesText ? [title, ...lines].join('\n') : lines.join(' ');
      const isSilent = takesText && outcome === 'succeeded';
      return call(isGood(outcome) ? success : failure, run, isSilent ? '' : text, signal);
    },
    test: test && (({ title }, signal) => call(test, title, title, signal)),
  };
}

/** One and the same for a run, in the form of a UUID made by a rule of one's own (RFC 9562, version 8). */
export function uuidOf(run: string): string {
  const bytes = createHash('sha256').update(`dbstash run ${run}`).digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
