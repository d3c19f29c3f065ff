import { drillDay } from '../core/drillName.ts';
import { ConfigError } from '../core/errors.ts';
import type { MongoFacts } from './mongoAnswers.ts';

/** A drill of a whole server: one database is the drill's, and that of a dump of all. */
export const isWholeDrill = (database: string, { database: dumped = null }: MongoFacts): boolean =>
  dumped === null && drillDay(database) !== undefined;

/**
 * Where a drill puts each database of a dump: under names that begin with its own, so that none can be one that is there. Those of
 * the server itself stay in the dump. Throws `ConfigError`.
 */
export function scratchNames(
  database: string,
  facts: MongoFacts,
): readonly { readonly from: string; readonly to: string }[] {
  if (!isWholeDrill(database, facts)) return [{ from: facts.database ?? database, to: database }];
  if (!facts.databases)
    throw new ConfigError(
      'the backup is of a whole server and does not say of which databases, so that no drill can restore it aside; right is the level content',
    );
  return facts.databases.map((from, index) => ({ from, to: `${database}_${index + 1}` }));
}
