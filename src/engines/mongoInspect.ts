import * as z from 'zod';
import type { DriverAnswer, DriverCommand, DriverQuestion, DriverSession } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import { DumpError } from '../core/errors.ts';
import type { Tables } from '../core/tables.ts';
import type { Server } from './engine.ts';
import {
  buildInfo,
  collectionList,
  databaseList,
  isInternal,
  listCollections,
  NO_LINE_BREAKS,
  namesOf,
  readDocument,
  tryDocument,
} from './mongoAnswers.ts';
import { driverLogin } from './mongoConnection.ts';
import { findUnreadable } from './mongoPrivileges.ts';

/** The databases of users. */
export const discoverMongo = (connection: Connection): DriverQuestion<readonly string[]> => ({
  driver: 'mongo',
  login: driverLogin(connection),
  commands: [LIST_DATABASES],
  parse: ([list]) => namesOf(readDocument(databaseList, list)),
});

/** Of a login that may not see all of them the server else shows those that it may, and says nothing. */
const LIST_DATABASES: DriverCommand = { database: 'admin', command: { listDatabases: 1, authorizedDatabases: false } };

const SERVER: readonly DriverCommand[] = [
  { database: 'admin', command: { buildInfo: 1 } },
  { database: 'admin', command: { hello: 1 }, mayFail: true },
  { database: 'admin', command: { replSetGetConfig: 1 }, mayFail: true },
  { database: 'config', command: { find: 'version', limit: 1 }, mayFail: true },
  { database: 'admin', command: { connectionStatus: 1, showPrivileges: true }, mayFail: true },
];

const WHOLE: readonly DriverCommand[] = [
  { ...LIST_DATABASES, mayFail: true },
  { database: 'admin', command: { listDatabases: 1 } },
  { database: 'local', command: { find: 'oplog.rs', limit: 1, projection: { _id: 0, ts: 1 } }, mayFail: true },
];

export function inspectMongo(connection: Connection): DriverQuestion<Server> {
  const { database } = connection;
  const one = [listCollections(database), { database, command: { dbStats: 1 }, mayFail: true } as const];
  return {
    driver: 'mongo',
    login: driverLogin(connection),
    commands: [...SERVER, ...(database === '' ? WHOLE : one)],
    parse: (answers, session) => {
      const server = describeServer(answers, session);
      const rest = answers.slice(SERVER.length);
      const remedy = grantOf(connection, session, database);
      const about = database === '' ? describeWhole(rest, server, remedy) : describeOne(database, rest);
      const unreadable = findUnreadable(answers[SERVER.length - 1], database, about.names);
      return {
        title: server.title,
        serverId: server.serverId,
        bytes: about.bytes,
        target: about.target,
        major: server.major,
        needsCopy: false,
        ...(unreadable.length > 0 && { unreadable: { names: unreadable, remedy } }),
        warnings: about.warnings,
        tables: about.tables,
        notes: { ...server.notes, ...about.notes },
      };
    },
  };
}

const hello = z.object({ setName: z.string().optional(), msg: z.string().optional() });
const notEmpty = z.object({ cursor: z.object({ firstBatch: z.array(z.unknown()).min(1) }) });
const objectId = z.object({ $oid: z.string() });
const replicaSet = z.object({ config: z.object({ settings: z.object({ replicaSetId: objectId }) }) });
const cluster = z.object({ cursor: z.object({ firstBatch: z.tuple([z.object({ clusterId: objectId })]) }) });

function describeServer([build, greeting, config, version]: readonly DriverAnswer[], { authSource }: DriverSession) {
  const { version: number } = readDocument(buildInfo, build);
  const { setName, msg } = tryDocument(hello, greeting) ?? {};
  const isSharded = msg === 'isdbgrid';
  const clusterId = tryDocument(cluster, version)?.cursor.firstBatch[0].clusterId.$oid;
  const setId = tryDocument(replicaSet, config)?.config.settings.replicaSetId.$oid;
  return {
    title: `MongoDB ${number}`,
    major: Number.parseInt(number, 10),
    serverId: (isSharded ? clusterId : (setId ?? setName)) ?? null,
    notes: { isReplicaSet: setName !== undefined && !isSharded, ...(authSource !== undefined && { authSource }) },
  };
}

interface Part {
  readonly bytes: number;
  readonly target: Server['target'];
  /** Of what a dump reads: databases of a server, collections of a database. */
  readonly names: readonly string[];
  readonly notes: Server['target'];
  readonly warnings: readonly string[];
  readonly tables: Tables;
}

function describeWhole(
  [all, seen, oplog]: readonly DriverAnswer[],
  { notes }: ReturnType<typeof describeServer>,
  remedy: string,
): Part {
  const list = readDocument(databaseList, all && 'document' in all ? all : seen);
  const databases = namesOf(list);
  const canReadOplog = tryDocument(notEmpty, oplog) !== undefined;
  return {
    bytes: list.databases.reduce((sum, { sizeOnDisk = 0 }) => sum + sizeOnDisk, 0),
    target: { database: null, databases },
    names: databases,
    tables: { kind: 'database', names: databases },
    notes: { canReadOplog },
    warnings: [
      ...(all && 'failure' in all
        ? [`this login does not see all databases, and what it does not see is not backed up: ${remedy}`]
        : []),
      ...(notes.isReplicaSet && !canReadOplog
        ? [`this login may not read the oplog, so that collections are each of another moment: ${remedy}`]
        : []),
    ],
  };
}

const stats = z.object({ dataSize: z.number() });

/** mongodump makes an empty dump of what is not there, and exits 0. */
function describeOne(database: string, [list, size]: readonly DriverAnswer[]): Part {
  const found = readDocument(collectionList, list).cursor.firstBatch;
  const names = found.map(({ name }) => name);
  if (names.length === 0) throw new DumpError(`there is no database ${JSON.stringify(database)}, or it is empty`);
  const brokenNames = names.filter((name) => /[\r\n]/.test(name));
  return {
    bytes: tryDocument(stats, size)?.dataSize ?? 0,
    target: { database, ...(brokenNames.length > 0 && { brokenNames }) },
    names: names.filter((name) => !isInternal(name)),
    tables: {
      kind: 'collection',
      names: found.flatMap(({ name, type }) => (type === 'view' || isInternal(name) ? [] : name)),
    },
    notes: {},
    warnings: brokenNames.map((name) => `${JSON.stringify(name)} could not be restored: ${NO_LINE_BREAKS}`),
  };
}

/** For the shell of mongo. */
function grantOf({ user }: Connection, { authSource }: DriverSession, database: string): string {
  const role = database === '' ? { role: 'backup', db: 'admin' } : { role: 'read', db: database };
  const where = `db.getSiblingDB(${JSON.stringify(authSource ?? 'admin')})`;
  return `${where}.grantRolesToUser(${JSON.stringify(user ?? 'the login')}, [${JSON.stringify(role)}])`;
}
