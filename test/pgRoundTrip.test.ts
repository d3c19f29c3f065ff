import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { backupEnv, listBackups } from './support/backups.ts';
import { runDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { PG_MESS, PG_ROLES, PG_SCHEMA, PG_SETTINGS } from './support/pgSchema.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { type RemoteKind, startRemote, type TestRemote } from './support/remotes.ts';
import { makeBackup } from './support/restores.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

type Env = Record<string, string>;

const PASSWORD = `p@ss:/?#%'"\\$ ü;\`id\`$(id)`;

const TOOLS = ['initdb', 'postgres', 'psql', 'pg_dump', 'pg_restore', 'gzip', 'zstd', 'rclone'];

describeWith(TOOLS, 'a PostgreSQL database goes to a remote and comes back', () => {
  let server: PostgresServer;
  let scratch: Scratch;

  beforeAll(async () => {
    scratch = scratchFolder();
    server = await startPostgres({ password: PASSWORD });
    await server.sql(PG_ROLES);
    await server.createDatabase('source');
    await server.sql(PG_SCHEMA, { database: 'source' });
    await server.sql(PG_SETTINGS);
  });

  afterAll(async () => {
    await server?.stop();
    await scratch?.[Symbol.asyncDispose]();
  });

  const envOf = (remote: TestRemote, database: string, more: Env = {}): Env =>
    backupEnv(server.uri(database), remote, scratch, more);

  async function restore(env: Env, database: string, ...args: string[]): Promise<string> {
    const run = await runDbstash(['restore', '--database', database, ...args], env);
    expect(run.exitCode, run.stderr).toBe(0);
    return run.stderr;
  }

  /** All that pg_dump knows of a database, line by line, but for the random key of each dump. */
  const dump = (database: string): string[] =>
    execFileSync(requireTool('pg_dump'), [`--dbname=${server.uri(database)}`], { maxBuffer: 1024 ** 3 })
      .toString()
      .split('\n')
      .filter((line) => !/^\\(un)?restrict /.test(line));

  /** Where the dumps of two databases begin to differ. */
  function difference(a: string, b: string): unknown {
    const [first, second] = [dump(a), dump(b)];
    const at = first.findIndex((line, index) => line !== second[index]);
    if (at < 0 && first.length === second.length) return undefined;
    return [first, second].map((lines) => lines.slice(Math.max(0, at - 3), at + 3).map((line) => line.slice(0, 200)));
  }

  const KINDS: readonly [RemoteKind, compress: string, extension: string, format: string, packing: string | null][] = [
    ['local', 'false', '.sql', 'plain', null],
    ['s3', 'true', '.dump', 'custom', null],
    ['sftp', 'gzip', '.sql.gz', 'plain', 'gzip'],
    ['s3', 'zstd:9', '.sql.zst', 'plain', 'zstd'],
  ];

  it.each(KINDS)(
    'with all its objects, by %s, BACKUP_COMPRESS=%s',
    async (kind, compress, extension, format, packing) => {
      await using remote = await startRemote(kind);
      const env = envOf(remote, 'source', { BACKUP_COMPRESS: compress });
      const { artifact, bytes, sha256 } = await makeBackup(env);
      expect(artifact.endsWith(extension)).toBe(true);
      expect((await remote.list()).get(artifact)).toEqual({ bytes, sha256 });
      expect([...(await remote.list()).keys()].sort()).toEqual([artifact, `${artifact}.manifest.json`]);
      expect(await listBackups(env)).toMatchObject([{ state: 'good', format, compression: packing }]);

      const copy = `copy ${compress}`;
      const said = await restore(env, copy);
      expect(difference('source', copy)).toBeUndefined();
      expect(said).toContain('app.jwt_secret'); // which is not restored, and not in the manifest
      expect(said).not.toContain('hunter2');
      expect((await remote.read(`${artifact}.manifest.json`)).toString()).not.toContain('hunter2');
    },
  );

  it.each(['false', 'true'])('over a target that is full of other things (BACKUP_COMPRESS=%s)', async (compress) => {
    await using remote = await startRemote('local');
    const target = `messy ${compress}`;
    await server.createDatabase(target);
    await server.sql(PG_MESS, { database: target });
    const env = envOf(remote, 'source', { BACKUP_COMPRESS: compress });
    await makeBackup(env);
    await restore(env, target, '--replace', '--yes', target);
    expect(difference('source', target)).toBeUndefined();
  });

  it('with a row of 50 MB', async () => {
    await using remote = await startRemote('s3');
    await server.createDatabase('big');
    const value = `(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1640000) i)`;
    await server.sql(`CREATE TABLE t AS SELECT 1 AS i, ${value} AS word`, { database: 'big' });
    const env = envOf(remote, 'big', { BACKUP_COMPRESS: 'zstd:1' });
    expect(await makeBackup(env)).toMatchObject({ dumpBytes: expect.toSatisfy((bytes) => bytes > 50 * 1024 * 1024) });
    await restore(env, 'big copy');
    const look = 'SELECT i, length(word), md5(word) FROM t';
    expect(await server.sql(look, { database: 'big copy' })).toEqual(await server.sql(look, { database: 'big' }));
  });

  it('F30 F31 F35: under a name, user and password full of traps', async () => {
    await using remote = await startRemote('local');
    const name = '../-x; $(touch pwned) `id` "q" \'s\' é %41\\';
    const user = `o'dd "u=ser" -x;$(id)`;
    await server.sql(
      `CREATE ROLE "${user.replaceAll('"', '""')}" LOGIN SUPERUSER PASSWORD '${PASSWORD.replaceAll("'", "''")}'`,
    );
    await server.createDatabase(name);
    await server.sql('CREATE TABLE t AS SELECT current_database() AS name', { database: name });
    const env = { ...envOf(remote, name), DB_URI: server.uri(name, { user, password: PASSWORD }) };
    const { artifact } = await makeBackup(env);
    expect([...(await remote.list()).keys()].sort()).toEqual([artifact, `${artifact}.manifest.json`]);
    expect(artifact).not.toContain('/');
    await restore(env, `${name} copy`);
    expect(await server.sql('SELECT name FROM t', { database: `${name} copy` })).toEqual([name]);
    const refused = await runDbstash(['restore', '--replace', '--yes', name], env);
    expect(refused.exitCode, refused.stderr).toBe(0);
  });

  it('F39: without a home, and where only the temporary folder can be written', async () => {
    await using remote = await startRemote('local');
    await server.sql('CREATE DATABASE small');
    await server.sql('CREATE TABLE t AS SELECT 7 AS i', { database: 'small' });
    const env = { ...envOf(remote, 'small'), HOME: '/nonexistent', TMPDIR: '/nonexistent' };
    await makeBackup(env);
    await restore(env, 'small copy');
    expect(await server.sql('SELECT i FROM t', { database: 'small copy' })).toEqual(['7']);
  });
});
