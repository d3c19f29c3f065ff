import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { backupEnv, listBackups } from './support/backups.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { findMysql, type MysqlServer, startMariadb, startMysql } from './support/mysql.ts';
import { contentOf } from './support/mysqlContent.ts';
import { MYSQL_DEFINERS, MYSQL_MESS, MYSQL_SCHEMA } from './support/mysqlSchema.ts';
import { describeWith } from './support/need.ts';
import { type RemoteKind, startRemote, type TestRemote } from './support/remotes.ts';
import { heldRclone, makeBackup, rcloneThatReads } from './support/restores.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';

type Env = Record<string, string>;

const PASSWORD = `p@ss:/?#%'"\\$ ü;\`id\`$(id)`;

const KINDS = [
  { engine: 'mariadb', start: startMariadb, isThere: true },
  { engine: 'mysql', start: startMysql, isThere: findMysql() !== undefined },
] as const;

for (const { engine, start, isThere } of KINDS) {
  const tools = ['mariadbd', 'mariadb', 'mariadb-dump', 'gzip', 'zstd', 'rclone', 'cat'];
  describeWith(isThere ? tools : ['mysqld-of-mysql'], `a ${engine} database goes to a remote and comes back`, () => {
    let server: MysqlServer;
    let scratch: Scratch;

    beforeAll(async () => {
      scratch = scratchFolder();
      server = await start({ password: PASSWORD });
      await server.sql(MYSQL_DEFINERS);
      await server.sql('CREATE DATABASE source CHARACTER SET latin1 COLLATE latin1_german1_ci');
      await server.sql(MYSQL_SCHEMA, { database: 'source' });
    }, 180_000);

    afterAll(async () => {
      await server?.stop();
      await scratch?.[Symbol.asyncDispose]();
    });

    const envOf = (remote: TestRemote, database: string, more: Env = {}): Env =>
      backupEnv(server.uri(database), remote, scratch, { PATH: server.path, ...more });

    async function restore(env: Env, database: string, ...args: string[]): Promise<string> {
      const run = await runDbstash(['restore', '--database', database, ...args], env);
      expect(run.exitCode, run.stderr).toBe(0);
      return run.stderr;
    }

    const PATHS: readonly [RemoteKind, compress: string, extension: string, packing: string | null][] = [
      ['local', 'false', '.sql', null],
      ['sftp', 'gzip', '.sql.gz', 'gzip'],
      ['s3', 'zstd:9', '.sql.zst', 'zstd'],
    ];

    it.each(PATHS)(
      'with all its objects, by %s, BACKUP_COMPRESS=%s',
      async (kind, compress, extension, packing) => {
        await using remote = await startRemote(kind);
        const env = envOf(remote, 'source', { BACKUP_COMPRESS: compress });
        const { artifact, bytes, sha256 } = await makeBackup(env);
        expect(artifact.endsWith(extension)).toBe(true);
        expect((await remote.list()).get(artifact)).toEqual({ bytes, sha256 });
        expect(await listBackups(env)).toMatchObject([
          {
            state: 'good',
            engine,
            format: 'sql',
            compression: packing,
            series: `${engine}://127.0.0.1:${server.port}/source`,
          },
        ]);
        const copy = `copy ${compress}`;
        await restore(env, copy);
        const content = await contentOf(server, 'source');
        expect(Object.keys(content).length).toBeGreaterThan(25);
        expect(await contentOf(server, copy)).toEqual(content);
      },
      120_000,
    );

    it('over a target that is full of other things', async () => {
      await using remote = await startRemote('local');
      await server.createDatabase('messy');
      await server.sql(MYSQL_MESS, { database: 'messy' });
      const env = envOf(remote, 'source');
      await makeBackup(env);
      const refused = await runDbstash(['restore', '--database', 'messy'], env);
      expect(refused.exitCode).toBe(2);
      expect(refused.stderr).toMatch(/holds 2 tables, 1 view/);
      await restore(env, 'messy', '--replace', '--yes', 'messy');
      expect(await contentOf(server, 'messy')).toEqual(await contentOf(server, 'source'));
    }, 120_000);

    it('with rows of 50 MB', async () => {
      await using remote = await startRemote('s3');
      await server.createDatabase('big');
      await server.sql(
        `CREATE TABLE t (a int, b longtext); INSERT INTO t VALUES (1, REPEAT('0123456789abcdef', 3300000)), (2, REPEAT('x', 100))`,
        { database: 'big' },
      );
      const env = envOf(remote, 'big', { BACKUP_COMPRESS: 'zstd:1' });
      expect(await makeBackup(env)).toMatchObject({ dumpBytes: expect.toSatisfy((bytes) => bytes > 50 * 1024 * 1024) });
      await restore(env, 'big copy');
      const look = 'SELECT a, LENGTH(b), SHA2(b, 256) FROM t';
      expect(await server.sql(look, { database: 'big copy' })).toEqual(await server.sql(look, { database: 'big' }));
    }, 180_000);

    it('F30 F31 F35: under a name, user and password full of traps', async () => {
      await using remote = await startRemote('local');
      const name = '../-x; $(touch pwned) `id` "q" \'s\' é %41\\';
      const user = `o'dd "u=s#er" -x;$(id)`;
      const [u, p] = [user, PASSWORD].map((text) => `'${text.replaceAll(/[\\']/g, '\\$&')}'`);
      await server.sql(`CREATE USER ${u}@'%' IDENTIFIED BY ${p}; GRANT ALL ON *.* TO ${u}@'%' WITH GRANT OPTION`);
      await server.createDatabase(name);
      await server.sql('CREATE TABLE t AS SELECT DATABASE() AS name', { database: name });
      const env = { ...envOf(remote, name), DB_URI: server.uri(name, { user, password: PASSWORD }) };
      const { artifact } = await makeBackup(env);
      expect([...(await remote.list()).keys()].sort()).toEqual([artifact, `${artifact}.manifest.json`]);
      expect(artifact).not.toContain('/');
      await restore(env, `${name} copy`);
      expect(await server.sql('SELECT HEX(name) FROM t', { database: `${name} copy` })).toEqual([
        Buffer.from(name).toString('hex').toUpperCase(),
      ]);
    }, 120_000);

    it('F32: and no password is seen in any argument on the way, nor in what is said', async () => {
      await using remote = await startRemote('local');
      const env = envOf(remote, 'source');
      const { artifact } = await makeBackup(env);
      const held = heldRclone(scratch);
      await using run = startDbstash(['restore', '--database', 'watched'], {
        ...env,
        PATH: `${held.env.PATH.split(':')[0]}:${server.path}`,
      });
      const seen = new Set<string>();
      const look = () => {
        for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
          try {
            seen.add(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
          } catch {} // it ended
        }
      };
      let over = false;
      void run.exited.finally(() => {
        over = true;
      });
      held.release();
      await waitFor(() => look() ?? over, { timeoutMs: 60_000 });
      const { exitCode, stdout, stderr } = await run.exited;
      expect(exitCode, stderr).toBe(0);
      expect([...seen].some((line) => line.includes('--defaults-extra-file='))).toBe(true);
      for (const text of [...seen, stdout, stderr, (await remote.read(`${artifact}.manifest.json`)).toString()])
        expect(text).not.toContain(PASSWORD);
    }, 120_000);

    it('and what the login may not read is left out with a warning, which check turns into the GRANT', async () => {
      await using remote = await startRemote('local');
      await server.sql(`CREATE USER poor IDENTIFIED BY 'pw'; GRANT SELECT ON source.* TO poor`);
      const env = { ...envOf(remote, 'source'), DB_URI: server.uri('source', { user: 'poor', password: 'pw' }) };
      const run = await runDbstash(['backup', '--json'], env);
      expect(run.exitCode, run.stderr).toBe(0);
      expect(JSON.parse(run.stdout)).toMatchObject({ outcome: 'warning' });
      expect(run.stderr).toMatch(/the backup is without what poor@% may not read: .*events, triggers, procedures/);
      const checked = await runDbstash(['check'], env);
      expect(checked.exitCode).toBe(0);
      expect(checked.stdout).toContain('which the dump leaves out');
      expect(checked.stdout).toMatch(/GRANT SELECT, SHOW VIEW, EVENT, TRIGGER ON `source`\.\* TO 'poor'@'%'/);
    }, 60_000);

    it('F18 F53: a restore over another that is stopped says that it was emptied, and works once more', async () => {
      await using remote = await startRemote('local');
      await server.createDatabase('mbig');
      await server.sql(
        `CREATE TABLE t (a int, b longtext); INSERT INTO t SELECT seq.a, REPEAT('0123456789abcdef', 60000)
           FROM (SELECT 1 AS a UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) seq`,
        { database: 'mbig' },
      );
      const env = envOf(remote, 'mbig', { BACKUP_COMPRESS: 'false' });
      await makeBackup(env);
      await server.sql('CREATE TABLE precious (a int)', { database: 'mbig' });
      // All of it is read once before anything is emptied.
      const held = rcloneThatReads(
        scratch,
        'if [ ! -e "$0.first" ]; then : >"$0.first"; real "$@"; else real "$@" | { head -c 3000000; sleep 300; }; fi',
      );
      const command = ['restore', '--replace', '--yes', 'mbig'];
      await using stopped = startDbstash(command, { ...env, PATH: `${held.PATH.split(':')[0]}:${server.path}` });
      const look = `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'mbig' AND table_name = 'precious'`;
      await waitFor(async () => (await server.sql(look))[0] === '0', {
        timeoutMs: 60_000,
        title: () => `it is emptied: ${stopped.stderr()}`,
      });
      stopped.kill('SIGINT');
      const { exitCode, stderr } = await stopped.exited;
      expect(exitCode, stderr).toBe(130);
      expect(stderr).toContain(
        'interrupted by SIGINT (mbig was emptied, and holds a part of the backup or nothing: run the same command again)',
      );
      const again = await runDbstash(command, env);
      expect(again.exitCode, again.stderr).toBe(0);
      expect(await server.sql('SELECT COUNT(*) FROM t', { database: 'mbig' })).toEqual(['4']);
    }, 180_000);

    it('and of several databases the id of their run agrees to what is emptied, as the refusal says', async () => {
      await using remote = await startRemote('local');
      for (const name of ['one', 'two']) {
        await server.createDatabase(name);
        await server.sql('CREATE TABLE t (i int)', { database: name });
      }
      const env = envOf(remote, 'one', { DB_NAME: 'one,two' });
      const backup = await runDbstash(['backup', '--json'], env);
      expect(backup.exitCode, backup.stderr).toBe(0);
      const { run } = JSON.parse(backup.stdout);
      const restoring = ['restore', '--run', run];
      const what = `one (1 table), two (1 table) on 127.0.0.1:${server.port}`;
      for (const [told, says] of [
        [[], `would empty ${what}: restore into another server with --to URI or RESTORE_DB_URI, or go on with`],
        [['--replace', '--yes', 'one'], `--replace empties ${what}: confirm it with --yes ${run}`],
      ] as const) {
        const refused = await runDbstash([...restoring, ...told], env);
        expect(refused.exitCode, refused.stderr).toBe(2);
        expect(refused.stderr).toContain(says);
      }
      const replaced = await runDbstash([...restoring, '--replace', '--yes', run], env);
      expect(replaced.exitCode, replaced.stderr).toBe(0);
    }, 120_000);

    it('F18 F55: a failed restore says that the target may be partial, a server that is away says so', async () => {
      await using remote = await startRemote('local');
      const env = envOf(remote, 'source');
      await makeBackup(env);
      const limits = await server.sql('SELECT @@global.max_allowed_packet');
      await server.sql('SET GLOBAL max_allowed_packet = 1024');
      const failed = await runDbstash(['restore', '--database', 'half'], env);
      await server.sql(`SET GLOBAL max_allowed_packet = ${limits}`);
      expect(failed.exitCode).toBe(1);
      expect(failed.stderr).toMatch(/half may be partly restored/);
      const away = await runDbstash(['backup'], {
        ...env,
        DB_URI: server.uri('source').replace(`:${server.port}`, ':1'),
      });
      expect(away.exitCode).toBe(1);
      expect(away.stderr).toMatch(/Can't connect to .*server on '127\.0\.0\.1/);
    }, 120_000);
  });
}
