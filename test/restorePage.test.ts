import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type ListedBackup, listBackups } from './support/backups.ts';
import { describeDatabase, type MongoTestServer, startMongoJava } from './support/mongo.ts';
import { findMysql, type MysqlServer, startMariadb, startMysql } from './support/mysql.ts';
import { describeWith } from './support/need.ts';
import { pageTools, readBlocks, readPage, runScript } from './support/page.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { contentOf, type RedisServer, startRedis } from './support/redis.ts';
import { makeBackup } from './support/restores.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { runSqlite } from './support/seeds.ts';
import { findTool } from './support/tools.ts';

type Env = Record<string, string>;

/** Under load the tools take their time. */
const LONG_MS = 300_000;

const page = readPage('docs/restore.md');
const blocks = readBlocks(page);

/** What is to be true when a block was run. */
interface Scene {
  readonly before?: () => unknown;
  readonly check: (said: string) => unknown;
}

/** Headings whose blocks were run. */
const told = new Set<string>();

/** The scenes of a part of the page, one for each block under each heading, in their order. */
async function runPart(parts: Record<string, readonly Scene[]>, run: (text: string) => Promise<string>): Promise<void> {
  expect(Object.keys(parts)).toEqual(
    [...new Set(blocks.map(({ heading }) => heading))].filter((name) => name in parts),
  );
  for (const [heading, scenes] of Object.entries(parts)) {
    const texts = blocks.filter((block) => block.heading === heading).map(({ text }) => text);
    expect(texts, heading).toHaveLength(scenes.length);
    for (const [index, { before, check }] of scenes.entries()) {
      await before?.();
      await check(await run(texts[index]!));
    }
    told.add(heading);
  }
}

const replaceAll = (text: string, names: Readonly<Record<string, string>>): string =>
  Object.entries(names).reduce((done, [shown, real]) => {
    expect(page, 'a placeholder that the page does not show').toContain(shown);
    return done.replaceAll(shown, () => real);
  }, text);

/** Where s3: is a local folder. */
const envOf = (scratch: Scratch, more: Env): Env => ({
  PATH: `${pageTools(scratch)}:${process.env.PATH}`,
  HOME: scratch.path,
  TMPDIR: scratch.path,
  RCLONE_CONFIG_S3_TYPE: 'alias',
  RCLONE_CONFIG_S3_REMOTE: join(scratch.path, 'storage'),
  BACKUP_TEMP_DIR: join(scratch.path, 'tmp'),
  ...more,
});

const makeFolder = (scratch: Scratch, name: string): void =>
  void mkdirSync(join(scratch.path, 'storage/backups', name), { recursive: true });

const TOOLS = ['rclone', 'bash', 'zstd', 'gzip', 'tar'];
const PG_TOOLS = ['age', 'age-keygen', 'postgres', 'initdb', 'psql', 'pg_dump', 'pg_restore', 'createdb'];

describeWith([...TOOLS, ...PG_TOOLS], 'docs/restore.md, PostgreSQL', () => {
  let scratch: Scratch;
  let server: PostgresServer;
  let other: PostgresServer;
  let third: PostgresServer;
  let env: Env;
  let names: Readonly<Record<string, string>>;
  let first: string[];
  let last: string[];

  const CONTENT = `SELECT count(*), sum(hashtext(t::text)) FROM customers t; SELECT count(*), sum(hashtext(t::text)) FROM sales.regions t;
    SELECT count(*), sum(hashtext(t::text)) FROM invoices t; SELECT count(*) FROM pg_indexes WHERE schemaname IN ('public', 'sales');
    SELECT tableowner FROM pg_tables WHERE tablename = 'customers'`;
  const INVOICES = `SELECT count(*), sum(hashtext(t::text)) FROM invoices t; SELECT indexdef FROM pg_indexes WHERE tablename = 'invoices' ORDER BY 1;
    SELECT last_value FROM invoices_id_seq`;
  const content = (database: string, at = server) => at.sql(CONTENT, { database });
  const inOrders = (statements: string) => server.sql(statements, { database: 'orders' });
  const holds =
    (...databases: string[]) =>
    async () => {
      for (const database of databases) expect(await content(database), database).toEqual(last);
    };

  const holdsAll = async () => {
    expect(await content('orders', other)).toEqual(last);
    const stock = "SELECT count(*), to_regclass('rubbish') FROM stock";
    expect(await other.sql(stock, { database: 'stock' })).toEqual(['9|']);
  };

  beforeAll(async () => {
    scratch = scratchFolder();
    [server, other, third] = await Promise.all([startPostgres(), startPostgres(), startPostgres()]);
    await server.sql('CREATE ROLE app');
    await server.createDatabase('orders');
    await server.createDatabase('stock');
    await server.sql('CREATE TABLE stock AS SELECT generate_series(1, 9) i', { database: 'stock' });
    await inOrders(
      `CREATE SCHEMA sales; CREATE TABLE sales.regions AS SELECT i FROM generate_series(1, 5) i;
       CREATE TABLE customers (id int PRIMARY KEY, name text); ALTER TABLE customers OWNER TO app;
       CREATE TABLE invoices (id serial PRIMARY KEY, customer int REFERENCES customers, note text); CREATE INDEX invoices_note ON invoices (note);
       INSERT INTO customers SELECT i, 'c' || i FROM generate_series(1, 100) i;
       INSERT INTO invoices (customer, note) SELECT i % 100 + 1, md5(i::text) FROM generate_series(1, 5000) i;`,
    );
    makeFolder(scratch, 'orders');
    makeFolder(scratch, 'all');
    const address = {
      PGHOST: server.host,
      PGPORT: String(server.port),
      PGUSER: server.user,
      PGPASSWORD: server.password,
    };
    env = envOf(scratch, { RCLONE_REMOTE: 's3:backups/orders', DB_URI: server.uri('orders'), ...address });
    await runScript('age-keygen -o identity.txt && age-keygen -y identity.txt > recipient.txt', env, scratch.path);
    const recipient = readFileSync(join(scratch.path, 'recipient.txt'), 'utf8').trim();
    const custom = { ...env, BACKUP_COMPRESS: 'true' };
    const early = await makeBackup(custom);
    const moment = new Date().toISOString();
    first = await content('orders');
    await inOrders(
      "UPDATE customers SET name = 'new' WHERE id < 50; INSERT INTO invoices (note) VALUES ('the last one')",
    );
    last = await content('orders');
    const script = await makeBackup({ ...env, BACKUP_COMPRESS: 'zstd' });
    const tar = await makeBackup({ ...env, BACKUP_MODE: 'tar' });
    const folder = await makeBackup({ ...env, BACKUP_MODE: 'directory' });
    const secret = await makeBackup({ ...env, BACKUP_COMPRESS: 'zstd', BACKUP_ENCRYPT_TO: recipient });
    const all = { ...env, RCLONE_REMOTE: 's3:backups/all', DB_NAME: '*' };
    await makeBackup(all);
    const ofRun: readonly (ListedBackup & { run?: string })[] = await listBackups(all);
    await makeBackup(custom);
    const uriOf = (at: PostgresServer) => at.uri('x').slice(0, -2);
    names = {
      'orders-2026-02-07-020000.dump': early.artifact,
      'orders-2026-02-08-020000.sql.zst': script.artifact,
      'orders-2026-02-09-020000.tar': tar.artifact,
      'orders-2026-02-11-020000.sql.zst.age': secret.artifact,
      'orders-2026-02-10-020000': folder.artifact,
      'all-2026-02-07-020000.sql': ofRun.find(({ artifact }) => artifact.startsWith('all-'))!.artifact,
      '20260207T020000Z-a1b2c3': ofRun[0]!.run!,
      '2026-02-07T12:00:00Z': moment,
      'postgres://admin:secret@other:5432': uriOf(other),
      'postgres://admin:secret@third:5432': uriOf(third),
    };
    const { PATH: _path, HOME: _home, TMPDIR: _tmp, ...variables } = env;
    const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}\n`);
    writeFileSync(join(scratch.path, 'backup.env'), lines.join(''));
  }, LONG_MS);

  afterAll(async () => {
    await Promise.all([server?.stop(), other?.stop(), third?.stop()]);
    await scratch?.[Symbol.asyncDispose]();
  });

  const run = (text: string) => runScript(replaceAll(text, names), env, scratch.path);

  it('every command with dbstash works, as it stands there, and brings back the same', {
    timeout: 3 * LONG_MS,
  }, async () => {
    const before = async () => (await other.sql('SELECT datname FROM pg_database ORDER BY 1')).join();
    let databases = '';
    await runPart(
      {
        Now: [
          {
            check: async (said) => {
              expect(said).toMatch(/would restore +orders-/);
              await holds('orders_copy')();
            },
          },
        ],
        Docker: [
          { check: holds('orders_exec') },
          {
            check: async () => {
              await holds('orders_run')();
              expect(await content('orders_there', other)).toEqual(last);
            },
          },
        ],
        Kubernetes: [{ check: holds('orders_kube') }, { check: holds('orders_job') }],
        'Which backup': [
          {
            check: async () => {
              for (const name of ['orders_before', 'orders_by_name']) expect(await content(name), name).toEqual(first);
            },
          },
          {
            before: async () => {
              databases = await before();
            },
            check: async (said) => {
              expect(said).toMatch(/restore/);
              expect(await before()).toBe(databases);
            },
          },
        ],
        'Where to': [
          { check: holds('orders_beside') },
          {
            before: () => inOrders('DELETE FROM invoices; CREATE TABLE rubbish (a int)'),
            check: async (said) => {
              expect(said).toMatch(/would lose/);
              await holds('orders')();
            },
          },
          { check: async () => expect(await content('orders_moved', other)).toEqual(last) },
        ],
        'One table': [
          {
            check: async () => {
              expect(await server.sql(INVOICES, { database: 'scratch' })).toEqual(await inOrders(INVOICES));
              const rows = 'SELECT count(*), (SELECT count(*) FROM sales.regions) FROM customers';
              expect(await server.sql(rows, { database: 'scratch_two' })).toEqual(await inOrders(rows));
            },
          },
          {
            before: () =>
              inOrders("DELETE FROM invoices WHERE id % 3 = 0; UPDATE invoices SET note = 'kept' WHERE id = 1"),
            check: async () => {
              expect(await inOrders('SELECT note FROM invoices WHERE id = 1')).toEqual(['kept']);
              const sum = 'SELECT count(*), sum(hashtext(t::text)) FROM invoices t WHERE id > 1';
              expect(await inOrders(sum)).toEqual(await server.sql(sum, { database: 'orders_copy' }));
            },
          },
          {
            before: () => inOrders('DROP TABLE invoices; CREATE TABLE invoices (rubbish int)'),
            check: async (said) => {
              expect(said).toMatch(/would lose +the table public\.invoices/);
              await holds('orders')();
            },
          },
        ],
        'All databases, and the roles': [
          {
            before: () => other.sql('DROP DATABASE orders_there; DROP DATABASE orders_moved; DROP ROLE app'),
            check: holdsAll,
          },
          {
            before: () => other.sql('DELETE FROM stock; CREATE TABLE rubbish (a int)', { database: 'stock' }),
            check: holdsAll,
          },
        ],
        'Folders, tars, encryption': [{ check: holds('orders_from_tar', 'orders_from_folder', 'orders_decrypted') }],
        'It refuses': [
          {
            check: (said) => {
              expect(said).toMatch(/orders_copy on .* holds .*--replace/);
              expect(said).toMatch(/exit code 2/);
            },
          },
          {
            check: async (said) => {
              expect(said).toMatch(/lacks: app;.*exit code 2/s);
              expect(await content('orders', third)).toEqual(last);
            },
          },
          { check: holds('orders_made') },
        ],
      },
      run,
    );
  });

  it('every command without dbstash works, as it stands there, and brings back the same', {
    timeout: LONG_MS,
  }, async () => {
    const handed = async (database: string) => expect(await content(database), database).toEqual(first);
    await runPart(
      {
        'Without dbstash': [
          {
            check: (said) => {
              const [, sum] = /"sha256": "(\w{64})"/.exec(said) ?? [];
              expect(said).toContain(`${sum}  orders.dump`);
              const decoded = names['orders-2026-02-08-020000.sql.zst']!.replace(/\.zst$/, '');
              expect(readFileSync(join(scratch.path, decoded), 'utf8')).toContain('PostgreSQL database dump complete');
            },
          },
        ],
        'PostgreSQL by hand': [
          { check: () => handed('orders_hand') },
          { check: holds('orders_hand_sql') },
          { check: holds('orders_hand_age') },
          { check: holds('orders_hand_folder', 'orders_hand_tar') },
          {
            check: async () => {
              const at = { database: 'one_table' };
              expect(await server.sql(INVOICES, at)).toEqual(await server.sql(INVOICES, { database: 'orders_hand' }));
            },
          },
          { check: (said) => expect(said).toMatch(/role "app" already exists/) },
        ],
      },
      run,
    );
  });
});

/** Of the database in use: where each points to. */
const FOREIGN_KEYS = `SELECT table_name, CONCAT(referenced_table_schema, '.', referenced_table_name) FROM information_schema.key_column_usage
  WHERE table_schema = DATABASE() AND referenced_table_name IS NOT NULL ORDER BY 1`;

const FLAVORS = [
  { engine: 'mariadb', start: startMariadb, isThere: true },
  { engine: 'mysql', start: startMysql, isThere: findMysql() !== undefined },
] as const;

for (const { engine, start, isThere } of FLAVORS) {
  const tools = isThere ? ['mariadbd', 'mariadb', 'mariadb-dump', 'mydumper', 'myloader'] : ['mysqld-of-mysql'];
  describeWith([...TOOLS, ...tools], `docs/restore.md, ${engine}`, () => {
    let scratch: Scratch;
    let server: MysqlServer;
    let env: Env;
    let names: Readonly<Record<string, string>>;

    const items = (database: string) =>
      server.sql('CHECKSUM TABLE items', { database }).then(([row]) => row?.split('\t')[1]);
    const content = async (database: string) => [
      await items(database),
      (await server.sql('CHECKSUM TABLE notes', { database })).map((row) => row.split('\t')[1]),
      await server.sql('SELECT * FROM v', { database }),
    ];

    beforeAll(async () => {
      scratch = scratchFolder();
      server = await start();
      await server.createDatabase('shop');
      await server.sql(
        `CREATE TABLE customers (id int PRIMARY KEY);
         CREATE TABLE items (id int PRIMARY KEY, word text CHARACTER SET utf8mb4, customer int,
           twice int AS (id * 2) STORED, FOREIGN KEY (customer) REFERENCES customers (id));
         CREATE TABLE parts (id int PRIMARY KEY, item int, FOREIGN KEY (item) REFERENCES items (id));
         CREATE TABLE notes (a int); CREATE VIEW v AS SELECT count(*) AS n FROM items;
         INSERT INTO customers VALUES (1); INSERT INTO items (id, word, customer) VALUES (1, '😀', 1), (2, 'b', 1), (3, NULL, NULL);
         INSERT INTO parts VALUES (1, 1); INSERT INTO notes VALUES (4);
         CREATE TRIGGER fold BEFORE INSERT ON items FOR EACH ROW SET NEW.word = lower(NEW.word)`,
        { database: 'shop' },
      );
      makeFolder(scratch, 'shop');
      const login = `[client]\nuser=${server.user}\npassword=${server.password}\nhost=127.0.0.1\nport=${server.port}\nprotocol=tcp\n`;
      writeFileSync(join(scratch.path, 'login.cnf'), login, { mode: 0o600 });
      const base = envOf(scratch, { RCLONE_REMOTE: 's3:backups/shop', DB_URI: server.uri('shop'), ENGINE: engine });
      env = { ...base, PATH: `${base.PATH!.split(':')[0]}:${server.path}` };
      const script = await makeBackup({ ...env, BACKUP_COMPRESS: 'gzip' });
      // mydumper 0.10 sometimes waits for its own threads for ever.
      const patience = { BACKUP_STALL_TIMEOUT: '20s', BACKUP_RETRIES: '3' };
      const folder = await makeBackup({ ...env, BACKUP_MODE: 'directory', ...patience });
      names = {
        'shop-2026-02-07-020000.sql.gz': script.artifact,
        'shop-2026-02-10-020000': folder.artifact,
        '--port 3306': `--port ${server.port}`,
      };
    }, LONG_MS);

    afterAll(async () => {
      await server?.stop();
      await scratch?.[Symbol.asyncDispose]();
    });

    it('every command works, as it stands there, and brings back the same', { timeout: LONG_MS }, async () => {
      const whole = await content('shop');
      const inShop = (statements: string) => server.sql(statements, { database: 'shop' });
      const spoil = () => inShop('SET foreign_key_checks = 0; DELETE FROM items');
      const run = (text: string) => runScript(replaceAll(text, names), env, scratch.path);
      await runPart(
        {
          'MySQL and MariaDB': [
            {
              before: spoil,
              check: async () => {
                for (const name of ['shop_copy', 'shop']) expect(await content(name), name).toEqual(whole);
                expect(await items('shop_items')).toBe(whole[0]);
                expect(await server.sql('SHOW TABLES', { database: 'shop_items' })).toEqual(['items']);
              },
            },
          ],
          'One table of a script': [
            { check: async () => expect(await content('shop_whole')).toEqual(whole) },
            {
              before: () =>
                inShop("SET foreign_key_checks = 0; DELETE FROM items WHERE id < 3; UPDATE items SET word = 'kept'"),
              check: async () => {
                const rows = await inShop('SELECT id, word, twice FROM items ORDER BY id');
                expect(rows).toEqual(['1\t😀\t2', '2\tb\t4', '3\tkept\t6']);
              },
            },
            {
              before: async () => {
                await spoil();
                await inShop('DROP TRIGGER fold; INSERT INTO customers VALUES (9)');
              },
              check: async () => expect(await content('shop')).toEqual(whole),
            },
            {
              check: async () => {
                expect(await server.sql("SHOW DATABASES LIKE 'shop\\_whole'")).toEqual([]);
                expect(await inShop(FOREIGN_KEYS)).toEqual(['items\tshop.customers', 'parts\tshop.items']);
                await inShop(
                  "INSERT INTO items (id, word, customer) VALUES (9, 'NEW', 9); INSERT INTO parts VALUES (9, 9)",
                );
                expect(await inShop('SELECT word, twice FROM items WHERE id = 9')).toEqual(['new\t18']);
                await expect(inShop('INSERT INTO items (id, customer) VALUES (10, 10)')).rejects.toThrow(/ERROR 1452/);
                await expect(inShop('INSERT INTO parts VALUES (10, 10)')).rejects.toThrow(/ERROR 1452/);
                await expect(inShop('DELETE FROM items WHERE id = 9')).rejects.toThrow(/ERROR 1451/);
                expect(await inShop('SELECT n FROM v')).toEqual(['4']);
              },
            },
          ],
          'MySQL and MariaDB by hand': [
            { check: async () => expect(await content('shop_hand')).toEqual(whole) },
            { check: async () => expect(await content('shop_loaded')).toEqual(whole) },
          ],
        },
        run,
      );
    });
  });
}

describeWith([...TOOLS, 'mongodump', 'mongorestore', 'java', 'mongo-java-server'], 'docs/restore.md, MongoDB', () => {
  it('every command works, as it stands there, and brings back the same', { timeout: LONG_MS }, async () => {
    await using scratch = scratchFolder();
    await using server: MongoTestServer = await startMongoJava();
    const shop = server.client.db('shop');
    await shop.collection('items').insertMany(Array.from({ length: 200 }, (_, a) => ({ a, word: `w${a}` })));
    await shop.collection('items').createIndex({ a: 1 });
    await shop.collection('notes').insertOne({ b: 1 });
    makeFolder(scratch, 'mongo');
    const base = envOf(scratch, { RCLONE_REMOTE: 's3:backups/mongo', DB_URI: server.uri({ database: 'shop' }) });
    const env = { ...base, PATH: `${base.PATH}:${dirname(findTool('mongodump') ?? '/')}` };
    const { artifact } = await makeBackup({ ...env, BACKUP_COMPRESS: 'true' });
    const names = { 'shop-2026-02-07-020000.archive.gz': artifact, 'mongodb://mongo:27017/': server.uri() };
    const content = (name: string) => describeDatabase(server.client.db(name));
    const whole = await content('shop');
    const { items } = whole;
    await runPart(
      {
        MongoDB: [
          {
            before: () => shop.collection('notes').insertOne({ rubbish: 1 }),
            check: async () => {
              for (const name of ['shop_copy', 'shop']) expect(await content(name), name).toEqual(whole);
              expect(await content('shop_items')).toEqual({ items });
            },
          },
        ],
        'MongoDB by hand': [
          {
            check: async () => {
              expect(await content('shop_hand')).toEqual(whole);
              expect(await content('items_hand')).toEqual({ items });
            },
          },
        ],
      },
      (text) => runScript(replaceAll(text, names), env, scratch.path),
    );
  });
});

describeWith([...TOOLS, 'redis-server', 'redis-cli', 'redis-check-rdb'], 'docs/restore.md, Redis', () => {
  it('every command works, as it stands there, and brings back the same', { timeout: LONG_MS }, async () => {
    await using scratch = scratchFolder();
    await using source: RedisServer = await startRedis();
    await using other: RedisServer = await startRedis();
    source.run('SET', 'greeting', 'hello');
    source.run('RPUSH', 'list', 'a', 'b');
    const whole = contentOf(source);
    makeFolder(scratch, 'redis');
    const data = join(scratch.path, 'data');
    mkdirSync(data);
    const env = envOf(scratch, {
      RCLONE_REMOTE: 's3:backups/redis',
      DB_URI: source.uri(),
      DB_NAME: 'redis',
      CONTAINER_DATA: data,
    });
    const { artifact } = await makeBackup(env);
    const names = { 'redis-2026-02-07-020000.rdb': artifact, 'other:6379': `127.0.0.1:${other.port}` };
    await runPart(
      {
        'Redis and Valkey': [{ check: () => expect(contentOf(other)).toEqual(whole) }],
        'Redis and Valkey by hand': [
          {
            check: async () => {
              await using fresh = await startRedis({ settings: { dir: data, dbfilename: 'dump.rdb' } });
              expect(contentOf(fresh)).toEqual(whole);
            },
          },
        ],
      },
      (text) => runScript(replaceAll(text, names), env, scratch.path),
    );
  });
});

describeWith([...TOOLS, 'sqlite3'], 'docs/restore.md, SQLite', () => {
  it('every command works, as it stands there, and brings back the same', { timeout: LONG_MS }, async () => {
    await using scratch = scratchFolder();
    const at = (name: string) => join(scratch.path, name);
    runSqlite(
      at('shop.sqlite3'),
      "CREATE TABLE items (id INTEGER PRIMARY KEY, w TEXT); INSERT INTO items VALUES (1, 'ä'), (7, 'b'); CREATE TABLE notes AS SELECT 4 AS a",
    );
    makeFolder(scratch, 'sqlite');
    const env = envOf(scratch, { RCLONE_REMOTE: 's3:backups/sqlite', ENGINE: 'sqlite', DB_NAME: at('shop.sqlite3') });
    const { artifact } = await makeBackup(env);
    const names = { 'shop-2026-02-07-020000.sql': artifact, '/tmp/': `${scratch.path}/` };
    const items = (name: string) => runSqlite(at(name), 'SELECT * FROM items');
    const content = (name: string) => [items(name), runSqlite(at(name), 'SELECT a FROM notes')];
    const whole = content('shop.sqlite3');
    await runPart(
      {
        SQLite: [
          {
            before: () => runSqlite(at('shop.sqlite3'), 'DELETE FROM items'),
            check: () => {
              for (const name of ['copy', 'elsewhere', 'shop']) expect(content(`${name}.sqlite3`), name).toEqual(whole);
              expect(items('one-table.sqlite3')).toBe(whole[0]);
            },
          },
        ],
        'SQLite by hand': [
          {
            check: (said) => {
              expect(said).toMatch(/^ok$/m);
              expect(content('shop-restored.sqlite3')).toEqual(whole);
            },
          },
        ],
      },
      (text) => runScript(replaceAll(text, names), env, scratch.path),
    );
    expect(readdirSync(scratch.path)).toContain('items.sql');
  });
});

it('there is no command on the page that no test runs', () => {
  const named = new Set(
    readFileSync(import.meta.filename, 'utf8')
      .match(/^ +(?:'[^'\n]+'|\w+): \[(?=\s*\{|$)/gm)
      ?.map((line) => line.trim().slice(0, -3).replaceAll("'", '')),
  );
  expect([...new Set(blocks.map(({ heading }) => heading))].filter((heading) => !named.has(heading))).toEqual([]);
  expect(page.match(/^```.*$/gm)?.filter((line) => !['```', '```sh'].includes(line))).toEqual([]);
  for (const heading of told) expect(named).toContain(heading);
});
