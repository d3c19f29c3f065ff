import { type Connection, nameOf } from '../core/connection.ts';
import { ConfigError } from '../core/errors.ts';
import { formatNames } from '../core/units.ts';
import type { Engine, Target } from '../engines/engine.ts';
import type { RestoreOptions } from './restoreTask.ts';

/** Throws, naming the ways on, where the target is not ready for the first byte. */
export async function expectReady(options: RestoreOptions, engine: Engine, target: Target): Promise<void> {
  if (target.missingRoles.length > 0 && !options.createRoles) {
    throw new ConfigError(
      `the backup names roles that ${target.title} lacks: ${target.missingRoles.join(', ')}; create them, or let --create-roles make them without login`,
    );
  }
  for (const obstacle of target.obstacles ?? []) throw new ConfigError(obstacle);
  if (target.holds === '') return;
  if (options.run !== undefined) return await expectAgreed([stakeOf(options.connection, engine, target)], options);
  if (options.tables?.length) return await expectReplaceable(options, options.tables, target);
  if (target.isAmended) return await expectAmendable(options, target);
  await expectEmptiable(options, engine, target);
}

async function expectEmptiable(
  { connection, replace, confirm }: RestoreOptions,
  { isWhole }: Engine,
  { holds }: Target,
): Promise<void> {
  // Of a whole server the label says nothing of what is at stake.
  const name = (isWhole && placeOf(connection)) || nameOf(connection);
  const title = isWhole ? `the whole server ${name}` : titleOf(connection);
  if (!replace) {
    const elsewhere = isWhole ? ANOTHER_SERVER : 'another database with --database NAME';
    throw new ConfigError(`${title} holds ${holds}: restore into ${elsewhere}, or empty it first with --replace`);
  }
  if (!(await confirm(name, `empties ${title} first`)))
    throw new ConfigError(`--replace removes what ${title} holds (${holds}): confirm it with --yes ${name}`);
}

/** What belongs to the server and to none of its databases. */
async function expectAmendable({ connection, replace, confirm }: RestoreOptions, { holds }: Target): Promise<void> {
  const place = placeOf(connection);
  const name = nameOf(connection);
  if (!replace)
    throw new ConfigError(
      `${place} has ${holds}, which would be changed: restore into ${ANOTHER_SERVER}, or go on with --replace`,
    );
  if (!(await confirm(name, `changes ${holds} on ${place}`)))
    throw new ConfigError(`--replace changes ${holds} on ${place}: confirm it with --yes ${name}`);
}

/** Of tables that are there already. What depends on them would have to go with them, and is not ours to remove. */
async function expectReplaceable(
  { connection, replace, confirm }: RestoreOptions,
  tables: readonly string[],
  { holds, keeps }: Target,
): Promise<void> {
  const title = titleOf(connection);
  const beside = 'restore into another database with --database NAME';
  if (keeps !== undefined)
    throw new ConfigError(`${title} holds ${holds}, which cannot be replaced, since ${keeps} depend on it: ${beside}`);
  if (!replace) throw new ConfigError(`${title} holds ${holds}: ${beside}, or remove just that first with --replace`);
  const name = tables.join(',');
  if (!(await confirm(name, `removes ${holds} in ${title} first`)))
    throw new ConfigError(`--replace removes ${holds} from ${title}: confirm it with --yes ${name}`);
}

/** What one of the backups of a run finds where it is to go. */
export interface Stake {
  readonly name: string;
  readonly place: string;
  readonly holds: string;
  readonly isAmended: boolean;
}

export const stakeOf = (
  connection: Connection,
  { isWhole }: Engine,
  { holds, isAmended = false }: { readonly holds: string; readonly isAmended?: boolean },
): Stake => ({
  name: isWhole ? 'the whole server' : nameOf(connection),
  place: placeOf(connection),
  holds,
  isAmended,
});

/** All that is at stake in the restore of a run is named at once, and the id of the run agrees to it. */
export async function expectAgreed(
  stakes: readonly Stake[],
  { run = '', replace, confirm }: Pick<RestoreOptions, 'run' | 'replace' | 'confirm'>,
): Promise<void> {
  const [first] = stakes;
  if (!first) return;
  const amended = stakes.filter(({ isAmended }) => isAmended).map(({ holds }) => holds);
  const emptied = stakes.filter(({ isAmended }) => !isAmended).map(({ name, holds }) => `${name} (${holds})`);
  const describe = (change: string, empty: string) =>
    [
      ...(amended.length > 0 ? [`${change} ${amended.join(', ')}`] : []),
      ...(emptied.length > 0 ? [`${empty} ${formatNames(emptied)}`] : []),
    ].join(', and ') + (first.place === '' ? '' : ` on ${first.place}`);
  if (!replace)
    throw new ConfigError(
      `the run ${run} would ${describe('change', 'empty')}: restore into ${ANOTHER_SERVER}, or go on with --replace --yes ${run}`,
    );
  const what = describe('changes', 'empties');
  if (!(await confirm(run, what))) throw new ConfigError(`--replace ${what}: confirm it with --yes ${run}`);
}

const ANOTHER_SERVER = 'another server with --to URI or RESTORE_DB_URI';

const placeOf = ({ hosts }: Connection): string => hosts.map(({ host, port }) => `${host}:${port}`).join(',');

function titleOf(connection: Connection): string {
  const place = placeOf(connection);
  return place === '' ? nameOf(connection) : `${nameOf(connection)} on ${place}`;
}
