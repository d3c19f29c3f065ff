import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Command, type Question, renderCommand, SCRATCH } from '../src/core/command.ts';
import type { Connection } from '../src/core/connection.ts';
import { ConfigError } from '../src/core/errors.ts';
import type { DumpPlan, FileSwap, RestorePlan, Server } from '../src/engines/engine.ts';
import { sqlite } from '../src/engines/sqlite.ts';
import { describeWith } from './support/need.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';

const connect = (database: string): Connection => ({
  engine: 'sqlite',
  hosts: [],
  user: undefined,
  password: undefined,
  database,
  params: {},
  tls: undefined,
  tlsCa: undefined,
});

const server: Server = {
  title: 'SQLite 3.40.1',
  serverId: null,
  bytes: 0,
  target: {},
  major: undefined,
  needsCopy: false,
  warnings: [],
};

describe('sqlite plans a dump', () => {
  const planDump = (tool: string, extraArgs: readonly string[] = [], needsCopy = false) =>
    sqlite.planDump({
      connection: connect('/a/-b;"\'.db'),
      server: { ...server, needsCopy },
      tool,
      mode: 'stream',
      jobs: 1,
      compress: false,
      extraArgs,
    });

  it('F30: opening the database read-only, by a path that is nothing but an argument', () => {
    const { dump, prepare } = planDump('sqlite3 3.40.1');
    expect(prepare).toEqual([]);
    expect(dump.args.slice(0, 12)).toEqual([
      ...['-readonly', '-batch', '-bail', '-init', '/dev/null', '-list', '-noheader', '-separator', ','],
      ...['/a/-b;"\'.db', '.timeout 60000', 'BEGIN'],
    ]);
  });

  it('from a copy where a reader would lock writers out', () => {
    const { dump, prepare } = planDump('sqlite3 3.40.1', [], true);
    expect(prepare.map(({ args }) => args.at(-1))).toEqual([`.backup '${SCRATCH}/copy.sqlite3'`]);
    expect(prepare[0]?.args).toContain('/a/-b;"\'.db');
    expect(dump.args).not.toContain('/a/-b;"\'.db');
  });

  it('telling a shell that would change control characters not to', () => {
    expect(planDump('sqlite3 3.53.4').dump.args.join(' ')).toContain('-escape off');
    expect(planDump('sqlite3 3.49.2').dump.args.join(' ')).not.toContain('-escape');
  });

  it('with flags of the user that leave the form of the dump alone, and no others', () => {
    expect(planDump('sqlite3 3.40.1', ['-cmd', '.load x', '--vfs', 'y']).dump.args).toContain('.load x');
    for (const wrong of [['-csv'], ['other.db'], ['-cmd'], ['-key', 'x'], ['-cmd', 'x', '-A']]) {
      expect(() => planDump('sqlite3 3.40.1', wrong)).toThrow(ConfigError);
    }
  });

  it('F67: not with a shell that is too old', () => {
    expect(() => planDump('sqlite3 3.33.0')).toThrow(/3\.34 or newer/);
    expect(() => planDump('sqlite3 3.34.0')).not.toThrow();
  });

  it('F04: with marks that a damaged or cut dump lacks', () => {
    const { begins, ends } = planDump('sqlite3 3.40.1').marks;
    const head = "-- quick_check: ok\nPRAGMA encoding='UTF-8';\nPRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n";
    expect(begins?.test(`${head}CREATE`)).toBe(true);
    expect(begins?.test(head.replace('ok', 'row 1 missing'))).toBe(false);
    expect(begins?.test(head.slice(19))).toBe(false);
    expect(ends?.test('x;\nCOMMIT;\n')).toBe(true);
    for (const end of ['COMMIT;', 'ROLLBACK; -- due to errors\n', "'\nCOMMIT;\n'", 'COMMIT;\n\n'])
      expect(ends?.test(`x;\n${end}`)).toBe(false);
  });
});

describeWith(['sqlite3'], 'the engine sqlite with the real shell', () => {
  let folder: Scratch;
  let path: string;
  let target: string;
  const children: ChildProcess[] = [];

  beforeEach(() => {
    folder = scratchFolder();
    path = join(folder.path, `the "db" 'ü;$(id).db`);
    target = join(folder.path, 'target.db');
    // sqlite3 must not read it, whoever we are.
    writeFileSync(join(folder.path, '.sqliterc'), '.mode box\n.headers on\n');
  });

  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await folder[Symbol.asyncDispose]();
  });

  it('inspects a database', async () => {
    sql(path, 'PRAGMA user_version=7; PRAGMA journal_mode=WAL; CREATE TABLE t (a); CREATE INDEX i ON t (a);');
    const found = await ask(sqlite.inspect(connect(path)));
    expect(found).toMatchObject({ serverId: null, needsCopy: false, warnings: [], bytes: 3 * 4096 });
    expect(found.title).toMatch(/^SQLite 3\.\d+\.\d+$/);
    expect(found.target).toEqual({
      journalMode: 'wal',
      encoding: 'UTF-8',
      pageSize: 4096,
      autoVacuum: 0,
      userVersion: 7,
      applicationId: 0,
      objects: 2,
    });
    sql(path, 'PRAGMA journal_mode=DELETE;');
    expect((await ask(sqlite.inspect(connect(path)))).needsCopy).toBe(true);
  });

  it('F55: says in one sentence why a database cannot be read, and makes none', async () => {
    const inspect = () => ask(sqlite.inspect(connect(path)));
    await expect(inspect()).rejects.toThrow(/ is not there$/);
    expect(existsSync(path)).toBe(false);
    writeFileSync(path, 'SQLite format 4, or so it says '.repeat(100));
    await expect(inspect()).rejects.toThrow(/ is not a SQLite database, or it is encrypted$/);
    rmSync(path);
    mkdirSync(path);
    await expect(inspect()).rejects.toThrow(/ cannot be opened: /);
    rmSync(path, { recursive: true });
    writeFileSync(path, '');
    expect((await inspect()).warnings).toEqual([`${path} is an empty database`]);
  });

  it('F55: says that a crashed writer must be cleaned up after, and never reads what it left half-done', async () => {
    sql(path, 'CREATE TABLE t (a); INSERT INTO t SELECT value FROM generate_series(1, 5000);');
    const writer = await holdOpen(
      path,
      "PRAGMA cache_size=2; BEGIN; UPDATE t SET a = hex(randomblob(200)); SELECT 'ready';",
    );
    writer.kill('SIGKILL');
    await new Promise((resolve) => writer.once('close', resolve));
    expect(existsSync(`${path}-journal`)).toBe(true);
    await expect(ask(sqlite.inspect(connect(path)))).rejects.toThrow(/crashed and left a journal/);
  });

  it.skipIf(process.getuid?.() !== 0)(
    'F55: says that a WAL database in a folder we may not write needs that',
    async () => {
      sql(path, 'PRAGMA journal_mode=WAL; CREATE TABLE t (a);');
      spawnSync('chmod', ['a+rx', folder.path]);
      const { command, ...rest } = sqlite.inspect(connect(path));
      const asNobody = {
        ...command,
        file: 'setpriv',
        args: ['--reuid=65534', '--clear-groups', 'sqlite3', ...command.args],
      };
      await expect(ask({ ...rest, command: asNobody })).rejects.toThrow(/is in WAL mode.*folder cannot be written/);
    },
  );

  it.each(['WAL', 'DELETE'])('brings everything back that SQLite can hold, from journal mode %s', async (mode) => {
    sql(path, `${HEADER}${CONTENT}PRAGMA journal_mode=${mode};`);
    const dump = await makeDump(path);
    expect(isWhole(dump.bytes, dump.plan)).toBe(true);
    await restore(target, dump);
    expect(existsSync(`${target}-wal`)).toBe(false);
    expect(describeFile(target)).toEqual(describeFile(path));
    expect(
      sql(
        target,
        "SELECT title FROM fts WHERE fts MATCH 'world'; SELECT id FROM rt WHERE x0 > 2; INSERT INTO auto (v) VALUES (1); SELECT max(id) FROM auto;",
      ),
    ).toBe('hello\n2\n1002\n');
  });

  it.each(['UTF-16le', 'UTF-16be'])('keeps the encoding %s, and texts with NUL in it', async (encoding) => {
    sql(
      path,
      `PRAGMA encoding='${encoding}'; CREATE TABLE t (k PRIMARY KEY) WITHOUT ROWID; INSERT INTO t VALUES ('a'||char(0)||'1'), ('a'||char(0)||'2'), ('é'||char(128512));`,
    );
    await restore(target, await makeDump(path));
    expect(describeFile(target)).toEqual(describeFile(path));
    expect(sql(target, 'PRAGMA encoding;')).toBe(`${encoding}\n`);
  });

  it('restores where the last AUTOINCREMENT table is gone, and an empty database', async () => {
    sql(path, 'CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT); DROP TABLE a; CREATE TABLE b (x);');
    await restore(target, await makeDump(path));
    expect(describeFile(target)).toEqual(describeFile(path));
    sql(path, 'DROP TABLE b;');
    await restore(target, await makeDump(path));
    expect(sql(target, "SELECT count(*) FROM sqlite_master WHERE name = 'b';")).toBe('0\n');
  });

  it('brings numbers back to the last bit', async () => {
    const numbers = Array.from({ length: 3000 }, (_, i) => Math.sin(i) * 10 ** ((i % 400) / 2 - 100));
    sql(path, `CREATE TABLE t (a, r REAL); INSERT INTO t VALUES ${numbers.map((n) => `(${n}, ${n})`).join(',')};`);
    await restore(target, await makeDump(path));
    const exact = "SELECT printf('%!.26e %!.26e', a, r) FROM t;";
    expect(sql(target, exact)).toBe(sql(path, exact));
  });

  it('passes a value of 50 MB and a table of 2000 columns', async () => {
    const columns = Array.from({ length: 2000 }, (_, i) => `c${i}`).join(',');
    sql(
      path,
      `CREATE TABLE big (a); INSERT INTO big VALUES (printf('%.*c', 50000000, 'x')), (zeroblob(10000000));
      CREATE TABLE wide (${columns}); INSERT INTO wide DEFAULT VALUES; UPDATE wide SET c1999 = 'last';`,
    );
    await restore(target, await makeDump(path));
    expect(sql(target, 'SELECT length(a), typeof(a) FROM big; SELECT c1999 FROM wide;')).toBe(
      '50000000|text\n10000000|blob\nlast\n',
    );
  });

  it('F04: fails for a damaged database, and prints no end', async () => {
    sql(path, 'CREATE TABLE t (a); INSERT INTO t SELECT hex(randomblob(100)) FROM generate_series(1, 3000);');
    const bytes = readFileSync(path);
    bytes.fill(0xff, 4096 * 20 + 8, 4096 * 20 + 16);
    writeFileSync(path, bytes);
    const { plan } = await planDump(path);
    const { code, stdout, stderr } = await runPlan(plan);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/the database is damaged: .*page|malformed/);
    expect(isWhole(stdout, plan)).toBe(false);
  });

  it('F04: sees every cut of a dump', async () => {
    sql(path, "CREATE TABLE t (a); INSERT INTO t VALUES ('x;'||char(10)||'COMMIT;'||char(10)||'y'), (2);");
    const { bytes, plan } = await makeDump(path);
    expect(isWhole(bytes, plan)).toBe(true);
    for (let cut = 1; cut < bytes.length; cut++) {
      const part = bytes.subarray(0, -cut);
      // A text may hold the end mark; one that ends in it is the only cut that the exit code alone has to catch.
      if (!part.toString().endsWith('x;\nCOMMIT;\n')) expect(isWhole(part, plan)).toBe(false);
    }
  });

  it('dumps one moment, while others write', async () => {
    sql(
      path,
      'PRAGMA journal_mode=WAL; CREATE TABLE a (n); CREATE TABLE b (n); INSERT INTO a VALUES (0); INSERT INTO b VALUES (0);',
    );
    const { plan } = await planDump(path);
    const writer = (async () => {
      for (let i = 0; i < 40; i++)
        await run({
          file: 'sqlite3',
          args: [path, '.timeout 5000', 'BEGIN; UPDATE a SET n = n + 1; UPDATE b SET n = n + 1; COMMIT;'],
        });
    })();
    for (let i = 0; i < 10; i++) {
      const { code, stdout } = await runPlan(plan);
      expect(code).toBe(0);
      const [, a, b] = /INTO "a"\(rowid,"n"\) VALUES\(1,(\d+)\)[\s\S]*INTO "b"\(rowid,"n"\) VALUES\(1,(\d+)\)/.exec(
        stdout.toString(),
      )!;
      expect(a).toBe(b);
    }
    await writer;
  }, 60_000);

  it('says what a target holds, and that its folder is missing', async () => {
    const look = (database: string) => ask(sqlite.inspectTarget(connect(database)));
    expect(await look(target)).toMatchObject({ exists: false, holds: '' });
    await expect(look(join(folder.path, 'no', 'x.db'))).rejects.toThrow(/the folder .*no is not there$/);
    writeFileSync(target, '');
    expect(await look(target)).toMatchObject({ exists: true, holds: '' });
    sql(
      target,
      'CREATE TABLE a (x PRIMARY KEY); CREATE TABLE b (x); CREATE INDEX i ON b (x); CREATE VIEW v AS SELECT 1;',
    );
    expect(await look(target)).toMatchObject({ exists: true, holds: '2 tables, 1 index, 1 view' });
    writeFileSync(target, 'garbage '.repeat(1000));
    expect(await look(target)).toMatchObject({ exists: true, holds: 'a file that is no sound SQLite database' });
  });

  it('replaces a database with a left-over WAL, and one that is no database', async () => {
    sql(path, 'CREATE TABLE new (a); INSERT INTO new VALUES (1);');
    const dump = await makeDump(path);
    sql(target, 'PRAGMA journal_mode=WAL; CREATE TABLE old (a);');
    const app = await holdOpen(target, "INSERT INTO old VALUES (1); SELECT 'ready';");
    app.kill('SIGKILL');
    await new Promise((resolve) => app.once('close', resolve));
    expect(existsSync(`${target}-wal`)).toBe(true);
    await restore(target, dump);
    expect(sql(target, 'SELECT name FROM sqlite_master; PRAGMA integrity_check;')).toBe('new\nok\n');
    writeFileSync(target, 'garbage '.repeat(1000));
    await restore(target, dump);
    expect(sql(target, 'SELECT name FROM sqlite_master;')).toBe('new\n');
  });

  it.each([
    ['WAL', "SELECT * FROM old; SELECT 'ready';"],
    ['DELETE', "BEGIN; SELECT * FROM old; SELECT 'ready';"],
  ])(
    'is refused the lock of a target that another process uses in mode %s',
    async (mode, statements) => {
      sql(target, `PRAGMA journal_mode=${mode}; CREATE TABLE old (a); INSERT INTO old VALUES (1);`);
      await holdOpen(target, statements);
      sql(path, 'CREATE TABLE new (a);');
      await expect(restore(target, await makeDump(path))).rejects.toThrow(/database is locked/);
      expect(sql(target, 'SELECT a FROM old;')).toBe('1\n');
    },
    30_000,
  );

  it('holds the lock until its input ends', async () => {
    sql(target, 'CREATE TABLE old (a);');
    const { swap } = await planRestore(target);
    const lock = await takeLock(swap!);
    expect(spawnSync('sqlite3', [target, 'INSERT INTO old VALUES (1)']).stderr.toString()).toContain(
      'database is locked',
    );
    await lock.release();
    expect(spawnSync('sqlite3', [target, 'INSERT INTO old VALUES (1)']).status).toBe(0);
  });

  it('F18: loads nothing of a dump that breaks off or fails, and finds out if nothing was loaded', async () => {
    sql(path, 'CREATE TABLE t (a UNIQUE); INSERT INTO t VALUES (1), (2);');
    const dump = await makeDump(path);
    const cut = dump.bytes.subarray(0, dump.bytes.indexOf('COMMIT;'));
    await expect(restore(target, { ...dump, bytes: cut })).rejects.toThrow(/nothing was restored/);
    const twice = Buffer.from(dump.bytes.toString().replace('VALUES(2,2)', 'VALUES(2,1)'));
    await expect(restore(target, { ...dump, bytes: twice })).rejects.toThrow(/UNIQUE constraint failed/);
    expect(existsSync(target)).toBe(false);
  });

  interface Made {
    readonly plan: DumpPlan;
    readonly bytes: Buffer;
    readonly server: Server;
  }

  async function planDump(database: string): Promise<Omit<Made, 'bytes'>> {
    const connection = connect(database);
    const found = await ask(sqlite.inspect(connection));
    const tool = await ask(sqlite.tool);
    return {
      server: found,
      plan: sqlite.planDump({
        connection,
        server: found,
        tool,
        mode: 'stream',
        jobs: 1,
        compress: false,
        extraArgs: [],
      }),
    };
  }

  async function runPlan({ prepare, dump }: DumpPlan) {
    const scratch = newScratch();
    for (const command of prepare) {
      const { code, stderr } = await run(command, { scratch });
      if (code !== 0) throw new Error(stderr);
    }
    return run(dump, { scratch });
  }

  async function makeDump(database: string): Promise<Made> {
    const made = await planDump(database);
    const { code, stdout, stderr } = await runPlan(made.plan);
    if (code !== 0) throw new Error(stderr);
    expect(stderr).toBe('');
    return { ...made, bytes: stdout };
  }

  async function planRestore(database: string, dump?: Made): Promise<RestorePlan> {
    const connection = connect(database);
    const facts = dump?.server.target ?? {};
    const found = await ask(sqlite.inspectTarget(connection));
    const format = dump?.plan.format ?? 'sql';
    return sqlite.planRestore({
      connection,
      target: found,
      facts,
      mode: 'stream',
      format,
      replace: true,
      createRoles: false,
      id: `r${scratches}`,
    });
  }

  /** As the job does: load, finish, lock, remove, rename, unlock. */
  async function restore(database: string, dump: Made): Promise<void> {
    const plan = await planRestore(database, dump);
    for (const [command, input] of [
      [plan.load, dump.bytes] as const,
      ...plan.finish.map((each) => [each, Buffer.alloc(0)] as const),
    ]) {
      const { code, stderr } = await run(command, { input });
      if (code !== 0) throw new Error(stderr);
    }
    const swap = plan.swap!;
    const lock = existsSync(swap.to) ? await takeLock(swap) : undefined;
    for (const file of swap.remove) rmSync(file, { force: true });
    renameSync(swap.from, swap.to);
    await lock?.release();
  }

  async function takeLock({ lock }: FileSwap) {
    const child = start(lock, newScratch());
    let said = '';
    child.stdout!.on('data', (chunk) => (said += chunk));
    const stderr = text(child.stderr!);
    const exit = new Promise<void>((resolve) => child.once('close', () => resolve()));
    await Promise.race([
      waitFor(() => /^locked/m.test(said), { timeoutMs: 20_000 }),
      exit.then(async () => Promise.reject(new Error(await stderr))),
    ]);
    return {
      release: async () => {
        child.stdin!.end();
        await exit;
      },
    };
  }

  async function ask<T>(question: Question<T>): Promise<T> {
    const { code, stdout, stderr } = await run(question.command);
    if (!(question.exitCodes ?? [0]).includes(code ?? -1)) throw new Error(stderr);
    return question.parse({ stdout: stdout.toString(), stderr, exitCode: code ?? -1 });
  }

  let scratches = 0;
  const newScratch = () => {
    const scratch = join(folder.path, `scratch ${scratches++}`);
    mkdirSync(scratch);
    return scratch;
  };

  function start(described: Command, scratch: string): ChildProcess {
    const { file, args, env, files } = renderCommand(described, scratch);
    for (const [name, content] of Object.entries(files ?? {})) writeFileSync(join(scratch, name), content);
    const child = spawn(file, args, {
      env: { PATH: process.env.PATH, HOME: folder.path, XDG_CONFIG_HOME: folder.path, ...env },
    });
    child.stdin.on('error', () => {});
    children.push(child);
    return child;
  }

  async function run(described: Command, options: { input?: Buffer; scratch?: string } = {}) {
    const { input = Buffer.from(described.input ?? ''), scratch = newScratch() } = options;
    const child = start(described, scratch);
    const exit = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
    child.stdin!.end(input);
    const [stdout, stderr, code] = await Promise.all([buffer(child.stdout!), text(child.stderr!), exit]);
    return { code, stdout, stderr };
  }

  /** Another process that has run the statements and keeps its connection. */
  async function holdOpen(database: string, statements: string): Promise<ChildProcess> {
    const child = start({ file: 'sqlite3', args: ['-batch', '-init', '/dev/null', database] }, newScratch());
    let said = '';
    child.stdout!.on('data', (chunk) => (said += chunk));
    child.stdin!.write(`${statements}\n`);
    await waitFor(() => said.includes('ready'));
    return child;
  }

  /** Everything in a database: schema, pragmas, and rows with their rowids and bytes. */
  function describeFile(database: string): unknown {
    const tables = JSON.parse(sql(database, TABLES)) as { name: string; columns: string[]; rowid: string | null }[];
    const rows = tables.map(({ name, columns, rowid }) => {
      const exact = columns.map(quote).map((column) => `typeof(${column}), hex(${column}), quote(${column})`);
      return `SELECT '== ${name.replaceAll("'", "''")}'; SELECT ${[rowid ?? "''", ...exact].join(',')} FROM ${quote(name)} ORDER BY 1, 2, 3;`;
    });
    const pragmas = [
      'encoding',
      'page_size',
      'auto_vacuum',
      'application_id',
      'user_version',
      'journal_mode',
      'integrity_check',
    ];
    const schema = 'SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name;';
    return sql(database, [...rows, schema, ...pragmas.map((name) => `PRAGMA ${name};`)].join('\n')).split('\n');
  }
});

const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;

const TABLES = `SELECT json_group_array(json_object('name', name, 'columns', (SELECT json_group_array(name) FROM pragma_table_xinfo(m.name)),
  'rowid', iif(name = 'sqlite_stat1' OR EXISTS (SELECT 1 FROM pragma_index_info(m.name)), NULL, (SELECT a.column1 FROM (VALUES ('rowid'), ('_rowid_'), ('oid')) a
    WHERE a.column1 NOT IN (SELECT lower(name) FROM pragma_table_xinfo(m.name)) LIMIT 1))))
  FROM (SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 ORDER BY name) m;`;

function sql(database: string, statements: string): string {
  const args = ['-batch', '-bail', '-init', '/dev/null', database];
  const { status, stdout, stderr } = spawnSync('sqlite3', args, {
    input: statements,
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
  });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

function isWhole(bytes: Buffer, { marks }: DumpPlan): boolean {
  const head = bytes.subarray(0, 64 * 1024).toString('latin1');
  const tail = bytes.subarray(-64 * 1024).toString('latin1');
  return marks.begins!.test(head) && marks.ends!.test(tail);
}

const HEADER = 'PRAGMA page_size=8192; PRAGMA auto_vacuum=2; PRAGMA application_id=-5; PRAGMA user_version=77;\n';

/** What a dump easily loses: see the names. */
const CONTENT = `
CREATE TABLE texts (id INTEGER PRIMARY KEY, t TEXT, b BLOB);
CREATE TABLE log (m); CREATE TRIGGER tr AFTER INSERT ON texts BEGIN INSERT INTO log VALUES ('ins '||new.id); END;
INSERT INTO texts VALUES (1, 'a'||char(0)||'b', x'00ff00'), (2, '', ''), (3, CAST(x'ff41fe' AS TEXT), x''), (4, 'it''s "q"'||char(10,13,9,27,1,127,8232), NULL), (5, 'COMMIT;'||char(10)||'COMMIT;', 1);
CREATE TABLE numbers (a, r REAL, n NUMERIC);
INSERT INTO numbers VALUES (9e999, -9e999, 1e300), (9223372036854775807, -9223372036854775808, -9223372036854775808), (-9223372036854775808, 1.0, 1),
  (1.0, 0.1, 12345678901234567890), (0.1+0.2, 1e15, 1.5), ('123', 'x', '1e5x'), (1e-290, 1.7976931348623157e308, 2.2250738585072014e-308), (NULL, 0.0, 0);
CREATE TABLE without_rowid (k TEXT PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO without_rowid VALUES ('z', 1), ('a', 2), ('a'||char(0)||'1', 3), ('a'||char(0)||'2', 4);
CREATE TABLE generated (a INT, b INT GENERATED ALWAYS AS (a * 2) STORED, c INT AS (a + 1), d TEXT DEFAULT 'q'); INSERT INTO generated (rowid, a, d) VALUES (10, 1, 'x'), (5, 2, NULL);
CREATE TABLE "od""d 'n\`a[m]e -- /* ;" ("select" TEXT, "a b" INT, "" , 'q''x', "@"); INSERT INTO "od""d 'n\`a[m]e -- /* ;" VALUES ('x', 1, 2, 3, '@');
CREATE TABLE sparse_rowids (x); INSERT INTO sparse_rowids (rowid, x) VALUES (100, 'a'), (3, 'b'), (-5, 'c');
CREATE TABLE shadowed (rowid TEXT, oid TEXT, _rowid_ TEXT); INSERT INTO shadowed VALUES ('a', 'b', 'c');
CREATE TABLE half_shadowed (ROWID TEXT, x); INSERT INTO half_shadowed (_rowid_, x) VALUES (9, 1);
CREATE TABLE descending (id INTEGER PRIMARY KEY DESC, v); INSERT INTO descending (rowid, id, v) VALUES (77, 5, 'x');
CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT, v); INSERT INTO auto VALUES (1000, 'x'); DELETE FROM auto; INSERT INTO auto (v) VALUES ('y');
CREATE TABLE strict_types (a INT, b ANY, c TEXT) STRICT; INSERT INTO strict_types VALUES (1, 1.5, 't'), (2, '1', ''), (3, x'00', 'n');
CREATE VIRTUAL TABLE fts USING fts5 (title, body); INSERT INTO fts VALUES ('hello', 'world of sqlite'), ('two', 'words');
CREATE VIRTUAL TABLE rt USING rtree (id, x0, x1); INSERT INTO rt VALUES (1, 0, 1), (2, 5, 6);
CREATE TABLE commented (a -- first
, b /* second */); INSERT INTO commented VALUES (1, 2); ALTER TABLE commented ADD COLUMN late DEFAULT 'later';
CREATE VIEW v AS SELECT * FROM texts; CREATE VIEW broken AS SELECT * FROM missing; CREATE VIEW ends_in_comment AS SELECT 1 -- end
;
CREATE TRIGGER instead INSTEAD OF INSERT ON v BEGIN INSERT INTO texts VALUES (new.id, new.t, new.b); END;
CREATE INDEX on_expression ON texts (lower(t)) WHERE t IS NOT NULL; CREATE UNIQUE INDEX on_numbers ON numbers (a, r);
CREATE TABLE parent (id INTEGER PRIMARY KEY); CREATE TABLE child (p REFERENCES parent DEFERRABLE INITIALLY DEFERRED); INSERT INTO child VALUES (99);
CREATE TABLE empty (a); CREATE TABLE emoji ('😀' TEXT); INSERT INTO emoji VALUES ('😀');
ANALYZE;
`;
