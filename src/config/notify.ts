import { ConfigError } from '../core/errors.ts';
import type { Notes } from './notes.ts';
import { parseList } from './parsers.ts';
import type { Settings } from './settings.ts';
import type { Values } from './variables.ts';

/** Readers of what says where messages go. Addresses hold keys, so none is repeated in an error. */

/** How mail is handed over. */
export interface Smtp {
  readonly host: string;
  readonly port: number;
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** `implicit`: from the first byte; `prefer`: STARTTLS where the server offers it; `require`: nothing without it. */
  readonly tls: 'implicit' | 'require' | 'prefer' | 'disable';
}

interface Mail {
  readonly to: readonly string[];
  readonly from: string;
  readonly smtp: Smtp;
}

export interface NotifyConfig {
  /** Web addresses, which hold keys. */
  readonly webhooks: readonly string[];
  readonly mail: Mail | undefined;
  readonly pingUrl: string | undefined;
  readonly on: Values['NOTIFY_ON'];
}

/** Notes what is missing where mail is half configured. */
export function resolveNotify(values: Values, given: Settings, notes: Notes): NotifyConfig {
  return {
    webhooks: values.NOTIFY_WEBHOOK_URL ?? [],
    mail: resolveMail(values, given, notes),
    pingUrl: values.PING_URL,
    on: values.NOTIFY_ON,
  };
}

function resolveMail(values: Values, given: Settings, { problems }: Notes): Mail | undefined {
  const { NOTIFY_EMAIL_TO: to, SMTP_URL: smtp } = values;
  const isGiven = (name: 'NOTIFY_EMAIL_TO' | 'SMTP_URL') => given[name].text !== undefined;
  const from = values.NOTIFY_EMAIL_FROM ?? (smtp?.user?.includes('@') ? smtp.user : undefined);
  if (to && smtp && from !== undefined) return { to, from, smtp };
  // What is given and wrong is told already.
  if (smtp && !isGiven('NOTIFY_EMAIL_TO'))
    problems.push('NOTIFY_EMAIL_TO is not set, and SMTP_URL is: who gets the mail?');
  else if (to && !isGiven('SMTP_URL'))
    problems.push('SMTP_URL is not set, and NOTIFY_EMAIL_TO is: right is smtp://user:password@host:587');
  else if (to && smtp && given.NOTIFY_EMAIL_FROM.text === undefined)
    problems.push('NOTIFY_EMAIL_FROM is not set, and the user of SMTP_URL is no mail address');
  return undefined;
}

/** Http or https. */
export function parseWebUrl(text: string): string {
  const url = URL.canParse(text.trim()) ? new URL(text.trim()) : undefined;
  if (url?.protocol === 'https:' || url?.protocol === 'http:') {
    for (const part of [url.username, url.password]) decode(part);
    return url.href;
  }
  throw new ConfigError('it is no web address; right is https://host/path');
}

export const parseWebhooks = (text: string): readonly string[] => parseList(text).map(parseWebUrl);

/** `name@host`, or `Name <name@host>`. */
export function parseMailbox(text: string): string {
  const address = /<([^<>]*)>$/.exec(text.trim())?.[1] ?? text.trim();
  if (/^[^\s@<>",;]+@[^\s@<>",;]+$/.test(address) && !/[\r\n]/.test(text)) return text.trim();
  throw new ConfigError(`${JSON.stringify(text)} is no mail address; right is name@example.com`);
}

export const parseMailboxes = (text: string): readonly string[] => parseList(text).map(parseMailbox);

/** The ports are those of submission (RFC 6409, RFC 8314). */
export function parseSmtpUrl(text: string): Smtp {
  const url = URL.canParse(text.trim()) ? new URL(text.trim()) : undefined;
  if (url === undefined || !/^smtps?:$/.test(url.protocol) || url.hostname === '')
    throw new ConfigError('it is no mail server; right is smtp://user:password@host:587 or smtps://user:password@host');
  const isImplicit = url.protocol === 'smtps:';
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? (isImplicit ? 465 : 587) : Number(url.port),
    user: decode(url.username),
    password: decode(url.password),
    tls: isImplicit ? 'implicit' : readTls(url.searchParams),
  };
}

function readTls(parameters: URLSearchParams): Smtp['tls'] {
  const wrong = [...parameters.keys()].find((key) => key !== 'tls');
  if (wrong !== undefined) throw new ConfigError(`it has the parameter ${wrong}; right is tls alone`);
  const tls = parameters.get('tls') ?? 'prefer';
  if (tls === 'require' || tls === 'prefer' || tls === 'disable') return tls;
  throw new ConfigError(`tls=${tls} is not possible; right is require, prefer or disable`);
}

function decode(text: string): string | undefined {
  try {
    return text === '' ? undefined : decodeURIComponent(text);
  } catch {
    throw new ConfigError('user or password holds a % that begins no percent code; right is %25');
  }
}

/** 0 turns the server off. */
export function parseHealthPort(text: string): number {
  const port = /^\d{1,5}$/.test(text.trim()) ? Number(text) : -1;
  if (port >= 0 && port <= 65_535) return port;
  throw new ConfigError(`${JSON.stringify(text)} is no port; right is a number from 1 to 65535, or 0 for none`);
}
