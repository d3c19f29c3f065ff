import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Host } from './connection.ts';

/** A line of a known_hosts file (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"). */
export interface KnownHost {
  /** "@revoked", "@cert-authority", or none. */
  readonly marker: string;
  /** Patterns separated by commas, or one hashed name. */
  readonly hosts: string;
  /** "ssh-ed25519". */
  readonly type: string;
  readonly key: Buffer;
}

/** Lines that are none are left out, as ssh does. */
export function parseKnownHosts(text: string): readonly KnownHost[] {
  return text.split(/\r?\n/).flatMap((line) => {
    const [, marker = '', hosts = '', type = '', base64 = ''] =
      /^\s*(?:(@[\w-]+)\s+)?([^\s#@]\S*)\s+([a-z][\w.@-]*)\s+([A-Za-z0-9+/]{40,}={0,2})(?:\s|$)/.exec(line) ?? [];
    return hosts === '' ? [] : [{ marker, hosts, type, key: Buffer.from(base64, 'base64') }];
  });
}

/** What a host's key is to us. `other`: the host has keys in the file, and this is none of them. */
export type KeyVerdict = 'known' | 'revoked' | 'other' | 'unknown';

export function judgeHostKey(entries: readonly KnownHost[], host: Host, key: Buffer): KeyVerdict {
  const ours = entries.filter((entry) => isOfHost(entry, host));
  if (ours.some((entry) => entry.marker === '@revoked' && entry.key.equals(key))) return 'revoked';
  const plain = ours.filter(({ marker }) => marker === '');
  if (plain.some((entry) => entry.key.equals(key))) return 'known';
  return plain.length > 0 ? 'other' : 'unknown';
}

/** Types of the keys that the file has for a host. */
export const knownTypes = (entries: readonly KnownHost[], host: Host): readonly string[] =>
  entries.filter((entry) => entry.marker === '' && isOfHost(entry, host)).map(({ type }) => type);

/** As ssh writes it: the port only where it is another than 22. */
export const knownName = ({ host, port }: Host): string => (port === 22 ? host : `[${host}]:${port}`).toLowerCase();

/** "ssh-ed25519 SHA256:...", as ssh-keygen -l shows it. */
export function describeHostKey(key: Buffer): string {
  const type = key.length > 4 ? key.toString('latin1', 4, 4 + key.readUInt32BE(0)) : '';
  const digest = createHash('sha256').update(key).digest('base64').replace(/=+$/, '');
  return `${type} SHA256:${digest}`;
}

function isOfHost({ hosts }: KnownHost, host: Host): boolean {
  const name = knownName(host);
  if (hosts.startsWith('|')) return isHashOf(hosts, name);
  const patterns = hosts.toLowerCase().split(',');
  const matches = (pattern: string) => toRegExp(pattern).test(name);
  // What is negated is out, whatever else matches.
  if (patterns.some((pattern) => pattern.startsWith('!') && matches(pattern.slice(1)))) return false;
  return patterns.some(matches);
}

/** `|1|salt|HMAC-SHA1 of the name`. */
function isHashOf(hashed: string, name: string): boolean {
  const [, version, salt = '', digest = ''] = hashed.split('|');
  const wanted = Buffer.from(digest, 'base64');
  const found = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest();
  return version === '1' && wanted.length === found.length && timingSafeEqual(wanted, found);
}

/** `*` and `?` stand for characters, all others for themselves. */
const toRegExp = (pattern: string): RegExp =>
  new RegExp(
    `^${pattern
      .replace(/[\\^$.|+()[\]{}]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.')}$`,
  );
