import { describe, expect, it } from 'vitest';
import type { PartRule } from '../src/remote/backend.ts';
import { explainPartLimit, planParts } from '../src/remote/parts.ts';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

const s3: PartRule = {
  flag: '--s3-chunk-size',
  variable: 'RCLONE_S3_CHUNK_SIZE',
  concurrencyVariable: 'RCLONE_S3_UPLOAD_CONCURRENCY',
  maxParts: 10_000,
  concurrency: 4,
  chunkBytes: 5 * MIB,
  isUsersOwn: false,
};
const unknown = { databaseBytes: 0, lastBytes: 0, availableBytes: 64 * GIB };

describe('F59: the size of the parts', () => {
  it.each([
    ['is for 150 GiB where nothing is known', {}, 16],
    ['is for 1.5 times the last artifact', { lastBytes: 400 * GIB }, 62],
    ['is for 8 times the database', { databaseBytes: 100 * GIB }, 82],
    ['is for the largest of them', { databaseBytes: 10 * GIB, lastBytes: 400 * GIB }, 62],
  ])('%s', (_, known, mebibytes) => {
    expect(planParts(s3, { ...unknown, ...known })).toEqual({ chunkBytes: mebibytes * MIB, warning: undefined });
  });

  it("is the user's own where that is larger, and is raised where it is smaller", () => {
    const own = (mebibytes: number) => planParts({ ...s3, chunkBytes: mebibytes * MIB, isUsersOwn: true }, unknown);
    expect(own(64)).toEqual({ chunkBytes: undefined, warning: undefined });
    expect(own(8).chunkBytes).toBe(16 * MIB);
  });

  it('follows from how many parts the storage takes', () => {
    expect(planParts({ ...s3, maxParts: 50_000, chunkBytes: 4 * MIB }, unknown).chunkBytes).toBeUndefined();
    expect(planParts({ ...s3, maxParts: 1000 }, unknown).chunkBytes).toBe(154 * MIB);
  });

  it('is no more than memory holds, which is said only where the dump may not fit', () => {
    const small = { ...unknown, availableBytes: 100 * MIB };
    expect(planParts(s3, small)).toEqual({ chunkBytes: 10 * MIB, warning: undefined });
    const { chunkBytes, warning } = planParts(s3, { ...small, lastBytes: 200 * GIB });
    expect(chunkBytes).toBe(10 * MIB);
    expect(warning).toMatch(/97\.7 GiB, and the dump may have 200\.0 GiB: .*RCLONE_S3_UPLOAD_CONCURRENCY=1/);
    expect(warning).toContain('RCLONE_S3_CHUNK_SIZE');
  });

  it("is never below the user's own or rclone's, even where there is no memory", () => {
    expect(planParts(s3, { ...unknown, availableBytes: 0 }).chunkBytes).toBe(5 * MIB);
    expect(planParts({ ...s3, chunkBytes: 12 * MIB }, { ...unknown, availableBytes: 0 }).chunkBytes).toBe(12 * MIB);
  });
});

describe('F59: an upload that failed', () => {
  it.each([
    'InvalidArgument: Part number must be an integer between 1 and 10000, inclusive',
    'EntityTooLarge: Your proposed upload exceeds the maximum allowed size',
    'max parts 10000 exceeded',
  ])('names the setting where it says %j', (message) => {
    expect(explainPartLimit(s3, 16 * MIB, 1000, message)).toMatch(/parts of 16 MiB .* RCLONE_S3_CHUNK_SIZE to 32Mi/);
  });

  it('names it where as much was sent as the parts hold, whatever it says', () => {
    expect(explainPartLimit(s3, undefined, 5 * MIB * 10_000, 'connection reset')).toMatch(
      /RCLONE_S3_CHUNK_SIZE to 10Mi/,
    );
  });

  it('for another reason does not', () => {
    for (const message of ['AccessDenied: Access Denied', 'connection reset by peer', '']) {
      expect(explainPartLimit(s3, 16 * MIB, 1000, message)).toBe('');
    }
    expect(explainPartLimit(undefined, undefined, 1e15, 'Part number')).toBe('');
  });
});
