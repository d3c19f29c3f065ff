import { execFileSync } from 'node:child_process';
import { delimiter, dirname, join } from 'node:path';
import { describe } from 'vitest';
import type { EngineName } from '../../src/core/connection.ts';
import { describeDatabase, startMongoJava } from './mongo.ts';
import { fillDatabase } from './mongoContent.ts';
import { findMysql, type MysqlServer, startMariadb, startMysql } from './mysql.ts';
import { describeWith } from './need.ts';
import { startPostgres } from './postgres.ts';
import { contentOf, startRedis } from './redis.ts';
import type { Scratch } from './scratch.ts';
import { requireTool } from './tools.ts';

/** A database of an engine with something in it, and places to restore it to. */
export interface Fixture extends AsyncDisposable {
  /** Variables that name it. */
  readonly env: Readonly<Record<string, string>>;
  /** Arguments of a restore into a place where nothing is but for what an earlier one left. */
  target(name: string): readonly string[];
  /** All that is there, to be compared. Without a name, of the source. */
  content(name?: string): Promise<unknown>;
}

/** One for each engine, to be started. */
export const FIXTURES: Readonly<Record<EngineName, (scratch: Scratch) => Promise<Fixture>>> = {
  pg: startPg,
  mysql: () => ofMysql(startMysql()),
  mariadb: () => ofMysql(startMariadb()),
  mongo: startMongo,
  redis: startKeys,
  sqlite: makeFile,
};

/** Programs that a fixture and the engine need. */
export const FIXTURE_TOOLS: Readonly<Record<EngineName, readonly string[]>> = {
  pg: ['initdb', 'postgres', 'psql', 'pg_dump', 'pg_restore'],
  mysql: [],
  mariadb: ['mariadbd', 'mariadb-dump', 'mydumper', 'myloader'],
  mongo: ['mongodump', 'mongorestore', 'java'],
  redis: ['redis-server', 'redis-cli'],
  sqlite: ['sqlite3'],
};

async function startPg(): Promise<Fixture> {
  const server = await startPostgres();
  await server.createDatabase('source');
  await server.sql(
    `CREATE TABLE t (id int PRIMARY KEY, word text, more jsonb); CREATE VIEW v AS SELECT count(*) FROM t;
     INSERT INTO t SELECT i, repeat(md5(i::text), 5), jsonb_build_object('i', i) FROM generate_series(1, 3000) i;`,
    { database: 'source' },
  );
  return {
    env: { DB_URI: server.uri('source') },
    target: (name) => ['--database', name],
    content: (name = 'source') =>
      server.sql("SELECT md5(string_agg(t::text, ',' ORDER BY id)), (SELECT count FROM v) FROM t", { database: name }),
    [Symbol.asyncDispose]: server.stop,
  };
}

async function ofMysql(starting: Promise<MysqlServer>): Promise<Fixture> {
  const server = await starting;
  await server.createDatabase('source');
  await server.sql(
    `CREATE TABLE t (id int PRIMARY KEY, word text, raw blob); CREATE VIEW v AS SELECT count(*) AS n FROM t;
     CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.word = upper(NEW.word);
     INSERT INTO t VALUES (1, 'ä''"\\\\', x'00ff27'), (2, 'x', NULL), (3, repeat('y', 20000), '');`,
    { database: 'source' },
  );
  // mydumper cannot bring back those of MySQL.
  if (server.engine === 'mariadb') await server.sql('CREATE PROCEDURE p() SELECT 1', { database: 'source' });
  const look = (schema: string) => `SELECT id, hex(word), hex(raw) FROM t ORDER BY id; SELECT n FROM v;
    SELECT routine_name FROM information_schema.routines WHERE routine_schema = '${schema}';
    SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = '${schema}'`;
  return {
    env: { DB_URI: server.uri('source'), ENGINE: server.engine, PATH: server.path },
    target: (name) => ['--database', name],
    content: (name = 'source') => server.sql(look(name), { database: name }),
    [Symbol.asyncDispose]: server.stop,
  };
}

async function startMongo(): Promise<Fixture> {
  const server = await startMongoJava();
  await fillDatabase(server.client.db('source'));
  return {
    env: {
      DB_URI: server.uri({ database: 'source' }),
      PATH: [dirname(requireTool('mongodump')), process.env.PATH].join(delimiter),
    },
    target: (name) => ['--database', name],
    content: (name = 'source') => describeDatabase(server.client.db(name)),
    [Symbol.asyncDispose]: server.stop,
  };
}

/** Of a server there is but one place to restore to: another server, emptied each time. */
async function startKeys(): Promise<Fixture> {
  const [source, other] = await Promise.all([startRedis({ password: 'secret' }), startRedis({ password: 'secret' })]);
  const script = `for i = 1, 2000 do redis.call('SET', 'k' .. i, string.rep(i, 50)) end
    redis.call('SET', 'brief', 1, 'EX', 100000) redis.call('XADD', 's', '1-1', 'a', 'b') redis.call('ZADD', 'z', 1.5, 'm')`;
  source.run('EVAL', script, '0');
  return {
    env: { DB_URI: source.uri() },
    target: () => ['--to', other.uri(), '--replace', '--yes', `127.0.0.1:${other.port}`],
    content: async (name) => contentOf(name === undefined ? source : other),
    [Symbol.asyncDispose]: async () => void (await Promise.all([source.stop(), other.stop()])),
  };
}

async function makeFile(scratch: Scratch): Promise<Fixture> {
  const at = (name: string) => join(scratch.path, `${name}.db`);
  const run = (path: string, ...args: string[]) => execFileSync(requireTool('sqlite3'), [path, ...args]).toString();
  run(
    at('source'),
    `PRAGMA journal_mode=WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, word); CREATE VIEW v AS SELECT count(*) FROM t;
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT i, hex(i) || x'00ff' FROM n`,
  );
  return {
    env: { DB_URI: `sqlite://${at('source')}` },
    target: (name) => ['--database', at(name)],
    content: async (name = 'source') => run(at(name), '.dump'),
    [Symbol.asyncDispose]: async () => {},
  };
}

/** Tests that need an engine's fixture, and further programs. Debian's programs of MySQL's names are MariaDB's. */
export function describeEngine(name: EngineName, tools: readonly string[], title: string, tests: () => void): void {
  if (name === 'mysql' && findMysql() === undefined) {
    console.warn(`SKIPPED "${title}": MySQL's own programs are missing (sh .ci/prepare test says how to get them)`);
    describe.skip(title, tests);
  } else describeWith([...FIXTURE_TOOLS[name], ...tools], title, tests);
}
