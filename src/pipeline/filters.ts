import type { Command } from '../core/command.ts';

export type FilterName = 'gzip' | 'zstd';

/** A program between dump and remote, and the one that undoes it. */
export interface Filter {
  readonly extension: string;
  readonly defaultLevel: number;
  readonly encode: (level: number) => Command;
}

export const filters: Readonly<Record<FilterName, Filter>> = {
  gzip: {
    extension: '.gz',
    defaultLevel: 6,
    encode: (level) => ({ file: 'gzip', args: ['--stdout', `-${level}`] }),
  },
  zstd: {
    extension: '.zst',
    defaultLevel: 3,
    encode: (level) => ({
      file: 'zstd',
      args: ['--stdout', '--quiet', `-${level}`, ...(level > 19 ? ['--ultra'] : [])],
    }),
  },
};

/** What undoes the compression of a whole artifact, by its name in the manifest; lz4 is some dump tools' own. */
const DECODERS: ReadonlyMap<string, Command> = new Map([
  ['gzip', { file: 'gzip', args: ['--decompress', '--stdout'] }],
  ['zstd', { file: 'zstd', args: ['--decompress', '--stdout', '--quiet', '--long=31'] }],
  ['lz4', { file: 'lz4', args: ['--decompress', '--stdout', '--quiet'] }],
]);

/** The programs that undo `compression`, none where it is null; undefined for one that is not known. */
export function planDecoding(compression: string | null): readonly Command[] | undefined {
  if (compression === null) return [];
  const decoder = DECODERS.get(compression);
  return decoder && [decoder];
}
