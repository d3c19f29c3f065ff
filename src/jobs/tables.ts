import { ConfigError } from '../core/errors.ts';
import { formatNames } from '../core/units.ts';
import type { TableName, TablePick } from '../engines/engine.ts';
import { expectThere } from './artifact.ts';
import { askDump } from './contents.ts';
import { fetchFolder } from './fetch.ts';
import { expectOpen } from './identity.ts';
import { type Task, understand } from './restoreTask.ts';

/** With the tables that are asked for, where some are. A dump that is a folder is brought for it. Throws, naming what there is. */
export async function pickTables(task: Task): Promise<Task> {
  const { backup, engine, options, connection } = task;
  const { tables: wanted = [] } = options;
  if (wanted.length === 0) return task;
  const { mode, format, target: facts } = backup.manifest;
  const request = { mode, format, facts, path: backup.path, wanted, connection };
  const question = understand(backup, () => engine.planContents(request));
  await expectThere(task);
  await expectOpen(task, '; the target was not touched');
  const isFetched = await fetchFolder(task);
  const contents = await askDump(task, question, isFetched);
  const tables = matchTables(backup.path, wanted, contents.tables);
  return { ...task, isFetched, pick: { ...contents, tables } };
}

export const titleOf = ({ scope, name }: TableName): string => (scope === undefined ? name : `${scope}.${name}`);

/** "orders", or "sales.orders" where several have that name. Throws `ConfigError`. */
export function matchTables(path: string, wanted: readonly string[], all: readonly TableName[]): TablePick['tables'] {
  const found = wanted.map((text): TableName => {
    const whole = all.filter((table) => titleOf(table) === text);
    const fits = whole.length > 0 ? whole : all.filter(({ name }) => name === text);
    if (fits.length > 1)
      throw new ConfigError(`--table ${text}: ${path} holds ${fits.map(titleOf).sort().join(', ')}: say which`);
    if (fits[0]) return fits[0];
    throw new ConfigError(`${path} holds no table ${text}: ${describeNear(text, all)}`);
  });
  return [...new Set(found)];
}

const SHOWN = 10;

function describeNear(text: string, all: readonly TableName[]): string {
  if (all.length === 0) return 'it holds none';
  const rank = (table: TableName) => Math.min(...[table.name, titleOf(table)].map((name) => distance(text, name)));
  const near = all
    .map((table) => ({ title: titleOf(table), rank: rank(table) }))
    .filter((item) => item.rank <= Math.max(2, text.length / 3))
    .sort((a, b) => a.rank - b.rank);
  if (near.length > 0)
    return `near that are ${near
      .slice(0, SHOWN)
      .map(({ title }) => title)
      .join(', ')}`;
  return `it holds ${formatNames(all.map(titleOf), SHOWN)}`;
}

/** Letters to be changed, put in or taken out, whatever their case. */
function distance(a: string, b: string): number {
  const [from, to] = [a.toLowerCase(), b.toLowerCase()];
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++)
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[to.length]!;
}
