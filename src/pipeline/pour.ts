import type { Readable, Writable } from 'node:stream';

/**
 * Sees a chunk before it goes on. Later its memory is freed, but for the last `HOLD_BYTES` of the stream, which stay: what
 * must be kept of the others is to be copied.
 */
export type Tap = (chunk: Buffer) => void | Promise<void>;

/** Gets each chunk that is written, in order; it is not to be kept. */
export type Sent = (chunk: Buffer) => void;

/** Kept back at the end of a stream. */
export const HOLD_BYTES = 64 * 1024;
/** Written at once. A dump comes in small pieces, and each that is written wakes up the process behind. */
const BATCH_BYTES = 256 * 1024;
/** Bytes that may wait for the target before we stop reading. */
const HIGH_WATER_BYTES = 1024 * 1024;

/**
 * Writes what `source` gives to `target`, without ending it. Resolves at the end of `source` with its last chunks,
 * `HOLD_BYTES` at least, which were not written: some programs know by its content where their input ends (pg_restore does,
 * by an archive's table), and must not take it for whole before it is approved. Rejects when `stop` fires; until then it
 * waits for a target that takes nothing, dead ones included. `sent` gets what is written, when it is.
 */
export function pour(
  source: Readable,
  target: Writable,
  tap: Tap,
  stop: AbortSignal,
  sent: Sent = () => {},
): Promise<readonly Buffer[]> {
  const held = holdBack();
  let isTapping = false;
  const goOn = () => {
    if (isTapping || stop.aborted || target.writableLength >= HIGH_WATER_BYTES) source.pause();
    else source.resume();
  };
  const pass = (chunk: Buffer) => {
    if (!stop.aborted) writeBatch(target, held.add(chunk), sent, goOn);
    goOn();
  };
  const take = async (chunk: Buffer, seen: Promise<void>) => {
    isTapping = true;
    goOn();
    await seen;
    isTapping = false;
    pass(chunk);
  };
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => {
      source.pause();
      reject(error);
    };
    stop.addEventListener('abort', () => fail(stop.reason), { once: true });
    source.on('error', fail);
    source.on('data', (chunk: Buffer) => {
      try {
        const seen = tap(chunk);
        if (seen) take(chunk, seen).catch(fail);
        else pass(chunk);
      } catch (error) {
        fail(error);
      }
    });
    source.on('end', () => {
      if (!stop.aborted) writeBatch(target, held.release(), sent, goOn);
      resolve(held.rest);
    });
  });
}

interface Held {
  /** Takes a chunk; returns a batch that may go, or nothing. */
  add(chunk: Buffer): readonly Buffer[];
  /** All that may go. */
  release(): readonly Buffer[];
  /** What may not. */
  readonly rest: readonly Buffer[];
}

function holdBack(): Held {
  const rest: Buffer[] = [];
  let bytes = 0;
  const release = () => {
    let count = 0;
    while (count < rest.length && bytes - rest[count]!.length >= HOLD_BYTES) bytes -= rest[count++]!.length;
    return rest.splice(0, count);
  };
  return {
    rest,
    release,
    add(chunk) {
      rest.push(chunk);
      bytes += chunk.length;
      return bytes < HOLD_BYTES + BATCH_BYTES ? [] : release();
    },
  };
}

/** Writes chunks in one system call, where the target takes them, and frees them when they are taken. */
function writeBatch(target: Writable, chunks: readonly Buffer[], sent: Sent, onTaken: () => void): void {
  const last = chunks.length - 1;
  const taken = () => {
    for (const chunk of chunks) free(chunk);
    onTaken();
  };
  target.cork();
  chunks.forEach((chunk, index) => {
    sent(chunk);
    target.write(chunk, index === last ? taken : undefined);
  });
  target.uncork();
}

/** The collector does not see how much hangs on a chunk, and would come too late. Small ones share their memory. */
function free({ buffer, byteLength }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
