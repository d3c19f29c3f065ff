import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseConnection } from '../src/config/uriConnection.ts';
import type { Command } from '../src/core/command.ts';
import type { Connection } from '../src/core/connection.ts';
import type { Mode } from '../src/core/mode.ts';
import { mongo } from '../src/engines/mongo.ts';
import { askMongo } from '../src/mongo.ts';
import { runCommand } from '../src/process/run.ts';
import { createScratch, type Scratch } from '../src/process/scratch.ts';
import { describeDatabase, type MongoTestServer, startMongoJava } from './support/mongo.ts';
import { fillDatabase } from './support/mongoContent.ts';
import { describeWith } from './support/need.ts';
import { scratchFolder } from './support/scratch.ts';
import { findTool, requireTool } from './support/tools.ts';

const LONG_MS = 180_000;
const { signal } = new AbortController();

describeWith(
  ['mongodump', 'mongorestore', 'java', 'mongo-java-server', 'sh', 'setpriv'],
  'the engine mongo against a server (mongodump 100.6.1, mongo-java-server 1.47)',
  () => {
    let server: MongoTestServer;
    let folder: ReturnType<typeof scratchFolder>;

    beforeAll(async () => {
      folder = scratchFolder();
      server = await startMongoJava();
      await fillDatabase(server.client.db('source'));
      await server.client.db('second').collection('c').insertOne({ a: 1 });
    }, LONG_MS);

    afterAll(async () => {
      await server?.stop();
      await folder?.[Symbol.asyncDispose]();
    });

    const connect = (database: string): Connection => parseConnection(server.uri({ database }));

    async function run(scratch: Scratch, command: Command): Promise<void> {
      const { file, ...rest } = await scratch.prepare(command);
      const env = { PATH: process.env.PATH ?? '' };
      const { exit, stderr } = await runCommand({ ...rest, file: findTool(file) ?? file }, { env, signal });
      expect(exit.code, stderr).toBe(0);
    }

    /** Dumps a database to the place of such dumps in `scratch`, and returns its format and facts. */
    async function dump(scratch: Scratch, connection: Connection, mode: Mode, compress: boolean) {
      const found = await askMongo(mongo.inspect(connection), signal);
      const request = { connection, server: found, tool: 'mongodump 100.6.1', mode, jobs: 2, compress, extraArgs: [] };
      const plan = mongo.planDump(request);
      await run(scratch, plan.dump);
      return { format: plan.format, facts: { ...found.target, ...plan.facts }, plan };
    }

    const restore = async (
      scratch: Scratch,
      connection: Connection,
      { format, facts }: Awaited<ReturnType<typeof dump>>,
      mode: Mode,
    ): Promise<void> => {
      const target = await askMongo(mongo.inspectTarget(connection, facts), signal);
      const request = { connection, target, facts, mode, format, replace: true, createRoles: false, id: 'x' };
      const { empty, load } = mongo.planRestore(request);
      if (empty) await askMongo(empty, signal);
      if (mode !== 'file') return await run(scratch, load);
      // The dump comes on standard input.
      const { file, args, files } = load;
      const script = `exec '${requireTool(file)}' "$@" <'${join(scratch.path, 'dump')}'`;
      await run(scratch, { file: 'sh', args: ['-c', script, 'sh', ...args], ...(files && { files }) });
    };

    it.each<[Mode, boolean]>([
      ['file', false],
      ['directory', false],
      ['directory', true],
      ['tar', true],
    ])(
      'dumps one database in the mode %s (compressed: %s), and restores it under another name, and over itself',
      async (mode, compress) => {
        await using scratch = await createScratch(folder.path, `${mode}-${compress}`);
        const made = await dump(scratch, connect('source'), mode, compress);
        const path = join(scratch.path, 'dump');
        if (mode === 'file') expect(made.plan.marks.ends?.test(readFileSync(path, 'latin1').slice(-65_536))).toBe(true);
        else expect(existsSync(join(path, 'source', `many.bson${compress ? '.gz' : ''}`))).toBe(true);
        const want = await describeDatabase(server.client.db('source'));
        await restore(scratch, connect('copy'), made, mode);
        expect(await describeDatabase(server.client.db('copy'))).toEqual(want);
        await server.client.db('copy').collection('more').insertOne({});
        await restore(scratch, connect('copy'), made, mode);
        expect(await describeDatabase(server.client.db('copy'))).toEqual(want);
        await server.client.db('copy').dropDatabase();
      },
      LONG_MS,
    );

    it(
      'dumps a whole server into a folder, and takes one database out of it',
      async () => {
        await using scratch = await createScratch(folder.path, 'whole');
        const made = await dump(scratch, connect(''), 'directory', false);
        expect(made.facts).toEqual({ database: null, databases: ['second', 'source'] });
        const want = await describeDatabase(server.client.db('second'));
        await server.client.db('second').collection('more').insertOne({});
        await restore(scratch, connect('second'), made, 'directory');
        expect(await describeDatabase(server.client.db('second'))).toEqual(want);
      },
      LONG_MS,
    );

    it('asks for the databases, sizes and what a target holds', async () => {
      expect(await askMongo(mongo.discover(connect('')), signal)).toEqual(['second', 'source']);
      const found = await askMongo(mongo.inspect(connect('source')), signal);
      expect(found).toMatchObject({ title: 'MongoDB 5.0.0', major: 5, serverId: null, target: { database: 'source' } });
      expect(found.bytes).toBeGreaterThan(500_000);
      const target = await askMongo(mongo.inspectTarget(connect('second'), { database: 'source' }), signal);
      expect(target).toMatchObject({ exists: true, holds: '1 collection' });
      await expect(askMongo(mongo.inspectTarget(connect('absent'), {}), signal)).resolves.toMatchObject({
        exists: false,
      });
    });

    it('drops collections where the whole database may not be dropped', async () => {
      const db = server.client.db('emptied');
      await db.collection('a').insertOne({});
      await db.collection('b').insertOne({});
      const connection = connect('emptied');
      const target = await askMongo(mongo.inspectTarget(connection, {}), signal);
      const facts = { database: 'emptied' };
      const request = { connection, target, facts, mode: 'stream', format: 'archive', replace: true } as const;
      const { empty } = mongo.planRestore({ ...request, createRoles: false, id: 'x' });
      await askMongo(empty!.fallback!, signal);
      expect(await db.listCollections().toArray()).toEqual([]);
    });

    it('F60: gives up at once when it is told to, also on a server that says nothing', async () => {
      const silent = createServer(() => {});
      await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
      const address = silent.address();
      const port = typeof address === 'object' && address ? address.port : 0;
      const controller = new AbortController();
      const startedAt = performance.now();
      const asking = askMongo(mongo.inspect(parseConnection(`mongodb://127.0.0.1:${port}/x`)), controller.signal);
      setTimeout(() => controller.abort(new Error('enough')), 200);
      await expect(asking).rejects.toThrow('enough');
      expect(performance.now() - startedAt).toBeLessThan(5000);
      silent.close();
    });
  },
);
