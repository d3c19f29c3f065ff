import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/** A secret with odd characters, and the parts of it by which it is known in whatever form it comes. */
export interface Canary {
  readonly text: string;
  readonly parts: readonly string[];
}

const PART_BYTES = 9;
const newPart = (): string => `Kn${randomBytes(PART_BYTES).toString('hex')}`;

/** Its ends are plain, and known by themselves: no encoding of what is between hides it. */
export function createCanary(middle = `%/+"'\\ ü&=?#@:;$x`): Canary {
  const parts = [newPart(), newPart()] as const;
  return { text: parts.join(middle), parts };
}

/** Of a secret that one did not make up: its longer lines. */
export const canaryOf = (text: string): Canary => ({
  text,
  parts: text.split(/\s+/).filter((word) => word.length >= 20 && !word.startsWith('-----')),
});

/** As `rclone obscure` has it (rclone, fs/config/obscure): anybody can undo it. */
const KEY = Buffer.from('9c935b48730a554d6bfd7c63c886a92bd390198eb8128afbf4de162b8b95f638', 'hex');

export function obscureText(text: string): string {
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-ctr', KEY, iv);
  return Buffer.concat([iv, cipher.update(text), cipher.final()]).toString('base64url');
}

function reveal(text: string): string {
  const bytes = Buffer.from(text, 'base64url');
  const decipher = createDecipheriv('aes-256-ctr', KEY, bytes.subarray(0, 16));
  return decipher.update(bytes.subarray(16)).toString('latin1');
}

/** What is the same of the base64 of a text, whatever stands before and behind. */
function base64Cores(text: string): string[] {
  return [0, 1, 2].map((before) => {
    const encoded = Buffer.concat([Buffer.alloc(before), Buffer.from(text)]).toString('base64');
    return encoded.slice(Math.ceil((before * 8) / 6), Math.floor(((before + text.length) * 8) / 6));
  });
}

/** Which canaries can be read in a text, plain, in base64 or obscured, in base64 twice over too. */
export function findCanaries(text: string, canaries: Readonly<Record<string, Canary>>): string[] {
  const revealed = [...text.matchAll(/[\w-]{43,}/g)].map(([word]) => reveal(word)).join('\n');
  return Object.entries(canaries).flatMap(([name, { parts }]) => {
    const forms = parts.flatMap((part) => [part, ...base64Cores(part), ...base64Cores(part).flatMap(base64Cores)]);
    const urls = forms.map((form) => form.replaceAll('+', '-').replaceAll('/', '_'));
    const isThere =
      [...forms, ...urls].some((form) => text.includes(form)) || parts.some((part) => revealed.includes(part));
    return isThere ? [name] : [];
  });
}
