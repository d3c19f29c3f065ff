import { type Command, SCRATCH } from '../core/command.ts';
import { ConfigError } from '../core/errors.ts';
import { DUMP, type RestorePlan, type RestoreRequest } from './engine.ts';
import { psql } from './pgConnection.ts';
import { createDatabase, createRoles, describeDatabase, dropDatabase, maintenanceOf } from './pgCreate.ts';
import { EMPTY_DATABASE } from './pgEmpty.ts';
import { GLOBALS, planPgRolesRestore } from './pgGlobals.ts';
import { type PgFacts, pgFacts } from './pgInspect.ts';
import { choosePg, listOf } from './pgPick.ts';
import { dropHeld, pgPickNotes, warnOfPick } from './pgPickTarget.ts';

const FORMATS = ['plain', 'custom', 'directory'];

/**
 * psql loads every format in one transaction, an archive by way of pg_restore. What commits it stands behind the dump: at a
 * mere end of its input psql ends a COPY and goes on, so that our own sudden death would commit half a dump. Two kinds of
 * dump cannot: a script with large objects has COMMITs of its own, and one made with --create connects elsewhere midway.
 */
export function planPgRestore(request: RestoreRequest): RestorePlan {
  const facts = pgFacts.parse(request.facts);
  if (request.format === GLOBALS) return planPgRolesRestore(request);
  if (!FORMATS.includes(request.format))
    throw new ConfigError(`a pg dump of the format ${request.format} cannot be restored from a stream`);
  if (request.pick) return planTables(request, { ...facts, largeObjects: false }, facts.largeObjects === true);
  return planWhole(request, facts);
}

/** Some tables: pg_restore goes by a list, and by the archive's own order; it needs a file, since it stops reading early. */
function planTables(request: RestoreRequest, facts: PgFacts, hasLargeObjects: boolean): RestorePlan {
  const choice = choosePg(request.pick!);
  const answer = pgPickNotes(request.target);
  const [first, ...rest] = planFilters({ ...request, format: 'directory' }, facts);
  const list = { 'tables.list': listOf(choice, new Set(answer.there)) };
  return {
    ...planWhole(request, facts),
    needsFile: true,
    filters: [{ ...first!, args: [`--use-list=${SCRATCH}/tables.list`, ...first!.args], files: list }, ...rest],
    warnings: warnOfPick(choice, answer, hasLargeObjects),
  };
}

function planWhole(request: RestoreRequest, facts: PgFacts): RestorePlan {
  refuseNamedDatabase(request, facts);
  const isNew = !request.target.exists;
  const makesDatabase = isNew && facts.createsDatabase === undefined;
  const bringsTransaction = hasTransaction(request, facts);
  return {
    prepare: [
      ...(request.createRoles && request.target.missingRoles.length > 0 ? [createRoles(request)] : []),
      ...(makesDatabase ? [createDatabase(request, facts)] : []),
    ],
    filters: planFilters(request, facts),
    load: planLoad(request, facts, bringsTransaction),
    ...(!bringsTransaction && { commit: '\nCOMMIT;\n' }),
    isAtomic: facts.createsDatabase === undefined && !(request.format === 'plain' && facts.largeObjects),
    ...(makesDatabase && { undo: [dropDatabase(request)] }),
    finish: makesDatabase ? [describeDatabase(request, facts)] : [],
  };
}

function refuseNamedDatabase({ connection, target }: RestoreRequest, { createsDatabase }: PgFacts): void {
  if (createsDatabase === undefined) return;
  const what = `this dump was made with --create and restores over the database ${JSON.stringify(createsDatabase)} wherever it is sent`;
  if (createsDatabase !== connection.database)
    throw new ConfigError(`${what}: it cannot be restored under another name`);
  if (target.exists) throw new ConfigError(`${what}: drop that database first`);
}

/** pg_restore reads the archive from its standard input or as a folder, and has a transaction of its own where psql's would be cut. */
function planFilters({ format, target }: RestoreRequest, facts: PgFacts): readonly Command[] {
  const filters: Command[] = [];
  if (format !== 'plain') {
    const single = facts.largeObjects ? ['--single-transaction'] : [];
    filters.push({ file: 'pg_restore', args: ['--file=-', ...single, ...(format === 'directory' ? [DUMP] : [])] });
  }
  // Clients of version 17 and later write this into the head of every dump, also of servers that do not know it.
  if (target.major !== undefined && target.major < 17) {
    filters.push({ file: 'sed', args: ['1,40{/^SET transaction_timeout = 0;$/d;}'], env: { LC_ALL: 'C' } });
  }
  return filters;
}

const hasTransaction = ({ format }: RestoreRequest, facts: PgFacts): boolean =>
  facts.createsDatabase !== undefined || (format !== 'plain' && facts.largeObjects === true);

function planLoad(request: RestoreRequest, facts: PgFacts, bringsTransaction: boolean): Command {
  const { connection, target, replace } = request;
  const isPiecemeal = facts.createsDatabase !== undefined;
  const empties = replace && target.exists;
  const command = psql(connection, isPiecemeal ? maintenanceOf(request) : connection.database, [
    '--output=/dev/null',
    ...(bringsTransaction ? [] : ['--command=BEGIN']),
    ...(empties ? [`--file=${SCRATCH}/empty.sql`] : []),
    '--file=-',
  ]);
  if (!empties) return command;
  const empty = request.pick ? dropHeld(pgPickNotes(target)) : EMPTY_DATABASE;
  return { ...command, files: { ...command.files, 'empty.sql': `${bringsTransaction ? 'BEGIN;\n' : ''}${empty}` } };
}
