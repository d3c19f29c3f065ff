import type { Config, ConfigSource } from '../config/config.ts';
import { parseConfig } from '../config/config.ts';
import type { Host, Session } from '../jobs/session.ts';
import { openSession } from '../jobs/session.ts';

/** What the process edge gives to the commands. */
export interface Edge {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly print: (text: string) => void;
  /** Masks what is secret in a text that tools or servers had a hand in. */
  readonly redact: (text: string) => string;
  /** Asks on the terminal; undefined where there is none. */
  readonly askUser: ((question: string) => Promise<string>) | undefined;
  /** Builds the host once the configuration is known. */
  readonly createHost: (config: Config) => Host;
  readonly version: string;
}

export type Options = Readonly<Record<string, string | boolean | undefined>>;

export interface Call {
  readonly edge: Edge;
  /** The environment and the flags, for the configuration. */
  readonly source: ConfigSource;
  readonly options: Options;
  readonly args: readonly string[];
}

export interface CommandRow {
  readonly name: string;
  /** As its help shows them: "[name]". */
  readonly args?: readonly string[];
  readonly summary: string;
  readonly options?: readonly (readonly [flags: string, help: string])[];
  readonly example: string;
  readonly exitCodes: string;
  readonly run: (call: Call) => Promise<number>;
}

export async function withSession(
  call: Call,
  work: (session: Session, call: Call) => Promise<number>,
): Promise<number> {
  await using session = await openSession(call.edge.createHost(parseConfig(call.source)));
  for (const sentence of session.broken) session.host.logger.warn(sentence);
  return await work(session, call);
}

export const toJson = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** Strings are masked one by one: a mask across them could break the JSON. */
export function printJson({ print, redact }: Edge, value: unknown): void {
  const mask = (_key: string, part: unknown) => (typeof part === 'string' ? redact(part) : part);
  print(`${JSON.stringify(value, mask, 2)}\n`);
}

export const printText = ({ print, redact }: Edge, text: string): void => print(redact(text));
