import { execFileSync } from 'node:child_process';
import { createGzip, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { watchCompleteness } from '../src/pipeline/completeness.ts';
import { describeWith } from './support/need.ts';

const marks = { begins: /^-- begin\n/, ends: /\n-- complete\n$/, title: '-- complete' };
const whole = Buffer.from(`-- begin\n${'row\n'.repeat(200_000)}-- complete\n`);

/** What the watch says of bytes that come in pieces of `size`. */
async function judge(bytes: Buffer, size = 65_536, given: Parameters<typeof watchCompleteness>[0] = marks) {
  const watch = watchCompleteness(given);
  for (let at = 0; at < bytes.length; at += size) await watch.add(bytes.subarray(at, at + size));
  return await watch.check();
}

describe('F04: a dump that is not whole', () => {
  it('is told by its end mark, in pieces of any size', async () => {
    for (const size of [1000, 65_536, 10_000_000]) {
      expect(await judge(whole, size)).toBeUndefined();
      expect(await judge(whole.subarray(0, -3), size)).toMatch(/does not end with -- complete/);
    }
    expect(await judge(Buffer.from('-- begin\nx\n-- complete\n'), 1)).toBeUndefined();
  });

  it('is told by its begin mark, with what came instead', async () => {
    expect(await judge(Buffer.from('ERROR: no such table\n\n-- complete\n'))).toMatch(/but with "ERROR: no such table/);
  });

  it('F03: is told where it is empty, or too short to be anything', async () => {
    expect(await judge(Buffer.alloc(0))).toBe('it is empty');
    expect(await judge(Buffer.from('ab'))).toMatch(/does not begin/);
  });

  it('has its end mark in the last bytes, not somewhere in its data', async () => {
    const early = Buffer.from(`-- begin\nx\n-- complete\n${'row\n'.repeat(100)}`);
    expect(await judge(early)).toMatch(/does not end/);
  });

  it.each([
    ['gzip', (bytes: Buffer) => gzipSync(bytes)],
    ['zstd', (bytes: Buffer) => zstdCompressSync(bytes)],
  ])('is looked for in the decompressed bytes of a tool that compresses with %s', async (title, compress) => {
    expect(await judge(compress(whole), 1000)).toBeUndefined();
    expect(await judge(compress(whole.subarray(0, -3)))).toMatch(/does not end/);
    expect(await judge(compress(whole).subarray(0, -20))).toMatch(new RegExp(`its ${title} is broken`));
    const flipped = Buffer.from(compress(whole));
    flipped.writeUInt8(flipped.readUInt8(40) ^ 255, 40);
    expect(await judge(flipped)).toBeDefined();
  });

  it('is read through when the compressed dump is larger than any buffer', async () => {
    const gzip = createGzip({ level: 1 });
    const chunks: Buffer[] = [];
    gzip.on('data', (chunk) => chunks.push(chunk));
    gzip.write('-- begin\n');
    for (let i = 0; i < 300; i++) gzip.write(Buffer.alloc(65_536, `${i} some row\n`));
    gzip.end('\n-- complete\n');
    await new Promise((resolve) => gzip.once('end', resolve));
    expect(await judge(Buffer.concat(chunks))).toBeUndefined();
  });

  it('of a format without marks is judged by its container alone', async () => {
    expect(await judge(gzipSync('anything'), 100, {})).toBeUndefined();
    expect(await judge(gzipSync('anything').subarray(0, -1), 100, {})).toMatch(/gzip is broken/);
  });
});

describeWith(['lz4'], 'F04: an lz4 stream', () => {
  const compress = (...args: string[]) => execFileSync('lz4', ['-c', ...args], { input: whole, maxBuffer: 1e9 });
  it('is whole only when its last frame was ended', async () => {
    for (const bytes of [compress(), compress('--no-frame-crc'), compress('-BX'), compress('--content-size', '-B4')]) {
      for (const size of [1, 7, 65_536]) expect(await judge(bytes, size)).toBeUndefined();
      expect(await judge(bytes.subarray(0, -5))).toMatch(/lz4 ends within a frame/);
      expect(await judge(bytes.subarray(0, 100))).toMatch(/lz4 ends within a frame/);
    }
    expect(await judge(Buffer.concat([compress(), compress()]))).toBeUndefined();
    expect(await judge(Buffer.concat([compress(), Buffer.from('trailing rubbish')]))).toMatch(/lz4 is broken/);
  });
});
