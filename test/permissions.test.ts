import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { backupEnv } from './support/backups.ts';
import { type DbstashRun, runDbstash } from './support/dbstash.ts';
import { findMysql, startMariadb, startMysql } from './support/mysql.ts';
import { describeWith } from './support/need.ts';
import { startPostgres } from './support/postgres.ts';
import { startRedis } from './support/redis.ts';
import { startRemote } from './support/remotes.ts';
import { scratchFolder } from './support/scratch.ts';

const page = readFileSync(join(import.meta.dirname, '../docs/permissions.md'), 'utf8');

/** A block of the page, as its first line calls it. */
function blockOf(name: string): string {
  const [, text] = new RegExp(`^\`\`\`\\w+ ${name}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(page) ?? [];
  if (text === undefined) throw new Error(`docs/permissions.md has no block called ${name}`);
  return text;
}

const LOGIN = { user: 'backup', password: 'a-long-password' };
const TIMEOUT = { timeout: 180_000 };

/** What `backup` and `check` say of a login: outcome, and all they print. */
async function tryLogin(env: Record<string, string>) {
  const [check, backup] = [await runDbstash(['check'], env), await runDbstash(['backup', '--json'], env)];
  const { outcome, warnings, backups } = JSON.parse(backup.stdout);
  const textOf = ({ stdout, stderr }: DbstashRun) => stdout + stderr;
  return {
    check,
    codes: [check.exitCode, backup.exitCode],
    outcome,
    warnings,
    backups,
    said: textOf(check),
    told: textOf(backup),
  };
}

describeWith(['initdb', 'postgres', 'pg_dump'], 'the rights of the page, in PostgreSQL', () => {
  it('are enough, and one less is named', TIMEOUT, async () => {
    await using home = scratchFolder();
    await using remote = await startRemote('local');
    await using server = await startPostgres();
    await server.createDatabase('shop');
    await server.sql('CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS i; CREATE SEQUENCE s.q', {
      database: 'shop',
    });
    await server.sql(blockOf('pg'));
    const env = backupEnv(server.uri('shop', LOGIN), remote, home);
    const full = await tryLogin(env);
    expect(full.codes, full.said + full.told).toEqual([0, 0]);
    expect(full.outcome, full.told).toBe('succeeded');
    await server.sql('REVOKE pg_read_all_data FROM backup');
    const less = await tryLogin(env);
    expect(less.codes).toEqual([1, 1]);
    expect(less.said).toMatch(
      /failed +database +the login may not read s\.\w+ and 1 more, .*GRANT pg_read_all_data TO "backup"/,
    );
    expect(less.told).toMatch(/permission denied/);
    await server.sql('GRANT pg_read_all_data TO backup; REVOKE CONNECT ON DATABASE shop FROM PUBLIC');
    expect((await tryLogin(env)).said).toMatch(/failed +database .*permission denied for database "shop"/);
  });
});

for (const { engine, start, tools, rights } of [
  {
    engine: 'mariadb',
    start: startMariadb,
    tools: ['mariadbd', 'mariadb', 'mariadb-dump'],
    rights: ['EVENT ON shop.*', 'TRIGGER ON shop.*', 'SELECT ON mysql.proc'],
  },
  {
    engine: 'mysql',
    start: startMysql,
    tools: findMysql() === undefined ? ['mysqld-of-mysql'] : ['rclone'],
    rights: ['EVENT ON shop.*', 'TRIGGER ON shop.*', 'SHOW_ROUTINE ON *.*'],
  },
] as const) {
  describeWith(tools, `the rights of the page, in ${engine}`, () => {
    it('are enough, and one less is named', TIMEOUT, async () => {
      await using home = scratchFolder();
      await using remote = await startRemote('local');
      await using server = await start();
      await server.createDatabase('shop');
      await server.sql(
        `CREATE TABLE t (i int); CREATE VIEW v AS SELECT i FROM t; CREATE PROCEDURE p() SELECT 1;
         CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.i = 1;
         CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1`,
        { database: 'shop' },
      );
      await server.sql(blockOf(engine));
      const env = backupEnv(server.uri('shop', LOGIN), remote, home, { ENGINE: engine, PATH: server.path });
      const full = await tryLogin(env);
      expect(full.codes, full.said + full.told).toEqual([0, 0]);
      expect([full.outcome, full.warnings], full.told).toEqual(['succeeded', []]);
      for (const right of rights) {
        await server.sql(`REVOKE ${right} FROM backup`);
        const less = await tryLogin(env);
        const [privilege = ''] = right.split(' ');
        const pattern = new RegExp(`GRANT [\\w, ]*${privilege}`);
        expect([less.outcome, less.codes], less.told).toEqual(['warning', [0, 0]]);
        expect(less.said).toMatch(/warning +database /);
        expect(less.said).toMatch(pattern);
        expect(less.warnings.join()).toMatch(pattern);
        await server.sql(`GRANT ${right} TO backup`);
      }
      await server.sql('REVOKE ALL PRIVILEGES, GRANT OPTION FROM backup');
      const none = await tryLogin(env);
      expect(none.codes).toEqual([1, 1]);
      expect(none.said).toMatch(/failed +database .*Access denied for user 'backup'/);
    });
  });
}

describeWith(['redis-server', 'redis-cli'], 'the rights of the page, in Redis', () => {
  it('are enough, and one less is named', TIMEOUT, async () => {
    await using home = scratchFolder();
    await using remote = await startRemote('local');
    await using server = await startRedis();
    server.run('SET', 'key', 'value');
    const command = blockOf('redis').trim().split(' ');
    server.run(...command);
    const env = backupEnv(server.uri(LOGIN), remote, home);
    const full = await tryLogin(env);
    expect(full.codes, full.said + full.told).toEqual([0, 0]);
    expect([full.outcome, full.warnings]).toEqual(['succeeded', []]);
    for (const right of ['sync', 'info']) {
      server.run('ACL', 'SETUSER', 'backup', `-${right}`);
      const less = await tryLogin(env);
      expect(less.codes[1], less.told).toBe(1);
      expect(less.said + less.told).toMatch(/NOPERM|no permissions|ACL SETUSER backup \+/);
      server.run('ACL', 'SETUSER', 'backup', `+${right}`);
    }
  });
});

it('the policies of the page are JSON, and differ by the right to delete alone', () => {
  const actionsOf = (name: string): string[] =>
    JSON.parse(blockOf(name)).Statement.flatMap(({ Action }: { Action: string[] }) => Action);
  const [full, less] = [actionsOf('s3-full'), actionsOf('s3-no-delete')];
  expect(full.filter((action) => !less.includes(action))).toEqual(['s3:DeleteObject']);
  expect(less.filter((action) => !full.includes(action))).toEqual([]);
});
