import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { backupEnv, listBackups } from './support/backups.ts';
import { runDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { makeBackup } from './support/restores.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

type Env = Record<string, string>;

const SCHEMA = `
PRAGMA application_id = 1234567; PRAGMA user_version = 42;
CREATE TABLE "odd ""name"" – ü; --" ("a b" TEXT, ünï, "select" INT DEFAULT (1 + 1));
INSERT INTO "odd ""name"" – ü; --" VALUES ('日本語 🐘', 'line
break', 1), ('nul' || char(0) || 'inside', '''quotes''', 9223372036854775807), (NULL, '', -0.0);
CREATE TABLE blobs (b BLOB, r REAL); INSERT INTO blobs VALUES (x'00ff00', 9e999), (zeroblob(100000), -9e999), (x'', 1e-307);
INSERT INTO blobs SELECT randomblob(300000), 0.1;
CREATE TABLE keyed (a TEXT PRIMARY KEY, b INT) WITHOUT ROWID; INSERT INTO keyed VALUES ('x', 1), ('y', 2);
CREATE TABLE strictly (a INTEGER PRIMARY KEY AUTOINCREMENT, b ANY, c INT GENERATED ALWAYS AS (a * 2) STORED) STRICT;
INSERT INTO strictly (b) VALUES (1), ('one'), (x'01'); DELETE FROM strictly WHERE a = 3;
CREATE TABLE holes (a); INSERT INTO holes (rowid, a) VALUES (5, 'five'), (500, 'five hundred'), (-7, 'minus seven');
CREATE VIRTUAL TABLE search USING fts5(title, body, tokenize = 'porter');
INSERT INTO search VALUES ('Elephants', 'running through the night'), ('Whales', 'they run not');
CREATE TABLE parent (id INTEGER PRIMARY KEY); CREATE TABLE child (p REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
INSERT INTO child VALUES (99);
CREATE INDEX partial ON keyed (b) WHERE b > 1; CREATE INDEX expr ON holes (lower(a) COLLATE NOCASE DESC);
CREATE VIEW v AS SELECT a, b FROM keyed; CREATE TRIGGER ins INSTEAD OF INSERT ON v BEGIN INSERT INTO keyed VALUES (NEW.a, NEW.b); END;
ANALYZE;
`;

/** What two databases must have in common. */
const LOOKS = `
SELECT * FROM pragma_application_id; SELECT * FROM pragma_user_version; SELECT * FROM pragma_page_size;
SELECT * FROM pragma_encoding; SELECT * FROM pragma_journal_mode; SELECT * FROM pragma_auto_vacuum; PRAGMA integrity_check;
SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name;
SELECT rowid, hex(a) FROM holes; SELECT hex("a b"), hex(ünï), "select" FROM "odd ""name"" – ü; --";
SELECT hex(b), r FROM blobs; SELECT * FROM keyed; SELECT a, typeof(b), b, c FROM strictly; SELECT * FROM sqlite_sequence;
SELECT title FROM search WHERE search MATCH 'run'; SELECT * FROM child; SELECT * FROM sqlite_stat1 ORDER BY 1, 2;
`;

describeWith(['sqlite3', 'rclone', 'gzip', 'zstd'], 'a SQLite database goes to a remote and comes back', () => {
  let scratch: Scratch;
  let remote: TestRemote;
  let source: string;
  let env: Env;

  beforeEach(async () => {
    scratch = scratchFolder();
    remote = await startRemote('local');
    mkdirSync(join(scratch.path, 'data'));
    source = join(scratch.path, 'data/übung #1 100%.sqlite3');
    env = backupEnv(`sqlite://${encodeURI(source).replace('#', '%23')}`, remote, scratch);
  });

  afterEach(async () => {
    await remote.stop();
    await scratch[Symbol.asyncDispose]();
  });

  const sql = (path: string, script: string): string =>
    execFileSync(requireTool('sqlite3'), ['-bail', path], { input: script, encoding: 'utf8', maxBuffer: 1024 ** 3 });

  async function restore(from: Env): Promise<string> {
    const copy = join(scratch.path, 'copy.sqlite3');
    const run = await runDbstash(['restore', '--database', copy], from);
    expect(run.exitCode, run.stderr).toBe(0);
    return copy;
  }

  it.each([
    ['delete', 'false', '.sql'],
    ['wal', 'zstd', '.sql.zst'],
    ['wal', 'gzip:1', '.sql.gz'],
  ])('with all that is easy to lose (journal mode %s, BACKUP_COMPRESS=%s)', async (mode, compress, extension) => {
    const shape = mode === 'wal' ? `PRAGMA page_size = 8192; PRAGMA auto_vacuum = 2;` : `PRAGMA encoding = 'UTF-16le';`;
    sql(source, `${shape} PRAGMA journal_mode = ${mode}; ${SCHEMA}`);
    const before = sql(source, LOOKS);
    const packed = { ...env, BACKUP_COMPRESS: compress };
    const { artifact, bytes, sha256 } = await makeBackup(packed);
    expect(artifact.endsWith(extension)).toBe(true);
    expect((await remote.list()).get(artifact)).toEqual({ bytes, sha256 });
    const copy = await restore(packed);
    expect(sql(copy, LOOKS)).toBe(before);
    expect(sql(source, LOOKS)).toBe(before);
    expect(readdirSync(join(scratch.path, 'data'))).toHaveLength(1);
  });

  it.each(['wal', 'delete'])('in one piece while somebody writes (journal mode %s)', async (mode) => {
    const fill = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)`;
    sql(
      source,
      `PRAGMA journal_mode = ${mode}; CREATE TABLE a (x); CREATE TABLE b (x); CREATE TABLE big AS ${fill} SELECT i FROM n`,
    );
    const writer = spawn(requireTool('sqlite3'), ['-bail', source]);
    const ended = once(writer, 'close');
    let written = 0;
    let isOver = false;
    writer.stdout.on('data', () => {
      written += 1;
      if (!isOver) write();
    });
    const write = () =>
      writer.stdin.write(
        `.timeout 30000\nBEGIN IMMEDIATE; INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); COMMIT; SELECT 1;\n`,
      );
    write();
    await waitFor(() => written > 3);
    await makeBackup(env);
    const atTheEnd = written;
    isOver = true;
    writer.stdin.end();
    expect(await ended).toEqual([0, null]);
    expect(atTheEnd).toBeGreaterThan(10); // the backup did not lock it out
    const copy = await restore(env);
    const [a, b, big] = sql(copy, 'SELECT count(*) FROM a; SELECT count(*) FROM b; SELECT count(*) FROM big').split(
      '\n',
    );
    expect(a).toBe(b);
    expect(Number(a)).toBeGreaterThanOrEqual(3);
    expect(big).toBe('30000');
  });

  async function expectFailure(from: Env, says: RegExp): Promise<void> {
    const run = await runDbstash(['backup'], from);
    expect(run.exitCode, run.stderr).toBe(1);
    expect(run.lines.at(-1)?.message).toMatch(says);
    expect((await remote.list()).size).toBe(0);
    expect(await listBackups(from)).toEqual([]);
  }

  it.each(['wal', 'delete'])('F04: not at all where it is damaged (journal mode %s)', async (mode) => {
    const fill = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)';
    sql(source, `PRAGMA journal_mode = ${mode}; CREATE TABLE t AS ${fill} SELECT i, hex(randomblob(9)) FROM n`);
    const middle = Math.floor(statSync(source).size / 8192) * 4096;
    const file = openSync(source, 'r+');
    writeSync(file, Buffer.alloc(4096, 0xa5), 0, 4096, middle);
    closeSync(file);
    await expectFailure(env, /damaged|malformed/);
  });

  it('F03: not at all where there is no file, none of SQLite, or a folder', async () => {
    await expectFailure(env, /is not there/);
    expect(existsSync(source)).toBe(false); // sqlite3 alone would make an empty one
    writeFileSync(source, 'a text, long enough to be no header'.repeat(100));
    await expectFailure(env, /is not a SQLite database/);
    await expectFailure({ ...env, DB_URI: `sqlite://${join(scratch.path, 'data')}` }, /cannot be opened/);
  });
});
