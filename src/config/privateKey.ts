/** Private keys as PEM, in OpenSSH's own form too. */
const PEM = /-----BEGIN ([A-Z ]*PRIVATE KEY)-----[\s\S]*?-----END \1-----/g;

export const findPrivateKeys = (text: string): readonly string[] => text.match(PEM) ?? [];

export const withoutPrivateKeys = (text: string): string => text.replace(PEM, '');

const OPENSSH_MAGIC = 'openssh-key-v1\0';

/** Whether a passphrase is needed to use it. */
export function isLocked(block: string): boolean {
  if (/ENCRYPTED/.test(block)) return true;
  const blob = Buffer.from(block.replace(/-----[^-]*-----/g, ''), 'base64');
  const at = OPENSSH_MAGIC.length;
  if (blob.toString('latin1', 0, at) !== OPENSSH_MAGIC || blob.length < at + 4) return false;
  return blob.toString('latin1', at + 4, at + 4 + blob.readUInt32BE(at)) !== 'none';
}
