import type { Examination } from './engine.ts';
import { type Crc64, createCrc64 } from './redisCrc.ts';

/** What `redis-cli --rdb -` writes behind the dump of a server with diskless sync: lower-case hex, chosen by chance. */
const MARKER_BYTES = 40;
const END_OPCODE = 0xff;
/** The checksum and the opcode before it. */
const END_BYTES = 9;
const TAIL_BYTES = MARKER_BYTES + END_BYTES;

/**
 * Follows the CRC64 of an RDB file up to its last bytes, which may be the end of the file, or of that and a marker. The
 * two cannot be taken for each other: the byte before the checksum is 0xFF, and a marker is of hex digits.
 */
export function examineRdb(): Examination {
  const crc = createCrc64();
  let tail = Buffer.alloc(0);
  return {
    add(chunk) {
      if (chunk.length < TAIL_BYTES) tail = Buffer.concat([tail, chunk]);
      else {
        crc.add(tail);
        crc.add(chunk.subarray(0, -TAIL_BYTES));
        tail = Buffer.from(chunk.subarray(-TAIL_BYTES));
      }
      const excess = tail.length - TAIL_BYTES;
      if (excess <= 0) return;
      crc.add(tail.subarray(0, excess));
      tail = Buffer.from(tail.subarray(excess));
    },
    end: () => judge(crc, tail),
  };
}

function judge(crc: Crc64, tail: Buffer): ReturnType<Examination['end']> {
  const hasMarker = /^[0-9a-f]{40}$/.test(tail.subarray(-MARKER_BYTES).toString('latin1'));
  const excessBytes = hasMarker ? MARKER_BYTES : 0;
  const body = tail.subarray(0, tail.length - excessBytes);
  if (body.length < END_BYTES || body.at(-END_BYTES) !== END_OPCODE)
    return { problem: 'it does not end as an RDB file does: it was cut short' };
  crc.add(body.subarray(0, -8));
  const found = body.subarray(-8);
  // Zeros are of a server with `rdbchecksum no`.
  if (!found.equals(Buffer.alloc(8)) && !found.equals(crc.digest()))
    return { problem: 'the checksum of the RDB file does not match its bytes: it was cut short or damaged on its way' };
  return { excessBytes };
}
