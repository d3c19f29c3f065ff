import { createHash, randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeWith } from './need.ts';
import { RCLONES, type RcloneOptions, type RcloneRun, runRclone, startRclone } from './rclone.ts';
import { createDecoder } from './s3/body.ts';
import { type S3Server, startS3 } from './s3.ts';
import { waitFor } from './scratch.ts';

const MIB = 1024 * 1024;
const PARTS_OF_5_MIB = ['--s3-chunk-size=5M', '--s3-upload-cutoff=5M'];
const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');

let s3: S3Server;
beforeEach(async () => {
  s3 = await startS3();
});
afterEach(async () => await s3.stop());

for (const tool of RCLONES) {
  describeWith([tool], `the S3 server, asked by ${tool},`, () => {
    const env = (more: Record<string, string> = {}) => ({ ...s3.rcloneEnv('s3'), RCLONE_RETRIES: '1', ...more });
    const rclone = (args: readonly string[], options: RcloneOptions = {}, more = {}): Promise<RcloneRun> =>
      runRclone(args, env({ RCLONE_LOW_LEVEL_RETRIES: '1', ...more }), { tool, ...options });
    const operations = (key: string) =>
      s3.requests.filter((request) => request.key === key).map(({ operation }) => operation);

    it('stores a small object and gives it back', async () => {
      expect(await rclone(['rcat', 's3:bucket/a/b ü+&.txt'], { input: 'hello' })).toMatchObject({ exitCode: 0 });
      expect(s3.objects().get('a/b ü+&.txt')?.body.toString()).toBe('hello');
      expect((await rclone(['cat', 's3:bucket/a/b ü+&.txt'])).stdout.toString()).toBe('hello');
    });

    it('stores a stream in parts and gives it back, whole and from the middle', async () => {
      const body = randomBytes(30 * MIB);
      expect(await rclone(['rcat', ...PARTS_OF_5_MIB, 's3:bucket/big'], { input: body })).toMatchObject({
        exitCode: 0,
      });
      expect(operations('big').filter((operation) => operation === 'UploadPart').length).toBeGreaterThanOrEqual(6);
      expect(s3.objects().get('big')?.sha256).toBe(sha256(body));
      expect(s3.uploads()).toEqual([]);
      expect(sha256((await rclone(['cat', 's3:bucket/big'])).stdout)).toBe(sha256(body));
      const middle = await rclone(['cat', '--offset', String(7 * MIB), '--count', '1000', 's3:bucket/big']);
      expect(middle.stdout.equals(body.subarray(7 * MIB, 7 * MIB + 1000))).toBe(true);
    });

    it('lists folders, and more than a page of keys', async () => {
      for (let number = 0; number < 2100; number += 1) s3.put(`many/${number % 3}/${number} é`, 'x');
      s3.put('other', 'y');
      const all = JSON.parse((await rclone(['lsjson', '-R', '--files-only', 's3:bucket'])).stdout.toString());
      expect(all.length).toBe(2101);
      expect(all.map((entry: { Path: string }) => entry.Path).sort()).toEqual([...s3.objects().keys()].sort());
      const top = JSON.parse((await rclone(['lsjson', 's3:bucket/many'])).stdout.toString());
      expect(top.map((entry: { Path: string }) => entry.Path).sort()).toEqual(['0', '1', '2']);
      const paged = await rclone([
        'lsf',
        '-R',
        '--files-only',
        '--s3-list-chunk=7',
        '--s3-list-version=1',
        's3:bucket/many/1',
      ]);
      expect(paged.stdout.toString().trim().split('\n').length).toBe(700);
    });

    it('makes buckets, and says which there are', async () => {
      expect(await rclone(['mkdir', 's3:second'])).toMatchObject({ exitCode: 0 });
      expect((await rclone(['lsf', 's3:'])).stdout.toString()).toBe('bucket/\nsecond/\n');
      expect(await rclone(['rcat', 's3:second/x'], { input: 'x' })).toMatchObject({ exitCode: 0 });
      expect(s3.objects().size).toBe(0);
    });

    it('deletes and moves', async () => {
      s3.put('a', 'content of a');
      s3.put('b', 'content of b');
      expect(await rclone(['deletefile', 's3:bucket/a'])).toMatchObject({ exitCode: 0 });
      expect(await rclone(['moveto', 's3:bucket/b', 's3:bucket/c'])).toMatchObject({ exitCode: 0 });
      expect([...s3.objects()].map(([key, { body }]) => [key, body.toString()])).toEqual([['c', 'content of b']]);
      expect(await rclone(['delete', 's3:bucket'])).toMatchObject({ exitCode: 0 });
      expect(s3.objects().size).toBe(0);
    });

    it('copies in parts', async () => {
      const body = randomBytes(13 * MIB);
      s3.put('source', body);
      const args = ['copyto', '--s3-copy-cutoff=5M', '--s3-chunk-size=5M', 's3:bucket/source', 's3:bucket/copy'];
      expect(await rclone(args)).toMatchObject({ exitCode: 0 });
      expect(operations('copy')).toContain('UploadPartCopy');
      expect(s3.objects().get('copy')?.sha256).toBe(sha256(body));
    });

    it('aborts the upload when rcat is asked to stop, and keeps it open when rcat is killed', async () => {
      for (const [signal, open] of [
        ['SIGTERM', 0],
        ['SIGKILL', 1],
      ] as const) {
        const upload = startRclone(['rcat', ...PARTS_OF_5_MIB, 's3:bucket/big'], env(), tool);
        upload.write(randomBytes(16 * MIB));
        await waitFor(() => s3.uploads()[0]?.parts);
        upload.kill(signal);
        await upload.exited;
        expect(s3.uploads().length).toBe(open);
        expect(s3.objects().size).toBe(0);
      }
    });

    it('refuses with a status, so many times, after so many requests', async () => {
      s3.put('a', 'content');
      const fault = s3.fault({
        operation: 'GetObject',
        key: /^a$/,
        after: 1,
        times: 1,
        status: 403,
        code: 'AccessDenied',
      });
      expect(await rclone(['cat', 's3:bucket/a'])).toMatchObject({ exitCode: 0 });
      const refused = await rclone(['cat', 's3:bucket/a']);
      expect(refused.exitCode).not.toBe(0);
      expect(refused.stderr).toContain('AccessDenied');
      expect(fault.hits).toBe(1);
      expect(await rclone(['cat', 's3:bucket/a'])).toMatchObject({ exitCode: 0 });
    });

    it('refuses although it was done', async () => {
      s3.fault({ operation: 'PutObject', performed: true, status: 500 });
      expect((await rclone(['rcat', 's3:bucket/a'], { input: 'content' })).exitCode).not.toBe(0);
      expect(s3.objects().get('a')?.body.toString()).toBe('content');
    });

    it('resets the connection before, and in the middle of what it answers', async () => {
      const body = randomBytes(3 * MIB);
      s3.put('a', body);
      s3.fault({ operation: 'GetObject', times: 1, reset: true, afterBytes: MIB });
      s3.fault({ operation: 'GetObject', after: 1, status: 403, code: 'AccessDenied' });
      const cut = await rclone(['cat', 's3:bucket/a'], {}, { RCLONE_LOW_LEVEL_RETRIES: '2' });
      expect(cut.exitCode).not.toBe(0);
      expect(cut.stdout.length).toBeGreaterThan(0);
      expect(cut.stdout.length).toBeLessThan(body.length);
      s3.clearFaults();
      const reset = s3.fault({ operation: 'UploadPart', reset: true, afterBytes: MIB });
      const upload = await rclone(['rcat', ...PARTS_OF_5_MIB, 's3:bucket/big'], { input: randomBytes(6 * MIB) });
      expect(upload.exitCode).not.toBe(0);
      expect(reset.hits).toBeGreaterThan(0);
      expect(s3.objects().has('big')).toBe(false);
    });

    it('stores or gives back something else', async () => {
      const body = randomBytes(12 * MIB);
      s3.fault({ operation: 'UploadPart', times: 1, corrupt: true });
      expect(await rclone(['rcat', ...PARTS_OF_5_MIB, 's3:bucket/a'], { input: body })).toMatchObject({ exitCode: 0 });
      expect(s3.objects().get('a')).toMatchObject({ bytes: body.length });
      expect(s3.objects().get('a')?.sha256).not.toBe(sha256(body));
      s3.fault({ operation: 'CompleteMultipartUpload', times: 1, shorten: true });
      await rclone(['rcat', ...PARTS_OF_5_MIB, 's3:bucket/b'], { input: body });
      expect(s3.objects().get('b')).toMatchObject({ bytes: body.length - 1 });
      s3.put('c', body);
      s3.fault({ operation: 'GetObject', times: 1, corrupt: true });
      const read = (await rclone(['cat', '--ignore-checksum', 's3:bucket/c'])).stdout;
      expect(read.length).toBe(body.length);
      expect(sha256(read)).not.toBe(sha256(body));
    });

    it('bends listings', async () => {
      for (const key of ['a', 'b', 'c', 'd']) s3.put(key, key);
      const list = async () => await rclone(['lsf', 's3:bucket']);
      const operation = ['ListObjects', 'ListObjectsV2'] as const;
      s3.fault({ operation, times: 1, listing: 'partial' });
      expect((await list()).stdout.toString()).toBe('a\nb\n');
      s3.fault({ operation, times: 1, listing: 'empty' });
      expect((await list()).stdout.toString()).toBe('');
      s3.fault({ operation, listing: 'cut' });
      expect((await list()).exitCode).not.toBe(0);
    });

    it('stalls, and holds a request until it is released', async () => {
      const hold = s3.hold('PutObject', /^held$/);
      const held = rclone(['rcat', 's3:bucket/held'], { input: 'held' });
      await hold.arrived;
      expect(s3.objects().size).toBe(0);
      hold.release();
      expect(await held).toMatchObject({ exitCode: 0 });
      expect(s3.objects().has('held')).toBe(true);

      const killed = s3.hold('PutObject', /^killed$/);
      const upload = startRclone(['rcat', 's3:bucket/killed'], env(), tool);
      upload.write('x');
      upload.end();
      await killed.arrived;
      upload.kill('SIGKILL');
      await upload.exited;
      killed.release();

      const stall = s3.fault({ operation: 'PutObject', stall: true });
      const stalled = startRclone(['rcat', 's3:bucket/stalled'], env(), tool);
      stalled.write('x');
      stalled.end();
      await waitFor(() => stall.hits > 0);
      expect(await Promise.race([stalled.exited, new Promise((resolve) => setTimeout(resolve, 500, 'waits'))])).toBe(
        'waits',
      );
      stalled.kill('SIGKILL');
      await stalled.exited;
      expect([...s3.objects().keys()]).toEqual(['held']);
    });

    it('has a limit of parts, forbids to delete, and knows uploads that others left open', async () => {
      s3.partLimit = 2;
      const input = randomBytes(16 * MIB);
      const limited = await rclone(['rcat', ...PARTS_OF_5_MIB, 's3:bucket/big'], { input });
      expect(limited.exitCode).not.toBe(0);
      expect(limited.stderr).toContain('between 1 and 2');
      expect(s3.objects().size).toBe(0);
      s3.put('a', 'a');
      s3.forbidDelete = true;
      const forbidden = await rclone(['deletefile', 's3:bucket/a']);
      expect(forbidden.exitCode).not.toBe(0);
      expect(forbidden.stderr).toContain('AccessDenied');
      expect(s3.objects().has('a')).toBe(true);
      s3.addUpload('old', new Date('2020-01-01T00:00:00Z'));
      const listed = await rclone(['backend', 'list-multipart-uploads', 's3:bucket']);
      expect(JSON.parse(listed.stdout.toString()).bucket).toMatchObject([{ Key: 'old' }]);
    });
  });
}

describe('bodies that are sent in signed chunks', () => {
  const put = (mode: string, body: string) =>
    fetch(`${s3.endpoint}/bucket/a`, { method: 'PUT', headers: { 'x-amz-content-sha256': `STREAMING-${mode}` }, body });

  it.each([
    [
      'AWS4-HMAC-SHA256-PAYLOAD',
      '5;chunk-signature=ab\r\nhello\r\n6;chunk-signature=cd\r\n\r\nwor\n\r\n0;chunk-signature=ef\r\n\r\n',
    ],
    ['UNSIGNED-PAYLOAD-TRAILER', 'b\r\nhello\r\nwor\n\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n'],
  ])('are read: %s', async (mode, body) => {
    expect((await put(mode, body)).status).toBe(200);
    expect(s3.objects().get('a')?.body.toString()).toBe('hello\r\nwor\n');
  });

  it('are read where the network parts them anywhere', () => {
    const text = Buffer.from('5;chunk-signature=ab\r\nhello\r\n1\r\n!\r\n0\r\n\r\n');
    for (let at = 1; at < text.length; at += 1) {
      let read = '';
      const decoder = createDecoder((data) => {
        read += data.toString();
      });
      for (const piece of [text.subarray(0, at), text.subarray(at)]) decoder.push(piece);
      expect([read, decoder.isComplete()]).toEqual(['hello!', true]);
    }
  });

  it.each(['5\r\nhel', '5\r\nhello\r\n', 'zz\r\nhello\r\n0\r\n\r\n'])(
    'are refused where they are not whole: %j',
    async (body) => {
      expect((await put('UNSIGNED-PAYLOAD-TRAILER', body)).status).toBe(400);
      expect(s3.objects().size).toBe(0);
    },
  );
});

describeWith(['rclone'], 'the S3 server that discards bodies', () => {
  it('keeps small objects, counts large ones, and refuses to give those back', async () => {
    await using counting = await startS3({ discardBodies: true });
    const run = (args: readonly string[], input?: Buffer) =>
      runRclone([...args, '--retries=1', '--low-level-retries=1'], counting.rcloneEnv('s3'), input ? { input } : {});
    expect(await run(['rcat', 's3:bucket/large'], randomBytes(11 * MIB))).toMatchObject({ exitCode: 0 });
    expect(await run(['rcat', 's3:bucket/small'], Buffer.from('small'))).toMatchObject({ exitCode: 0 });
    expect(counting.objects().get('large')?.bytes).toBe(11 * MIB);
    expect((await run(['cat', 's3:bucket/small'])).stdout.toString()).toBe('small');
    expect((await run(['cat', 's3:bucket/large'])).exitCode).not.toBe(0);
  });
});
