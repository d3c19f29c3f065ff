import { describe, expect, it } from 'vitest';
import { type DriverAnswer, type DriverQuestion, SCRATCH } from '../src/core/command.ts';
import type { Connection } from '../src/core/connection.ts';
import { ConfigError } from '../src/core/errors.ts';
import { defaultSeries } from '../src/core/series.ts';
import { DUMP, type DumpRequest, type RestoreRequest, type Server, type Target } from '../src/engines/engine.ts';
import { mongo } from '../src/engines/mongo.ts';
import { driverLogin } from '../src/engines/mongoConnection.ts';

const connection: Connection = {
  engine: 'mongo',
  hosts: [{ host: 'db.internal', port: 27017 }],
  user: 'app',
  password: 'secret',
  database: 'orders',
  params: {},
  tls: undefined,
  tlsCa: undefined,
};
const whole: Connection = { ...connection, database: '' };

const server: Server = {
  title: 'MongoDB 6.0.4',
  serverId: 'rs0',
  bytes: 1,
  target: {},
  major: 6,
  needsCopy: false,
  warnings: [],
};

const planDump = (changes: Partial<DumpRequest> = {}) =>
  mongo.planDump({
    connection,
    server,
    tool: 'mongodump 100.6.1',
    mode: 'stream',
    jobs: 1,
    compress: false,
    extraArgs: [],
    ...changes,
  });

const CONFIG = `--config=${SCRATCH}/mongodump.yaml`;
const argsOf = (changes: Partial<DumpRequest>) => planDump(changes).dump.args;

/** The URI in the private file. */
function uriOf(changes: Partial<Connection>, notes: Server['target'] = {}): string {
  const { files = {} } = planDump({ connection: { ...connection, ...changes }, server: { ...server, notes } }).dump;
  const [, json = ''] = /^uri: (.*)\n$/.exec(files['mongodump.yaml'] ?? '') ?? [];
  return JSON.parse(json);
}

describe('mongo connects', () => {
  it('F32: with the whole URI in a private file, and nothing of it in an argument', () => {
    expect(planDump().dump).toEqual({
      file: 'mongodump',
      args: [CONFIG, '--db=orders', '--archive'],
      files: { 'mongodump.yaml': 'uri: "mongodb://app:secret@db.internal:27017/?authsource=admin"\n' },
    });
  });

  it('F35: with user and password full of traps', () => {
    const odd = `p@ss:/?#%'"\\$ ü;\n`;
    const uri = uriOf({ user: odd, password: odd });
    expect(uri).toMatch(/^mongodb:\/\/[^@/:]+:[^@/:]+@db\.internal:27017\/\?authsource=admin$/);
    expect(uri.match(/[^:/]+(?=:[^/]*@)/)?.[0]).toBe(encodeURIComponent(odd));
  });

  it.each<[string, Partial<Connection>, string]>([
    [
      'several hosts',
      {
        hosts: [
          { host: 'a', port: 1 },
          { host: '::1', port: 2 },
        ],
      },
      '@a:1,[::1]:2/?authsource=admin',
    ],
    ['a socket', { hosts: [{ host: '/tmp/m.sock', port: 27017 }] }, '@%2Ftmp%2Fm.sock/?authsource=admin'],
    [
      'the parameters of the URI',
      { params: { replicaSet: 'rs 0', w: '2' } },
      '/?replicaset=rs%200&w=2&authsource=admin',
    ],
    ['another database to log in at', { params: { authsource: 'x' } }, '/?authsource=x'],
    [
      'none where no database knows the user',
      { params: { authMechanism: 'MONGODB-X509' } },
      '/?authmechanism=MONGODB-X509',
    ],
    [
      'no login',
      { user: undefined, password: undefined, params: { authSource: 'x' } },
      'mongodb://db.internal:27017/?',
    ],
    ['an SRV name', { isSrv: true }, 'mongodb+srv://app:secret@db.internal/?'],
    ['TLS', { tls: 'verify', params: { ssl: 'false', tlsInsecure: 'true' } }, '/?tls=true&authsource=admin'],
    ['TLS to anybody', { tls: 'require' }, '/?tls=true&authsource=admin&tlsinsecure=true'],
    [
      'TLS to anybody, by an option that mongodump lacks',
      { params: { tlsAllowInvalidCertificates: 'true' } },
      '/?authsource=admin&tlsinsecure=true',
    ],
    ['no TLS', { tls: 'disable', params: { tls: 'true' } }, '/?tls=false&authsource=admin'],
  ])('to %s', (_, changes, expected) => {
    expect(uriOf(changes).endsWith(expected), uriOf(changes)).toBe(true);
  });

  it('to an SRV name with what the driver found out of where to log in', () => {
    expect(uriOf({ isSrv: true }, { authSource: 'found' })).toContain('/?authsource=found');
    expect(uriOf({}, { authSource: 'found' })).toContain('/?authsource=admin');
  });

  it('with the CA in a private file', () => {
    const { args, files } = planDump({
      connection: { ...connection, tlsCa: 'PEM', params: { tlsCAFile: '/old' } },
    }).dump;
    expect(args).toContain(`--sslCAFile=${SCRATCH}/ca.pem`);
    expect(files?.['ca.pem']).toBe('PEM');
    expect(files?.['mongodump.yaml']).toBe(
      'uri: "mongodb://app:secret@db.internal:27017/?tls=true&authsource=admin"\n',
    );
  });

  it('never without a password, for which the tools would take the beginning of a dump', () => {
    const poor = { ...connection, password: undefined };
    expect(() => planDump({ connection: poor })).toThrow(/"app" has no password/);
    expect(() => planDump({ connection: { ...poor, params: { authMechanism: 'MONGODB-X509' } } })).not.toThrow();
    expect(() => planDump({ connection: { ...connection, tls: 'prefer' } })).toThrow(/knows no "prefer"/);
  });

  it('through the driver as the tools do: to a single host itself, and with no parameter that the driver refuses', () => {
    const login = (changes: Partial<Connection>) => driverLogin({ ...connection, ...changes }).uri;
    expect(login({ params: { compressors: 'snappy', foo: 'x' } })).toBe(
      'mongodb://app:secret@db.internal:27017/?authsource=admin&directconnection=true',
    );
    expect(login({ params: { replicaSet: 'rs' } })).toContain('/?replicaset=rs&authsource=admin');
    expect(login({ params: { replicaSet: 'rs' } })).not.toContain('direct');
    expect(login({ hosts: [...connection.hosts, { host: 'b', port: 1 }] })).not.toContain('direct');
    expect(login({ isSrv: true })).not.toContain('direct');
  });

  it('and names its series by where the server is', () => {
    expect(defaultSeries(connection)).toBe('mongo://db.internal:27017/orders');
    expect(defaultSeries(whole)).toBe('mongo://db.internal:27017/');
  });
});

describe('mongo plans a dump', () => {
  const replicaSet = { ...server, notes: { isReplicaSet: true, canReadOplog: true } };

  it.each<[Partial<DumpRequest>, readonly string[], object]>([
    [{}, ['--db=orders', '--archive'], { extension: '.archive', compression: null, container: null }],
    [{ compress: true }, ['--db=orders', '--archive', '--gzip'], { extension: '.archive.gz', container: 'gzip' }],
    [
      { extraArgs: ['--gzip'] },
      ['--db=orders', '--archive', '--gzip'],
      { extension: '.archive.gz', container: 'gzip' },
    ],
    [{ mode: 'file' }, ['--db=orders', `--archive=${DUMP}`], { extension: '.archive', format: 'archive' }],
    [
      { mode: 'directory', jobs: 3 },
      ['--db=orders', `--out=${DUMP}`, '--numParallelCollections=3'],
      { extension: '', format: 'directory', marks: {}, facts: {} },
    ],
    [
      { mode: 'tar', compress: true },
      ['--db=orders', `--out=${DUMP}`, '--numParallelCollections=1', '--gzip'],
      { compression: 'gzip', container: null, facts: { gzip: true } },
    ],
    [{ connection: whole }, ['--archive'], { facts: {} }],
    [{ connection: whole, server: replicaSet }, ['--archive', '--oplog'], { facts: { oplog: true } }],
    [{ server: replicaSet }, ['--db=orders', '--archive'], { facts: {} }],
    [{ connection: whole, extraArgs: ['--oplog'] }, ['--archive', '--oplog'], { facts: { oplog: true } }],
    [
      { extraArgs: ['--dumpDbUsersAndRoles'] },
      ['--db=orders', '--archive', '--dumpDbUsersAndRoles'],
      { facts: { usersAndRoles: true } },
    ],
  ])('%j with %j', (changes, args, plan) => {
    expect(argsOf(changes)).toEqual([CONFIG, ...args]);
    expect(planDump(changes)).toMatchObject({ ...plan, prepare: [], warnings: [] });
  });

  it.each([
    [['-o', 'x'], /--out sends the dump elsewhere/],
    [['--out=x'], /--out sends the dump elsewhere/],
    [['-vox'], /--out sends the dump elsewhere/],
    [['--archive=/x'], /--archive=\/x sends the dump elsewhere/],
  ])('warning of %j', (extraArgs, warning) => {
    expect(planDump({ extraArgs }).warnings.join('\n')).toMatch(warning);
  });

  it('without a warning for what only looks like it', () => {
    const extraArgs = ['--excludeCollection=-o', '-q', '--out=x', '-c', '--archive=/x', '--archive', '-j', '4'];
    expect(planDump({ extraArgs }).warnings).toEqual([]);
    expect(planDump({ extraArgs: ['--archive=-'] }).warnings).toEqual([]);
  });

  it.each([
    [['-d', 'x']],
    [['-dx']],
    [['-d=x']],
    [['--db', 'x']],
    [['--uri=mongodb://x']],
    [['-h', 'x']],
    [['--port=1']],
    [['-u', 'x']],
    [['-p', 'x']],
    [['--config=/x']],
    [['--authenticationDatabase=x']],
    [['--sslPEMKeyPassword=x']],
    [['mongodb://x']],
    [['--gzip', 'x']],
    [['--', 'x']],
  ])('F19: refusing %j, which would dump something else', (extraArgs) => {
    expect(() => planDump({ extraArgs })).toThrow(ConfigError);
  });

  it('F30: of a database whose name looks like an option', () => {
    expect(argsOf({ connection: { ...connection, database: '-x;`id`' } })).toEqual([
      CONFIG,
      '--db=-x;`id`',
      '--archive',
    ]);
  });

  it.each([
    ['mongodump 100.6.1', 6, 0],
    ['mongodump 100.6.1', 7, 1],
    ['mongodump 100.9.4', 7, 0],
    ['mongodump 100.9.4', 8, 1],
    ['mongodump 100.17.0', 9, 0],
    ['mongodump r4.2.1', 8, 0],
  ])('F56: %s of a server of version %d with %d warnings', (tool, major, count) => {
    expect(planDump({ tool, server: { ...server, major } }).warnings).toHaveLength(count);
  });

  it('reading the version of the tool, and nothing else for one', () => {
    const answer = (stdout: string) => mongo.tool.parse({ stdout, stderr: '', exitCode: 0 });
    expect(answer('mongodump version: 100.6.1\ngit version: x\n')).toBe('mongodump 100.6.1');
    expect(() => answer('something else')).toThrow();
  });
});

describe('F04: the marks of an archive', () => {
  const { begins, ends } = planDump().marks;
  const latin1 = (bytes: readonly (string | number[])[]) =>
    bytes.map((part) => (typeof part === 'string' ? part : String.fromCharCode(...part))).join('');
  const checksum = [1, 10, 0, 255, 255, 255, 255, 13];
  const end = latin1([[8], 'EOF', [0, 1, 0x12], 'CRC', [0, ...checksum, 0, 255, 255, 255, 255]]);
  const header = latin1([[2], 'tool_version', [0, 8, 0, 0, 0], '100.6.1', [0, 0, 255, 255, 255, 255]]);

  it.each([
    [end, true],
    [header, true],
    [end.slice(0, -1), false],
    [`${end}x`, false],
    [end.replace('\x01', '\0'), false],
    [latin1([[0, 255, 255, 255, 255]]), false],
    [header.replace('\xff\xff\xff\xff', '\x10\0\0\0\xff\xff\xff\xff'), false],
    ['', false],
  ])('%j ends one: %s', (text, expected) => {
    expect(ends?.test(`documents${text}`)).toBe(expected);
  });

  it('begin at the first byte', () => {
    expect(begins?.test('\x6d\xe2\x99\x81rest')).toBe(true);
    expect(begins?.test('x\x6d\xe2\x99\x81')).toBe(false);
  });
});

const target: Target = { exists: true, holds: '', missingRoles: [], title: 'MongoDB 6.0.4', major: 6 };
const planRestore = (changes: Partial<RestoreRequest> = {}) =>
  mongo.planRestore({
    connection,
    target,
    facts: { database: 'orders' },
    mode: 'stream',
    format: 'archive',
    replace: false,
    createRoles: false,
    id: 'x',
    ...changes,
  });

describe('mongo plans a restore', () => {
  const restoreArgs = (changes: Partial<RestoreRequest>) => planRestore(changes).load.args.slice(3);
  const into = (database: string) => ({ connection: { ...connection, database } });
  const all = { database: null, databases: ['a', 'orders'], oplog: true };

  it('that stops at the first error, which mongorestore else does not', () => {
    const { load, ...rest } = planRestore();
    expect(load.args).toEqual([
      `--config=${SCRATCH}/mongorestore.yaml`,
      '--stopOnError',
      '--bypassDocumentValidation',
      '--archive',
    ]);
    expect(rest).toEqual({ prepare: [], filters: [], isAtomic: false, finish: [], warnings: [] });
  });

  it.each<[string, Partial<RestoreRequest>, readonly string[]]>([
    ['under another name', into('copy'), ['--archive', '--nsFrom=orders.*', '--nsTo=copy.*']],
    [
      'with stars in names',
      { ...into('b\\'), facts: { database: 'a*' } },
      ['--archive', '--nsFrom=a\\*.*', '--nsTo=b\\\\.*'],
    ],
    ['one out of a server', { facts: all }, ['--archive', '--nsInclude=orders.*']],
    ['of a server', { ...into(''), facts: all }, ['--archive', '--oplogReplay']],
    ['of a server without oplog', { ...into(''), facts: { database: null } }, ['--archive']],
    ['of a folder', { format: 'directory', mode: 'directory' }, [`--dir=${DUMP}`]],
    [
      'of a folder of compressed files',
      { format: 'directory', facts: { database: 'orders', gzip: true } },
      [`--dir=${DUMP}`, '--gzip'],
    ],
    [
      'with users',
      { facts: { database: 'orders', usersAndRoles: true } },
      ['--archive', '--db=orders', '--restoreDbUsersAndRoles'],
    ],
    [
      'elsewhere without users',
      { ...into('c'), facts: { database: 'orders', usersAndRoles: true } },
      ['--archive', '--nsFrom=orders.*', '--nsTo=c.*'],
    ],
  ])('%s', (_, changes, args) => {
    expect(restoreArgs(changes)).toEqual(args);
  });

  const drill = 'dbstash_drill_20260207t020000z_a1b2c3';

  it('of a server in a drill: each database under a name of the drill, and nothing else', () => {
    const facts = { database: null, databases: ['a*', 'orders'], oplog: true };
    expect(restoreArgs({ ...into(drill), facts, isDrill: true })).toEqual([
      '--archive',
      ...['--nsInclude=a\\*.*', '--nsFrom=a\\*.*', `--nsTo=${drill}_1.*`],
      ...['--nsInclude=orders.*', '--nsFrom=orders.*', `--nsTo=${drill}_2.*`],
    ]);
    expect(planRestore({ ...into(drill), facts, isDrill: true }).warnings).toEqual([]);
    expect(restoreArgs({ ...into(drill), facts: { ...facts, databases: [] } })).toEqual([
      '--archive',
      `--nsInclude=${drill}.*`,
    ]);
    expect(() => planRestore({ ...into(drill), facts: { database: null } })).toThrow(/right is the level content/);
    const commands = ({ commands }: DriverQuestion<unknown>) =>
      commands.map(({ database, command }) => `${Object.keys(command)[0]} ${database}`);
    const of = into(drill).connection;
    const each = (command: string) => [`${command} ${drill}_1`, `${command} ${drill}_2`];
    expect(commands(mongo.drill.drop(of, facts))).toEqual(each('dropDatabase'));
    expect(commands(mongo.drill.count(of, facts))).toEqual(each('dbStats'));
    // All of them are looked at before the first byte.
    expect(commands(mongo.inspectTarget(of, facts)).slice(1)).toEqual(each('listCollections'));
  });

  it('refusing what would end elsewhere, or is not there', () => {
    expect(() => planRestore({ ...into('b'), facts: all })).toThrow(/holds no database "b"; it holds a, orders/);
    expect(() => planRestore({ format: 'plain' })).toThrow(ConfigError);
    expect(() => mongo.inspectTarget(whole, { database: 'orders' })).toThrow(/right is --database "orders"/);
    for (const database of ['a b', 'a.b', 'a/b', '$a', 'x'.repeat(64)])
      expect(() => mongo.inspectTarget({ ...connection, database }, {})).toThrow(/is no name of a mongo database/);
  });

  it('warning of what will not be as it was', () => {
    const facts = { database: 'orders', brokenNames: ['a\nb'] };
    expect(planRestore({ facts }).warnings).toEqual([
      expect.stringContaining('"a\\nb" is in the backup, and not restored'),
    ]);
    expect(planRestore({ facts: all }).warnings).toEqual([
      expect.stringContaining('oplog in the backup is not replayed'),
    ]);
    expect(planRestore({ ...into(''), facts: all }).warnings).toEqual([]);
  });

  it('emptying the target first, and only that', () => {
    const full = { ...target, holds: 'x', notes: { collections: ['a', 'b'] } };
    expect(planRestore({ target: full }).empty).toBeUndefined();
    expect(planRestore({ replace: true }).empty).toBeUndefined();
    const { empty } = planRestore({ replace: true, target: full });
    expect(empty?.commands).toEqual([{ database: 'orders', command: { dropDatabase: 1 } }]);
    expect(empty?.fallback?.commands).toEqual([
      { database: 'orders', command: { drop: 'a' } },
      { database: 'orders', command: { drop: 'b' } },
    ]);
    const server = { ...full, notes: { databases: ['a', 'b'] } };
    expect(planRestore({ ...into(''), facts: all, replace: true, target: server }).empty).toMatchObject({
      commands: [
        { database: 'a', command: { dropDatabase: 1 } },
        { database: 'b', command: { dropDatabase: 1 } },
      ],
    });
    for (const database of ['admin', 'config', 'local'])
      expect(() => planRestore({ ...into(database), facts: { database }, replace: true, target: full })).toThrow(
        /never emptied/,
      );
  });

  it('never with --drop, which would drop users of the server that the dump does not know', () => {
    for (const changes of [{ replace: true }, { ...into(''), facts: all, replace: true }])
      expect(planRestore({ ...changes, target: { ...target, holds: 'x' } }).load.args).not.toContain('--drop');
  });
});

/** What parse makes of answers, by the name of the command. */
function answer<T>(question: DriverQuestion<T>, known: Readonly<Record<string, DriverAnswer>>, authSource?: string): T {
  const answers = question.commands.map(({ database, command }) => {
    const [name = '', argument] = Object.entries(command)[0] ?? [];
    const key =
      name === 'find' ? `${database}.${argument}` : `${name}${'authorizedDatabases' in command ? ' all' : ''}`;
    return known[key] ?? { failure: `no such command: ${key}` };
  });
  return question.parse(answers, { authSource });
}

describe('mongo reads what a server says', () => {
  const id = { $oid: '65a000000000000000000001' };
  const found = (document: unknown): DriverAnswer => ({ document });
  const list = (...firstBatch: unknown[]) => found({ cursor: { id: 0, firstBatch } });
  const build = { buildInfo: found({ version: '6.0.4', ok: 1 }) };
  const databases = found({
    databases: ['admin', 'config', 'local', 'a', 'b'].map((name) => ({ name, sizeOnDisk: 10 })),
  });
  const member = { ...build, hello: found({ setName: 'rs0' }) };
  const one = { ...build, listCollections: list({ name: 'c', type: 'collection' }), dbStats: found({ dataSize: 7 }) };

  it('of one database', () => {
    expect(answer(mongo.inspect(connection), one, 'admin')).toEqual({
      title: 'MongoDB 6.0.4',
      serverId: null,
      bytes: 7,
      target: { database: 'orders' },
      major: 6,
      needsCopy: false,
      warnings: [],
      tables: { kind: 'collection', names: ['c'] },
      notes: { isReplicaSet: false, authSource: 'admin' },
    });
  });

  it('F24: with what tells it apart from others of its name', () => {
    const config = { replSetGetConfig: found({ config: { settings: { replicaSetId: id } } }) };
    const idOf = (known: Record<string, DriverAnswer>) =>
      answer(mongo.inspect(connection), { ...one, ...known }).serverId;
    expect(idOf(member)).toBe('rs0');
    expect(idOf({ ...member, ...config })).toBe(id.$oid);
    const router = { hello: found({ msg: 'isdbgrid' }), 'config.version': list({ clusterId: id }) };
    expect(idOf(router)).toBe(id.$oid);
    expect(idOf({ 'config.version': list({ clusterId: id }) })).toBeNull();
  });

  it('F03: of a database that is not there, which mongodump would dump as nothing', () => {
    expect(() => answer(mongo.inspect(connection), { ...one, listCollections: list() })).toThrow(
      /there is no database "orders", or it is empty/,
    );
  });

  it('of a whole server', () => {
    const known = {
      ...member,
      listDatabases: databases,
      'listDatabases all': databases,
      'local.oplog.rs': list({ ts: 1 }),
    };
    expect(answer(mongo.inspect(whole), known)).toMatchObject({
      bytes: 50,
      target: { database: null, databases: ['a', 'b'] },
      warnings: [],
      notes: { isReplicaSet: true, canReadOplog: true },
    });
  });

  it('F03: warning of databases that the login does not see, and of an oplog that it may not read', () => {
    const refused = { failure: 'not authorized' };
    const { warnings, notes } = answer(
      mongo.inspect(whole),
      { ...member, listDatabases: databases, 'listDatabases all': refused, 'local.oplog.rs': refused },
      'admin',
    );
    const remedy = 'db.getSiblingDB("admin").grantRolesToUser("app", [{"role":"backup","db":"admin"}])';
    expect(warnings).toEqual([
      `this login does not see all databases, and what it does not see is not backed up: ${remedy}`,
      `this login may not read the oplog, so that collections are each of another moment: ${remedy}`,
    ]);
    expect(notes).toMatchObject({ canReadOplog: false });
  });

  it('of what the login may not read', () => {
    const may = (db: string, collection: string, action = 'find') => ({
      connectionStatus: found({
        authInfo: { authenticatedUserPrivileges: [{ resource: { db, collection }, actions: [action] }] },
      }),
    });
    const unreadable = (known: Record<string, DriverAnswer>) =>
      answer(mongo.inspect(connection), {
        ...one,
        listCollections: list({ name: 'c' }, { name: 'system.views' }),
        ...known,
      }).unreadable;
    expect(unreadable(may('orders', ''))).toBeUndefined();
    expect(unreadable(may('', ''))).toBeUndefined();
    expect(unreadable(may('orders', 'c'))).toBeUndefined();
    expect(unreadable({})).toBeUndefined();
    for (const known of [may('orders', 'd'), may('other', ''), may('orders', '', 'insert')])
      expect(unreadable(known)).toMatchObject({ names: ['c'], remedy: expect.stringContaining('"role":"read"') });
  });

  it('of databases, but for its own', () => {
    expect(answer(mongo.discover(connection), { 'listDatabases all': databases })).toEqual(['a', 'b']);
  });

  it('of what a target holds', () => {
    const look = (listCollections: DriverAnswer) =>
      answer(mongo.inspectTarget(connection, {}), { ...build, listCollections }, 'admin');
    expect(look(list())).toMatchObject({ exists: false, holds: '' });
    const views = list({ name: 'c' }, { name: 'd' }, { name: 'v', type: 'view' }, { name: 'system.views' });
    expect(look(views)).toMatchObject({
      exists: true,
      holds: '2 collections, 1 view',
      title: 'MongoDB 6.0.4',
      notes: { collections: ['c', 'd', 'v'], authSource: 'admin' },
    });
    expect(
      answer(mongo.inspectTarget(whole, { database: null }), { ...build, 'listDatabases all': databases }),
    ).toMatchObject({
      holds: 'the databases a, b',
      notes: { databases: ['a', 'b'] },
    });
  });

  it('and takes nothing else for an answer', () => {
    expect(() => answer(mongo.inspect(connection), { ...one, buildInfo: found({}) })).toThrow(/makes no sense/);
    expect(() => answer(mongo.inspect(connection), { ...one, listCollections: { failure: 'no' } })).toThrow(
      /refuses: no/,
    );
  });
});
