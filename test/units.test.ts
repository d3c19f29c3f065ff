import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../src/core/errors.ts';
import { formatAge, formatBytes, formatDuration, parseBoolean, parseDuration, parseSize } from '../src/core/units.ts';

describe('parseDuration', () => {
  test.each([
    ['0', 0],
    ['90s', 90_000],
    ['30m', 1_800_000],
    ['1h30m', 5_400_000],
    ['2d', 172_800_000],
    ['1d2h3m4s', 93_784_000],
    [' 5m ', 300_000],
    ['0s', 0],
  ])('reads %s', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each(['', '90', '1.5h', '-1h', '30m1h', '1h 30m', '1w', '1h1h', 'h', '1e3s', '9999999999999999d', '30M'])(
    'refuses %j and says what is right',
    (text) => {
      expect(() => parseDuration(text)).toThrow(ConfigError);
      expect(() => parseDuration(text)).toThrow(`${JSON.stringify(text)} is no duration; right is one like 90s`);
    },
  );

  test('reads back what formatDuration wrote, to the second', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000_000 }), (seconds) => {
        expect(parseDuration(formatDuration(seconds * 1000))).toBe(seconds * 1000);
      }),
    );
  });
});

describe('parseSize', () => {
  test.each([
    ['1', 1],
    ['0', 0],
    ['500K', 512_000],
    ['10M', 10_485_760],
    ['2G', 2_147_483_648],
    ['1T', 1_099_511_627_776],
    ['2g', 2_147_483_648],
  ])('reads %s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test.each(['', 'K', '1.5G', '10MB', '-1', '1 0', '99999999T', '0x10'])(
    'refuses %j and says what is right',
    (text) => {
      expect(() => parseSize(text)).toThrow(ConfigError);
      expect(() => parseSize(text)).toThrow(`${JSON.stringify(text)} is no size; right is one like 500K`);
    },
  );
});

describe('parseBoolean', () => {
  test.each(['true', 'yes', '1', 'TRUE', 'Yes', ' true '])('takes %j for true', (text) => {
    expect(parseBoolean(text)).toBe(true);
  });

  test.each(['false', 'no', '0', 'False'])('takes %j for false', (text) => {
    expect(parseBoolean(text)).toBe(false);
  });

  test.each(['', 'on', 'y', '2', 'truee', 'constructor'])('refuses %j', (text) => {
    expect(() => parseBoolean(text)).toThrow(`${JSON.stringify(text)} is neither true nor false`);
  });
});

describe('formatBytes', () => {
  test.each([
    [0, '0 B'],
    [812, '812 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1536, '1.5 KiB'],
    [1_048_575, '1.0 MiB'],
    [52_428_800_000, '48.8 GiB'],
    [2 ** 60, '1024.0 PiB'],
  ])('writes %d as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});

describe('formatDuration', () => {
  test.each([
    [0, '0ms'],
    [349.6, '350ms'],
    [999.4, '999ms'],
    [999.6, '1s'],
    [12_340, '12.3s'],
    [59_949, '59.9s'],
    [59_960, '1m'],
    [5_400_000, '1h30m'],
    [93_784_400, '1d2h3m4s'],
  ])('writes %d ms as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});

describe('formatAge', () => {
  test.each([
    [0, '0s'],
    [40_999, '40s'],
    [300_000, '5m'],
    [3_600_000, '1h'],
    [26 * 3_600_000, '26h'],
    [48 * 3_600_000, '2d'],
    [12.9 * 86_400_000, '12d'],
    [-300_000, 'in 5m'],
  ])('writes %d ms as %s', (ms, text) => {
    expect(formatAge(ms)).toBe(text);
  });
});
