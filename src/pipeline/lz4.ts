import type { Completeness } from './completeness.ts';

/**
 * Walks the blocks of lz4 frames without decoding them, and says whether the last frame was ended.
 * Layout: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
 */
export function createLz4Watch(): Completeness {
  let held: Buffer = Buffer.alloc(0);
  let skip = 0;
  let frame: { blockChecksum: boolean; contentChecksum: boolean } | undefined;
  let problem: string | undefined;

  /** Takes one header or block size from `held`; false if it needs more bytes. */
  function step(): boolean {
    if (!frame) {
      if (held.length < 7) return false;
      if (held.readUInt32LE(0) !== 0x184d2204) problem = 'its lz4 is broken: no frame where one must begin';
      const flags = held[4]!;
      frame = { blockChecksum: (flags & 0x10) !== 0, contentChecksum: (flags & 0x04) !== 0 };
      consume(7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0));
      return true;
    }
    if (held.length < 4) return false;
    const size = held.readUInt32LE(0) & 0x7fffffff;
    if (size === 0) {
      consume(4 + (frame.contentChecksum ? 4 : 0));
      frame = undefined;
    } else {
      consume(4 + size + (frame.blockChecksum ? 4 : 0));
    }
    return true;
  }

  function consume(bytes: number): void {
    skip = Math.max(0, bytes - held.length);
    held = held.subarray(bytes);
  }

  return {
    add(chunk) {
      const rest = chunk.subarray(skip);
      skip = Math.max(0, skip - chunk.length);
      held = held.length === 0 ? rest : Buffer.concat([held, rest]);
      while (!problem && skip === 0 && step());
      held = Buffer.from(held);
    },
    check: async () => problem ?? (frame || skip > 0 || held.length > 0 ? 'its lz4 ends within a frame' : undefined),
  };
}
