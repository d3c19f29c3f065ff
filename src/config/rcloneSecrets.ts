import { createDecipheriv } from 'node:crypto';
import { isSecretKey } from './secretKey.ts';

/** What stands behind the switches of a configuration, and would blank out half of a log. */
export const isPlainValue = (value: string): boolean => /^(true|false|\d{1,5}|)$/i.test(value);

/** The secrets of an rclone.conf; of an encrypted one there is nothing to see. */
export function secretsOfRcloneConfig(text: string): string[] {
  const entries = [...text.matchAll(/^[ \t]*([\w.-]+)[ \t]*[=:][ \t]*(.*?)[ \t]*$/gm)];
  return entries.flatMap(([, key = '', value = '']) => secretsOfEntry(key, value));
}

/** The secrets of one option or variable. */
export const secretsOfEntry = (key: string, value: string): string[] =>
  isSecretKey(key) && !isPlainValue(value) ? allFormsOf(value) : [];

/** A token is JSON that holds the real ones; a password may be obscured, and is used in the clear. */
export function allFormsOf(value: string): string[] {
  const revealed = reveal(value);
  return [value, ...secretsInJson(value), ...(revealed === undefined ? [] : [revealed])];
}

function secretsInJson(text: string): string[] {
  if (!text.startsWith('{')) return [];
  try {
    const record: Record<string, unknown> = JSON.parse(text);
    return Object.entries(record).flatMap(([key, value]) =>
      isSecretKey(key) && typeof value === 'string' ? [value] : [],
    );
  } catch {
    return [];
  }
}

/** `rclone obscure` hides passwords under a key that everybody has (rclone, fs/config/obscure). */
const OBSCURE_KEY = Buffer.from('9c935b48730a554d6bfd7c63c886a92bd390198eb8128afbf4de162b8b95f638', 'hex');
const IV_BYTES = 16;

/** Undefined where the text was not obscured: what comes out is no text then. */
function reveal(text: string): string | undefined {
  const bytes = Buffer.from(text, 'base64url');
  if (bytes.length <= IV_BYTES || !/^[\w-]+$/.test(text)) return undefined;
  const decipher = createDecipheriv('aes-256-ctr', OBSCURE_KEY, bytes.subarray(0, IV_BYTES));
  try {
    const clear = new TextDecoder('utf-8', { fatal: true }).decode(decipher.update(bytes.subarray(IV_BYTES)));
    return /\p{Cc}/u.test(clear) ? undefined : clear;
  } catch {
    return undefined;
  }
}
