import { describe, expect, it } from 'vitest';
import { findOption, parseOptions } from '../src/core/options.ts';

const TABLE = ['F|format=', 'f|file=', 'v|verbose', 'c|clean', 'T|exclude-table=', 'exclude-table-data=', 'create'];

const parse = (...args: string[]) => parseOptions(args, TABLE).options.map(({ name, value }) => [name, value]);

describe('parseOptions reads arguments as getopt_long does', () => {
  it.each([
    [['-Fc'], [['format', 'c']]],
    [['-F', 'c'], [['format', 'c']]],
    [['--format=c'], [['format', 'c']]],
    [['--format', 'c'], [['format', 'c']]],
    [
      ['-vFc'],
      [
        ['verbose', undefined],
        ['format', 'c'],
      ],
    ],
    [
      ['-vcF', 'c'],
      [
        ['verbose', undefined],
        ['clean', undefined],
        ['format', 'c'],
      ],
    ],
    [['--form=c'], [['format', 'c']]],
    [['--exclude-table=some-foo'], [['exclude-table', 'some-foo']]],
    [['-T', '-f'], [['exclude-table', '-f']]],
    [['-Tv'], [['exclude-table', 'v']]],
    [['--exclude=x'], [['exclude', 'x']]],
    [['--file='], [['file', '']]],
    [['--file', '--verbose'], [['file', '--verbose']]],
    [['-F'], [['format', undefined]]],
    [['--Fc'], [['Fc', undefined]]],
    [
      ['-z', '--unknown=1'],
      [
        ['z', undefined],
        ['unknown', '1'],
      ],
    ],
    [['--format=a=b\nc'], [['format', 'a=b\nc']]],
  ])('%j', (args, expected) => {
    expect(parse(...args)).toEqual(expected);
  });

  it('takes what is no option, and all behind --, for operands', () => {
    const parsed = parseOptions(['db', '-v', '-', '--', '-Fc', '--file=x'], TABLE);
    expect(parsed.operands).toEqual(['db', '-', '-Fc', '--file=x']);
    expect(parsed.options.map(({ name }) => name)).toEqual(['verbose']);
  });

  it('says where an option stands, and which of two wins', () => {
    const parsed = parseOptions(['-T', 'x', '-Fc', '--format=p'], TABLE);
    expect(parsed.options.map(({ index }) => index)).toEqual([0, 2, 3]);
    expect(findOption(parsed, 'format')?.value).toBe('p');
    expect(findOption(parsed, 'file')).toBeUndefined();
  });
});
