import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, createNetwork, HARDENED, runContainer, startContainer, UID } from './support/containers.ts';
import { type BuiltImages, buildImages, describeWithImages } from './support/images.ts';
import { startFerret } from './support/mongo.ts';
import { describeWith } from './support/need.ts';
import { scratchFolder, waitFor } from './support/scratch.ts';

const PASSWORD = 'p@ss word#$x';
const TIMEOUT = { timeout: 300_000 };
type Env = Readonly<Record<string, string>>;

interface Row {
  readonly tag: string;
  /** The server beside it, found as `db`. */
  readonly server?: { readonly image: string; readonly env?: Env; readonly args?: readonly string[] };
  readonly env: Env;
  readonly modes: readonly string[];
  /** Programs of the image: what fills the database, and what counts what is in the place that it is restored to. */
  readonly fill: readonly string[];
  readonly count: readonly string[];
  readonly counted: string;
  readonly restore: readonly string[];
  /** Between backup and restore. */
  readonly empty?: readonly string[];
}

const ROWS = 'WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 500)';

/** MySQL and MariaDB differ in names only. */
function mysqlRow(tag: string, client: string, image: string, variable: string): Row {
  const login = [client, '--host=db', '--user=root', `--password=${PASSWORD}`, '--silent', '--skip-column-names'];
  const create = 'DROP TABLE IF EXISTS orders; CREATE TABLE orders (id INT PRIMARY KEY, note VARCHAR(99))';
  return {
    tag,
    // It would ask for the name of whoever connects, and networks of containers need not answer.
    server: {
      image,
      env: { [`${variable}_ROOT_PASSWORD`]: PASSWORD, [`${variable}_DATABASE`]: 'shop' },
      args: ['--skip-name-resolve'],
    },
    env: { DB_HOST: 'db', DB_NAME: 'shop', DB_PASSWORD: PASSWORD },
    modes: ['stream', 'tar'],
    fill: [
      ...login,
      '--database=shop',
      `--execute=${create}; INSERT INTO orders ${ROWS} SELECT id, CONCAT('note ', id) FROM n`,
    ],
    count: [...login, '--execute=SELECT COUNT(*) FROM shop_copy.orders'],
    counted: '500',
    restore: ['--database', 'shop_copy', '--replace', '--yes', 'shop_copy'],
  };
}

const redis = ['redis-cli', '-h', 'db', '--no-auth-warning', '-a', PASSWORD];

/** Valkey differs from it in the server's name. */
const redisRow = (tag: string, image: string, program: string): Row => ({
  tag,
  server: { image, args: [program, '--requirepass', PASSWORD] },
  env: { DB_HOST: 'db', DB_NAME: 'cache', DB_PASSWORD: PASSWORD },
  modes: ['stream'],
  fill: [...redis, 'EVAL', "for n = 1, 500 do redis.call('SET', 'key:' .. n, n) end", '0'],
  empty: [...redis, 'FLUSHALL'],
  restore: [],
  count: [...redis, 'DBSIZE'],
  counted: '500',
});

const TABLE: readonly Row[] = [
  mysqlRow('mysql-9', 'mysql', 'docker.io/library/mysql:9', 'MYSQL'),
  mysqlRow('mariadb-11', 'mariadb', 'docker.io/library/mariadb:11.8', 'MARIADB'),
  redisRow('redis-8', 'docker.io/library/redis:8', 'redis-server'),
  redisRow('valkey-8', 'docker.io/valkey/valkey:8', 'valkey-server'),
  {
    tag: 'sqlite-3',
    env: { DB_URI: 'sqlite:///data/shop.db' },
    modes: ['stream', 'file'],
    fill: ['sqlite3', '/data/shop.db', `CREATE TABLE orders AS ${ROWS} SELECT id FROM n`],
    restore: ['--to', 'sqlite:///data/copy.db', '--replace', '--yes', '/data/copy.db'],
    count: ['sqlite3', '/data/copy.db', 'SELECT count(*) FROM orders'],
    counted: '500',
  },
];

for (const row of TABLE) {
  describeWithImages([row.tag], row.server ? [row.server.image] : [], `the image ${row.tag}`, () => {
    const stack = new AsyncDisposableStack();
    let images: BuiltImages;
    let flags: readonly string[];

    /** A program of the image, as the user that everything runs as. */
    const call = ([program, ...args]: readonly string[], env: Env = {}): Promise<Answer> =>
      runContainer({ image: images.name(row.tag), env, flags: [...flags, `--entrypoint=${program}`], args }, 200_000);

    beforeAll(async () => {
      images = stack.use(await buildImages([row.tag]));
      const network = stack.use(await createNetwork()).name;
      const { path } = stack.use(scratchFolder());
      chmodSync(path, 0o755);
      for (const name of ['backup', 'data']) {
        mkdirSync(join(path, name));
        chownSync(join(path, name), UID, UID);
      }
      flags = [...HARDENED, `--network=${network}`, `--volume=${path}/backup:/backup`, `--volume=${path}/data:/data`];
      if (row.server)
        stack.use(await startContainer({ ...row.server, flags: [`--network=${network}`, '--network-alias=db'] }));
      let last = '';
      const fill = async () => {
        const { exitCode, stderr } = await call(row.fill);
        last = stderr;
        return exitCode === 0;
      };
      await waitFor(fill, { timeoutMs: 120_000, title: () => `its database takes rows: ${last}` });
    }, 1200_000);
    afterAll(() => stack.disposeAsync(), 120_000);

    it.each(row.modes)(
      'F39: backs up, proves and restores in mode %s as any user, read-only, without a right',
      TIMEOUT,
      async (mode) => {
        const env = { ...row.env, RCLONE_REMOTE: `/backup/${mode}`, BACKUP_MODE: mode, BACKUP_COMPRESS: 'zstd' };
        const dbstash = async (...args: readonly string[]) => {
          const answer = await call(['dbstash', ...args], env);
          expect(answer, answer.stdout + answer.stderr).toMatchObject({ exitCode: 0 });
          return answer;
        };
        await dbstash('check');
        const { stderr } = await dbstash('backup');
        expect(stderr.split('\n').filter((line) => /"level":"(warn|error)"/.test(line))).toEqual([]);
        await dbstash('verify');
        if (row.empty) await call(row.empty);
        await dbstash('restore', 'latest', ...row.restore);
        expect(await call(row.count)).toMatchObject({ stdout: `${row.counted}\n` });
      },
    );
  });
}

describe('the image mongo-8', () => {
  describeWith(['ferretdb'], 'with FerretDB', () => {
    describeWithImages(['mongo-8'], [], 'and the tools of 100.6.1', () => {
      let images: BuiltImages;
      beforeAll(async () => {
        images = await buildImages(['mongo-8']);
      }, 1200_000);
      afterAll(() => images[Symbol.asyncDispose](), 120_000);

      it('F39: backs up, proves and restores as any user, read-only, without a right', TIMEOUT, async () => {
        await using server = await startFerret({ login: { user: 'root', password: PASSWORD } });
        await using scratch = scratchFolder();
        chmodSync(scratch.path, 0o777);
        await server.client
          .db('shop')
          .collection('orders')
          .insertMany([{ n: 1 }, { n: 2 }]);
        const env = {
          DB_HOST: '127.0.0.1',
          DB_PORT: String(server.port),
          DB_USER: 'root',
          DB_PASSWORD: PASSWORD,
          DB_NAME: 'shop',
          RCLONE_REMOTE: '/backup',
        };
        const flags = [...HARDENED, '--network=host', `--volume=${scratch.path}:/backup`];
        for (const args of [['backup'], ['verify'], ['restore', 'latest', '--database', 'shop_copy']]) {
          const answer = await runContainer({ image: images.name('mongo-8'), env, flags, args });
          expect(answer, answer.stderr).toMatchObject({ exitCode: 0 });
        }
        expect(await server.client.db('shop_copy').collection('orders').countDocuments()).toBe(2);
      });
    });
  });
});
