import type { TableName } from './engine.ts';

/** What stands before the documents of an archive. */
interface ArchiveHead {
  readonly tool: string | undefined;
  readonly server: string | undefined;
  /** Those of the server too. */
  readonly collections: readonly TableName[];
}

/** The archive's own header, and a record of each collection. Throws where the bytes make no sense, or end before it does. */
export function readArchiveHead(head: Buffer): ArchiveHead {
  // Behind the magic number.
  const { tool_version: tool, server_version: server } = readStrings(head, 4);
  const collections: TableName[] = [];
  for (let at = 4 + sizeOf(head, 4); head.readInt32LE(at) !== -1; at += sizeOf(head, at)) {
    const { db, collection } = readStrings(head, at);
    if (db !== undefined && collection !== undefined) collections.push({ scope: db, name: collection });
  }
  return { tool, server, collections };
}

/** Of a document with nothing in it. */
const LEAST_BYTES = 5;

const sizeOf = (bytes: Buffer, start: number): number => readSize(bytes, start, LEAST_BYTES);

/** Never less than `least`: what is damaged would be read in circles. */
function readSize(bytes: Buffer, at: number, least: number): number {
  const size = bytes.readInt32LE(at);
  if (size < least) throw new Error(`a size of ${size} bytes`);
  return size;
}

/** Bytes of the values of a BSON document that are of a fixed size. */
const SIZES: Readonly<Record<number, number>> = { 1: 8, 8: 1, 16: 4, 18: 8 };

/** The strings of the document at `start`. Throws where it is none. */
function readStrings(bytes: Buffer, start: number): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  let at = start + 4;
  while (bytes.readUInt8(at) !== 0) {
    const type = bytes.readUInt8(at);
    const end = bytes.indexOf(0, at + 1);
    if (end < 0) throw new Error('a name without an end');
    const key = bytes.toString('utf8', at + 1, end);
    at = end + 1;
    const size = SIZES[type];
    if (type === 0x02) {
      const length = readSize(bytes, at, 1);
      found[key] = bytes.toString('utf8', at + 4, at + 3 + length);
      at += 4 + length;
    } else if (size !== undefined) at += size;
    else throw new Error(`a value of the type ${type}`);
  }
  return found;
}
