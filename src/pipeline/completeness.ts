import type { Transform } from 'node:stream';
import { finished } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import type { Marks } from '../engines/engine.ts';
import { findCompression } from './filters.ts';
import { createLz4Watch } from './lz4.ts';
import { HOLD_BYTES } from './pour.ts';

/** Watches a dump go by, and says at its end whether it is whole. */
export interface Completeness {
  add(chunk: Buffer): void | Promise<void>;
  /** Undefined if whole, else what is wrong with it: "it does not end in ...". Call once, after the last byte. */
  check(): Promise<string | undefined>;
}

/** How much of either end the marks are tested on. Chunks before the last of that many bytes are freed. */
const WINDOW_BYTES = HOLD_BYTES;

/** A tool may compress by itself: the marks are looked for in what comes out, and the container must end well. */
const CONTAINERS: Readonly<Record<string, (marks: Marks) => Completeness>> = {
  gzip: (marks) => throughDecoder(createGunzip(), 'gzip', marks),
  zstd: (marks) => throughDecoder(createZstdDecompress(), 'zstd', marks),
  lz4: () => createLz4Watch(),
};

/** Chooses by the dump's first bytes how to look at it. */
export function watchCompleteness(marks: Marks): Completeness {
  let inner: Completeness | undefined;
  let held = Buffer.alloc(0);
  const open = () => {
    const watch = CONTAINERS[findCompression(held) ?? ''];
    inner = watch?.(marks) ?? watchEnds(marks);
    return inner.add(held);
  };
  return {
    add(chunk) {
      if (inner) return inner.add(chunk);
      held = Buffer.concat([held, chunk]);
      return held.length < 4 ? undefined : open();
    },
    async check() {
      if (held.length === 0) return 'it is empty';
      if (!inner) await open();
      return inner?.check();
    },
  };
}

function watchEnds(marks: Marks): Completeness {
  const window = keepEnds();
  return { add: window.add, check: async () => judge(marks, window.head(), window.tail()) };
}

function judge(marks: Marks, head: Buffer, tail: Buffer): string | undefined {
  const title = marks.title ?? 'the mark of its format';
  if (marks.begins && !marks.begins.test(head.toString('latin1'))) {
    const start = JSON.stringify(head.subarray(0, 80).toString('utf8'));
    return `it does not begin as its format does, but with ${start}`;
  }
  if (marks.ends && !marks.ends.test(tail.toString('latin1'))) return `it does not end with ${title}`;
  return undefined;
}

function throughDecoder(decoder: Transform, title: string, marks: Marks): Completeness {
  const window = keepEnds();
  let problem: string | undefined;
  decoder.on('data', window.add);
  const done = finished(decoder).catch((error: Error) => {
    problem = `its ${title} is broken: ${error.message}`;
  });
  return {
    add(chunk) {
      if (problem) return undefined;
      // Until it is decoded the chunk must stay.
      return Promise.race([new Promise<void>((resolve) => void decoder.write(chunk, () => resolve())), done]);
    },
    async check() {
      decoder.end();
      await done;
      return problem ?? judge(marks, window.head(), window.tail());
    },
  };
}

/** Keeps the first and the last bytes of a stream, without copying what passes: the last chunks stay as they are. */
function keepEnds(): { add(chunk: Buffer): void; head(): Buffer; tail(): Buffer } {
  const first: Buffer[] = [];
  let firstBytes = 0;
  const last: Buffer[] = [];
  let lastBytes = 0;
  return {
    add(chunk) {
      if (firstBytes < WINDOW_BYTES) {
        first.push(Buffer.from(chunk));
        firstBytes += chunk.length;
      }
      last.push(chunk);
      lastBytes += chunk.length;
      while (lastBytes - last[0]!.length >= WINDOW_BYTES) lastBytes -= last.shift()!.length;
    },
    head: () => Buffer.concat(first).subarray(0, WINDOW_BYTES),
    tail: () => Buffer.concat(last).subarray(-WINDOW_BYTES),
  };
}
