/** CRC-64/Jones, as Redis uses it: reflected, begun with 0. Two 32-bit halves, eight bytes a step; no BigInt on the way. */
export interface Crc64 {
  add(bytes: Buffer): void;
  /** Of all that was added so far, in the eight bytes that stand at the end of an RDB file: little endian. */
  digest(): Buffer;
}

/** The polynomial 0xad93d23594c935a9, bits reversed. */
const POLY_HIGH = 0x95ac9329;
const POLY_LOW = 0xac4bc9b5;

/** Row k, column b: what the byte b adds to the sum when k zero bytes follow it. */
const [LOW, HIGH] = makeTables();

function makeTables(): readonly [low: Int32Array, high: Int32Array] {
  const low = new Int32Array(8 * 256);
  const high = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let [l, h] = [byte, 0];
    for (let bit = 0; bit < 8; bit++) {
      const isOdd = l & 1;
      l = (l >>> 1) | (h << 31);
      h >>>= 1;
      if (isOdd) {
        l ^= POLY_LOW;
        h ^= POLY_HIGH;
      }
    }
    low[byte] = l;
    high[byte] = h;
  }
  for (let at = 256; at < low.length; at++) {
    const [l, h] = [low[at - 256]!, high[at - 256]!];
    low[at] = low[l & 0xff]! ^ ((l >>> 8) | (h << 24));
    high[at] = high[l & 0xff]! ^ (h >>> 8);
  }
  return [low, high];
}

export function createCrc64(): Crc64 {
  let low = 0;
  let high = 0;
  const addBytes = (bytes: Buffer, from: number, to: number) => {
    for (let at = from; at < to; at++) {
      const index = (low ^ bytes[at]!) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ LOW[index]!;
      high = (high >>> 8) ^ HIGH[index]!;
    }
  };
  return {
    add(bytes) {
      // A view on whole words must begin at one.
      const start = Math.min(bytes.length, -bytes.byteOffset & 3);
      const steps = (bytes.length - start) >>> 3;
      addBytes(bytes, 0, start);
      if (steps > 0)
        [low, high] = addWords(new Int32Array(bytes.buffer, bytes.byteOffset + start, steps * 2), low, high);
      addBytes(bytes, start + steps * 8, bytes.length);
    },
    digest() {
      const bytes = Buffer.alloc(8);
      bytes.writeInt32LE(low, 0);
      bytes.writeInt32LE(high | 0, 4);
      return bytes;
    },
  };
}

/** Little-endian words, as on every machine that node 24 runs on but s390x. */
function addWords(words: Int32Array, low: number, high: number): [low: number, high: number] {
  const [LO, HI] = [LOW, HIGH];
  for (let at = 0; at < words.length; at += 2) {
    const l = low ^ words[at]!;
    const h = high ^ words[at + 1]!;
    const l0 = 1792 | (l & 0xff);
    const l1 = 1536 | ((l >>> 8) & 0xff);
    const l2 = 1280 | ((l >>> 16) & 0xff);
    const l3 = 1024 | (l >>> 24);
    const h0 = 768 | (h & 0xff);
    const h1 = 512 | ((h >>> 8) & 0xff);
    const h2 = 256 | ((h >>> 16) & 0xff);
    const h3 = h >>> 24;
    low = LO[l0]! ^ LO[l1]! ^ LO[l2]! ^ LO[l3]! ^ LO[h0]! ^ LO[h1]! ^ LO[h2]! ^ LO[h3]!;
    high = HI[l0]! ^ HI[l1]! ^ HI[l2]! ^ HI[l3]! ^ HI[h0]! ^ HI[h1]! ^ HI[h2]! ^ HI[h3]!;
  }
  return [low, high];
}
