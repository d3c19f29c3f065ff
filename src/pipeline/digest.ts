import { createHash } from 'node:crypto';

/** Counts and hashes what passes through `add`. */
export interface Digest {
  readonly bytes: number;
  add(chunk: Buffer): void;
  /** Hex SHA-256 of everything added; ends the digest. */
  sha256(): string;
}

export function createDigest(): Digest {
  const hash = createHash('sha256');
  let bytes = 0;
  return {
    get bytes() {
      return bytes;
    },
    add(chunk) {
      bytes += chunk.length;
      hash.update(chunk);
    },
    sha256: () => hash.digest('hex'),
  };
}
