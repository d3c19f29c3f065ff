import { dirname, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { parseSize } from '../src/core/units.ts';
import { requireTool } from '../test/support/tools.ts';

export const PARTS = ['local', 's3', 'zstd', 'tar', 'engines', 'empty', 'relay', 'catalog'] as const;
export type Part = (typeof PARTS)[number];

export interface Options {
  /** Of the plain dump, about. */
  readonly bytes: number;
  readonly parts: readonly Part[];
  /** How often each contestant runs. */
  readonly rounds: number;
  /** In the catalog. */
  readonly backups: number;
  /** The one for all contestants. */
  readonly rclone: string;
}

export const USAGE = `npm run bench -- [SIZE] [--only local,s3,zstd,tar,engines,empty,relay,catalog] [--rounds 3] [--backups 10000] [--rclone PATH]
SIZE is that of the plain dump: 1G, 4G, 100M ...`;

/** Throws an Error that says what is wrong with the arguments. */
export function parseOptions(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      only: { type: 'string' },
      rounds: { type: 'string' },
      backups: { type: 'string' },
      rclone: { type: 'string' },
    },
  });
  const parts = (values.only ?? PARTS.join(',')).split(',');
  const unknown = parts.find((part) => !PARTS.some((name) => name === part));
  if (unknown !== undefined) throw new Error(`--only ${unknown}: right are ${PARTS.join(', ')}`);
  const rounds = Number(values.rounds ?? 3);
  if (!(rounds >= 1)) throw new Error(`--rounds ${values.rounds} is no number`);
  const backups = Number(values.backups ?? 10_000);
  if (!(backups >= 1)) throw new Error(`--backups ${values.backups} is no number`);
  const rclone = values.rclone === undefined ? requireTool('rclone') : resolve(values.rclone);
  return {
    bytes: parseSize(positionals[0] ?? '1G'),
    parts: PARTS.filter((name) => parts.includes(name)),
    rounds,
    backups,
    rclone,
  };
}

/** The folders of the tools, for PATH: all contestants use the same ones. */
export const toolFolders = (): readonly string[] => [dirname(requireTool('pg_dump')), '/usr/bin', '/bin'];
