import { bech32 } from '@scure/base';
import { ConfigError } from '../core/errors.ts';
import { findPrivateKeys, isLocked, withoutPrivateKeys } from './privateKey.ts';

/** Readers of what the age tool takes. Neither repeats what it was given, but for the beginning of a public key. */

const RIGHT = 'right is one like age1..., ssh-ed25519 AAAA... or ssh-rsa AAAA...';

/** Public keys, separated by commas or line breaks, with comments as in a recipients file. What age would leave out is refused. */
export function parseRecipients(text: string): readonly string[] {
  const entries = text
    .split(/\r?\n/)
    .filter((line) => !line.trimStart().startsWith('#'))
    .flatMap((line) => line.split(','))
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  if (entries.length === 0) throw new ConfigError(`it names no recipient; ${RIGHT}`);
  return [...new Set(entries.map(parseRecipient))];
}

function parseRecipient(entry: string, index: number): string {
  if (/AGE-SECRET-KEY-1|PRIVATE KEY/i.test(entry))
    throw new ConfigError(
      'it holds a secret key, which belongs to DECRYPT_IDENTITY; right is its public key (age-keygen -y FILE)',
    );
  const [type = '', blob = ''] = entry.split(/\s+/);
  if (isNativeRecipient(entry)) return entry;
  if (isSshRecipient(type, blob)) return `${type} ${blob}`;
  const shown = /^(age1|ssh-|ecdsa-|sk-)/.test(entry) ? ` (${entry.slice(0, 16)}...)` : '';
  throw new ConfigError(`recipient ${index + 1}${shown} is none that age takes, or was cut short; ${RIGHT}`);
}

const X25519_BYTES = 32;

const isNativeRecipient = (text: string): boolean => decodeBech32(text, 'age')?.length === X25519_BYTES;

/** Undefined where the text is no bech32 of that prefix, or its checksum is wrong. */
function decodeBech32(text: string, prefix: string): Uint8Array | undefined {
  const decoded = bech32.decodeUnsafe(text);
  return decoded?.prefix.toLowerCase() === prefix ? (bech32.fromWordsUnsafe(decoded.words) ?? undefined) : undefined;
}

const LEAST_RSA_BITS = 2048;

function isSshRecipient(type: string, base64: string): boolean {
  const [name, ...fields] = readFields(Buffer.from(base64, 'base64'));
  if (name?.toString('latin1') !== type) return false;
  if (type === 'ssh-ed25519') return fields.length === 1 && fields[0]?.length === 32;
  const modulus = fields[1]?.toString('hex').replace(/^(00)+/, '') ?? '';
  return type === 'ssh-rsa' && fields.length === 2 && modulus.length * 4 >= LEAST_RSA_BITS;
}

/** The fields of an SSH key, each behind its length; none where it is cut short. */
function readFields(blob: Buffer): readonly Buffer[] {
  const fields: Buffer[] = [];
  for (let at = 0; at < blob.length; ) {
    const end = at + 4 <= blob.length ? at + 4 + blob.readUInt32BE(at) : Number.POSITIVE_INFINITY;
    if (end > blob.length) return [];
    fields.push(blob.subarray(at + 4, end));
    at = end;
  }
  return fields;
}

/** The content of an identity file, or SSH private keys: as texts of files, since age takes one SSH key in each. */
export function parseIdentity(text: string): readonly string[] {
  if (/BEGIN AGE ENCRYPTED FILE|^age-encryption\.org\//m.test(text))
    throw new ConfigError('it is protected by a passphrase; right is what age --decrypt makes of that file');
  const blocks = findPrivateKeys(text);
  if (blocks.some(isLocked))
    throw new ConfigError(
      'it is an SSH key with a passphrase; right is a copy without one (ssh-keygen -p -N "" -f COPY)',
    );
  const lines = withoutPrivateKeys(text)
    .split('\n')
    .map((line) => line.trim());
  const keys = lines.filter((line) => line !== '' && !line.startsWith('#'));
  if (keys.length + blocks.length === 0 || !keys.every((key) => decodeBech32(key, 'age-secret-key-')))
    throw new ConfigError(
      'it holds a line that is no identity, or none at all; right is the content of a file of age-keygen (AGE-SECRET-KEY-1...), or an SSH private key',
    );
  return [...(keys.length > 0 ? [`${keys.join('\n')}\n`] : []), ...blocks.map((block) => `${block}\n`)];
}
