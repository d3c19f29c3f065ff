import { isIPv6 } from 'node:net';
import { ConfigError } from './errors.ts';

/** A connection URI taken apart and percent-decoded. What it does not say is undefined, of a host empty. */
export interface DatabaseUri {
  /** In lower case, without the colon. */
  readonly scheme: string;
  readonly hosts: readonly UriHost[];
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** What follows the slash after the hosts. */
  readonly database: string | undefined;
  readonly params: Readonly<Record<string, string>>;
}

export interface UriHost {
  /** An IPv6 address has no brackets. */
  readonly host: string;
  readonly port: number | undefined;
}

const ENCODE = 'in user, password and database @ : / ? and % are written %40 %3A %2F %3F %25';

/**
 * Reads `scheme://user:password@host:port,host:port/database?name=value`. Throws `ConfigError` with one sentence that
 * repeats nothing of the URI: what stands in the wrong place may well be a piece of the password.
 */
export function parseDatabaseUri(text: string): DatabaseUri {
  const [, scheme, rest] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/is.exec(text.trim()) ?? [];
  if (scheme === undefined || rest === undefined)
    throw new ConfigError('this is no URI; right is one like postgres://user:password@host:5432/database');
  if (/\p{Cc}/u.test(rest)) throw new ConfigError('the URI holds a line break or another control character');
  const { authority, path, query } = splitRest(rest);
  const { user, password, hosts } = parseAuthority(authority);
  return {
    scheme: scheme.toLowerCase(),
    hosts,
    user,
    password,
    database: decode(path, 'database'),
    params: parseParams(query),
  };
}

function splitRest(rest: string): { authority: string; path: string; query: string } {
  const [, authority = '', path = '', query = ''] = /^([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(rest) ?? [];
  // Where a password holds a bare slash or question mark, what we took for a database begins in its middle.
  const isCutShort = path.includes('@') || (query.includes('@') && !authority.includes('@'));
  if (authority !== '' && isCutShort) throw new ConfigError(`the URI has an @ after the host; ${ENCODE}`);
  return { authority, path, query };
}

function parseAuthority(authority: string): Pick<DatabaseUri, 'user' | 'password' | 'hosts'> {
  // The last one: a host has no @, a password that somebody forgot to encode may.
  const at = authority.lastIndexOf('@');
  const hosts = authority.slice(at + 1);
  const [, user = '', password = ''] = /^([^:]*):?(.*)$/s.exec(authority.slice(0, Math.max(at, 0))) ?? [];
  return {
    user: decode(user, 'user'),
    password: decode(password, 'password'),
    hosts: hosts === '' ? [] : hosts.split(',').map(parseHost),
  };
}

function parseHost(text: string): UriHost {
  const [, host, digits = ''] = /^(\[[^[\]]*\]|[^:[\]]*)(?::([^:]*))?$/.exec(text) ?? [];
  if (host === undefined)
    throw new ConfigError(`the URI has a host with too many colons; an IPv6 address stands in [ ], ${ENCODE}`);
  const decoded = decode(host.replace(/^\[(.*)\]$/, '$1'), 'host') ?? '';
  if (decoded !== '') requireHost(decoded, host.startsWith('['));
  const port = readPort(digits);
  if (digits !== '' && port === undefined)
    throw new ConfigError(`the URI has a port that is no number from 1 to 65535; ${ENCODE}`);
  return { host: decoded, port };
}

function requireHost(host: string, isBracketed: boolean): void {
  if (isBracketed ? isIPv6(host) : isHost(host)) return;
  throw new ConfigError(
    `the URI has a host that is none; right is a name, an address, [IPv6] or %2Fsocket%2Ffolder; ${ENCODE}`,
  );
}

/** A name or address that a resolver could take, an IPv6 address without brackets, or the absolute path of a socket's folder. */
export const isHost = (host: string): boolean =>
  host.startsWith('/') || isIPv6(host) || /^(?!-)[\p{L}\p{M}\p{N}._-]+$/u.test(host);

/** 1 to 65535; undefined for anything else. */
export function readPort(digits: string): number | undefined {
  const port = /^\d{1,5}$/.test(digits) ? Number(digits) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}

/** As in libpq each is `name=value`, a `+` is a plus, and of two the last one counts. */
function parseParams(query: string): Record<string, string> {
  const params: [string, string][] = [];
  for (const part of query.split('&').filter((text) => text !== '')) {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(part) ?? [];
    if (name === undefined || value === undefined)
      throw new ConfigError(
        `the URI has a parameter without name or value; right is ?name=value&name=value, and ${ENCODE}`,
      );
    params.push([decode(name, 'parameter') ?? '', decode(value, 'parameter') ?? '']);
  }
  return Object.fromEntries(params);
}

/** Undefined where there is nothing. */
function decode(text: string, part: string): string | undefined {
  if (text === '') return undefined;
  if (/%(?![0-9a-f]{2})/i.test(text)) throw new ConfigError(`the URI has a bare % in the ${part}; it is written %25`);
  if (/%00/.test(text)) throw new ConfigError(`the URI has a %00 in the ${part}, which no server takes`);
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new ConfigError(`the URI has a ${part} that is not UTF-8 when decoded`, { cause });
  }
}
