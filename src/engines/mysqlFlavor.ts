import type { EngineName } from '../core/connection.ts';

/** What MySQL and MariaDB do not share. */
export interface Flavor {
  readonly name: EngineName & ('mysql' | 'mariadb');
  readonly title: string;
  readonly uriSchemes: readonly string[];
  readonly dumpTool: string;
  readonly client: string;
}

export const MYSQL: Flavor = {
  name: 'mysql',
  title: 'MySQL',
  uriSchemes: ['mysql'],
  dumpTool: 'mysqldump',
  client: 'mysql',
};

/** Its servers are reached by mysql:// too, where ENGINE says so. */
export const MARIADB: Flavor = {
  name: 'mariadb',
  title: 'MariaDB',
  uriSchemes: ['mariadb', 'mysql'],
  dumpTool: 'mariadb-dump',
  client: 'mariadb',
};

/** A tool or a server: which of the two it is of, and how new. Debian's mysqldump is MariaDB's. */
export interface Release {
  readonly isMariaDb: boolean;
  readonly version: string;
  /** Major and minor, to be compared as numbers. */
  readonly rank: number;
}

/** Reads "10.11.6-MariaDB-1~deb12", "8.0.36", and both after other words. */
export function readRelease(text: string): Release {
  const [, version = '0', major = '0', minor = '0'] = /((\d+)\.(\d+)(?:\.\d+)*)/.exec(text) ?? [];
  return { isMariaDb: /mariadb/i.test(text), version, rank: Number(major) * 1000 + Number(minor) };
}

export const titleOf = ({ isMariaDb, version }: Release): string => `${isMariaDb ? 'MariaDB' : 'MySQL'} ${version}`;

/** Since which release of each series MariaDB's client knows the line that its dumps begin with since 2024. */
const SANDBOX_SINCE: readonly (readonly [rank: number, patch: number])[] = [
  [10_005, 25],
  [10_006, 18],
  [10_011, 8],
  [11_000, 6],
  [11_001, 5],
  [11_002, 4],
  [11_004, 2],
];

/** True for MySQL's client as well, for which the line is a comment. */
export function knowsSandboxLine({ isMariaDb, version, rank }: Release): boolean {
  if (!isMariaDb || rank > 11_004) return true;
  const since = SANDBOX_SINCE.find(([series]) => series === rank);
  return since !== undefined && Number(version.split('.')[2] ?? 0) >= since[1];
}
