import type { Answer } from '../core/command.ts';
import { DumpError } from '../core/errors.ts';

/** What the client printed: rows whose first cell says what they are, and lines that are the server's own. */
export interface Rows {
  /** The other cells of each row of that kind. */
  all(kind: string): readonly (readonly string[])[];
  /** Of its first row; empty where there is none. */
  first(kind: string): readonly string[];
  readonly lines: readonly string[];
}

/** Nothing of an answer is repeated: MariaDB puts the hash of the password into what a login may do. */
export function readRows({ stdout, stderr }: Pick<Answer, 'stdout' | 'stderr'>, client: string): Rows {
  const lines = stdout.split('\n').filter((line) => line !== '');
  const rows = lines.map((line) => line.split('\t').map(unescapeCell));
  const all = (kind: string) => rows.filter(([first]) => first === kind).map(([, ...cells]) => cells);
  if (all('version').length === 0)
    throw new DumpError(`${client} answers what makes no sense${stderr && `: ${stderr}`}`);
  return { all, first: (kind) => all(kind)[0] ?? [], lines };
}

const ESCAPED: Readonly<Record<string, string>> = { n: '\n', t: '\t', '0': '\0' };

const unescapeCell = (cell: string): string =>
  cell.replaceAll(/\\(.)/gs, (_, character: string) => ESCAPED[character] ?? character);
