import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { backupEnv, fakePath, listBackups } from './support/backups.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { flipByte, heldRclone, makeBackup, rcloneThatReads, rewriteManifest } from './support/restores.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

type Env = Record<string, string>;

describeWith(['initdb', 'postgres', 'psql', 'pg_dump', 'pg_restore'], 'restore into PostgreSQL', () => {
  let server: PostgresServer;
  let other: PostgresServer;
  let scratch: Scratch;
  let remote: TestRemote;
  let count = 0;

  beforeAll(async () => {
    [server, other] = await Promise.all([startPostgres(), startPostgres()]);
    await server.sql(`CREATE ROLE "the owner"; CREATE ROLE poor LOGIN PASSWORD 'poor'`);
  });

  afterAll(async () => {
    await Promise.all([server?.stop(), other?.stop()]);
  });

  beforeEach(async () => {
    scratch = scratchFolder();
    remote = await startRemote('local');
  });

  afterEach(async () => {
    await remote.stop();
    await scratch[Symbol.asyncDispose]();
  });

  const envOf = (database: string, more: Env = {}): Env => backupEnv(server.uri(database), remote, scratch, more);
  const restore = (env: Env, ...args: string[]) => runDbstash(['restore', ...args], env);

  async function makeSource(rows = 1): Promise<string> {
    const name = `source${++count}`;
    await server.createDatabase(name);
    await server.sql('CREATE TABLE t (i int, word text)', { database: name });
    await addRows(name, rows);
    return name;
  }

  const addRows = (database: string, rows = 1) =>
    server.sql(`INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, ${rows}) i`, { database });

  const countRows = async (database: string, at = server) =>
    Number((await at.sql('SELECT count(*) FROM t', { database }))[0]);

  /** A target that holds something precious. */
  async function makeTarget(): Promise<string> {
    const name = `target${++count}`;
    await server.createDatabase(name);
    await server.sql('CREATE TABLE precious AS SELECT 42 AS a', { database: name });
    return name;
  }

  const replacing = (target: string) => ['--database', target, '--replace', '--yes', target];

  async function expectAsBefore(target: string): Promise<void> {
    const clients = () => server.sql(`SELECT pid FROM pg_stat_activity WHERE datname = '${target}'`);
    await waitFor(async () => (await clients()).length === 0, { title: 'no client is left' });
    expect(await server.sql('SELECT a FROM precious', { database: target })).toEqual(['42']);
    const others = `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname <> 'precious'`;
    expect(await server.sql(others, { database: target })).toEqual([]);
  }

  const databaseExists = async (name: string, at = server) =>
    (await at.sql(`SELECT count(*) FROM pg_database WHERE datname = '${name}'`))[0] === '1';

  it('restores the latest backup, one by name, one by id, and the newest before a time', async () => {
    const source = await makeSource();
    const env = envOf(source);
    const first = await makeBackup(env);
    await addRows(source);
    const second = await makeBackup(env);
    await addRows(source);
    await makeBackup(env);
    const justBefore = new Date(Date.parse(second.startedAt) - 1).toISOString().replace('T', ' ').replace('Z', '');
    const cases: [string[], number][] = [
      [[], 3],
      [[first.artifact], 1],
      [[second.id], 2],
      [['--at', second.startedAt], 2],
      [['latest', '--at', justBefore], 1],
    ];
    for (const [args, rows] of cases) {
      const database = `copy${++count}`;
      const run = await restore(env, ...args, '--database', database);
      expect(run, run.stderr).toMatchObject({ exitCode: 0 });
      expect(run.stdout).toMatch(new RegExp(`^restored source.*\\.sql \\(.*\\) into ${database} in `));
      expect(await countRows(database)).toBe(rows);
    }
    const tooEarly = await restore(env, '--at', '2020-01-01', '--database', 'never');
    expect(tooEarly).toMatchObject({ exitCode: 1 });
    expect(tooEarly.stderr).toContain('no good backup of 2020-01-01T00:00:00.000Z or before');
    expect((await restore(env, first.artifact, '--at', first.startedAt, '--database', 'never')).exitCode).toBe(2);
    expect(await databaseExists('never')).toBe(false);
  });

  it('restores onto another server, by --to and by RESTORE_DB_URI, with the roles made where they are missing', async () => {
    const source = await makeSource(5);
    await server.sql('ALTER TABLE t OWNER TO "the owner"', { database: source });
    const env = envOf(source);
    await makeBackup(env);

    const refused = await restore(env, '--to', other.uri('moved'));
    expect(refused).toMatchObject({ exitCode: 2 });
    expect(refused.stderr).toMatch(/names roles that PostgreSQL \S+ lacks: the owner;.*--create-roles/);
    expect(refused.stderr).toContain('RESTORE_DB_URI_FILE'); // of the password in --to
    expect(await databaseExists('moved', other)).toBe(false);

    const made = await restore({ ...env, RESTORE_DB_URI: other.uri('moved') }, '--create-roles');
    expect(made, made.stderr).toMatchObject({ exitCode: 0 });
    expect(await countRows('moved', other)).toBe(5);
    const owner = `SELECT rolname, rolcanlogin FROM pg_class c JOIN pg_roles r ON r.oid = relowner WHERE relname = 't'`;
    expect(await other.sql(owner, { database: 'moved' })).toEqual(['the owner|f']);
    expect(made.stdout + made.stderr).not.toContain(other.password);

    const named = await restore({ ...env, RESTORE_DB_URI: other.uri('postgres') }, '--database', 'named');
    expect(named, named.stderr).toMatchObject({ exitCode: 0 });
    expect(await countRows('named', other)).toBe(5);
  });

  it('makes a new database with the encoding, locale, owner and settings of the old one', async () => {
    const how = `ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' OWNER "the owner"`;
    await server.sql(`CREATE DATABASE latin TEMPLATE template0 ${how}`);
    await server.sql(`ALTER DATABASE latin SET work_mem = '5MB'; CREATE TABLE t AS SELECT 'café' AS word`, {
      database: 'latin',
    });
    const env = envOf('latin');
    await makeBackup(env);
    const run = await restore(env, '--database', 'latin copy');
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    const facts = 'pg_encoding_to_char(encoding), datcollate, datctype, datdba::regrole, setconfig';
    const describeIt = (name: string) =>
      server.sql(
        `SELECT ${facts} FROM pg_database d LEFT JOIN pg_db_role_setting ON setdatabase = d.oid WHERE datname = '${name}'`,
      );
    expect(await describeIt('latin copy')).toEqual(['LATIN1|C|C|"the owner"|{work_mem=5MB}']);
    expect(await server.sql('SELECT word FROM t', { database: 'latin copy' })).toEqual(['café']);
  });

  it('refuses a target that holds anything, or another name than its own, and touches nothing', async () => {
    const env = envOf(await makeSource(3));
    const { artifact } = await makeBackup(env);
    const target = await makeTarget();
    const run = await restore(env, '--database', target);
    expect(run.exitCode).toBe(2);
    expect(run.stderr).toContain(`${target} on ${server.host}:${server.port} holds 1 table: `);
    expect(run.stderr).toContain('--database NAME');
    expect(run.stderr).toContain('--replace');
    for (const args of [['--yes', target], ['--replace'], ['--replace', '--yes', target.toUpperCase()]]) {
      const refused = await restore(env, '--database', target, ...args);
      expect(refused.exitCode).toBe(2);
      expect(refused.stderr).toContain(args[0] === '--yes' ? '--database NAME' : `confirm it with --yes ${target}`);
    }
    await expectAsBefore(target);

    const replaced = await restore(env, ...replacing(target), '--', artifact);
    expect(replaced, replaced.stderr).toMatchObject({ exitCode: 0 });
    expect(await countRows(target)).toBe(3);
    expect(await server.sql(`SELECT to_regclass('precious') IS NULL`, { database: target })).toEqual(['t']);
  });

  it('says why it cannot: no right to make the database, another engine, no server, facts that make no sense', async () => {
    const env = envOf(await makeSource());
    const { artifact } = await makeBackup(env);
    const poor = { ...env, RESTORE_DB_URI: server.uri('forbidden', { user: 'poor', password: 'poor' }) };
    const forbidden = await restore(poor);
    expect(forbidden.exitCode).toBe(1);
    expect(forbidden.stderr).toMatch(/permission denied to create database[\s\S]*\(forbidden was not created\)/);

    const file = `${scratch.path}/x.sqlite3`;
    const engine = await restore(env, '--to', `sqlite://${file}`);
    expect(engine.exitCode).toBe(2);
    expect(engine.stderr).toContain('is a backup of pg, the target is SQLite');
    expect(existsSync(file)).toBe(false);

    const down = await restore(env, '--to', 'postgres://u@127.0.0.1:1/x');
    expect(down.exitCode).toBe(1);
    expect(down.stderr).toContain('refused');

    await rewriteManifest(remote, artifact, { target: { roles: 7, encoding: { $: 1 } } });
    const nonsense = await restore(env, '--database', 'forbidden');
    expect(nonsense.exitCode).toBe(4);
    expect(nonsense.stderr).toContain(`the manifest of ${artifact} makes no sense`);
    expect(await databaseExists('forbidden')).toBe(false);
  });

  it('F24: asks for a name where the series has backups of two servers', async () => {
    const env = { ...envOf(await makeSource()), BACKUP_SERIES: 'shared' };
    await other.createDatabase('twin');
    const first = await makeBackup(env);
    await makeBackup({ ...env, DB_URI: other.uri('twin') });
    const run = await restore(env, '--database', 'twin copy');
    expect(run.exitCode).toBe(2);
    expect(run.stderr).toMatch(/latest is not clear.*BACKUP_SERIES/);
    expect((await restore(env, first.id, '--database', 'twin copy')).exitCode).toBe(0);
    expect(await countRows('twin copy')).toBe(1);
  });

  const ROWS = 20_000;

  it('restores a backup that prune would remove meanwhile, and prune spares it', async () => {
    const env = envOf(await makeSource(ROWS));
    const old = await makeBackup(env);
    const kept = await makeBackup(env);
    const held = heldRclone(scratch);
    await using running = startDbstash(['restore', old.id, '--database', 'while pruning'], { ...env, ...held.env });
    await waitFor(held.isHeld);
    const pruned = await runDbstash(['prune', '--retention-max-files', '1'], env);
    expect(pruned, pruned.stderr).toMatchObject({ exitCode: 0 });
    expect(pruned.stdout).toMatch(new RegExp(`in use +${old.artifact}`));
    expect([...(await remote.list()).keys()]).toContain(old.artifact);
    held.release();
    expect(await running.exited).toMatchObject({ exitCode: 0 });
    expect(await countRows('while pruning')).toBe(ROWS);
    await runDbstash(['prune', '--retention-max-files', '1'], env);
    expect((await listBackups(env)).map(({ id }) => id)).toEqual([kept.id]);
  });

  describe('that fails', () => {
    let source: string;
    let target: string;
    /** On a remote of their own, which no test changes. */
    let kept: { remote: TestRemote; scratch: Scratch; env: Env; packed: Env };

    beforeAll(async () => {
      source = await makeSource(ROWS);
      const [keptRemote, packedRemote] = [await startRemote('local'), await startRemote('local')];
      const keptScratch = scratchFolder();
      const env = backupEnv(server.uri(source), keptRemote, keptScratch);
      const packed = backupEnv(server.uri(source), packedRemote, keptScratch, { BACKUP_COMPRESS: 'true' });
      await makeBackup(env);
      await makeBackup(packed);
      const stop = () => Promise.all([keptRemote.stop(), packedRemote.stop()]);
      kept = { remote: { ...keptRemote, stop: async () => void (await stop()) }, scratch: keptScratch, env, packed };
    });

    afterAll(async () => {
      await kept?.remote.stop();
      await kept?.scratch[Symbol.asyncDispose]();
    });

    beforeEach(async () => {
      target = await makeTarget();
    });

    it('F17: for want of the name touches nothing', async () => {
      for (const name of ['nothing.sql', '20200101T000000Z-abcdef', '../x', '']) {
        const run = await restore(kept.env, ...replacing(target), '--', name);
        expect(run.exitCode).toBe(1);
        expect(run.stderr).toContain('dbstash list shows what there is');
      }
      await expectAsBefore(target);
      expect((await restore(kept.env, 'nothing.sql', '--database', 'unmade')).exitCode).toBe(1);
      expect(await databaseExists('unmade')).toBe(false);
    });

    it('F18: since rclone was killed leaves the target as it was, and makes no new one', async () => {
      const env = { ...kept.env, ...rcloneThatReads(scratch, 'real "$@" | head -c 600000; kill -9 $$') };
      const run = await restore(env, ...replacing(target));
      expect(run.exitCode).toBe(3);
      expect(run.stderr).toMatch(/rclone was killed by SIGKILL.* \(after .* of .*\) \(target\d+ is as it was\)/);
      await expectAsBefore(target);

      const half = await restore(env, '--database', 'half');
      expect(half.exitCode).toBe(3);
      expect(half.stderr).toContain('(half was not created)');
      expect(await databaseExists('half')).toBe(false);
    });

    it.each(['gzip', 'zstd', 'pg_restore', 'psql'])(
      'F05: since %s failed leaves the target as it was',
      async (tool) => {
        const compress = tool === 'psql' ? 'false' : tool === 'pg_restore' ? 'true' : tool;
        const env = envOf(source, { BACKUP_COMPRESS: compress });
        await makeBackup(env);
        const real = `'${requireTool(tool)}' "$@"`;
        const broken = tool === 'psql' ? 'head -c 100000 >/dev/null' : `${real} | head -c 100000`;
        const isLoad = tool === 'psql' ? '*--file=-*' : '*';
        const script = `case "$*" in ${isLoad}) ${broken}; echo broken >&2; exit 9 ;; esac; ${real}`;
        const fake = fakePath(scratch, { [tool]: script });
        const run = await restore({ ...env, ...fake }, ...replacing(target));
        expect(run.exitCode, run.stderr).toBe(1);
        expect(run.stderr).toMatch(new RegExp(`${tool} exited with 9: broken[\\s\\S]*\\(${target} is as it was\\)`));
        await expectAsBefore(target);
        expect((await listBackups(env))[0]?.state).toBe('good');
      },
    );

    it('F18: since S3 reset the connection leaves the target as it was', async () => {
      await using s3 = await startRemote('s3');
      const env = backupEnv(server.uri(source), s3, scratch, { RCLONE_LOW_LEVEL_RETRIES: '1' });
      await makeBackup(env);
      const fault = s3.s3!.fault({ operation: 'GetObject', key: /\.sql$/, reset: true, afterBytes: 600_000 });
      const run = await restore(env, ...replacing(target));
      expect(fault.hits).toBeGreaterThan(0);
      expect(run.exitCode, run.stderr).toBe(3);
      expect(run.stderr).toContain(`(${target} is as it was)`);
      await expectAsBefore(target);
      expect((await listBackups(env))[0]?.state).toBe('good');
      fault.remove();
      expect((await restore(env, ...replacing(target))).exitCode).toBe(0);
      expect(await countRows(target)).toBe(ROWS);
    });

    it('F18: since the artifact became shorter leaves the target as it was', async () => {
      const env = envOf(source);
      await makeBackup(env);
      const shortened = rcloneThatReads(scratch, 'truncate -s -100000 "$last"; real "$@"');
      const run = await restore({ ...env, ...shortened }, ...replacing(target));
      expect(run.exitCode).toBe(4);
      expect(run.stderr).toMatch(/is damaged: \d+ bytes came, its manifest says \d+ \(.* is as it was\)/);
      await expectAsBefore(target);
      expect((await listBackups(env))[0]?.state).toBe('damaged');
    });

    it('F15: since a byte was changed leaves the target, and the backup is never latest again', async () => {
      const env = envOf(source);
      const good = await makeBackup(env);
      const bad = await makeBackup(env);
      await flipByte(remote, bad.artifact);
      expect((await listBackups(env))[0]?.state).toBe('good'); // its size is right

      const run = await restore(env, ...replacing(target));
      expect(run.exitCode, run.stderr).toBe(4);
      expect(run.stderr).toContain(`its SHA-256 is not the one in its manifest (${target} is as it was)`);
      await expectAsBefore(target);
      const verdict = JSON.parse((await remote.read(`${bad.artifact}.verify.json`)).toString());
      expect(verdict).toMatchObject({ id: bad.id, ok: false, level: 'content' });
      expect((await listBackups(env)).map(({ state }) => state)).toEqual(['damaged', 'good']);

      expect((await restore(env, ...replacing(target), '--', bad.artifact)).exitCode).toBe(4);
      await expectAsBefore(target);
      const again = await restore(env, ...replacing(target));
      expect(again.stdout).toContain(`restored ${good.artifact}`);
      expect(await countRows(target)).toBe(ROWS);
    });

    it.each(['true', 'gzip', 'zstd'])(
      'F15: since a byte was changed finds the damage behind what a tool complains of (BACKUP_COMPRESS=%s)',
      async (compress) => {
        const env = envOf(source, { BACKUP_COMPRESS: compress });
        const { artifact } = await makeBackup(env);
        await flipByte(remote, artifact);
        const run = await restore(env, ...replacing(target));
        expect(run.exitCode, run.stderr).toBe(4);
        expect(run.stderr).toContain(`(${target} is as it was)`);
        await expectAsBefore(target);
        expect((await listBackups(env))[0]?.state).toBe('damaged');
      },
    );

    it('F23: since the artifact is gone touches nothing', async () => {
      const env = envOf(source);
      const { artifact } = await makeBackup(env);
      await remote.remove(artifact);
      const named = await restore(env, ...replacing(target), '--', artifact);
      expect(named.exitCode).toBe(4);
      expect(named.stderr).toContain(`${artifact} is missing`);
      const latest = await restore(env, ...replacing(target));
      expect(latest.exitCode).toBe(1);
      expect(latest.stderr).toContain('no good backup');
      await expectAsBefore(target);
    });

    it('since SIGTERM came leaves the target as it was, within seven seconds', async () => {
      const held = heldRclone(scratch);
      await using running = startDbstash(['restore', ...replacing(target)], { ...kept.env, ...held.env });
      await waitFor(held.isHeld);
      const startedAt = performance.now();
      running.kill('SIGTERM');
      const run = await running.exited;
      expect(performance.now() - startedAt).toBeLessThan(7000);
      expect(run.exitCode).toBe(143);
      expect(run.stderr).toContain(`interrupted by SIGTERM (${target} is as it was)`);
      held.release();
      await expectAsBefore(target);
    });

    it.each(['env', 'packed'] as const)('since we were killed leaves the target as it was (%s)', async (which) => {
      const held = heldRclone(scratch);
      await using running = startDbstash(['restore', ...replacing(target)], { ...kept[which], ...held.env });
      await waitFor(held.isHeld);
      await sleep(500); // what was read is with the client
      running.kill('SIGKILL');
      expect((await running.exited).signal).toBe('SIGKILL');
      held.release();
      await expectAsBefore(target);
    });
  });
});
