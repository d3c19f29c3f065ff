import { isAbsolute } from 'node:path';
import { split } from 'shlex';
import { ConfigError } from '../core/errors.ts';
import { parseDuration } from '../core/units.ts';
import { isHost, readPort } from '../core/uri.ts';
import { isBrokenConnectionString } from './connectionString.ts';

/**
 * Readers of single values. Each throws `ConfigError` with one sentence that repeats the value and says what would be
 * right; those of secrets repeat nothing.
 */

const fail = (text: string, right: string): never => {
  throw new ConfigError(`${JSON.stringify(text)} ${right}`);
};

/** As it is: a password may well begin with a space. */
export const parseText = (text: string): string => text;

/** Without white space around; it goes into names and logs, so control characters are refused. */
export function parseLine(text: string): string {
  return /\p{Cc}/u.test(text) ? fail(text, 'holds a control character') : text.trim();
}

/** Parts separated by commas, without white space around. */
export const parseList = (text: string): readonly string[] => text.split(',').flatMap((part) => part.trim() || []);

/** Repeats nothing of what looks like a URI with a password. */
export function parseDatabaseName(text: string): string {
  if (/:\/\/[^/]*:[^/]*@/.test(text)) throw new ConfigError('this is a URI, which is given as DB_URI');
  return text;
}

export function parseHost(text: string): string {
  const host = text.trim().replace(/^\[(.*)\]$/, '$1');
  if (isHost(host)) return host;
  if (host.includes('@'))
    throw new ConfigError('it holds an @: user and password are given as DB_USER and DB_PASSWORD');
  if (host.includes('://')) throw new ConfigError('this is a URI, which is given as DB_URI');
  if (/^[^:]+:\d+$/.test(host)) return fail(text, 'holds a port, which is given as DB_PORT');
  return fail(text, 'is no host; right is a name, an address or the absolute path of a folder with a socket');
}

export const parsePort = (text: string): number =>
  readPort(text.trim()) ?? fail(text, 'is no port; right is a number from 1 to 65535');

/** One of `names`, in any case. */
export const oneOf =
  <const T extends string>(...names: readonly T[]) =>
  (text: string): T =>
    names.find((name) => name === text.trim().toLowerCase()) ??
    fail(text, `is not possible; right is ${names.join(', ').replace(/, ([^,]+)$/, ' or $1')}`);

/** A whole number from `least` on. */
export const countFrom =
  (least: number) =>
  (text: string): number => {
    const count = /^\d{1,9}$/.test(text.trim()) ? Number(text) : -1;
    return count >= least ? count : fail(text, `is not possible; right is a whole number, ${least} or more`);
  };

/** A Node timer ends at 24.8 days: what is longer would fire at once. */
const MAX_TIMER_MS = 24 * 86_400_000;

export function parseTimeout(text: string): number {
  const ms = parseDuration(text);
  return ms <= MAX_TIMER_MS ? ms : fail(text, 'is too long; right is 24d or less, or 0 for none');
}

/** A name that Intl knows; a leading colon, as C libraries take it, is left out. */
export function parseTimeZone(text: string): string {
  const timeZone = text.trim().replace(/^:/, '');
  try {
    new Intl.DateTimeFormat('en', { timeZone });
    return timeZone;
  } catch {
    return fail(text, 'is no time zone; right is one like UTC or Europe/Berlin');
  }
}

/** What BACKUP_COMPRESS asks for: the dump tool's own compression, or a filter after it. */
export type Compression =
  | { readonly kind: 'none' }
  | { readonly kind: 'own' }
  /** Without a level: the filter's default. */
  | { readonly kind: 'filter'; readonly filter: 'gzip' | 'zstd'; readonly level: number | undefined };

const MAX_LEVELS = { gzip: 9, zstd: 22 } as const;

export function parseCompression(text: string): Compression {
  const wanted = text.trim().toLowerCase();
  if (['true', 'yes', '1'].includes(wanted)) return { kind: 'own' };
  if (['false', 'no', '0'].includes(wanted)) return { kind: 'none' };
  const [, filter, digits] = /^(gzip|zstd)(?::(\d{1,2}))?$/.exec(wanted) ?? [];
  const level = digits === undefined ? undefined : Number(digits);
  if ((filter === 'gzip' || filter === 'zstd') && (level ?? 1) >= 1 && (level ?? 1) <= MAX_LEVELS[filter])
    return { kind: 'filter', filter, level };
  return fail(text, 'is not possible; right is true, false, gzip, gzip:1 to gzip:9, zstd or zstd:1 to zstd:22');
}

/** By how much a dump may be smaller than the last one. */
export interface ShrinkLimit {
  /** 0.3 for 30 %. */
  readonly fraction: number;
  readonly isFatal: boolean;
}

/** `30%`, `fail:30%`, or `0` for none. */
export function parseShrink(text: string): ShrinkLimit | undefined {
  if (/^0%?$/.test(text.trim())) return undefined;
  const [, fatal, digits] = /^(fail:)?(\d{1,2}(?:\.\d+)?)%$/i.exec(text.trim()) ?? [];
  const fraction = Number(digits) / 100;
  if (fraction > 0) return { fraction, isFatal: fatal !== undefined };
  return fail(text, 'is not possible; right is one like 30% or fail:30%, or 0 for none');
}

/** Arguments as a shell would split them; nothing in them is expanded. Repeats nothing: one may be a secret. */
export function parseArgs(text: string): readonly string[] {
  try {
    return split(text);
  } catch (cause) {
    throw new ConfigError('a quote is not closed, or a backslash ends it; right are arguments quoted as for a shell', {
      cause,
    });
  }
}

/** An rclone destination. Repeats nothing of one with options: they may be secrets. */
export function parseRemote(text: string): string {
  const remote = text.trim();
  if (/\p{Cc}/u.test(remote)) throw new ConfigError('it holds a control character');
  if (remote.startsWith('-')) throw new ConfigError('it begins like a flag; right is ./NAME for a folder of that name');
  if (isBrokenConnectionString(remote))
    throw new ConfigError(
      'it begins like a connection string and is none; right is one like :s3,provider=AWS:bucket/path',
    );
  return remote;
}

/** An absolute path that can stand in any configuration file without being quoted. */
export function parseFolder(text: string): string {
  const folder = text.trim();
  if (!isAbsolute(folder)) return fail(text, 'is no absolute path');
  if (/[\p{Cc}\\'"`]/u.test(folder)) return fail(text, 'holds a quote, a backslash or a control character');
  return folder;
}

export function parsePem(text: string): string {
  if (/-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----/.test(text)) return `${text.trim()}\n`;
  throw new ConfigError(
    'it holds no certificate; right is PEM (-----BEGIN CERTIFICATE-----), or its path as DB_TLS_CA_FILE',
  );
}
