import type { Config } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import type { Redactor } from '../core/redact.ts';
import type { Logger } from '../logger.ts';
import type { Message } from './message.ts';

/** What the process gives to whoever tells people. */
export interface Surroundings {
  readonly config: Config;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly redact: Redactor;
  /** Fires when the process has to end. */
  readonly signal: AbortSignal;
  /** The name of this machine or container. */
  readonly hostname: string;
  readonly version: string;
}

/** One place that messages go to. */
export interface Channel {
  readonly kind: string;
  /** For people: the server, and nothing of an address that opens it. */
  readonly title: string;
  /** Throws where it did not arrive, for all or for some; an error never holds the address. */
  send(message: Message, signal: AbortSignal): Promise<void>;
}

/** How messages look to a kind of web address. */
export interface Format {
  readonly kind: string;
  readonly fits: (address: URL) => boolean;
  /** To be sent as JSON. */
  readonly render: (message: Message) => unknown;
}
