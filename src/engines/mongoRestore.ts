import type { DriverCommand, DriverQuestion } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import { ConfigError } from '../core/errors.ts';
import { DUMP, type RestorePlan, type RestoreRequest, type TablePick, type Target } from './engine.ts';
import { isSystemDatabase, type MongoFacts, mongoFacts, mongoNotes, NO_LINE_BREAKS } from './mongoAnswers.ts';
import { driverLogin, mongoTool } from './mongoConnection.ts';
import { isWholeDrill, scratchNames } from './mongoScratch.ts';

/**
 * mongorestore goes on after an error and exits 0, unless told to stop. Documents older than a collection's validator
 * would be such errors. It is never given --drop: what stands in the way was dropped before, or the restore refused.
 */
const ALWAYS = ['--stopOnError', '--bypassDocumentValidation'];

export function planMongoRestore(request: RestoreRequest): RestorePlan {
  const { connection, target, format, replace } = request;
  const facts = mongoFacts.parse(request.facts);
  const notes = mongoNotes.parse(target.notes ?? {});
  if (format !== 'archive' && format !== 'directory')
    throw new ConfigError(`a mongo dump of the format ${format} cannot be restored by this version`);
  const source = format === 'archive' ? ['--archive'] : [`--dir=${DUMP}`, ...(facts.gzip ? ['--gzip'] : [])];
  const { pick } = request;
  const namespaces = pick ? chooseCollections(connection.database, pick) : chooseNamespaces(connection.database, facts);
  const args = [...ALWAYS, ...source, ...namespaces];
  const empties = replace && target.holds !== '';
  return {
    ...(empties && { empty: pick ? dropCollections(connection, target) : emptyTarget(connection, target) }),
    prepare: [],
    filters: [],
    load: mongoTool('mongorestore', connection, args, notes.authSource),
    isAtomic: false,
    finish: [],
    warnings: pick ? warnOfMoment(facts) : warnOfLosses(connection.database, facts),
  };
}

function warnOfLosses(database: string, facts: MongoFacts): readonly string[] {
  const { database: dumped = null, oplog, brokenNames = [] } = facts;
  return [
    ...brokenNames.map((name) => `${JSON.stringify(name)} is in the backup, and not restored: ${NO_LINE_BREAKS}`),
    ...(dumped === null && database !== '' && !isWholeDrill(database, facts) && oplog
      ? [
          'the oplog in the backup is not replayed for a single database: its collections are each of another moment of the dump',
        ]
      : []),
  ];
}

/** What of the dump goes where. `database` is empty for the whole server. */
function chooseNamespaces(database: string, facts: MongoFacts): readonly string[] {
  const { database: dumped = null, databases, oplog, usersAndRoles } = facts;
  if (database === '') return oplog ? ['--oplogReplay'] : [];
  if (isWholeDrill(database, facts)) return scatter(scratchNames(database, facts), database);
  if (dumped === null) {
    if (databases && !databases.includes(database)) {
      const known = databases.length === 0 ? 'none' : databases.join(', ');
      throw new ConfigError(`the backup holds no database ${JSON.stringify(database)}; it holds ${known}`);
    }
    return [`--nsInclude=${escapePattern(database)}.*`];
  }
  if (dumped === database) return usersAndRoles ? [`--db=${database}`, '--restoreDbUsersAndRoles'] : [];
  return [`--nsFrom=${escapePattern(dumped)}.*`, `--nsTo=${escapePattern(database)}.*`];
}

/** Nothing but what is renamed is restored. */
function scatter(names: ReturnType<typeof scratchNames>, drill: string): readonly string[] {
  if (names.length === 0) return [`--nsInclude=${drill}.*`];
  return names.flatMap(({ from, to }) => {
    const source = `${escapePattern(from)}.*`;
    return [`--nsInclude=${source}`, `--nsFrom=${source}`, `--nsTo=${to}.*`];
  });
}

/** Only these, and each into its place; what is said of names is about those in the dump. */
function chooseCollections(database: string, { tables }: TablePick): readonly string[] {
  const full = ({ scope, name }: TablePick['tables'][number]) => `${escapePattern(scope!)}.${escapePattern(name)}`;
  const scopes = [...new Set(tables.map(({ scope }) => scope!))];
  const moved = scopes.filter((scope) => database !== '' && scope !== database);
  return [
    ...tables.map((table) => `--nsInclude=${full(table)}`),
    ...moved.flatMap((scope) => [`--nsFrom=${escapePattern(scope)}.*`, `--nsTo=${escapePattern(database)}.*`]),
  ];
}

const warnOfMoment = ({ oplog }: MongoFacts): readonly string[] =>
  oplog
    ? ['the oplog in the backup is not replayed for single collections: each is of another moment of the dump']
    : [];

function dropCollections(connection: Connection, { notes }: Target): DriverQuestion<void> {
  const { held = [] } = mongoNotes.parse(notes ?? {});
  return {
    driver: 'mongo',
    login: driverLogin(connection),
    commands: held.map(({ database, name }) => ({ database, command: { drop: name } })),
    parse: () => {},
  };
}

const escapePattern = (name: string): string => name.replace(/[\\*]/g, '\\$&');

/** Drops databases; of a login that may only drop collections, as with the role `restore`, those of the one database. */
function emptyTarget(connection: Connection, { notes }: Target): DriverQuestion<void> {
  const { database } = connection;
  const { databases = [], collections = [] } = mongoNotes.parse(notes ?? {});
  if (isSystemDatabase(database))
    throw new ConfigError(`the database ${database} is the server's own, and is never emptied`);
  const drop = (commands: readonly DriverCommand[]) => ({
    driver: 'mongo' as const,
    login: driverLogin(connection),
    commands,
    parse: () => {},
  });
  const whole = database === '' ? databases : [database];
  return {
    ...drop(whole.map((name) => ({ database: name, command: { dropDatabase: 1 } }))),
    ...(database !== '' && {
      fallback: drop(collections.map((name) => ({ database, command: { drop: name } }))),
    }),
  };
}
