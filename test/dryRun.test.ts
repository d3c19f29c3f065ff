import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { backupEnv, listBackups } from './support/backups.ts';
import { startCalls } from './support/calls.ts';
import { runDbstash } from './support/dbstash.ts';
import { startMariadb } from './support/mysql.ts';
import { describeWith } from './support/need.ts';
import { startPostgres } from './support/postgres.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { scratchFolder } from './support/scratch.ts';
import { createSqlite, daysAgo, seedBackup, seedPending } from './support/seeds.ts';

type Env = Record<string, string>;

const TIMEOUT = { timeout: 120_000 };
const WRITES = /^(Put|Delete|Post|Create|Complete|Upload|Copy|Abort)/;

interface Dry {
  readonly exitCode: number;
  readonly configuration: { name: string; value: string | null }[];
  readonly schedule: { next: string[] };
  readonly backups: {
    database: string;
    server: string;
    tool: string;
    bytes: number;
    commands: { argv: string[]; env: string[]; files: string[] }[];
    filters: { argv: string[] }[];
    copies: {
      remote: string;
      artifact: string;
      upload: { argv: string[] };
      keep: { artifact: string }[];
      remove: { artifact: string; reasons: string[] }[];
      sweep: string[];
    }[];
  }[];
  readonly hooks: { pre: string | null; post: string | null };
  readonly notifications: string[];
  readonly problems: { what: string; message: string; exitCode: number }[];
  readonly warnings: string[];
}

async function dryRun(env: Env, ...args: string[]): Promise<Dry & { stderr: string; code: number | null }> {
  const run = await runDbstash(['backup', '--dry-run', '--json', ...args], env);
  return { ...(JSON.parse(run.stdout) as Dry), stderr: run.stderr, code: run.exitCode };
}

/** Every file below a folder but for what is private while a command runs. */
const filesBelow = (folder: string): string[] =>
  existsSync(folder) ? readdirSync(folder, { recursive: true }).map(String).sort() : [];

async function seedHistory(remote: TestRemote): Promise<void> {
  for (const days of [1, 2, 3]) await seedBackup(remote, { artifact: `old-${days}.sql`, startedAt: daysAgo(days) });
  await seedPending(remote, { artifact: 'dead.sql', refreshedAt: daysAgo(2) });
  await remote.write('dead.sql.partial', 'half');
  await remote.write('notes.txt', 'of somebody');
}

describe.concurrent('a dry run', () => {
  for (const kind of ['local', 's3'] as const) {
    it(
      `shows everything and writes nothing to a remote of kind ${kind}, and a run then does just that`,
      TIMEOUT,
      async () => {
        await using home = scratchFolder();
        await using remote = await startRemote(kind);
        await using calls = await startCalls();
        await seedHistory(remote);
        const env = backupEnv(createSqlite(home), remote, home, {
          BACKUP_SERIES: 'app',
          BACKUP_NAME_TEMPLATE: '{db}-fixed',
          BACKUP_COMPRESS: 'gzip:1',
          RETENTION_MAX_FILES: '2',
          HOOK_PRE_BACKUP: `touch ${home.path}/pre`,
          HOOK_POST_BACKUP: `touch ${home.path}/post`,
          PING_URL: `${calls.url}/ping/0123456789abcdef`,
          NOTIFY_WEBHOOK_URL: `${calls.url}/hook/fedcba9876543210`,
          NOTIFY_ON: 'always',
        });
        const before = await remote.list();
        const asked = remote.s3?.requests.length;
        const dry = await dryRun(env);
        expect([dry.code, dry.problems], dry.stderr).toEqual([0, []]);
        expect(await remote.list()).toEqual(before);
        const operations = remote.s3?.requests.slice(asked).map(({ operation }) => operation) ?? [];
        expect(operations.filter((operation) => WRITES.test(operation))).toEqual([]);
        if (kind === 's3') expect(operations.length).toBeGreaterThan(0);
        expect(filesBelow(home.path)).toEqual(expect.not.arrayContaining(['pre', 'post']));
        expect(filesBelow(join(home.path, 'tmp')).filter((name) => name !== 'locks')).toEqual([]);
        expect(calls.requests).toEqual([]);

        const [backup] = dry.backups;
        const [copy] = backup!.copies;
        expect(backup).toMatchObject({ database: 'app', tool: expect.stringMatching(/^sqlite3/) });
        expect(backup!.bytes).toBeGreaterThan(0);
        expect(backup!.commands.at(-1)!.argv[0]).toBe('sqlite3');
        expect(backup!.filters.map(({ argv }) => argv[0])).toEqual([expect.stringMatching(/gzip$|pigz$/)]);
        expect(copy!.upload.argv.slice(0, 2)).toEqual(['rclone', 'rcat']);
        expect(copy!.artifact).toBe('app-fixed.sql.gz');
        expect(copy!.remove.map(({ artifact }) => artifact)).toEqual(['old-2.sql', 'old-3.sql']);
        expect(copy!.keep.map(({ artifact }) => artifact)).toEqual(['app-fixed.sql.gz', 'old-1.sql']);
        expect(copy!.sweep.sort()).toEqual([expect.stringMatching(/^dead\.sql\..*pending\.json$/), 'dead.sql.partial']);
        expect(dry.hooks).toEqual({ pre: env.HOOK_PRE_BACKUP, post: env.HOOK_POST_BACKUP });
        expect(dry.notifications).toHaveLength(2);
        expect(JSON.stringify(dry)).not.toMatch(/0123456789abcdef|fedcba9876543210/);

        const run = await runDbstash(['backup', '--json'], env);
        expect(run.exitCode, run.stderr).toBe(0);
        const report = JSON.parse(run.stdout);
        expect(report.backups[0].artifact).toBe(copy!.artifact);
        expect(report.removed.sort()).toEqual(['old-2.sql', 'old-3.sql']);
        const left = [...(await remote.list()).keys()].filter((path) => !/^(app-fixed|old-1|notes)/.test(path));
        expect(left).toEqual([]);

        const again = await dryRun(env);
        expect(again.backups[0]!.copies[0]!.artifact).toMatch(/^app-fixed-\d{8}T\d{6}Z-[0-9a-f]{6}\.sql\.gz$/);
      },
    );
  }

  it('of the scheduled container says when it would run, and is done', TIMEOUT, async () => {
    await using home = scratchFolder();
    await using remote = await startRemote('local');
    const env = backupEnv(createSqlite(home), remote, home, {
      DRY_RUN: 'true',
      BACKUP_SCHEDULE: '15 3 * * *',
      TZ: 'Asia/Kolkata',
      HEALTH_PORT: '0',
    });
    const run = await runDbstash([], env);
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.stdout).toMatch(/Due next: At 03:15 \(Asia\/Kolkata\)\n( {2}\d{4}-\d\d-\d\dT21:45:00\.000Z\n){3}/);
    expect(run.stdout).toMatch(/ {2}run {3}sqlite3 /);
    expect(run.stdout).toMatch(/by rclone rcat .*app-.*\.sql/);
    expect(await remote.list()).toEqual(new Map());
    expect(readdirSync(remote.remote)).toEqual([]);
  });

  it('needs no value for its flag, and is off where that says so', TIMEOUT, async () => {
    await using home = scratchFolder();
    await using remote = await startRemote('local');
    const env = backupEnv(createSqlite(home), remote, home);
    for (const args of [['--dry-run'], ['--dry-run=true']])
      expect((await runDbstash(['backup', ...args], env)).stdout).toMatch(/^Dry run: nothing is written/);
    expect(await listBackups(env)).toEqual([]);
    expect((await runDbstash(['backup', '--dry-run=false'], { ...env, DRY_RUN: 'true' })).exitCode).toBe(0);
    expect(await listBackups(env)).toHaveLength(1);
  });

  it(
    'ends as the run would: 1 without its database, 2 with a wrong setting, 3 without its remote',
    TIMEOUT,
    async () => {
      await using home = scratchFolder();
      await using remote = await startRemote('s3');
      const env = backupEnv(createSqlite(home), remote, home, {
        RCLONE_EXTRA_ARGS: '--retries=1 --low-level-retries=1',
      });
      const codeOf = async (more: Env) => {
        const dry = await dryRun({ ...env, ...more });
        const real = await runDbstash(['backup'], { ...env, ...more });
        expect(dry.code, dry.stderr).toBe(real.exitCode);
        expect(dry.problems.length).toBeGreaterThan(0);
        return dry;
      };
      const gone = await codeOf({ DB_URI: `sqlite://${home.path}/none.db` });
      expect(gone.code).toBe(1);
      expect(gone.problems[0]!.message).toMatch(/none\.db is not there/);
      expect((await codeOf({ DUMP_EXTRA_ARGS: '--nonsense' })).code).toBe(2);
      remote.s3?.fault({ operation: '*', status: 403, code: 'AccessDenied' });
      const denied = await codeOf({});
      expect(denied.code).toBe(3);
      expect(denied.backups[0]!.commands.length).toBeGreaterThan(0);
      expect((await runDbstash(['backup', '--dry-run'], { ...env, DB_URI: 'nonsense' })).exitCode).toBe(2);
    },
  );

  it('goes for prune and restore, and of a restore tells what would be lost', TIMEOUT, async () => {
    await using home = scratchFolder();
    await using remote = await startRemote('local');
    await seedHistory(remote);
    const env = backupEnv(createSqlite(home), remote, home, {
      BACKUP_SERIES: 'app',
      RETENTION_MAX_FILES: '1',
      DRY_RUN: 'true',
    });
    const before = await remote.list();
    const prune = await runDbstash(['prune', '--json'], env);
    expect(prune.exitCode, prune.stderr).toBe(0);
    expect(JSON.parse(prune.stdout)).toMatchObject({ removed: [], remove: [{}, {}] });
    const restore = await runDbstash(['restore', 'latest', '--replace', '--yes', 'app'], env);
    expect(restore.exitCode, restore.stderr).toBe(0);
    expect(restore.stdout).toMatch(
      /would restore {2}\S+\.sql \(.* ago\)\n {2}into .* which would be emptied first\n {2}would lose {2,}1 table/,
    );
    const held = await runDbstash(['restore', 'latest', '--dry-run'], { ...env, DRY_RUN: '' });
    expect([held.exitCode, held.stderr]).toEqual([2, expect.stringContaining('holds 1 table: restore into another')]);
    const copy = ['restore', 'latest', '--dry-run', '--database', join(home.path, 'copy.db')];
    const free = await runDbstash(copy, { ...env, DRY_RUN: '' });
    expect([free.exitCode, free.stdout]).toEqual([0, expect.stringContaining('which would be created')]);
    expect(existsSync(join(home.path, 'copy.db'))).toBe(false);
    expect((await runDbstash(['check'], env)).stdout).toMatch(/not tried: DRY_RUN/);
    expect(await remote.list()).toEqual(before);
  });
});

describeWith(['initdb', 'postgres', 'pg_dump', 'pg_dumpall'], 'a dry run of PostgreSQL', () => {
  it('works with a login that may only read, shows all databases and no secret', TIMEOUT, async () => {
    await using home = scratchFolder();
    await using remote = await startRemote('local');
    await using server = await startPostgres();
    for (const name of ['shop', 'audit']) {
      await server.createDatabase(name);
      await server.sql('CREATE TABLE t AS SELECT 1 AS i', { database: name });
    }
    const password = 'p@ss/w:rd of "reader"';
    await server.sql(`CREATE ROLE reader LOGIN PASSWORD '${password}'; GRANT pg_read_all_data TO reader;
      ALTER ROLE reader SET default_transaction_read_only = on`);
    const uri = server.uri('postgres', { user: 'reader', password });
    const env = backupEnv(uri, remote, home, { DB_NAME: '*', DB_EXCLUDE: 'postgres' });
    const dry = await dryRun(env);
    expect(dry.code, dry.stderr).toBe(0);
    expect(dry.backups.map(({ database }) => database)).toEqual(['all', 'audit', 'shop']);
    expect(dry.backups[1]!.commands.at(-1)!.argv[0]).toBe('pg_dump');
    expect(dry.backups[1]!.server).toMatch(/^PostgreSQL \d+/);
    const text = await runDbstash(['backup', '--dry-run'], env);
    for (const output of [JSON.stringify(dry), text.stdout, text.stderr]) {
      expect(output).not.toContain(password);
      expect(output).not.toContain(encodeURIComponent(password));
    }
    expect(readdirSync(remote.remote)).toEqual([]);
    expect((await runDbstash(['backup'], env)).exitCode).toBe(0);
  });

  it('says what a login may not read, with the exit code of the failure', TIMEOUT, async () => {
    await using home = scratchFolder();
    await using remote = await startRemote('local');
    await using server = await startPostgres();
    await server.sql("CREATE TABLE t AS SELECT 1 AS i; CREATE ROLE poor LOGIN PASSWORD 'of-the-poor'");
    const uri = server.uri('postgres', { user: 'poor', password: 'of-the-poor' });
    const dry = await dryRun(backupEnv(uri, remote, home));
    expect(dry.code).toBe(1);
    expect(dry.problems[0]!.message).toMatch(/the login may not read public\.t, where the dump will stop: GRANT/i);
  });
});

describeWith(['mariadbd', 'mariadb-dump', 'mydumper'], 'a dry run of MariaDB in a folder', () => {
  it('shows the commands of every mode', TIMEOUT, async () => {
    await using home = scratchFolder();
    await using remote = await startRemote('local');
    await using server = await startMariadb();
    await server.createDatabase('shop');
    await server.sql('CREATE TABLE shop.t AS SELECT 1 AS i');
    const env = backupEnv(server.uri('shop'), remote, home, { ENGINE: 'mariadb', PATH: server.path });
    const toolsOf = async (mode: string) => {
      const dry = await dryRun({ ...env, BACKUP_MODE: mode });
      expect(dry.code, dry.stderr).toBe(0);
      const { commands, copies } = dry.backups[0]!;
      return [...commands.map(({ argv }) => argv[0]), copies[0]!.upload.argv[1]];
    };
    expect(await toolsOf('stream')).toEqual(['mariadb-dump', 'rcat']);
    expect(await toolsOf('file')).toEqual(['mariadb-dump', 'cat', 'rcat']);
    expect(await toolsOf('directory')).toEqual(['mydumper', 'copy']);
    expect(await toolsOf('tar')).toEqual(['mydumper', 'tar', 'rcat']);
  });
});
