import { createHash, randomBytes } from 'node:crypto';
import { Readable, Writable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { watchCompleteness } from '../src/pipeline/completeness.ts';
import { HOLD_BYTES, pour } from '../src/pipeline/pour.ts';
import { waitFor } from './support/scratch.ts';

const never = new AbortController().signal;

/** The bytes in chunks of `size`, each with memory of its own, as those of a pipe. */
const chunksOf = (bytes: Buffer, size: number): Buffer[] =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => {
    const part = bytes.subarray(index * size, (index + 1) * size);
    const chunk = Buffer.allocUnsafeSlow(part.length);
    part.copy(chunk);
    return chunk;
  });

/** Takes everything, later, and keeps a copy. */
function collector(): { target: Writable; written: () => Buffer } {
  const written: Buffer[] = [];
  const target = new Writable({
    write(chunk: Buffer, _encoding, done) {
      setImmediate(() => {
        written.push(Buffer.from(chunk));
        done();
      });
    },
  });
  return { target, written: () => Buffer.concat(written) };
}

const ended = (target: Writable) => new Promise<void>((resolve) => void target.end(() => resolve()));

describe('pouring', () => {
  it.each([1000, 4096, 65_536, 1_000_000])('moves every byte in order, in chunks of %i', async (size) => {
    const bytes = randomBytes(3_000_001);
    const hash = createHash('sha256');
    const { target, written } = collector();
    const tap = (chunk: Buffer) => void hash.update(chunk);
    const rest = await pour(Readable.from(chunksOf(bytes, size), { objectMode: false }), target, tap, never);
    for (const chunk of rest) target.write(chunk);
    await ended(target);
    expect(written().equals(bytes)).toBe(true);
    expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  it('writes all but the last bytes, which stay readable, and frees the others when they are taken', async () => {
    const bytes = randomBytes(2_000_000);
    const seen: Buffer[] = [];
    const { target, written } = collector();
    const source = Readable.from(chunksOf(bytes, 10_000));
    const rest = await pour(source, target, (chunk) => void seen.push(chunk), never);
    await ended(target);
    const kept = Buffer.concat(rest);
    expect(kept.length).toBeGreaterThanOrEqual(HOLD_BYTES);
    expect(kept.length).toBeLessThan(HOLD_BYTES + 10_000);
    expect(Buffer.concat([written(), kept]).equals(bytes)).toBe(true);
    const alive = seen.filter(({ length }) => length > 0);
    expect(alive.length).toBe(rest.length);
    expect(alive.every((chunk, index) => chunk === rest[index])).toBe(true);
  });

  it('does not write less than the hold', async () => {
    const { target, written } = collector();
    const rest = await pour(Readable.from(chunksOf(randomBytes(HOLD_BYTES), 1000)), target, () => {}, never);
    await ended(target);
    expect(written().length).toBe(0);
    expect(Buffer.concat(rest).length).toBe(HOLD_BYTES);
  });

  it('waits for a tap before it writes, or taps on', async () => {
    const bytes = randomBytes(1_000_000);
    const { target, written } = collector();
    let tapped = 0;
    let isBusy = false;
    const tap = async (chunk: Buffer) => {
      expect(isBusy).toBe(false);
      isBusy = true;
      await new Promise((resolve) => setImmediate(resolve));
      expect(written().length).toBeLessThanOrEqual(tapped);
      tapped += chunk.length;
      isBusy = false;
    };
    const rest = await pour(Readable.from(chunksOf(bytes, 50_000)), target, tap, never);
    await ended(target);
    expect(tapped).toBe(bytes.length);
    expect(Buffer.concat([written(), ...rest]).equals(bytes)).toBe(true);
  });

  it('rejects with what a tap throws, now or later, and writes nothing after it', async () => {
    for (const tap of [
      () => {
        throw new Error('no more');
      },
      () => Promise.reject(new Error('no more')),
    ]) {
      const { target, written } = collector();
      const source = Readable.from(chunksOf(randomBytes(1_000_000), 50_000));
      await expect(pour(source, target, tap, never)).rejects.toThrow('no more');
      expect(source.isPaused()).toBe(true);
      await ended(target);
      expect(written().length).toBe(0);
    }
  });

  it('reads no further than a target that takes nothing allows', async () => {
    let seen = 0;
    let isOpen = false;
    let release = () => {};
    const target = new Writable({
      write: (_chunk, _encoding, done) => {
        if (isOpen) done();
        else release = done;
      },
    });
    const tap = (chunk: Buffer) => {
      seen += chunk.length;
    };
    const source = Readable.from(chunksOf(Buffer.alloc(20_000_000), 50_000));
    const poured = pour(source, target, tap, never);
    await waitFor(() => source.isPaused());
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(seen).toBeLessThan(2_000_000);
    isOpen = true;
    release();
    await poured;
    expect(seen).toBe(20_000_000);
  });

  it.each([96, 97, 98, 99, 100, 101])(
    'rejects when it is to stop, at chunk %i, and writes nothing from then on',
    async (count) => {
      const stop = new AbortController();
      const { target, written } = collector();
      const source = Readable.from(chunksOf(Buffer.alloc(10_000_000), 50_000));
      let seen = 0;
      let sent = 0;
      const tap = (chunk: Buffer) => {
        seen += chunk.length;
        if (seen !== count * 50_000) return;
        stop.abort(new Error('enough'));
        sent = written().length + target.writableLength;
      };
      const poured = pour(source, target, tap, stop.signal);
      await expect(poured).rejects.toThrow('enough');
      await ended(target);
      expect(seen).toBe(count * 50_000);
      expect(sent).toBeGreaterThan(0);
      expect(written().length).toBe(sent);
      expect(source.isPaused()).toBe(true);
    },
  );

  it('leaves a compressed dump whole for the one who decompresses it on the way', async () => {
    const rows = Array.from({ length: 20_000 }, (_, index) => `${index} ${randomBytes(40).toString('hex')}\n`);
    const dump = gzipSync(`-- begin\n${rows.join('')}-- complete\n`);
    for (const size of [999, 65_536]) {
      const watch = watchCompleteness({ begins: /^-- begin\n/, ends: /\n-- complete\n$/ });
      const { target } = collector();
      await pour(Readable.from(chunksOf(dump, size)), target, watch.add, never);
      expect(await watch.check()).toBeUndefined();
    }
  });

  it('leaves the ends of a plain dump to the one who looks for its marks', async () => {
    const dump = Buffer.from(`-- begin\n${'some row\n'.repeat(200_000)}-- complete\n`);
    for (const size of [999, 65_536]) {
      const watch = watchCompleteness({ begins: /^-- begin\n/, ends: /some row\n-- complete\n$/ });
      const { target } = collector();
      await pour(Readable.from(chunksOf(dump, size)), target, watch.add, never);
      await ended(target);
      expect(await watch.check()).toBeUndefined();
    }
  });
});
