import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findCompose, openProject, type Project } from './support/compose.ts';
import { type BuiltImages, buildImages, describeWithImages, missingFor } from './support/images.ts';
import { startFerret } from './support/mongo.ts';
import { freePort, scratchFolder, waitFor } from './support/scratch.ts';
import { findTool } from './support/tools.ts';

const root = join(import.meta.dirname, '..');
const TIMEOUT = { timeout: 420_000 };

interface Listed {
  readonly artifact: string;
  readonly state: string;
}

async function listIn(project: Project, service: string): Promise<readonly Listed[]> {
  const { stdout } = await project.exec(service, ['dbstash', 'list', '--json']).catch(() => ({ stdout: '[]' }));
  return JSON.parse(stdout);
}

/** Until there are so many good backups. */
async function waitForBackups(project: Project, service: string, count: number): Promise<readonly Listed[]> {
  let last = '';
  const look = async () => {
    last = await project.logs(service);
    const listed = (await listIn(project, service)).filter(({ state }) => state === 'good');
    return listed.length >= count && listed;
  };
  return await waitFor(look, { timeoutMs: 180_000, title: () => `${service} has ${count} backups: ${last}` });
}

/** Stand-ins of the databases' images know passwords as variables only, and it must not matter where the images come from. */
const passwordFrom = (variable: string, server: string) => ({
  entrypoint: [
    'sh',
    '-c',
    `export ${variable}="$$(cat "$$${variable}_FILE")"; unset ${variable}_FILE; exec $$(command -v docker-entrypoint docker-entrypoint.sh | head -n 1) ${server}`,
  ],
});

if (!findCompose()) console.warn('SKIPPED "docker compose": docker-compose missing (sh .ci/prepare test gets it)');

describe.skipIf(!findCompose())('docker compose', () => {
  describeWithImages(['pg-17', 'mysql-9'], [], 'docker-compose.example.yml', () => {
    let images: BuiltImages;
    beforeAll(async () => {
      images = await buildImages(['pg-17', 'mysql-9']);
    }, 900_000);
    afterAll(() => images[Symbol.asyncDispose](), 120_000);

    it('starts as it is, and has a backup of each database soon after', TIMEOUT, async () => {
      await using scratch = scratchFolder();
      const services = {
        postgres: passwordFrom('POSTGRES_PASSWORD', 'postgres'),
        mysql: passwordFrom('MYSQL_ROOT_PASSWORD', 'mysqld'),
        secrets: { image: images.name('pg-17') },
        'postgres-backup': { image: images.name('pg-17') },
        'mysql-backup': { image: images.name('mysql-9') },
      };
      const file = join(root, 'docker-compose.example.yml');
      await using project = openProject({ file, override: { services }, folder: scratch.path });
      await project.up(300_000);
      for (const service of ['postgres-backup', 'mysql-backup']) {
        const [backup] = await waitForBackups(project, service, 1);
        expect(backup!.artifact).toMatch(/^shop-\d{4}-\d\d-\d\d-\d{6}\.sql\.zst$/);
        expect((await project.exec(service, ['id', '-u'])).stdout).toBe('1000\n');
        const verified = await project.exec(service, ['dbstash', 'verify']);
        expect(verified.exitCode).toBe(0);
      }
      const restored = await project.exec('postgres-backup', [
        'dbstash',
        'restore',
        'latest',
        '--database',
        'shop_copy',
      ]);
      expect(restored.exitCode).toBe(0);
    });
  });

  // Its tools are built from source.
  const mongo = findTool('ferretdb') && missingFor(['mongo-8']).length === 0 ? ['mongo-8'] : [];
  if (mongo.length === 0)
    console.warn('SKIPPED "the MongoDB of those users": FerretDB or what mongo-8 is built from is missing');
  describeWithImages(['pg-17', ...mongo], [], 'the file that users of the Go dbstash have', () => {
    let images: BuiltImages;
    beforeAll(async () => {
      images = await buildImages(['pg-17', ...mongo]);
    }, 1200_000);
    afterAll(() => images[Symbol.asyncDispose](), 120_000);

    /** What stands beside their file: secrets that only root can read, and the old tool's backups. */
    function layOut(folder: string, mongoPassword: string) {
      cpSync(join(import.meta.dirname, 'compose'), folder, { recursive: true });
      for (const name of ['secrets', 'backups', 'backups/pg', 'backups/mongo']) mkdirSync(join(folder, name));
      const secrets = {
        pg_uri: 'postgres://postgres:p%40ss%20word@pg:5432/shop?sslmode=disable\n',
        rclone_conf: '[store]\ntype = alias\nremote = /backup\n',
        mongo_password: mongoPassword,
      };
      for (const [name, text] of Object.entries(secrets))
        writeFileSync(join(folder, 'secrets', name), text, { mode: 0o600 });
      const old = Object.fromEntries(
        [...Array(5).keys()].map((day) => [`backups/pg/shop-2020-01-0${day + 1}-030000.sql`, `-- day ${day}`]),
      );
      for (const [path, text] of Object.entries(old)) writeFileSync(join(folder, path), text);
      return old;
    }

    it('F11: starts unchanged, backs up in time, keeps to its retention, and leaves the old backups alone', {
      timeout: 600_000,
    }, async () => {
      await using stack = new AsyncDisposableStack();
      const folder = stack.use(scratchFolder()).path;
      const login = { user: 'root', password: 'm#ngo: pass' };
      const ferret = mongo.length > 0 ? stack.use(await startFerret({ login })) : undefined;
      await ferret?.client
        .db('shop')
        .collection('orders')
        .insertMany([{ n: 1 }, { n: 2 }]);
      const old = layOut(folder, login.password);
      const services = {
        'pg-backup': { image: images.name('pg-17') },
        'mongo-backup': ferret
          ? {
              image: images.name('mongo-8'),
              network_mode: 'host',
              environment: {
                DB_HOST: '127.0.0.1',
                DB_PORT: String(ferret.port),
                HEALTH_PORT: String(await freePort()),
              },
            }
          : { profiles: ['absent'] },
      };
      const project = stack.use(openProject({ file: join(folder, 'go-dbstash.yml'), override: { services }, folder }));
      await project.up(180_000);

      const [first] = await waitForBackups(project, 'pg-backup', 1);
      const inParis = new Intl.DateTimeFormat('sv', { timeZone: 'Europe/Paris', dateStyle: 'short' }).format(
        new Date(),
      );
      expect(first!.artifact).toMatch(new RegExp(`^shop-${inParis}-\\d{4}00\\.sql$`));
      await project.exec('pg-backup', ['test', '-e', '/tmp/hook-of-pg']);
      for (let run = 0; run < 3; run += 1) await project.exec('pg-backup', ['dbstash', 'backup']);
      expect((await listIn(project, 'pg-backup')).length).toBeLessThanOrEqual(2);
      const logs = (await project.logs('pg-backup')).split('\n');
      expect(logs.filter((line) => /"level":"(warn|error)"/.test(line))).toEqual([]);
      if (ferret) await waitForBackups(project, 'mongo-backup', 1);
      for (const [path, text] of Object.entries(old)) expect(readFileSync(join(folder, path), 'utf8')).toBe(text);
      expect(readdirSync(join(folder, 'backups/pg')).filter((name) => name.startsWith('shop-2020'))).toHaveLength(5);
    });
  });
});
