import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { EngineName } from '../src/core/connection.ts';
import type { Mode } from '../src/core/mode.ts';
import { fakePath, listBackups } from './support/backups.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { describeEngine, FIXTURE_TOOLS, FIXTURES, type Fixture } from './support/fixtures.ts';
import { type MongoTestServer, startFerret, startMongoJava } from './support/mongo.ts';
import { type MysqlServer, startMariadb } from './support/mysql.ts';
import { describeWith } from './support/need.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { startRemote } from './support/remotes.ts';
import { flipByte, makeBackup, rewriteManifest } from './support/restores.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

type Env = Record<string, string>;

const TIMEOUT = { timeout: 240_000 };

interface Line {
  readonly ok: boolean;
  readonly outcome: string;
  readonly level: string;
  readonly reason: string | null;
  readonly drill?: { readonly tables: number; readonly rows: number; readonly durationMs: number };
}

async function drill(env: Env, name = 'latest') {
  const run = await runDbstash(['verify', name, '--level', 'restore', '--json'], env);
  return { run, lines: run.stdout === '' ? [] : (JSON.parse(run.stdout) as Line[]) };
}

/** What there is to be counted in each fixture. */
const COUNTS: Readonly<Record<EngineName, { tables: number; rows?: number }>> = {
  pg: { tables: 1, rows: 3000 },
  mysql: { tables: 1, rows: 3 },
  mariadb: { tables: 1, rows: 3 },
  mongo: { tables: 9 },
  redis: { tables: 0, rows: 2003 },
  sqlite: { tables: 1, rows: 3000 },
};

const CASES: readonly (readonly [EngineName, Mode, Env])[] = [
  ['pg', 'stream', { BACKUP_COMPRESS: 'true' }],
  ['pg', 'tar', {}],
  ['mysql', 'stream', { BACKUP_COMPRESS: 'zstd' }],
  ['mariadb', 'stream', {}],
  ['mongo', 'stream', {}],
  ['redis', 'stream', { BACKUP_COMPRESS: 'gzip' }],
  ['sqlite', 'stream', {}],
  ['sqlite', 'file', { BACKUP_COMPRESS: 'zstd' }],
];

for (const name of Object.keys(COUNTS) as EngineName[]) {
  const title = `a drill of ${name}`;
  describeEngine(name, ['rclone', 'gzip', 'zstd', 'tar'], title, () => {
    let scratch: Scratch;
    let fixture: Fixture;
    beforeAll(async () => {
      scratch = scratchFolder();
      fixture = await FIXTURES[name](scratch);
    }, 120_000);
    afterAll(async () => {
      await fixture?.[Symbol.asyncDispose]();
      await scratch?.[Symbol.asyncDispose]();
    });

    const modes = CASES.filter(([engine]) => engine === name).map(([, mode, more]) => [mode, more] as const);
    it.each(modes)('of a %s %j restores it aside, counts it, and leaves no trace', TIMEOUT, async (mode, more) => {
      const folder = join(scratch.path, mode);
      const env: Env = {
        ...fixture.env,
        ...more,
        BACKUP_MODE: mode,
        RCLONE_REMOTE: join(folder, 'backups'),
        BACKUP_TEMP_DIR: join(folder, 'tmp'),
        ...(name !== 'sqlite' && name !== 'redis' && { VERIFY_DB_URI: fixture.env.DB_URI! }),
      };
      const before = await fixture.content();
      await makeBackup(env);
      const { run, lines } = await drill(env);
      expect(run, run.stderr).toMatchObject({ exitCode: 0 });
      expect(lines).toMatchObject([{ ok: true, level: 'restore', reason: null, drill: COUNTS[name] }]);
      expect(lines[0]?.drill?.durationMs).toBeGreaterThan(0);
      expect(await fixture.content()).toEqual(before);
      const listed = await runDbstash(['list'], env);
      expect(listed.stdout).toMatch(/\(restore verified \d+s ago: restored in [\d.]+m?s at [\d.]+ [KM]?i?B\/s\)/);
      expect(execFileSync('find', [env.BACKUP_TEMP_DIR!, '-type', 'f'], { encoding: 'utf8' })).toBe('');
      // A later look that is less close does not forget how long a restore takes.
      await runDbstash(['verify'], env);
      expect((await runDbstash(['list'], env)).stdout).toMatch(/\(content verified \d+s ago: restored in/);
    });
  });
}

describeWith(FIXTURE_TOOLS.pg, 'a drill on a PostgreSQL server', () => {
  let server: PostgresServer;
  let scratch: Scratch;
  beforeAll(async () => {
    scratch = scratchFolder();
    server = await startPostgres();
    await server.sql('CREATE ROLE app LOGIN');
    await server.createDatabase('orders');
    await server.sql('CREATE TABLE t AS SELECT i FROM generate_series(1, 500) i; ALTER TABLE t OWNER TO app', {
      database: 'orders',
    });
  });
  afterAll(async () => {
    await server?.stop();
    await scratch?.[Symbol.asyncDispose]();
  });

  const envFor = (name: string, more: Env = {}): Env => ({
    DB_URI: server.uri('orders'),
    VERIFY_DB_URI: server.uri('postgres'),
    RCLONE_REMOTE: join(scratch.path, name, 'backups'),
    BACKUP_TEMP_DIR: join(scratch.path, name, 'tmp'),
    ...more,
  });
  const databases = () => server.sql('SELECT string_agg(datname, $$,$$ ORDER BY datname) FROM pg_database');

  it('makes the roles that another server lacks, and touches none of its databases', TIMEOUT, async () => {
    await using other = {
      server: await startPostgres(),
      [Symbol.asyncDispose]: async () => void (await other.server.stop()),
    };
    const env = envFor('other', { VERIFY_DB_URI: other.server.uri('postgres') });
    await makeBackup(env);
    const { run, lines } = await drill(env);
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    expect(lines).toMatchObject([{ ok: true, drill: { tables: 1, rows: 500 } }]);
    expect(await other.server.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'dbstash%'")).toEqual(['0']);
    expect(await other.server.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'app'")).toEqual(['1']);
  });

  it('F15: tells of a drill that failed, by all that tells, and leaves the backup good', TIMEOUT, async () => {
    const env = envFor('bad', { DUMP_EXTRA_ARGS: '--table=public.t' });
    const { artifact: first } = await makeBackup(env);
    expect((await drill(env)).run.exitCode).toBe(0);
    await server.sql('CREATE SCHEMA aside; CREATE TYPE aside.kind AS ENUM ($$a$$); ALTER TABLE t ADD k aside.kind', {
      database: 'orders',
    });
    const before = await databases();
    const { artifact } = await makeBackup(env);
    const why = 'schema "aside" does not exist';
    const { run, lines } = await drill(env);
    expect([run.exitCode, run.stderr]).toEqual([
      4,
      expect.stringMatching(/is as it was written, and its drill failed: it could not be restored: .*aside/),
    ]);
    expect(lines).toMatchObject([
      { ok: false, outcome: 'drill failed', level: 'restore', reason: expect.stringContaining(why) },
    ]);
    expect(lines[0]).not.toHaveProperty('drill');
    expect(await databases()).toEqual(before);
    const failed = {
      state: 'good',
      verified: { ok: true, level: 'content', failedDrill: { reason: expect.stringContaining(why) } },
    };
    expect((await listBackups(env))[0]).toMatchObject(failed);
    expect((await runDbstash(['list'], env)).stdout).toMatch(
      /good .*\(content verified \d+s ago\) {2}\(its drill failed \d+s ago: it could not be restored/,
    );
    // It can be read, as before: that takes back nothing.
    for (const level of ['content', 'stored']) {
      const again = await runDbstash(['verify', '--level', level], env);
      expect([again.exitCode, again.stdout]).toEqual([
        0,
        expect.stringMatching(/^ *good .*its last drill, of .*failed/),
      ]);
      expect((await listBackups(env))[0]).toMatchObject(failed);
    }
    const preview = await runDbstash(['restore', 'latest', '--dry-run', '--database', 'copy'], env);
    expect(preview.stdout).toContain(artifact);
    expect(preview.stdout).toMatch(
      new RegExp(`takes about +[\\d.]+m?s, by the last drill, of ${first}: [\\d.]+m?s, .*/s of the dump`),
    );
    expect(preview.stderr).toMatch(new RegExp(`the last drill of ${artifact}, of .*, failed: it could not`));
    // The one that failed goes, the last that a drill restored stays.
    const { artifact: newest } = await makeBackup({ ...env, RETENTION_MAX_FILES: '1' });
    expect((await listBackups(env)).map((backup) => backup.artifact)).toEqual([newest, first]);
    await server.sql('ALTER TABLE t DROP k; DROP SCHEMA aside CASCADE', { database: 'orders' });
  });

  it('F15: a drill that meets damage says so, and one that goes well takes back a failed one', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envFor('both', { ...remote.env, RCLONE_REMOTE: remote.remote });
    const { artifact } = await makeBackup(env);
    await server.sql('ALTER ROLE app RENAME TO gone');
    const psql = fakePath(scratch, {
      psql: `case "$*" in *--command=BEGIN*) cat >/dev/null; echo 'ERROR:  relation "x" is odd' >&2; exit 3 ;; esac
exec '${requireTool('psql')}' "$@"`,
    });
    expect((await drill({ ...env, ...psql })).lines).toMatchObject([{ outcome: 'drill failed' }]);
    await flipByte(remote, artifact);
    expect((await drill(env)).lines).toMatchObject([{ outcome: 'damaged' }]);
    expect((await listBackups(env))[0]).toMatchObject({ state: 'damaged', verified: { failedDrill: {} } });
    await flipByte(remote, artifact);
    expect((await drill(env)).lines).toMatchObject([{ outcome: 'good' }]);
    const [listed] = await listBackups(env);
    expect(listed).toMatchObject({ state: 'good', verified: { level: 'restore' } });
    expect(JSON.stringify(listed)).not.toContain('failedDrill');
    await server.sql('DROP ROLE app; ALTER ROLE gone RENAME TO app');
  });

  it('F15: ends a drill that hangs, tells of it, and removes what it made', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envFor('hung', { ...remote.env, RCLONE_REMOTE: remote.remote, VERIFY_TIMEOUT: '4s' });
    const { artifact } = await makeBackup(env);
    const before = await databases();
    const text = (await remote.read(artifact))
      .toString()
      .replace('CREATE TABLE', 'SELECT pg_sleep(600);\nCREATE TABLE');
    await remote.write(artifact, Buffer.from(text));
    const sha256 = createHash('sha256').update(text).digest('hex');
    await rewriteManifest(remote, artifact, { sha256, bytes: text.length, dumpBytes: text.length });
    const { run, lines } = await drill(env);
    expect([run.exitCode, run.stderr]).toEqual([
      1,
      expect.stringContaining('the drill took longer than VERIFY_TIMEOUT, 4'),
    ]);
    expect(lines).toMatchObject([{ outcome: 'drill failed' }]);
    expect((await listBackups(env))[0]).toMatchObject({ state: 'good', verified: { failedDrill: {} } });
    expect(await databases()).toEqual(before);
  });

  it('ends a question that a hung server never answers', TIMEOUT, async () => {
    const env = envFor('mute', { VERIFY_TIMEOUT: '4s' });
    await makeBackup(env);
    const mute = createServer(() => {});
    await new Promise<void>((done) => void mute.listen(0, '127.0.0.1', done));
    const { port } = mute.address() as AddressInfo;
    const { run, lines } = await drill({ ...env, VERIFY_DB_URI: `postgres://postgres@127.0.0.1:${port}/postgres` });
    mute.close();
    expect([run.exitCode, lines, run.stderr]).toEqual([1, [], expect.stringContaining('VERIFY_TIMEOUT')]);
    expect(JSON.stringify(await listBackups(env))).not.toContain('failedDrill');
  });

  it('blames no backup for a server that is down, or one that may not be used', TIMEOUT, async () => {
    const env = envFor('down');
    await makeBackup(env);
    const unset = await drill({ ...env, VERIFY_DB_URI: '' });
    expect([unset.run.exitCode, unset.run.stderr]).toEqual([2, expect.stringContaining('VERIFY_DB_URI is not set')]);
    const down = await drill({ ...env, VERIFY_DB_URI: 'postgres://postgres@127.0.0.1:1/postgres' });
    expect([down.run.exitCode, down.lines]).toEqual([1, []]);
    await server.sql('CREATE ROLE nobody LOGIN PASSWORD $$x$$');
    const denied = await drill({ ...env, VERIFY_DB_URI: server.uri('postgres', { user: 'nobody', password: 'x' }) });
    expect([denied.run.exitCode, denied.run.stderr]).toEqual([
      1,
      expect.stringContaining('permission denied to create database'),
    ]);
    const other = await drill({ ...env, VERIFY_DB_URI: 'mysql://root@h/x' });
    expect([other.run.exitCode, other.run.stderr]).toEqual([
      2,
      expect.stringContaining('VERIFY_DB_URI: it is of another engine'),
    ]);
    expect((await listBackups(env))[0]?.state).toBe('good');
  });

  it('F15: blames no backup for a server that hangs up in the middle', TIMEOUT, async () => {
    const env = envFor('lost');
    await makeBackup(env);
    const psql = fakePath(scratch, {
      psql: `case "$*" in *--command=BEGIN*) cat >/dev/null; echo 'FATAL:  terminating connection due to administrator command' >&2; exit 2 ;; esac
exec '${requireTool('psql')}' "$@"`,
    });
    const { run, lines } = await drill({ ...env, ...psql });
    expect([run.exitCode, lines]).toMatchObject([1, [{ outcome: 'drill failed' }]]);
    expect(run.stderr).toContain('its drill failed: it could not be restored: psql exited with 2: FATAL:  terminating');
    expect((await listBackups(env))[0]).toMatchObject({ state: 'good', verified: { ok: true } });
  });

  it('removes what it made also where a subscription holds it fast', TIMEOUT, async () => {
    await server.createDatabase('subscribed');
    await server.sql(
      "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false, slot_name = 'kept')",
      { database: 'subscribed' },
    );
    const env = envFor('subscribed', { DB_URI: server.uri('subscribed') });
    const before = await databases();
    await makeBackup(env);
    const { run } = await drill(env);
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    expect(await databases()).toEqual(before);
    expect(await server.sql('SELECT subname, subslotname FROM pg_subscription')).toEqual(['s|kept']);
    await server.sql('ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s', { database: 'subscribed' });
    await server.sql('DROP DATABASE subscribed');
  });

  it('tells of what drills that were killed have left, which is no database to back up', TIMEOUT, async () => {
    await server.createDatabase('dbstash_drill_20260207t020000z_a1b2c3');
    const env = envFor('left', { DB_NAME: '*', DB_URI: server.uri('postgres') });
    await makeBackup(env);
    expect((await listBackups(env)).map(({ database }) => database).sort()).toEqual(['all', 'orders', 'postgres']);
    expect((await drill(env)).run.stderr).toContain('killed left dbstash_drill_20260207t020000z_a1b2c3 on the server');
    await server.sql('DROP DATABASE dbstash_drill_20260207t020000z_a1b2c3');
  });

  it('refuses a dump that names its own database, which would be restored over', TIMEOUT, async () => {
    const env = envFor('named', { DUMP_EXTRA_ARGS: '--create --clean' });
    await makeBackup(env);
    const { run } = await drill(env);
    expect([run.exitCode, run.stderr]).toEqual([
      2,
      expect.stringContaining('it cannot be restored under another name'),
    ]);
    expect(await server.sql('SELECT count(*) FROM t', { database: 'orders' })).toEqual(['500']);
  });

  it('of several databases looks at the roles as closely as it can', TIMEOUT, async () => {
    const env = envFor('all', { DB_NAME: 'orders,postgres', DB_URI: server.uri('postgres') });
    await makeBackup(env);
    const { run, lines } = await drill(env);
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    expect(lines.map(({ level, ok }) => [level, ok]).sort()).toEqual([
      ['content', true],
      ['restore', true],
      ['restore', true],
    ]);
  });
});

/** Clients that take two seconds more once all is loaded: time enough to look at it, and for an event to wake up. */
const slowLoad = (scratch: Scratch): Env =>
  fakePath(scratch, {
    mariadb: `'${requireTool('mariadb')}' "$@"; code=$?; case "$*" in *--binary-mode*) sleep 2 ;; esac; exit $code`,
    myloader: `'${requireTool('myloader')}' "$@"; code=$?; sleep 2; exit $code`,
  });

describeWith(FIXTURE_TOOLS.mariadb, 'a drill on a MariaDB server', () => {
  let server: MysqlServer;
  let scratch: Scratch;
  beforeAll(async () => {
    scratch = scratchFolder();
    server = await startMariadb();
  }, 120_000);
  afterAll(async () => {
    await server?.stop();
    await scratch?.[Symbol.asyncDispose]();
  });

  it.each([
    ['stream', 'stream', 'false'],
    ['tar', 'tar', 'false'],
    ['packed', 'tar', 'true'],
  ])(
    'keeps the events of a %s asleep, where the server would wake them',
    TIMEOUT,
    async (mode, backupMode, compress) => {
      await server.createDatabase(`source_${mode}`);
      await server.sql(`CREATE DATABASE outside_${mode}; CREATE TABLE outside_${mode}.t (drilled varchar(100))`);
      await server.sql(
        `CREATE TABLE t (i int); INSERT INTO t VALUES (1);
       CREATE EVENT e ON SCHEDULE EVERY 1 SECOND ON COMPLETION PRESERVE ENABLE DO INSERT INTO outside_${mode}.t VALUES (DATABASE());
       CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.i = NEW.i + SLEEP(1.5)`,
        { database: `source_${mode}` },
      );
      const env: Env = {
        DB_URI: server.uri(`source_${mode}`),
        ENGINE: 'mariadb',
        VERIFY_DB_URI: server.uri('mysql'),
        BACKUP_MODE: backupMode,
        BACKUP_COMPRESS: compress,
        RCLONE_REMOTE: join(scratch.path, mode, 'backups'),
        BACKUP_TEMP_DIR: join(scratch.path, mode, 'tmp'),
      };
      await makeBackup(env);
      await server.sql('SET GLOBAL event_scheduler = ON');
      const seen: string[] = [];
      let isOver = false;
      const watch = async () => {
        const look = "SELECT status FROM information_schema.events WHERE event_schema LIKE 'dbstash%'";
        while (!isOver) {
          seen.push(...(await server.sql(look)));
          await sleep(50);
        }
      };
      const [{ run }] = await Promise.all([
        drill({ ...env, ...slowLoad(scratch) }).finally(() => (isOver = true)),
        watch(),
      ]);
      await server.sql('SET GLOBAL event_scheduler = OFF');
      expect([...new Set(seen)]).toEqual(['DISABLED']);
      expect(run, run.stderr).toMatchObject({ exitCode: 0 });
      expect(await server.sql(`SELECT COUNT(*) FROM outside_${mode}.t WHERE drilled LIKE 'dbstash%'`)).toEqual(['0']);
      expect(
        await server.sql("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name LIKE 'dbstash%'"),
      ).toEqual(['0']);
    },
  );

  it('F53: a drill that is stopped removes what it made, and does not say that it is half there', TIMEOUT, async () => {
    await server.createDatabase('stopped');
    await server.sql('CREATE TABLE t (i int)', { database: 'stopped' });
    const env: Env = {
      DB_URI: server.uri('stopped'),
      ENGINE: 'mariadb',
      VERIFY_DB_URI: server.uri('mysql'),
      RCLONE_REMOTE: join(scratch.path, 'stopped', 'backups'),
      BACKUP_TEMP_DIR: join(scratch.path, 'stopped', 'tmp'),
    };
    await makeBackup(env);
    const slow = fakePath(scratch, {
      mariadb: `case "$*" in *--binary-mode*) cat >/dev/null; sleep 300 ;; esac; exec '${requireTool('mariadb')}' "$@"`,
    });
    await using run = startDbstash(['verify', 'latest', '--level', 'restore'], { ...env, ...slow });
    const count = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name LIKE 'dbstash%'";
    await waitFor(async () => (await server.sql(count))[0] === '1', { timeoutMs: 60_000, title: 'it is made' });
    run.kill('SIGINT');
    const { exitCode, stderr } = await run.exited;
    expect(exitCode, stderr).toBe(130);
    expect(stderr).toContain('interrupted by SIGINT');
    expect(stderr).not.toMatch(/partly restored|was created|was not created|as it was/);
    expect(await server.sql(count)).toEqual(['0']);
  });

  it('F15: ends a drill that hangs, and what its client had begun, and removes what it made', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    await server.createDatabase('hung');
    await server.sql('CREATE TABLE t (i int)', { database: 'hung' });
    const env: Env = {
      DB_URI: server.uri('hung'),
      ENGINE: 'mariadb',
      VERIFY_DB_URI: server.uri('mysql'),
      VERIFY_TIMEOUT: '4s',
      ...remote.env,
      RCLONE_REMOTE: remote.remote,
      BACKUP_TEMP_DIR: join(scratch.path, 'hung'),
    };
    const { artifact } = await makeBackup(env);
    const whole = (await remote.read(artifact)).toString();
    const text = whole.replace(
      '-- Dump completed',
      'INSERT INTO t SELECT BENCHMARK(1000000000000, MD5(1));\n-- Dump completed',
    );
    await remote.write(artifact, Buffer.from(text));
    const sha256 = createHash('sha256').update(text).digest('hex');
    await rewriteManifest(remote, artifact, { sha256, bytes: text.length, dumpBytes: text.length });
    const { run, lines } = await drill(env);
    expect([run.exitCode, run.stderr]).toEqual([1, expect.stringContaining('longer than VERIFY_TIMEOUT, 4')]);
    expect(run.stderr).not.toContain('could not be removed');
    expect(lines).toMatchObject([{ outcome: 'drill failed' }]);
    const left = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name LIKE 'dbstash%'";
    expect(await server.sql(left)).toEqual(['0']);
  });

  it.each([
    ['stream', 'false'],
    ['directory', 'false'],
    ['tar', 'true'],
  ])(
    'makes the triggers of a %s (compressed: %s) in its own database, whatever they name',
    TIMEOUT,
    async (mode, compress) => {
      const source = `named_${mode}`;
      await server.createDatabase(source);
      await server.sql(
        `CREATE TABLE t (i int); CREATE TRIGGER ${source}.one BEFORE INSERT ON ${source}.t FOR EACH ROW SET NEW.i = 1;
       CREATE TRIGGER \`${source}\`.\`t.wo\`\n after insert\n on \`${source}\`.\`t\`\n for  each row SET @x = 1`,
        { database: source },
      );
      const env: Env = {
        DB_URI: server.uri(source),
        ENGINE: 'mariadb',
        VERIFY_DB_URI: server.uri('mysql'),
        BACKUP_MODE: mode,
        BACKUP_COMPRESS: compress,
        RCLONE_REMOTE: join(scratch.path, source, 'backups'),
        BACKUP_TEMP_DIR: join(scratch.path, source, 'tmp'),
      };
      await makeBackup(env);
      const { run } = await drill(env);
      expect(run, run.stderr).toMatchObject({ exitCode: 0 });
      const copy = await runDbstash(['restore', 'latest', '--database', `${source}_copy`], env);
      expect(copy, copy.stderr).toMatchObject({ exitCode: 0 });
      const made = `SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = '${source}_copy' ORDER BY 1`;
      expect(await server.sql(made)).toEqual(['one', 't.wo']);
    },
  );
});

/** The servers that there are to test with, by name, and whether they keep an oplog for it. */
const MONGO_SERVERS = [
  ['mongo-java-server', 'java', startMongoJava],
  ['FerretDB', 'ferretdb', () => startFerret({ replicaSet: 'rs0' })],
] as const;

for (const [title, tool, start] of MONGO_SERVERS) {
  describeWith(['mongodump', 'mongorestore', 'rclone', tool], `a drill of a whole server, ${title}`, () => {
    let server: MongoTestServer;
    let scratch: Scratch;
    beforeAll(async () => {
      scratch = scratchFolder();
      server = await start();
      // FerretDB has no such names, and dumps its oplog as well.
      const odd = tool === 'java' ? 'or*ders' : 'or-ders';
      if (tool !== 'java')
        await server.client.db('local').createCollection('oplog.rs', { capped: true, size: 1_000_000 });
      for (const [name, rows] of [
        ['orders', 3],
        [odd, 2],
        ['users', 1],
      ] as const) {
        const documents = Array.from({ length: rows }, (_, i) => ({ i }));
        await server.client.db(name).collection('t').insertMany(documents);
        await server.client.db(name).collection('t').createIndex({ i: 1 });
      }
    }, 120_000);
    afterAll(async () => {
      await server?.stop();
      await scratch?.[Symbol.asyncDispose]();
    });

    const databases = async () =>
      (await server.client.db('admin').admin().listDatabases()).databases.map(({ name }) => name).sort();

    it.each([
      ['stream', 'false'],
      ['tar', 'true'],
    ])(
      'restores the databases of a %s under other names, counts them, and drops them',
      TIMEOUT,
      async (mode, compress) => {
        const env: Env = {
          DB_URI: server.uri(),
          VERIFY_DB_URI: server.uri({ database: 'orders' }),
          BACKUP_MODE: mode,
          BACKUP_COMPRESS: compress,
          RCLONE_REMOTE: join(scratch.path, mode, 'backups'),
          BACKUP_TEMP_DIR: join(scratch.path, mode, 'tmp'),
          PATH: `${join(requireTool('mongodump'), '..')}:${process.env.PATH}`,
        };
        await makeBackup(env);
        // Whoever asks for what is not there makes databases of the server's own.
        const before = await databases();
        const seen = new Set<string>();
        let isOver = false;
        const watch = async () => {
          while (!isOver) {
            for (const name of await databases()) seen.add(name);
            await sleep(20);
          }
        };
        const [{ run, lines }] = await Promise.all([drill(env).finally(() => (isOver = true)), watch()]);
        expect(run, run.stderr).toMatchObject({ exitCode: 0 });
        expect(lines).toMatchObject([{ outcome: 'good', level: 'restore', drill: { tables: 3, rows: 6 } }]);
        expect(await databases()).toEqual(before);
        const made = [...seen].filter((name) => !before.includes(name));
        expect(made.filter((name) => !/^dbstash_drill_\w+_[123]$/.test(name))).toEqual([]);
        expect(made).toHaveLength(3);
        expect(await server.client.db('orders').collection('t').countDocuments()).toBe(3);
        // One that fails leaves as little.
        const broken = fakePath(scratch, {
          mongorestore: `'${requireTool('mongorestore')}' "$@" 2>/dev/null; echo 'Failed: it is odd' >&2; exit 1`,
        });
        const failed = await drill({ ...env, PATH: `${broken.PATH}:${env.PATH}` });
        expect(failed.lines).toMatchObject([{ outcome: 'drill failed', reason: expect.stringContaining('it is odd') }]);
        expect(await databases()).toEqual(before);
      },
    );
  });
}
