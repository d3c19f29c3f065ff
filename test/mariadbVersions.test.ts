import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { backupEnv } from './support/backups.ts';
import { runDbstash } from './support/dbstash.ts';
import { type MysqlServer, startMariadb, startNewMariadb } from './support/mysql.ts';
import { contentOf } from './support/mysqlContent.ts';
import { MYSQL_DEFINERS, MYSQL_SCHEMA } from './support/mysqlSchema.ts';
import { describeWith } from './support/need.ts';
import { startRemote } from './support/remotes.ts';
import { makeBackup } from './support/restores.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

/** This machine's own MariaDB, and 11.8. */
type Age = 'own' | 'new';

const TOOLS = ['mariadbd', 'mariadb', 'mariadb-dump', 'mariadbd-11.8', 'rclone'];

describeWith(TOOLS, 'a dump goes from one MariaDB to another', () => {
  const servers: Partial<Record<Age, MysqlServer>> = {};
  let scratch: Scratch;
  let copies = 0;

  beforeAll(async () => {
    scratch = scratchFolder();
    for (const [age, start] of [
      ['own', startMariadb],
      ['new', startNewMariadb],
    ] as const) {
      const server = await start();
      servers[age] = server;
      await server.sql(MYSQL_DEFINERS);
      await server.sql('CREATE DATABASE source CHARACTER SET latin1 COLLATE latin1_german1_ci');
      await server.sql(MYSQL_SCHEMA, { database: 'source' });
    }
  }, 180_000);

  afterAll(async () => {
    for (const server of Object.values(servers)) await server.stop();
    await scratch?.[Symbol.asyncDispose]();
  });

  /** Dumps with the clients of `from`, restores with a client found first on `path`. Fails where the contents differ. */
  async function move(from: MysqlServer, to: MysqlServer, path: string): Promise<string> {
    await using remote = await startRemote('local');
    const env = backupEnv(from.uri('source'), remote, scratch, { PATH: from.path });
    const { artifact } = await makeBackup(env);
    const copy = `copy${++copies}`;
    const { exitCode, stderr } = await runDbstash(['restore', '--to', to.uri(copy)], { ...env, PATH: path });
    expect(exitCode, stderr).toBe(0);
    expect(await contentOf(to, copy)).toEqual(await contentOf(from, 'source'));
    return (await remote.read(artifact)).toString('latin1');
  }

  it.each<[from: Age, client: Age, to: Age]>([
    ['new', 'new', 'new'],
    ['new', 'own', 'new'],
    ['new', 'own', 'own'],
    ['own', 'new', 'new'],
    ['own', 'own', 'new'],
  ])(
    'F56: of the version $0, by the client $1, into $2, with all its objects',
    async (from, client, to) => {
      await move(servers[from]!, servers[to]!, servers[client]!.path);
    },
    120_000,
  );

  it('and with DB_TLS=prefer by a new client from a server without TLS, which it refuses by itself', async () => {
    await using remote = await startRemote('local');
    await using server = await startNewMariadb({ settings: ['skip-ssl'] });
    await server.createDatabase('source');
    const env = backupEnv(server.uri('source'), remote, scratch, { PATH: server.path });
    const refused = await runDbstash(['backup'], env);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain('SSL is required, but the server does not support it');
    expect(await makeBackup({ ...env, DB_TLS: 'prefer' })).toMatchObject({ tool: expect.stringContaining('11.8') });
  }, 120_000);

  describeWith(['mariadb-10.2'], 'by a client from before the sandbox line', () => {
    it.each<[to: Age]>([['new'], ['own']])(
      'into %s, which by itself stops at that line',
      async (to) => {
        const client = requireTool('mariadb-10.2');
        const server = servers[to]!;
        const dump = await move(servers.new!, server, `${dirname(client)}:${server.path}`);
        expect(dump).toMatch(/^\/\*M!999999\\- enable the sandbox mode \*\/ *\n/);
        await server.createDatabase('raw');
        const args = ['--no-defaults', '--protocol=tcp', `--port=${server.port}`, '--user=root', 'raw'];
        const raw = spawnSync(client, args, {
          input: Buffer.from(dump, 'latin1'),
          env: { MYSQL_PWD: server.password },
        });
        expect(raw.stderr.toString()).toContain("ERROR at line 1: Unknown command '\\-'");
        expect(raw.status).toBe(1);
        expect(await server.sql('SHOW TABLES', { database: 'raw' })).toEqual([]);
      },
      120_000,
    );
  });
});
