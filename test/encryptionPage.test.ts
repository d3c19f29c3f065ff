import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWith } from './support/need.ts';
import { pageTools, readBlocks, readPage, runScript } from './support/page.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { runSqlite } from './support/seeds.ts';

const page = readPage('docs/encryption.md');
const blocks = readBlocks(page);
/** Stands for the artifact of the day. */
const SHOWN_NAME = 'orders-2026-02-07-020000.sql.zst.age';

const TOOLS = [
  'age',
  'age-keygen',
  'zstd',
  'rclone',
  'sqlite3',
  'postgres',
  'initdb',
  'psql',
  'pg_dump',
  'createdb',
  'bash',
];

describeWith(TOOLS, 'docs/encryption.md', () => {
  let scratch: Scratch;
  let server: PostgresServer;
  beforeAll(async () => {
    scratch = scratchFolder();
    server = await startPostgres();
    await server.createDatabase('orders');
    await server.sql("CREATE TABLE item AS SELECT i, 'clear text ' || i AS x FROM generate_series(1, 20000) i", {
      database: 'orders',
    });
    runSqlite(join(scratch.path, 'shop.sqlite3'), 'CREATE TABLE t AS SELECT 42 AS a');
    writeFileSync(join(scratch.path, 'crypt-password.txt'), 'a password for crypt');
  });
  afterAll(async () => {
    await server?.stop();
    await scratch?.[Symbol.asyncDispose]();
  });

  const storage = () => join(scratch.path, 'storage/backups');
  const artifacts = () =>
    readdirSync(join(storage(), 'orders')).filter((name) => name.startsWith('orders-') && name.endsWith('.age'));

  /** Runs all blocks in one shell, in a folder of their own, where s3: is a local one. */
  function runPage(): Promise<string> {
    mkdirSync(join(storage(), 'orders'), { recursive: true });
    const env = {
      PATH: `${pageTools(scratch)}:${process.env.PATH}`,
      HOME: scratch.path,
      TMPDIR: scratch.path,
      RCLONE_CONFIG_S3_TYPE: 'alias',
      RCLONE_CONFIG_S3_REMOTE: join(scratch.path, 'storage'),
      RCLONE_REMOTE: 's3:backups/orders',
      BACKUP_TEMP_DIR: join(scratch.path, 'tmp'),
      DB_URI: server.uri('orders'),
      PGHOST: server.host,
      PGPORT: String(server.port),
      PGUSER: server.user,
      PGPASSWORD: server.password,
    };
    const name = `$(cd '${storage()}/orders' && ls | grep '^orders-.*[.]age$' | head -n 1)`;
    const script = blocks.map(({ text }) => text.replaceAll(SHOWN_NAME, () => name)).join('\n');
    return runScript(script, env, scratch.path);
  }

  it('every command that it shows works, as it stands there, and every way back leads to the same data', {
    timeout: 180_000,
  }, async () => {
    expect(blocks.length).toBeGreaterThanOrEqual(7);
    expect(page).toContain(SHOWN_NAME);
    const said = await runPage();
    const artifact = artifacts()[0]!;
    const stored = readFileSync(join(storage(), 'orders', artifact));
    expect(stored.includes('clear text')).toBe(false);
    expect(said).toContain(createHash('sha256').update(stored).digest('hex'));
    const sum = 'SELECT count(*), sum(hashtext(x)) FROM item';
    const source = await server.sql(sum, { database: 'orders' });
    for (const copy of ['orders_copy', 'orders_by_hand', 'orders_piped', 'orders_from_crypt'])
      expect(await server.sql(sum, { database: copy }), copy).toEqual(source);
    expect(runSqlite(join(scratch.path, 'shop-restored.sqlite3'), 'SELECT a FROM t')).toBe('42');
    expect(existsSync(join(scratch.path, 'identity.txt'))).toBe(true);
    const hidden = readdirSync(join(storage(), 'hidden'));
    expect(hidden).toHaveLength(2);
    expect(hidden.join()).not.toContain('orders');
    // The names as they were.
    expect(said).toMatch(/^orders-.*\.sql\.zst$/m);
  });
});
