/** The main job, end to end: a SQLite database backed up to a local remote, verified by a drill, listed, lost, restored and compared. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const folder = join(root, '.demo');
const database = join(folder, 'shop.sqlite3');
const remote = join(folder, 'backups');

const env = {
  PATH: process.env.PATH,
  HOME: folder,
  DB_URI: `sqlite://${database}`,
  RCLONE_REMOTE: remote,
  BACKUP_TEMP_DIR: join(folder, 'tmp'),
  LOG_FORMAT: 'text',
};

const say = (text: string) => process.stdout.write(`${text}\n`);
const sqlite = (sql: string) =>
  execFileSync('sqlite3', [database], { input: sql, encoding: 'utf8', env, maxBuffer: 64 * 1024 * 1024 });
const fingerprint = () => createHash('sha256').update(sqlite('.dump')).digest('hex').slice(0, 16);
const count = () => sqlite('SELECT count(*) FROM orders').trim();

function dbstash(...args: string[]): void {
  say(`\n$ dbstash ${args.join(' ')}`);
  execFileSync(process.execPath, [join(root, 'src/main.ts'), ...args], { env, stdio: 'inherit' });
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(remote, { recursive: true });

sqlite(`
  PRAGMA journal_mode=WAL;
  CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
  CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers, cents INTEGER, note TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
    INSERT INTO customers SELECT i, 'Customer ' || i FROM n;
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
    INSERT INTO orders SELECT i, 1 + i % 200, i * 17 % 9999, hex(randomblob(40)) FROM n;
`);
const before = fingerprint();
say(`A sample database with ${count()} orders: ${database}`);

dbstash('backup');
dbstash('verify', '--level', 'restore');
dbstash('list');

sqlite('DELETE FROM orders WHERE id > 5; DROP TABLE customers;');
say(`\nAn accident: ${count()} orders are left, and no customers.`);

dbstash('restore', 'latest', '--replace', '--yes', database);

const after = fingerprint();
const files = readdirSync(remote).map((name) => `  ${join(remote, name)}  ${statSync(join(remote, name)).size} bytes`);
say(`\nBefore the backup ${before}, after the restore ${after}, with ${count()} orders.`);
say(`The backup, its manifest, and what the drill found:\n${files.join('\n')}`);
if (before !== after) throw new Error('the restored database is not the one that was backed up');
say('\nBacked up, verified, listed, restored, and proven equal.');
