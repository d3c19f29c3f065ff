import { createHash } from 'node:crypto';

/** A segment, in bytes of UTF-8: leaves room for an id, an extension and a record's suffix within the usual 255. */
const MAX_SEGMENT_BYTES = 180;

/** Characters that are no part of a name anywhere: invisible ones, and what some storage or shell gives a meaning. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}/\\:*?"<>|%]/gu;
/** Those that are none at the place where they stand. */
const UNSAFE_PLACE = /^\.{1,2}$|^[\s~-]|[\s.]$/gu;

/**
 * A database or host name as one part of a path, readable and never `.`, `..` or empty. Different names give different
 * parts: `%` itself is encoded, and a part over 180 bytes is cut and told apart by a digest.
 */
export function encodeSegment(text: string): string {
  if (text === '') return '%';
  return shortenSegment(text.replace(UNSAFE, percentEncode).replace(UNSAFE_PLACE, percentEncode));
}

/** Bytes of UTF-8; half of a surrogate pair has none and is written as `%uD800`. */
function percentEncode(text: string): string {
  if (!text.isWellFormed()) return `%u${formatHex(text.charCodeAt(0))}`;
  return [...Buffer.from(text)].map((byte) => `%${formatHex(byte)}`).join('');
}

const formatHex = (value: number): string => value.toString(16).toUpperCase().padStart(2, '0');

/** Cut to what storage takes, between characters, and told apart from others of the same beginning by a digest. */
export function shortenSegment(text: string): string {
  if (Buffer.byteLength(text) <= MAX_SEGMENT_BYTES) return text;
  const mark = `~${createHash('sha256').update(text).digest('hex').slice(0, 8)}`;
  let kept = '';
  for (const [unit] of text.matchAll(/%[0-9A-F]{2}|./gsu)) {
    if (Buffer.byteLength(kept + unit + mark) > MAX_SEGMENT_BYTES) break;
    kept += unit;
  }
  return kept + mark;
}

/** What `encodeSegment` was given; of a part that was cut, only what is left of it. */
export const decodeSegment = (segment: string): string =>
  segment === '%'
    ? ''
    : segment.replace(/(?:%[0-9A-F]{2})+/g, (bytes) => Buffer.from(bytes.replaceAll('%', ''), 'hex').toString('utf8'));
