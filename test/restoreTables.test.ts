import { spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { matchTables } from '../src/jobs/tables.ts';
import { backupEnv } from './support/backups.ts';
import { type DbstashRun, runDbstash } from './support/dbstash.ts';
import { type MongoTestServer, startMongoJava } from './support/mongo.ts';
import { findMysql, type MysqlServer, startMariadb, startMysql } from './support/mysql.ts';
import { describeWith } from './support/need.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { startRedis } from './support/redis.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { flipByte, makeBackup, rcloneThatReads } from './support/restores.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { createSqlite } from './support/seeds.ts';
import { findTool } from './support/tools.ts';

type Env = Record<string, string>;

/** Under load the tools take their time. */
const LONG_MS = 180_000;

async function restore(env: Env, exitCode: number, ...args: string[]): Promise<DbstashRun> {
  const run = await runDbstash(['restore', ...args], env, { timeoutMs: LONG_MS });
  expect(run.exitCode, run.stdout + run.stderr).toBe(exitCode);
  return run;
}

const SCHEMA = `
CREATE SCHEMA sales;
CREATE TYPE sales.status AS ENUM ('new', 'paid');
CREATE FUNCTION public.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := NEW.note || '!'; RETURN NEW; END $$;
CREATE SEQUENCE shared START 500;
CREATE TABLE customers (id int PRIMARY KEY, name text);
CREATE TABLE orders (id serial PRIMARY KEY, customer int REFERENCES customers, status sales.status DEFAULT 'new',
  number int DEFAULT nextval('shared'), note text CHECK (note <> ''), parent int REFERENCES orders);
CREATE INDEX orders_note ON orders (lower(note));
CREATE STATISTICS orders_stat ON customer, note FROM orders;
COMMENT ON COLUMN orders.note IS 'what was said';
CREATE TRIGGER stamp BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION public.stamp();
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON orders USING (true);
GRANT SELECT ON orders TO PUBLIC;
CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "order" int REFERENCES orders, what text);
CREATE TABLE sales.items (a int);
CREATE TABLE "odd. name" (a int PRIMARY KEY);
CREATE VIEW open_orders AS SELECT * FROM orders WHERE status = 'new';
CREATE TABLE log (at date, word text) PARTITION BY RANGE (at);
CREATE INDEX log_word ON log (word);
CREATE TABLE log_2025 PARTITION OF log FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE log_2026 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO customers SELECT i, 'customer ' || i FROM generate_series(1, 50) i;
INSERT INTO orders (customer, note, parent) SELECT i, 'note ' || i, 1 FROM generate_series(1, 50) i;
INSERT INTO items ("order", what) SELECT i % 50 + 1, repeat(md5(i::text), 4) FROM generate_series(1, 20000) i;
INSERT INTO sales.items VALUES (7);
INSERT INTO "odd. name" VALUES (8);
INSERT INTO log SELECT '2025-06-01'::date + i, 'word' FROM generate_series(1, 400) i;
`;

/** All that a table is but for its foreign keys, as the server tells it. */
const describeTable = (name: string) => `
SELECT 'column', attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)
  FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = '${name}'::regclass AND attnum > 0 ORDER BY attnum;
SELECT 'index', pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '${name}'::regclass ORDER BY 2;
SELECT 'check', conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '${name}'::regclass AND contype <> 'f' ORDER BY 2;
SELECT 'trigger', pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = '${name}'::regclass AND NOT tgisinternal ORDER BY 2;
SELECT 'statistics', pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxrelid = '${name}'::regclass;
SELECT 'policy', polname FROM pg_policy WHERE polrelid = '${name}'::regclass;
SELECT 'rights', relacl, relrowsecurity, pg_get_userbyid(relowner) FROM pg_class WHERE oid = '${name}'::regclass;
SELECT 'rows', count(*), sum(hashtext(t::text)) FROM ${name} t;
`;
const ORDERS = `${describeTable('public.orders')} SELECT 'owned', last_value, is_called FROM orders_id_seq; SELECT pg_get_serial_sequence('orders', 'id');`;
const NAMES = `SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'v') AND nspname IN ('public', 'sales') ORDER BY 1`;

const TOOLS = ['initdb', 'postgres', 'psql', 'pg_dump', 'pg_restore', 'rclone', 'tar', 'zstd', 'od', 'find'];

describeWith(TOOLS, 'one table of PostgreSQL', () => {
  let server: PostgresServer;
  let scratch: Scratch;
  let remote: TestRemote;
  let env: Env;
  let count = 0;

  beforeAll(async () => {
    scratch = scratchFolder();
    [server, remote] = await Promise.all([startPostgres(), startRemote('local')]);
    await server.createDatabase('shop');
    await server.sql(SCHEMA, { database: 'shop' });
    env = backupEnv(server.uri('shop'), remote, scratch, { BACKUP_COMPRESS: 'true' });
    await makeBackup(env);
  }, LONG_MS);

  afterAll(async () => {
    await server?.stop();
    await remote?.stop();
    await scratch?.[Symbol.asyncDispose]();
  });

  const ask = (database: string, statements: string) => server.sql(statements, { database });
  const nextName = () => `scratch${++count}`;
  const makeDatabase = async (statements: string): Promise<string> => {
    const name = nextName();
    await server.createDatabase(name);
    await ask(name, statements);
    return name;
  };

  const KINDS: readonly Env[] = [
    { BACKUP_COMPRESS: 'true' },
    { BACKUP_COMPRESS: 'true', BACKUP_MODE: 'file' },
    { BACKUP_MODE: 'directory', BACKUP_JOBS: '2' },
    { BACKUP_MODE: 'tar', BACKUP_COMPRESS: 'zstd' },
    { BACKUP_COMPRESS: 'zstd', DUMP_EXTRA_ARGS: '--format=custom --compress=0' },
  ];
  it.each(KINDS)(
    'comes into a new database with all that belongs to it, and nothing else, of a backup made with %j',
    async (kind) => {
      await using own = await startRemote('local');
      const all = backupEnv(server.uri('shop'), own, scratch, kind);
      await makeBackup(all);
      const name = nextName();
      const { stdout, stderr } = await restore(all, 0, 'latest', '--table', 'orders', '--database', name);
      expect(stdout).toMatch(new RegExp(`^restored orders of shop-.* into ${name} in `));
      expect(await ask(name, ORDERS)).toEqual(await ask('shop', ORDERS));
      expect(await ask(name, NAMES)).toEqual(['orders']);
      expect(await ask(name, "SELECT conname FROM pg_constraint WHERE contype = 'f'")).toEqual(['orders_parent_fkey']);
      expect(stderr).toMatch(/public\.orders orders_customer_fkey is not restored: the target lacks public\.customers/);
      await ask(name, "INSERT INTO orders (note) VALUES ('more')");
    },
    LONG_MS,
  );

  it(
    'comes beside other tables, with foreign keys to those that are there, and takes what the target has of types and functions',
    async () => {
      const name = nextName();
      await restore(env, 0, '--table', 'customers', '--database', name);
      await ask(name, 'CREATE TABLE precious AS SELECT 1 AS a');
      const { stderr } = await restore(env, 0, '--table', 'orders', '--database', name);
      expect(stderr).not.toMatch(/is not restored/);
      expect(await ask(name, "SELECT count(*) FROM pg_constraint WHERE contype = 'f'")).toEqual(['2']);
      await restore(env, 0, '--table', 'public.items', '--table', 'sales.items', '--database', name);
      expect(await ask(name, NAMES)).toEqual(['customers', 'items', 'items', 'orders', 'precious']);
      // Types, functions and schemas are there by now.
      await ask(name, 'DROP TABLE orders CASCADE');
      await restore(env, 0, '--table', 'orders', '--database', name);
      expect(await ask(name, ORDERS)).toEqual(await ask('shop', ORDERS));
    },
    LONG_MS,
  );

  it(
    'is refused where one of that name is, and replaced alone, in one transaction, where it may be',
    async () => {
      const name = await makeDatabase('CREATE TABLE orders (mine int); CREATE TABLE precious AS SELECT 1 AS a');
      const refused = await restore(env, 2, '--table', 'orders', '--database', name);
      expect(refused.stderr).toMatch(/holds the table public\.orders: restore into another database .* --replace/);
      const unconfirmed = await restore(env, 2, '--table', 'orders', '--database', name, '--replace', '--yes', name);
      expect(unconfirmed.stderr).toMatch(/confirm it with --yes orders/);
      expect(await ask(name, 'SELECT count(*) FROM orders')).toEqual(['0']);
      await restore(env, 0, '--table', 'orders', '--database', name, '--replace', '--yes', 'orders');
      expect(await ask(name, ORDERS)).toEqual(await ask('shop', ORDERS));
      expect(await ask(name, 'SELECT a FROM precious')).toEqual(['1']);
    },
    LONG_MS,
  );

  it(
    'is not replaced where something else depends on it, which is named',
    async () => {
      const name = await makeDatabase(
        'CREATE TABLE orders (id int PRIMARY KEY); CREATE VIEW seen AS SELECT * FROM orders; CREATE TABLE parts (o int REFERENCES orders)',
      );
      const { stderr } = await restore(env, 2, '--table', 'orders', '--database', name, '--replace', '--yes', 'orders');
      expect(stderr).toMatch(/constraint parts_o_fkey on table public\.parts/);
      expect(stderr).toMatch(/view public\.seen/);
      expect(await ask(name, 'SELECT count(*) FROM seen')).toEqual(['0']);
    },
    LONG_MS,
  );

  it(
    'F18: leaves a table that was to be replaced as it was, where the load fails',
    async () => {
      const name = await makeDatabase(
        'CREATE TABLE orders AS SELECT 5 AS mine; CREATE TABLE customers (id int PRIMARY KEY); CREATE TYPE other AS (a int)',
      );
      const { stderr } = await restore(env, 1, '--table', 'orders', '--database', name, '--replace', '--yes', 'orders');
      expect(stderr).toMatch(/violates foreign key constraint/);
      expect(stderr).toMatch(new RegExp(`${name} is as it was`));
      expect(await ask(name, 'SELECT mine FROM orders')).toEqual(['5']);
    },
    LONG_MS,
  );

  it(
    'comes with its partitions, and a partition by itself',
    async () => {
      const whole = nextName();
      await restore(env, 0, '--table', 'log', '--database', whole);
      const counts = 'SELECT tableoid::regclass::text, count(*) FROM log GROUP BY 1 ORDER BY 1';
      expect(await ask(whole, counts)).toEqual(await ask('shop', counts));
      expect(await ask(whole, describeTable('public.log'))).toEqual(await ask('shop', describeTable('public.log')));
      const part = nextName();
      const { stderr } = await restore(env, 0, '--table', 'log_2025', '--database', part);
      expect(stderr).toMatch(/becomes a table of its own: the target lacks public\.log,/);
      const own = 'SELECT count(*) FROM log_2025';
      expect(await ask(part, own)).toEqual(await ask('shop', own));
      // Back into its place.
      await ask(whole, 'DROP TABLE log_2025');
      await restore(env, 0, '--table', 'log_2025', '--database', whole);
      expect(await ask(whole, counts)).toEqual(await ask('shop', counts));
    },
    LONG_MS,
  );

  it(
    'is said to be in no publication any more, where it was replaced',
    async () => {
      const name = nextName();
      await restore(env, 0, '--table', 'log,customers', '--database', name);
      const made =
        'CREATE PUBLICATION "the feed" FOR TABLE customers, log_2026; CREATE PUBLICATION other FOR ALL TABLES';
      await ask(name, made);
      const args = ['--table', 'log,customers', '--database', name, '--replace', '--yes', 'log,customers'];
      const { stderr } = await restore(env, 0, ...args);
      expect(stderr).toMatch(/the publication the feed loses public\.customers, and what subscribes to it/);
      expect(stderr).toMatch(/the publication the feed loses public\.log_2026,/);
      expect(await ask(name, "SELECT tablename FROM pg_publication_tables WHERE pubname = 'the feed'")).toEqual([]);
    },
    LONG_MS,
  );

  it(
    'may have a name with a dot and a blank, or the one of another in another schema',
    async () => {
      const name = nextName();
      await restore(env, 0, '--table', 'odd. name,sales.items', '--database', name);
      expect(await ask(name, 'SELECT a FROM "odd. name" UNION SELECT a FROM sales.items ORDER BY 1')).toEqual([
        '7',
        '8',
      ]);
      const { stderr } = await restore(env, 2, '--table', 'items', '--database', nextName());
      expect(stderr).toMatch(/holds public\.items, sales\.items: say which/);
    },
    LONG_MS,
  );

  it(
    'that is not in the backup, or cannot be made alone, is told before anything is touched',
    async () => {
      const name = nextName();
      const typo = await restore(env, 2, '--table', 'ordrs', '--database', name);
      expect(typo.stderr).toMatch(/shop-.* holds no table ordrs: near that are public\.orders/);
      const view = await restore(env, 2, '--table', 'open_orders', '--database', name);
      expect(view.stderr).toMatch(
        /cannot be made without public\.orders, which the target lacks: name that with --table too/,
      );
      expect((await ask('postgres', `SELECT 1 FROM pg_database WHERE datname = '${name}'`)).length).toBe(0);
      await restore(env, 0, '--table', 'open_orders', '--table', 'orders', '--database', name);
      expect(await ask(name, 'SELECT count(*) FROM open_orders')).toEqual(['50']);
    },
    LONG_MS,
  );

  it(
    'can be looked at before: nothing is done, and it is said what would be',
    async () => {
      const name = await makeDatabase('CREATE TABLE orders (mine int)');
      const args = ['--table', 'orders', '--database', name, '--dry-run'];
      const { stdout } = await restore(env, 0, ...args, '--replace');
      expect(stdout).toMatch(/of it only +public\.orders/);
      expect(stdout).toMatch(/would lose +the table public\.orders/);
      await restore(env, 2, ...args);
      expect(await ask(name, 'SELECT count(*) FROM orders')).toEqual(['0']);
      const fresh = await restore(env, 0, '--table', 'orders', '--database', nextName(), '--dry-run');
      expect(fresh.stdout).toMatch(/which would be created/);
    },
    LONG_MS,
  );

  it(
    'F15: of a damaged backup touches nothing, and comes from another remote that has it whole',
    async () => {
      await using bad = await startRemote('local');
      await using good = await startRemote('local');
      const all = backupEnv(server.uri('shop'), bad, scratch, {
        BACKUP_COMPRESS: 'true',
        RCLONE_REMOTE_2: good.remote,
      });
      const { artifact } = await makeBackup(all);
      await flipByte(bad, artifact);
      const { RCLONE_REMOTE_2: _, ...single } = all;
      const name = nextName();
      const failed = await restore(single, 4, artifact, '--table', 'orders', '--database', name);
      expect(failed.stderr).toMatch(/is damaged/);
      expect((await ask('postgres', `SELECT 1 FROM pg_database WHERE datname = '${name}'`)).length).toBe(0);
      await restore(all, 0, artifact, '--table', 'orders', '--database', name);
      expect(await ask(name, ORDERS)).toEqual(await ask('shop', ORDERS));
      // The list of what it holds is what cannot be read.
      const body = await bad.read(artifact);
      body.fill(0, 0, 100);
      await bad.write(artifact, body);
      await restore(single, 4, artifact, '--table', 'orders', '--database', nextName());
      await restore(all, 0, artifact, '--table', 'orders', '--database', nextName());
      await restore(
        { ...single, ...rcloneThatReads(scratch, 'exit 7') },
        3,
        artifact,
        '--table',
        'orders',
        '--database',
        nextName(),
      );
    },
    LONG_MS,
  );

  it(
    'of a plain dump is refused with the two commands that do it, and with --run too',
    async () => {
      await using own = await startRemote('local');
      const all = backupEnv(server.uri('shop'), own, scratch);
      const { artifact } = await makeBackup(all);
      const { stderr } = await restore(all, 2, '--table', 'orders', '--database', 'shop');
      expect(stderr).toContain(`dbstash restore ${artifact} --database shop_copy`);
      expect(stderr).toContain(', which must not be there any more');
      await ask('shop', 'CREATE TABLE plain AS SELECT 1 AS a');
      const plain = (await makeBackup(all)).artifact;
      const way = (await restore(all, 2, plain, '--table', 'plain', '--database', 'shop')).stderr;
      await restore(all, 0, plain, '--database', 'shop_copy');
      const steps = /\((pg_dump [^)]*)\)/.exec(way)?.[1] ?? '';
      const { hostname: PGHOST, port: PGPORT, username: PGUSER, password } = new URL(server.uri('shop'));
      const login = { PGHOST, PGPORT, PGUSER, PGPASSWORD: decodeURIComponent(password) };
      const copyTable = () =>
        spawnSync('sh', ['-c', steps], { cwd: scratch.path, env: { ...process.env, ...login }, encoding: 'utf8' });
      expect(copyTable()).toMatchObject({ status: 3, stderr: expect.stringContaining('already exists') });
      expect(await ask('shop', 'SELECT a FROM plain')).toEqual(['1']);
      await ask('shop', 'DROP TABLE plain');
      expect(copyTable()).toMatchObject({ status: 0 });
      expect(await ask('shop', 'SELECT a FROM plain')).toEqual(['1']);
      await ask('shop', 'DROP TABLE plain');
      const run = await restore(env, 2, '--run', '20260101T000000Z-aaaaaa', '--table', 'orders');
      expect(run.stderr).toMatch(/--run ID restores whole databases/);
      expect((await restore(env, 2, '--table', 'a,,b')).stderr).toMatch(/holds an empty name/);
    },
    LONG_MS,
  );
});

describeWith(['mariadbd', 'mariadb', 'mydumper', 'myloader', 'rclone', 'find', 'tar'], 'one table of MariaDB', () => {
  let server: MysqlServer;
  let scratch: Scratch;

  beforeAll(async () => {
    scratch = scratchFolder();
    server = await startMariadb();
    await server.sql('CREATE DATABASE shop');
    await server.sql(
      `CREATE TABLE customers (id int PRIMARY KEY); CREATE TABLE orders (id int PRIMARY KEY, c int, word text, FOREIGN KEY (c) REFERENCES customers (id));
       CREATE TABLE orders2 (id int); CREATE VIEW v AS SELECT * FROM orders;
       INSERT INTO customers VALUES (1), (2); INSERT INTO orders VALUES (1, 1, 'a'), (2, 2, 'b'); INSERT INTO orders2 VALUES (9);
       CREATE TRIGGER up BEFORE INSERT ON orders FOR EACH ROW SET NEW.word = upper(NEW.word);
       CREATE PROCEDURE p() SELECT 1;`,
      { database: 'shop' },
    );
  }, LONG_MS);

  afterAll(async () => {
    await server?.stop();
    await scratch?.[Symbol.asyncDispose]();
  });

  const names = async (database: string) =>
    (
      await server.sql(`SELECT table_name FROM information_schema.tables WHERE table_schema = '${database}' ORDER BY 1`)
    ).flat();

  it(
    'comes without another one whose name goes on with a dot and a number',
    async () => {
      await server.sql('CREATE DATABASE dots');
      await server.sql(
        'CREATE TABLE orders (id int); CREATE TABLE `orders.1` (id int); INSERT INTO orders VALUES (1); INSERT INTO `orders.1` VALUES (2), (3)',
        { database: 'dots' },
      );
      await using remote = await startRemote('local');
      const env = backupEnv(server.uri('dots'), remote, scratch, { PATH: server.path, BACKUP_MODE: 'directory' });
      await makeBackup(env);
      await restore(env, 0, '--table', 'orders', '--database', 'one');
      expect(await names('one')).toEqual(['orders']);
      await restore(env, 0, '--table', 'orders,orders.1', '--database', 'both');
      expect(await names('both')).toEqual(['orders', 'orders.1']);
      expect(
        await server.sql('SELECT id FROM orders UNION SELECT id FROM `orders.1` ORDER BY 1', { database: 'both' }),
      ).toEqual(await server.sql('SELECT 1 UNION SELECT 2 UNION SELECT 3'));
      await server.sql('CREATE TABLE `orders.00001` (id int)', { database: 'dots' });
      const { artifact } = await makeBackup(env);
      const { stderr } = await restore(env, 2, artifact, '--table', 'orders', '--database', 'none');
      expect(stderr).toContain('the table orders.00001 as a part of those of orders');
    },
    LONG_MS,
  );

  it.each(['directory', 'tar'])(
    'comes out of a %s of mydumper with its triggers, beside others',
    async (mode) => {
      await using remote = await startRemote('local');
      const env = backupEnv(server.uri('shop'), remote, scratch, { PATH: server.path, BACKUP_MODE: mode });
      await makeBackup(env);
      const copy = `copy_${mode}`;
      await restore(env, 0, '--table', 'orders', '--database', copy);
      expect(await names(copy)).toEqual(['orders']);
      expect(await server.sql('SELECT * FROM orders', { database: copy })).toEqual(
        await server.sql('SELECT * FROM orders', { database: 'shop' }),
      );
      const triggers = `SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = '${copy}'`;
      expect((await server.sql(triggers)).flat()).toEqual(['up']);
      await restore(env, 0, '--table', 'customers', '--database', copy);
      await server.sql('CREATE TABLE CUSTOMERS (other int)', { database: copy });
      const refused = await restore(env, 2, '--table', 'orders', '--database', copy);
      expect(refused.stderr).toMatch(/holds the table orders: .* remove just that first with --replace/);
      await server.sql("INSERT INTO orders VALUES (3, 1, 'c')", { database: copy });
      await restore(env, 0, '--table', 'orders', '--database', copy, '--replace', '--yes', 'orders');
      expect(await server.sql('SELECT count(*) FROM orders', { database: copy })).toEqual(
        await server.sql('SELECT 2', { database: copy }),
      );
      const kept = await restore(env, 2, '--table', 'customers', '--database', copy, '--replace', '--yes', 'customers');
      expect(kept.stderr).toMatch(
        /holds the table customers, which cannot be replaced, since foreign keys of orders depend on it/,
      );
      const typo = await restore(env, 2, '--table', 'v', '--database', copy);
      expect(typo.stderr).toMatch(/holds no table v: it holds shop\./);
      expect((await names(copy)).sort()).toEqual(['CUSTOMERS', 'customers', 'orders']);
    },
    LONG_MS,
  );
});

/** MySQL with the list of transactions on, which a dump of its own would want to set. */
const GTIDS = ['gtid-mode=ON', 'enforce-gtid-consistency=ON', 'server-id=1', 'log-bin'];

const FLAVORS = [
  { engine: 'mariadb', tool: 'mariadb-dump', start: () => startMariadb(), isThere: true },
  {
    engine: 'mysql',
    tool: 'mysqldump',
    start: () => startMysql({ settings: GTIDS }),
    isThere: findMysql() !== undefined,
  },
] as const;

for (const { engine, tool, start, isThere } of FLAVORS) {
  const tools = isThere ? ['mariadbd', 'mariadb', 'mariadb-dump'] : ['mysqld-of-mysql'];
  describeWith([...tools, 'rclone'], `one table of a script of ${engine}`, () => {
    it(
      'is refused with the commands that do it, which keep foreign keys and triggers within the database',
      async () => {
        await using scratch = scratchFolder();
        await using server: MysqlServer = await start();
        await using remote = await startRemote('local');
        await server.createDatabase('shop');
        const inShop = (statements: string) => server.sql(statements, { database: 'shop' });
        await inShop(
          `CREATE TABLE customers (id int PRIMARY KEY, name varchar(9) CHARACTER SET utf8mb4);
           CREATE TABLE \`it's\` (id int PRIMARY KEY, c int, twice int AS (id * 2) STORED, FOREIGN KEY (c) REFERENCES customers (id));
           CREATE TRIGGER up BEFORE INSERT ON customers FOR EACH ROW SET NEW.name = upper(NEW.name);
           CREATE TRIGGER one BEFORE INSERT ON \`it's\` FOR EACH ROW SET NEW.c = coalesce(NEW.c, 1);
           INSERT INTO customers VALUES (1, '😀'); INSERT INTO \`it's\` (id) VALUES (1)`,
        );
        if (engine === 'mariadb')
          await inShop(
            'CREATE TABLE log (a int) WITH SYSTEM VERSIONING; INSERT INTO log VALUES (1); UPDATE log SET a = 2',
          );
        const env = backupEnv(server.uri('shop'), remote, scratch, { PATH: server.path, ENGINE: engine });
        const { artifact } = await makeBackup(env);
        const login = `[client]\nuser=${server.user}\npassword=${server.password}\nhost=127.0.0.1\nport=${server.port}\nprotocol=tcp\n`;
        writeFileSync(join(scratch.path, '.my.cnf'), login, { mode: 0o600 });
        const copyTable = async (table: string) => {
          const { stderr } = await restore(env, 2, artifact, '--table', table);
          expect(stderr).toContain(
            `(dbstash restore ${artifact} --database shop_copy), then put the table over the one in shop`,
          );
          const steps = /\((\w+ -e .* < table\.sql)\), and drop the database shop_copy;/.exec(stderr)?.[1] ?? '';
          expect(steps).toContain(` && ${tool} `);
          const options = {
            cwd: scratch.path,
            env: { HOME: scratch.path, PATH: server.path },
            encoding: 'utf8',
          } as const;
          return spawnSync('sh', ['-c', steps], options);
        };
        expect((await copyTable("it's")).status, 'there is no copy yet').toBe(2);
        expect(await inShop("SELECT id FROM `it's`")).toEqual(['1']);
        await restore(env, 0, artifact, '--database', 'shop_copy');
        await inShop("DELETE FROM `it's`; UPDATE customers SET name = 'x'; INSERT INTO customers VALUES (2, 'new')");
        expect(await copyTable("it's")).toMatchObject({ status: 0 });
        await inShop("INSERT INTO `it's` (id, c) VALUES (2, 2)");
        expect(await inShop("SELECT * FROM `it's` ORDER BY id")).toEqual(['1\t1\t2', '2\t2\t4']);
        expect(await copyTable('customers')).toMatchObject({ status: 0 });
        expect(await inShop('SELECT * FROM customers')).toEqual(['1\t😀']);
        if (engine === 'mariadb') {
          expect(await copyTable('log')).toMatchObject({ status: 0 });
          expect(await inShop('SELECT a FROM log FOR SYSTEM_TIME ALL ORDER BY a')).toEqual(['1', '2']);
        }
        await server.sql('DROP DATABASE shop_copy');
        await inShop("INSERT INTO customers VALUES (3, 'c'); INSERT INTO `it's` (id, c) VALUES (3, 3), (4, NULL)");
        expect(
          await inShop("SELECT c, name FROM `it's` t JOIN customers ON c = customers.id WHERE t.id > 2 ORDER BY c"),
        ).toEqual(['1\t😀', '3\tC']);
        await expect(inShop("INSERT INTO `it's` (id, c) VALUES (5, 5)")).rejects.toThrow(/ERROR 1452/);
        await expect(inShop('DELETE FROM customers WHERE id = 3')).rejects.toThrow(/ERROR 1451/);
      },
      LONG_MS,
    );
  });
}

describeWith(
  ['mongodump', 'mongorestore', 'java', 'mongo-java-server', 'rclone', 'od', 'find'],
  'one collection of MongoDB',
  () => {
    let server: MongoTestServer;
    let scratch: Scratch;

    beforeAll(async () => {
      scratch = scratchFolder();
      server = await startMongoJava();
      for (const [database, collection, count] of SEEDS)
        await server.client
          .db(database)
          .collection(collection)
          .insertMany(Array.from({ length: count }, (_, a) => ({ _id: a as never, a })));
      await server.client.db('shop').collection('orders').createIndex({ a: -1 }, { name: 'by a' });
    }, LONG_MS);

    afterAll(async () => {
      await server?.stop();
      await scratch?.[Symbol.asyncDispose]();
    });

    const SEEDS = [
      ['shop', 'orders', 300],
      ['shop', 'orders.old', 3],
      ['shop', 'odd *na/me', 4],
      ['other', 'orders', 5],
    ] as const;

    const envOf = (uri: string, remote: TestRemote, more: Env = {}): Env =>
      backupEnv(uri, remote, scratch, {
        PATH: `${process.env.PATH}:${dirname(findTool('mongodump') ?? '/')}`,
        ...more,
      });
    const counts = async (database: string) => {
      const names = (await server.client.db(database).listCollections().toArray()).map(({ name }) => name).sort();
      const sizes = names.map((name) => server.client.db(database).collection(name).countDocuments());
      return Object.fromEntries((await Promise.all(sizes)).map((size, index) => [names[index], size]));
    };

    const KINDS: readonly Env[] = [
      {},
      { BACKUP_COMPRESS: 'true' },
      { BACKUP_COMPRESS: 'zstd' },
      { BACKUP_MODE: 'directory' },
      { BACKUP_MODE: 'tar', BACKUP_COMPRESS: 'true' },
    ];
    it.each(KINDS)(
      'comes alone, with its indexes, out of a backup made with %j',
      async (kind) => {
        await using remote = await startRemote('local');
        const env = envOf(server.uri({ database: 'shop' }), remote, kind);
        await makeBackup(env);
        const copy = `copy${KINDS.indexOf(kind)}`;
        await restore(env, 0, '--table', 'orders', '--database', copy);
        expect(await counts(copy)).toEqual({ orders: 300 });
        const indexes = await server.client.db(copy).collection('orders').indexes();
        expect(indexes.map(({ name }) => name)).toEqual(['_id_', 'by a']);
        await restore(env, 0, '--table', 'odd *na/me', '--database', copy);
        expect(await counts(copy)).toEqual({ 'odd *na/me': 4, orders: 300 });
        const refused = await restore(env, 2, '--table', 'orders', '--database', copy);
        expect(refused.stderr).toMatch(/holds the collection copy\d\.orders: /);
        await server.client.db(copy).collection('orders').deleteMany({});
        await restore(env, 0, '--table', 'orders', '--database', copy, '--replace', '--yes', 'orders');
        expect(await counts(copy)).toEqual({ 'odd *na/me': 4, orders: 300 });
        const typo = await restore(env, 2, '--table', 'oders', '--database', copy);
        expect(typo.stderr).toMatch(/holds no table oders: near that are shop\.orders/);
      },
      LONG_MS,
    );

    it(
      'of a whole server is named with its database, and goes into that or another',
      async () => {
        await using remote = await startRemote('local');
        const env = envOf(server.uri(), remote);
        for (const index of KINDS.keys()) await server.client.db(`copy${index}`).dropDatabase();
        await makeBackup(env);
        const unclear = await restore(env, 2, '--table', 'orders', '--database', 'x');
        expect(unclear.stderr).toMatch(/holds other\.orders, shop\.orders: say which/);
        const { PATH = '' } = rcloneThatReads(scratch, 'exit 7');
        const broken = { ...env, PATH: `${PATH.split(':')[0]}:${env.PATH}` };
        expect((await restore(broken, 3, '--table', 'other.orders', '--database', 'x')).stderr).toMatch(
          /rclone exited with 7/,
        );
        await restore(env, 0, '--table', 'other.orders', '--database', 'x');
        expect(await counts('x')).toEqual({ orders: 5 });
        await server.client.db('shop').collection('orders').drop();
        await restore(env, 0, '--table', 'shop.orders');
        expect(await counts('shop')).toEqual({ 'odd *na/me': 4, orders: 300, 'orders.old': 3 });
        const both = await restore(env, 2, '--table', 'shop.orders,other.orders', '--database', 'y');
        expect(both.stderr).toMatch(/two collections called orders cannot go into one database/);
      },
      LONG_MS,
    );
  },
);

describe('where there is no single table', () => {
  it(
    'SQLite names the two commands that do it',
    async () => {
      await using scratch = scratchFolder();
      await using remote = await startRemote('local');
      const env = backupEnv(createSqlite(scratch), remote, scratch);
      await makeBackup(env);
      const { stderr } = await restore(env, 2, '--table', 't');
      expect(stderr).toMatch(
        /dbstash restore app-\S+ --database \S+app\.db\.copy\), then copy the table \(sqlite3 \S+app\.db\.copy '\.dump t' \|/,
      );
      expect(readdirSync(scratch.path).filter((name) => name.startsWith('app.db'))).toEqual(['app.db']);
    },
    LONG_MS,
  );

  it(
    'Redis says that there is none',
    async () => {
      await using scratch = scratchFolder();
      await using remote = await startRemote('local');
      await using server = await startRedis();
      const env = backupEnv(server.uri(), remote, scratch);
      await makeBackup(env);
      expect((await restore(env, 2, '--table', 'session:*')).stderr).toMatch(/there are no tables in Redis/);
    },
    LONG_MS,
  );
});

describe('a table that is meant', () => {
  const all = ['orders', 'Order', 'customers'].map((name) => ({ scope: 'public', name }));
  it.each([
    ['order', 'x holds no table order: near that are public.Order, public.orders'],
    ['warehouse', 'x holds no table warehouse: it holds public.orders, public.Order, public.customers'],
  ])('%s is told near what there is', (name, message) => {
    expect(() => matchTables('x', [name], all)).toThrow(message);
    expect(() => matchTables('x', [name], [])).toThrow('it holds none');
  });

  it('may be named twice', () => {
    expect(matchTables('x', ['orders', 'public.orders'], all)).toEqual([all[0]]);
  });
});
