import type { DriverAnswer, DriverQuestion } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import { ConfigError } from '../core/errors.ts';
import { formatNames } from '../core/units.ts';
import type { TablePick, Target, TargetFacts } from './engine.ts';
import {
  buildInfo,
  collectionList,
  databaseList,
  isInternal,
  listCollections,
  mongoFacts,
  namesOf,
  readDocument,
} from './mongoAnswers.ts';
import { driverLogin } from './mongoConnection.ts';
import { placeCollections } from './mongoPick.ts';
import { scratchNames } from './mongoScratch.ts';

/** One database is asked what collections it holds, a whole server what databases. */
export function inspectMongoTarget(
  connection: Connection,
  facts: TargetFacts,
  pick?: TablePick,
): DriverQuestion<Target> {
  const { database } = connection;
  if (pick) return inspectCollections(connection, pick);
  const known = mongoFacts.parse(facts);
  const dumped = known.database;
  if (database === '' && typeof dumped === 'string') {
    throw new ConfigError(
      `the backup is of one database, and the target names none; right is --database ${JSON.stringify(dumped)}, or another name`,
    );
  }
  expectName(database);
  // A login that does not see all databases must not take a full server for an empty one.
  const databases = { database: 'admin', command: { listDatabases: 1, nameOnly: true, authorizedDatabases: false } };
  const what = database === '' ? [databases] : scratchNames(database, known).map(({ to }) => listCollections(to));
  return {
    driver: 'mongo',
    login: driverLogin(connection),
    commands: [{ database: 'admin', command: { buildInfo: 1 } }, ...what],
    parse: ([build, ...held], { authSource }) => {
      const { version } = readDocument(buildInfo, build);
      const { notes, ...target } = database === '' ? describeServer(held[0]) : describeDatabase(held);
      return {
        ...target,
        missingRoles: [],
        title: `MongoDB ${version}`,
        major: Number.parseInt(version, 10),
        notes: { ...notes, ...(authSource !== undefined && { authSource }) },
      };
    },
  };
}

/** What the server says of it comes late: at the first collection. */
function expectName(database: string): void {
  if (/[/\\. "$\0]/.test(database) || Buffer.byteLength(database) > 63) {
    throw new ConfigError(
      `${JSON.stringify(database)} is no name of a mongo database: right are up to 63 bytes without / \\ . " $ and space`,
    );
  }
}

/** Asks each database for those collections alone. */
function inspectCollections(connection: Connection, pick: TablePick): DriverQuestion<Target> {
  const places = [...placeCollections(connection.database, pick)];
  for (const [database] of places) expectName(database);
  return {
    driver: 'mongo',
    login: driverLogin(connection),
    commands: [
      { database: 'admin', command: { buildInfo: 1 } },
      ...places.map(([database]) => listCollections(database)),
    ],
    parse: ([build, ...lists], { authSource }) => {
      const { version } = readDocument(buildInfo, build);
      const there = places.map(([, names], index) => {
        const held = new Set(readDocument(collectionList, lists[index]).cursor.firstBatch.map(({ name }) => name));
        return { isEmpty: held.size === 0, names: names.filter((name) => held.has(name)) };
      });
      const held = places.flatMap(([database], index) => there[index]!.names.map((name) => ({ database, name })));
      return {
        exists: there.some(({ isEmpty }) => !isEmpty),
        holds: held.map(({ database, name }) => `the collection ${database}.${name}`).join(', '),
        missingRoles: [],
        title: `MongoDB ${version}`,
        major: Number.parseInt(version, 10),
        notes: { held, ...(authSource !== undefined && { authSource }) },
      };
    },
  };
}

type Held = Pick<Target, 'exists' | 'holds'> & { readonly notes: TargetFacts };

function describeServer(answer: DriverAnswer | undefined): Held {
  const databases = namesOf(readDocument(databaseList, answer));
  const shown = formatNames(databases, 5);
  const holds = databases.length === 0 ? '' : `the database${databases.length > 1 ? 's' : ''} ${shown}`;
  return { exists: true, holds, notes: { databases } };
}

/** A database is there as long as it holds something. Of a drill there may be several. */
function describeDatabase(answers: readonly DriverAnswer[]): Held {
  const found = answers
    .flatMap((answer) => readDocument(collectionList, answer).cursor.firstBatch)
    .filter(({ name }) => !isInternal(name));
  const views = found.filter(({ type }) => type === 'view').length;
  const counts = [
    [found.length - views, 'collection'],
    [views, 'view'],
  ] as const;
  const holds = counts.filter(([count]) => count > 0).map(([count, kind]) => `${count} ${kind}${count > 1 ? 's' : ''}`);
  return { exists: found.length > 0, holds: holds.join(', '), notes: { collections: found.map(({ name }) => name) } };
}
