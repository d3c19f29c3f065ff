import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { backupEnv, fakePath, listBackups } from './support/backups.ts';
import { type DbstashRun, runDbstash, startDbstash } from './support/dbstash.ts';
import {
  describeDatabase,
  type MongoTestServer,
  makeCertificate,
  startFerret,
  startMongoJava,
} from './support/mongo.ts';
import { fillDatabase } from './support/mongoContent.ts';
import { describeWith } from './support/need.ts';
import { type RemoteKind, startRemote, type TestRemote } from './support/remotes.ts';
import { heldRclone, makeBackup } from './support/restores.ts';
import { freePort, type Scratch, scratchFolder, waitFor } from './support/scratch.ts';
import { findTool, requireTool } from './support/tools.ts';

type Env = Record<string, string>;

const PASSWORD = `p@ss:/?#%'"\\$ ü;\`id\`$(id)`;
const TOOLS = ['mongodump', 'mongorestore', 'rclone', 'gzip', 'zstd'];
/** Under load the tools take their time. */
const LONG_MS = 180_000;

/** The tools last: beside them lie others that must not hide the machine's own. */
const withTools = (path = process.env.PATH ?? ''): Env => ({
  PATH: `${path}:${dirname(findTool('mongodump') ?? '/')}`,
});

const envOf = (uri: string, remote: TestRemote, scratch: Scratch, more: Env = {}): Env =>
  backupEnv(uri, remote, scratch, { ...withTools(), ...more });

async function expectRun(args: readonly string[], env: Env, exitCode = 0): Promise<DbstashRun> {
  const run = await runDbstash(args, env, { timeoutMs: LONG_MS });
  expect(run.exitCode, run.stderr).toBe(exitCode);
  return run;
}

const describeAll = async ({ client }: MongoTestServer): Promise<Record<string, unknown>> => {
  const { databases } = await client.db('admin').admin().listDatabases();
  const names = databases.map(({ name }) => name).filter((name) => !['admin', 'config', 'local'].includes(name));
  return Object.fromEntries(
    await Promise.all(names.sort().map(async (name) => [name, await describeDatabase(client.db(name))] as const)),
  );
};

describeWith(
  [...TOOLS, 'java', 'mongo-java-server'],
  'a MongoDB database goes to a remote and comes back (mongodump 100.6.1, mongo-java-server 1.47)',
  () => {
    let source: MongoTestServer;
    let other: MongoTestServer;
    let scratch: Scratch;

    beforeAll(async () => {
      scratch = scratchFolder();
      [source, other] = await Promise.all([startMongoJava(), startMongoJava()]);
      await fillDatabase(source.client.db('source'));
      await source.client
        .db('second')
        .collection('c')
        .insertMany([{ a: 1 }, { a: 2 }]);
    }, LONG_MS);

    afterAll(async () => {
      await source?.stop();
      await other?.stop();
      await scratch?.[Symbol.asyncDispose]();
    });

    const KINDS: readonly [RemoteKind, compress: string, extension: string, packing: string | null][] = [
      ['local', 'false', '.archive', null],
      ['s3', 'true', '.archive.gz', 'gzip'],
      ['sftp', 'gzip', '.archive.gz', 'gzip'],
      ['s3', 'zstd:9', '.archive.zst', 'zstd'],
    ];

    it.each(KINDS)(
      'with every type, index and odd name, by %s, BACKUP_COMPRESS=%s',
      async (kind, compress, extension, packing) => {
        await using remote = await startRemote(kind);
        const env = envOf(source.uri({ database: 'source' }), remote, scratch, { BACKUP_COMPRESS: compress });
        const { artifact, bytes, sha256 } = await makeBackup(env);
        expect(artifact).toMatch(/^source-/);
        expect(artifact.endsWith(extension)).toBe(true);
        expect((await remote.list()).get(artifact)).toEqual({ bytes, sha256 });
        expect(await listBackups(env)).toMatchObject([
          { state: 'good', format: 'archive', compression: packing, database: 'source', serverId: null },
        ]);
        const copy = `copy-${kind}-${compress.replace(':', '')}`;
        await expectRun(['restore', '--database', copy], env);
        const want = await describeDatabase(source.client.db('source'));
        expect(Object.keys(want)).toHaveLength(9);
        expect(await describeDatabase(source.client.db(copy))).toEqual(want);
        await source.client.db(copy).dropDatabase();
      },
      LONG_MS,
    );

    it(
      'with all others of the server in one archive, to another server or one by one',
      async () => {
        await using remote = await startRemote('local');
        const env = envOf(source.uri(), remote, scratch);
        const backup = await makeBackup(env);
        expect(backup).toMatchObject({ database: 'all', series: `mongo://127.0.0.1:${source.port}/` });
        expect(backup.artifact).toMatch(/^all-.*\.archive$/);
        const want = await describeAll(source);
        expect(Object.keys(want)).toEqual(['second', 'source']);

        await other.client.db('mess').collection('x').insertOne({});
        const refused = await expectRun(['restore', '--to', other.uri()], env, 2);
        expect(refused.stderr).toMatch(/all on 127\.0\.0\.1:\d+ holds the database mess: .*--replace/);
        await expectRun(['restore', '--to', other.uri(), '--replace', '--yes', 'mess'], env, 2);
        expect(Object.keys(await describeAll(other))).toEqual(['mess']);
        await expectRun(['restore', '--to', other.uri(), '--replace', '--yes', 'all'], env);
        expect(await describeAll(other)).toEqual(want);

        await other.client.db('source').dropDatabase();
        await other.client.db('second').dropDatabase();
        await expectRun(['restore', '--to', other.uri(), '--database', 'second'], env);
        expect(await describeAll(other)).toEqual({ second: want.second });
        const absent = await expectRun(['restore', '--to', other.uri(), '--database', 'third'], env, 2);
        expect(absent.stderr).toContain('holds no database "third"; it holds second, source');
        await other.client.db('second').dropDatabase();
      },
      LONG_MS,
    );

    it(
      'over a target that is full of other things, only when told to',
      async () => {
        await using remote = await startRemote('local');
        const env = envOf(source.uri({ database: 'source' }), remote, scratch);
        await makeBackup(env);
        const messy = source.client.db('messy');
        await messy.collection('many').insertOne({ old: true });
        await messy.collection('mess').createIndex({ x: 1 });
        const before = await describeDatabase(messy);
        const refused = await expectRun(['restore', '--database', 'messy'], env, 2);
        expect(refused.stderr).toMatch(/messy on .* holds 2 collections: restore into another database/);
        expect(await describeDatabase(messy)).toEqual(before);
        await expectRun(['restore', '--database', 'messy', '--replace', '--yes', 'messy'], env);
        expect(await describeDatabase(messy)).toEqual(await describeDatabase(source.client.db('source')));
        await messy.dropDatabase();
      },
      LONG_MS,
    );

    it(
      'F30 F31: under names full of traps',
      async () => {
        await using remote = await startRemote('local');
        for (const name of ['-x;`touch`|é*&', `it's=a<b>?:`, '--db=source']) {
          await source.client.db(name).collection('-c').insertOne({ name });
          const env = envOf(source.uri({ database: name }), remote, scratch);
          const { artifact } = await makeBackup(env);
          expect(artifact).not.toContain('/');
          const copy = `${name.slice(1)}*`;
          await expectRun(['restore', artifact, `--database=${copy}`], env);
          const want = await describeDatabase(source.client.db(name));
          expect(Object.keys(want)).toEqual(['-c']);
          expect(await describeDatabase(source.client.db(copy))).toEqual(want);
          await expectRun(['restore', artifact, '--replace', `--yes=${name}`], env);
          expect(await describeDatabase(source.client.db(name))).toEqual(want);
          await source.client.db(name).dropDatabase();
          await source.client.db(copy).dropDatabase();
        }
      },
      LONG_MS,
    );

    it(
      'but for a collection with a line break in its name, of which both backup and restore warn',
      async () => {
        await using remote = await startRemote('local');
        const db = source.client.db('broken');
        await db.collection('a\nb').insertOne({ a: 1 });
        await db.collection('c').insertOne({ a: 1 });
        const env = envOf(source.uri({ database: 'broken' }), remote, scratch);
        const said = await expectRun(['backup'], env);
        expect(said.stderr).toContain('could not be restored: mongorestore leaves out');
        const { c } = await describeDatabase(db);
        const run = await expectRun(['restore', '--database', 'mended'], env);
        expect(run.stderr).toContain('is in the backup, and not restored');
        expect(await describeDatabase(source.client.db('mended'))).toEqual({ c });
        await source.client.db('mended').dropDatabase();
        await db.dropDatabase();
      },
      LONG_MS,
    );

    it(
      'fails a restore of which the server refuses a document, and says what became of the target',
      async () => {
        await using remote = await startRemote('local');
        const many = Array.from({ length: 20_000 }, (_, i) => ({ _id: i, word: 'x'.repeat(80) }));
        await source.client.db('large').collection<{ _id: number }>('c').insertMany(many);
        const env = envOf(source.uri({ database: 'large' }), remote, scratch);
        await makeBackup(env);
        const held = heldRclone(scratch);
        const late = { ...env, ...withTools(held.env.PATH) };
        await using restore = startDbstash(['restore', '--database', 'late'], late, { timeoutMs: LONG_MS });
        await waitFor(held.isHeld, { timeoutMs: LONG_MS, title: () => restore.stderr() });
        const target = source.client.db('late').collection<{ _id: number }>('c');
        await waitFor(async () => (await target.countDocuments()) > 0, {
          timeoutMs: LONG_MS,
          title: 'documents arrive',
        });
        // mongorestore alone would go on after a key that is taken, and exit 0.
        await target.insertOne({ _id: 19_999 });
        held.release();
        const { exitCode, stderr } = await restore.exited;
        expect(exitCode, stderr).toBe(1);
        expect(stderr).toMatch(
          /mongorestore exited with 1: [\s\S]*duplicate key[\s\S]*\(late may be partly restored\)/,
        );
        await source.client.db('late').dropDatabase();
        await source.client.db('large').dropDatabase();
      },
      LONG_MS,
    );

    /** A mongodump whose output goes through `script`, in which `real` is the real one; it exits 0 in any case. */
    const fakeDump = (script: string): Env => {
      const text = `
real() { '${requireTool('mongodump')}' "$@"; }
case "$*" in --version) real "$@"; exit ;; esac
${script}
exit 0`;
      return withTools(fakePath(scratch, { mongodump: text }).PATH);
    };

    it.each([
      ['false', 'real "$@" | head -c -1'],
      ['false', 'real "$@" | head -c 1000'],
      ['false', 'real "$@" | tail -c +2'],
      ['true', 'real "$@" | head -c -1'],
      ['true', 'real "$1" "$2" --archive | head -c -1 | gzip'],
      ['false', 'true'],
    ])(
      'F04: an archive that is cut (BACKUP_COMPRESS=%s, %s) is no backup',
      async (compress, script) => {
        await using remote = await startRemote('local');
        const uri = source.uri({ database: 'source' });
        const env = envOf(uri, remote, scratch, { ...fakeDump(script), BACKUP_COMPRESS: compress });
        const run = await expectRun(['backup'], env, 1);
        expect(run.stderr).toMatch(/the dump is not whole: /);
        expect((await remote.list()).size).toBe(0);
      },
      LONG_MS,
    );

    it('F03: a database that is not there is no empty backup', async () => {
      await using remote = await startRemote('local');
      const run = await expectRun(['backup'], envOf(source.uri({ database: 'nowhere' }), remote, scratch), 1);
      expect(run.stderr).toContain('there is no database \\"nowhere\\"');
      expect((await remote.list()).size).toBe(0);
    });

    it(
      'F55: says that nothing listens, and that a name is not known',
      async () => {
        await using remote = await startRemote('local');
        const port = await freePort();
        const look = async (uri: string) => (await expectRun(['check'], envOf(uri, remote, scratch), 1)).stdout;
        const [refused, unknown, tls] = await Promise.all([
          look(`mongodb://127.0.0.1:${port}/x`),
          look('mongodb://no-such-host.invalid/x'),
          look(source.uri({ database: 'source', query: 'tls=true' })),
        ]);
        expect(refused).toMatch(new RegExp(`MongoDB at 127.0.0.1:${port} cannot be reached: nothing listens there`));
        expect(unknown).toMatch(/MongoDB at no-such-host\.invalid:27017 cannot be reached: its name is not known/);
        expect(tls).toMatch(/cannot be reached: it does not speak TLS/);
      },
      LONG_MS,
    );
  },
);

describeWith(
  [...TOOLS, 'ferretdb', 'openssl'],
  'a MongoDB server with logins (mongodump 100.6.1, FerretDB 1.24)',
  () => {
    // Without = and , which FerretDB takes wrong (RFC 5802 writes them =3D and =2C).
    const user = `o'dd "user" -x;$(id)@:/`;
    let server: MongoTestServer;
    let scratch: Scratch;

    beforeAll(async () => {
      scratch = scratchFolder();
      server = await startFerret({ login: { user, password: PASSWORD }, replicaSet: 'rs0' });
      const db = server.client.db('app');
      await db.createCollection('capped', { capped: true, size: 100_000, max: 50 });
      await db.collection('capped').insertMany(Array.from({ length: 20 }, (_, i) => ({ i, word: 'x'.repeat(i) })));
      await db.collection('plain').createIndex({ a: 1, b: -1 }, { unique: true });
      await db.collection('plain').insertMany([
        { a: 1, b: 2 },
        { a: 1, b: 1 },
      ]);
    }, LONG_MS);

    afterAll(async () => {
      await server?.stop();
      await scratch?.[Symbol.asyncDispose]();
    });

    it(
      'F32 F33 F35: gives and takes back a database, and no secret is seen in any command line or output',
      async () => {
        await using remote = await startRemote('local');
        const env = envOf(server.uri({ database: 'app', query: 'authSource=admin' }), remote, scratch);
        await using backup = startDbstash(['backup', '--json'], env, { timeoutMs: LONG_MS });
        const lines = await watchCommandLines(backup.exited);
        const { exitCode, stdout, stderr } = await backup.exited;
        expect(exitCode, stderr).toBe(0);
        await using restore = startDbstash(['restore', '--database', 'copy'], env, { timeoutMs: LONG_MS });
        const more = await watchCommandLines(restore.exited);
        expect((await restore.exited).exitCode, restore.stderr()).toBe(0);
        expect(lines.some((line) => line.includes('mongodump') && line.includes('--db=app'))).toBe(true);
        expect(more.some((line) => line.includes('mongorestore'))).toBe(true);
        for (const text of [...lines, ...more, stdout, stderr, restore.stderr()]) {
          for (const secret of [PASSWORD, encodeURIComponent(PASSWORD)]) expect(text).not.toContain(secret);
        }
        const want = await describeDatabase(server.client.db('app'));
        expect(want.capped).toMatchObject({ options: { capped: true, max: 50 } });
        expect(await describeDatabase(server.client.db('copy'))).toEqual(want);
        await server.client.db('copy').dropDatabase();
      },
      LONG_MS,
    );

    it(
      'takes a login by single variables, and as the image of MongoDB names them',
      async () => {
        await using remote = await startRemote('local');
        const { DB_URI: _, ...env } = envOf('', remote, scratch, {
          ENGINE: 'mongo',
          DB_HOST: server.host,
          DB_PORT: String(server.port),
          DB_NAME: 'app',
        });
        const check = async (more: Env, exitCode = 0) =>
          (await expectRun(['check'], { ...env, ...more }, exitCode)).stdout;
        expect(await check({ DB_USER: user, DB_PASSWORD: PASSWORD })).toContain('MongoDB 7.0.42');
        await check({ MONGO_INITDB_ROOT_USERNAME: user, MONGO_INITDB_ROOT_PASSWORD: PASSWORD });
        const refused = await check({ DB_USER: user, DB_PASSWORD: 'canary-wrong' }, 1);
        expect(refused).toMatch(/refuses the login of ".*" at the database admin: wrong user or password/);
        expect(refused).not.toContain('canary-wrong');
        expect(await check({ DB_USER: user }, 2)).toContain('has no password');
      },
      LONG_MS,
    );

    it(
      'is found as a replica set, though the first of its hosts is gone',
      async () => {
        await using remote = await startRemote('local');
        const uri = server.uri({
          database: 'app',
          query: 'authSource=admin&replicaSet=rs0&compressors=snappy&w=majority',
        });
        const backup = await makeBackup(
          envOf(uri.replace('@127.', `@127.0.0.1:${await freePort()},127.`), remote, scratch),
        );
        expect(backup).toMatchObject({ serverId: 'rs0', database: 'app' });
      },
      LONG_MS,
    );

    it(
      'is dumped as a whole with its oplog, where it has one',
      async () => {
        await using remote = await startRemote('local');
        const env = envOf(server.uri(), remote, scratch);
        const without = await makeBackup(env);
        expect(without).toMatchObject({
          serverId: 'rs0',
          database: 'all',
          target: { database: null, databases: ['app'] },
        });
        expect(without).not.toHaveProperty('target.oplog');
        await server.client.db('local').createCollection('oplog.rs', { capped: true, size: 1_000_000 });
        await server.client.db('app').collection('plain').insertOne({ a: 3, b: 3 });
        const backup = await makeBackup(env);
        expect(backup).toMatchObject({ target: { oplog: true } });
        expect((await remote.read(backup.artifact)).toString('latin1')).toContain('oplog');
        const restore = ['restore', '--database', 'app', '--replace', '--yes', 'app'];
        const want = await describeDatabase(server.client.db('app'));
        await expectRun(restore, env);
        expect(await describeDatabase(server.client.db('app'))).toEqual(want);
      },
      LONG_MS,
    );

    it(
      'is reached by TLS, with its certificate checked or not',
      async () => {
        await using remote = await startRemote('local');
        const { pem, ...tls } = makeCertificate(scratch.path);
        await using secure = await startFerret({ tls, login: { user, password: PASSWORD } });
        await secure.client.db('app').collection('c').insertOne({ a: 1 });
        const env = envOf(secure.uri({ database: 'app', query: 'authSource=admin' }), remote, scratch);
        const checked = { ...env, DB_TLS: 'verify', DB_TLS_CA: pem };
        await makeBackup(checked);
        await expectRun(['restore', '--database', 'copy'], { ...env, DB_TLS: 'require' });
        const want = await describeDatabase(secure.client.db('app'));
        expect(await describeDatabase(secure.client.db('copy'))).toEqual(want);
        const [untrusted, plain] = await Promise.all([
          expectRun(['check'], { ...env, DB_TLS: 'verify' }, 1),
          expectRun(['check'], env, 1),
        ]);
        expect(untrusted.stdout).toMatch(/its certificate is not trusted; DB_TLS_CA names whom to trust/);
        expect(plain.stdout).toMatch(/it closes the connection; it may want TLS/);
      },
      LONG_MS,
    );
  },
);

/** Every command line on this machine until `end`. */
async function watchCommandLines(end: Promise<unknown>): Promise<string[]> {
  const seen = new Set<string>();
  let over = false;
  void end.finally(() => {
    over = true;
  });
  while (!over) {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        seen.add(readFileSync(join('/proc', pid, 'cmdline'), 'utf8'));
      } catch {
        // It is gone.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  // The server's own, which was given its password so.
  return [...seen].filter((line) => !line.includes('--setup-password='));
}
