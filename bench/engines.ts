import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { startMongoJava } from '../test/support/mongo.ts';
import { startMariadb } from '../test/support/mysql.ts';
import { startRedis } from '../test/support/redis.ts';
import { scratchFolder } from '../test/support/scratch.ts';
import { findTool, requireTool } from '../test/support/tools.ts';
import { BACKUP, type Contestant, DBSTASH } from './contestants.ts';
import { toolFolders } from './options.ts';

/** One engine: its own tool into rclone, and dbstash. */
interface Match {
  readonly title: string;
  readonly names: readonly Contestant[];
  readonly base: string;
}

const ROWS = 200_000;

/** Each engine but PostgreSQL, at a size that suits it; its server runs while the caller measures. One whose tools are missing is left out. */
export async function* eachEngine(say: (text: string) => void): AsyncGenerator<Match> {
  for (const [tools, open] of ENGINES) {
    const missing = tools.filter((tool) => findTool(tool) === undefined);
    if (missing.length > 0) say(`left out, since ${missing.join(', ')} is missing`);
    else yield* open();
  }
}

const ENGINES: readonly (readonly [tools: readonly string[], open: () => AsyncGenerator<Match>])[] = [
  [['mariadbd', 'mariadb-dump'], openMariadb],
  [['redis-server', 'redis-cli'], openRedis],
  [['mongodump', 'java'], openMongo],
  [['sqlite3'], openSqlite],
];

const match = (engine: string, tool: string, script: string, env: Readonly<Record<string, string>>): Match => {
  const base = `${tool} \\| rclone rcat`;
  const names = [
    { name: base, script: `${script} | rclone rcat "$REMOTE/pipe"`, env },
    { name: DBSTASH, script: BACKUP, env },
    { name: `${tool} >/dev/null`, script: `${script} >/dev/null`, env },
  ];
  return { title: `${engine} to local disk`, names, base };
};

async function* openMariadb(): AsyncGenerator<Match> {
  await using server = await startMariadb();
  await server.createDatabase('bench');
  await server.sql(
    `CREATE TABLE t (id int PRIMARY KEY, word text); INSERT INTO t SELECT seq, repeat(md5(seq), 40) FROM seq_1_to_${ROWS}`,
    { database: 'bench' },
  );
  const login = `--host=127.0.0.1 --port=${server.port} --user=${server.user} --protocol=tcp`;
  const script = `mariadb-dump ${login} --single-transaction --quick --routines --events --triggers --hex-blob bench`;
  yield match('MariaDB', 'mariadb-dump', script, {
    ENGINE: 'mariadb',
    DB_URI: server.uri('bench'),
    MYSQL_PWD: server.password,
  });
}

async function* openRedis(): AsyncGenerator<Match> {
  await using server = await startRedis();
  server.run('EVAL', `for i = 1, ${ROWS} do redis.call('SET', i, string.rep(redis.sha1hex(i), 32)) end`, '0');
  // Compressible as they are, the values would be measured by the server that compresses them.
  server.run('CONFIG', 'SET', 'rdbcompression', 'no');
  yield match('Redis', 'redis-cli --rdb -', `redis-cli -p ${server.port} --rdb -`, { DB_URI: server.uri() });
}

async function* openMongo(): AsyncGenerator<Match> {
  await using server = await startMongoJava();
  const documents = ROWS / 4; // in a heap of 256 MB
  const collection = server.client.db('bench').collection('t');
  for (let at = 0; at < documents; at += 10_000) {
    await collection.insertMany(Array.from({ length: 10_000 }, (_, i) => ({ i: at + i, word: 'x'.repeat(500) })));
  }
  const uri = server.uri({ database: 'bench' });
  const path = [dirname(requireTool('mongodump')), ...toolFolders()].join(':');
  const script = `mongodump --quiet --archive --uri='${uri}'`;
  yield match('MongoDB (mongo-java-server)', 'mongodump --archive', script, { DB_URI: uri, PATH: path });
}

async function* openSqlite(): AsyncGenerator<Match> {
  await using scratch = scratchFolder();
  const path = join(scratch.path, 'bench.db');
  const fill = `PRAGMA journal_mode=WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, word);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS}) INSERT INTO t SELECT i, hex(randomblob(500)) FROM n`;
  execFileSync(requireTool('sqlite3'), [path, fill]);
  yield match('SQLite', 'sqlite3 .dump', `sqlite3 -readonly '${path}' .dump`, { DB_URI: `sqlite://${path}` });
}
