import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EngineName } from '../src/core/connection.ts';
import { describeVanished, keepTables, type Tables } from '../src/core/tables.ts';
import { runDbstash } from './support/dbstash.ts';
import { describeEngine, FIXTURE_TOOLS } from './support/fixtures.ts';
import { startMongoJava } from './support/mongo.ts';
import { startMariadb, startMysql } from './support/mysql.ts';
import { startPostgres } from './support/postgres.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { rewriteManifest } from './support/restores.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

type Env = Record<string, string>;

const TIMEOUT = { timeout: 240_000 };
const BEFORE = { id: '20260207T020000Z-a1b2c3', path: 'orders.sql' };
const many = (count: number): string[] => Array.from({ length: count }, (_, index) => `t${index}`);
const tablesOf = (names: readonly string[]): Tables => ({ kind: 'table', names });
const keep = (names: readonly string[], isEncrypted = false) => keepTables(tablesOf(names), BEFORE.id, isEncrypted);

describe('what a manifest keeps of tables', () => {
  it('are their names, sorted; beside what is encrypted no name', () => {
    expect(keep(['b', 'a'])).toEqual({ kind: 'table', count: 2, names: ['a', 'b'] });
    const { digests = '', ...rest } = keep(['b', 'a'], true);
    expect(rest).toEqual({ kind: 'table', count: 2 });
    expect(digests).toMatch(/^[0-9a-f]{16}$/);
    expect(keepTables(tablesOf(['a', 'b']), 'another', true).digests).not.toBe(digests);
  });

  it.each([250, 251, 2000, 2001, 50_000])('of %i is less than 20 kB', (count) => {
    const kept = keep(many(count));
    expect(kept.count).toBe(count);
    expect(JSON.stringify(kept, null, 2).length).toBeLessThan(20_000);
  });

  it('tells by name, by number, or not at all, what is gone', () => {
    const gone = (before: readonly string[], now: readonly string[], isEncrypted = false) =>
      describeVanished(keep(before, isEncrypted), BEFORE, tablesOf(now));
    expect(gone(['a', 'b'], ['b', 'c'])).toBe(
      '1 of the 2 tables that orders.sql holds is not there any more: a; look whether that is meant',
    );
    expect(gone(many(9), [])).toContain(
      '9 of the 9 tables that orders.sql holds are not there any more: t0, t1, t2, t3, t4 and 4 more;',
    );
    expect(gone(['a', 'b'], ['b', 'c'], true)).toBe(
      '1 of the 2 tables that orders.sql holds is not there any more; look whether that is meant',
    );
    expect(gone(many(1000), many(999))).toContain('1 of the 1000 tables that orders.sql holds is not there any more;');
    expect(gone(many(50_000), many(49_998))).toContain('2 of the 50000 tables');
    expect(gone(['a'], ['a', 'b'])).toBeUndefined();
    expect(describeVanished({ kind: 'slot', count: 3 }, BEFORE, tablesOf([]))).toBeUndefined();
  });

  it('misses nothing that is there', () => {
    const names = fc.uniqueArray(fc.string(), { maxLength: 300 });
    fc.assert(
      fc.property(names, names, fc.boolean(), (before, more, isEncrypted) => {
        expect(describeVanished(keep(before, isEncrypted), BEFORE, tablesOf([...more, ...before]))).toBeUndefined();
        const [first, ...rest] = before;
        if (first === undefined) return;
        expect(describeVanished(keep(before, isEncrypted), BEFORE, tablesOf(rest))).toMatch(/^1 of the /);
      }),
    );
  });
});

/** A database with the tables `stays` and `goes`, and a view. */
interface Place extends AsyncDisposable {
  readonly env: Env;
  /** Removes `goes`, and all that is no table. */
  change(): Promise<unknown>;
}

const SCHEMA = 'CREATE TABLE stays (i int); CREATE TABLE goes (i int); CREATE VIEW v AS SELECT i FROM stays';
const CHANGE = 'DROP TABLE goes; DROP VIEW v';

async function ofMysql(starting: ReturnType<typeof startMariadb>): Promise<Place> {
  const server = await starting;
  await server.createDatabase('source');
  await server.sql(SCHEMA, { database: 'source' });
  return {
    env: { DB_URI: server.uri('source'), ENGINE: server.engine, PATH: server.path },
    change: () => server.sql(CHANGE, { database: 'source' }),
    [Symbol.asyncDispose]: server.stop,
  };
}

const PLACES: Readonly<Record<Exclude<EngineName, 'redis'>, (scratch: Scratch) => Promise<Place>>> = {
  pg: async () => {
    const server = await startPostgres();
    await server.createDatabase('source');
    await server.sql(
      `${SCHEMA}; CREATE TABLE parts (i int) PARTITION BY RANGE (i); CREATE TABLE part PARTITION OF parts FOR VALUES FROM (1) TO (2)`,
      { database: 'source' },
    );
    return {
      env: { DB_URI: server.uri('source') },
      change: () => server.sql(`${CHANGE}; DROP TABLE part`, { database: 'source' }),
      [Symbol.asyncDispose]: server.stop,
    };
  },
  mysql: () => ofMysql(startMysql()),
  mariadb: () => ofMysql(startMariadb()),
  mongo: async () => {
    const server = await startMongoJava();
    const db = server.client.db('source');
    for (const name of ['stays', 'goes']) await db.collection<{ i: number }>(name).insertOne({ i: 1 });
    return {
      env: {
        DB_URI: server.uri({ database: 'source' }),
        PATH: `${join(requireTool('mongodump'), '..')}:${process.env.PATH}`,
      },
      change: () => db.dropCollection('goes'),
      [Symbol.asyncDispose]: server.stop,
    };
  },
  sqlite: async (scratch) => {
    const path = join(scratch.path, 'source.db');
    const run = (sql: string) => execFileSync(requireTool('sqlite3'), [path, sql]);
    run(SCHEMA);
    return {
      env: { DB_URI: `sqlite://${path}` },
      change: async () => run(CHANGE),
      [Symbol.asyncDispose]: async () => {},
    };
  },
};

const NAMES: Partial<Record<EngineName, string>> = { pg: 'public.' };

for (const engine of Object.keys(PLACES) as (keyof typeof PLACES)[]) {
  describeEngine(engine, ['rclone', ...FIXTURE_TOOLS[engine]], `a table of ${engine} that vanished`, () => {
    let scratch: Scratch;
    let place: Place;
    let remote: TestRemote;
    beforeAll(async () => {
      scratch = scratchFolder();
      remote = await startRemote('local');
      place = await PLACES[engine](scratch);
    }, 120_000);
    afterAll(async () => {
      await place?.[Symbol.asyncDispose]();
      await remote?.[Symbol.asyncDispose]();
      await scratch?.[Symbol.asyncDispose]();
    });

    it('is a warning, once, which names it and fails nothing', TIMEOUT, async () => {
      const env = { ...place.env, ...remote.env, RCLONE_REMOTE: remote.remote, BACKUP_TEMP_DIR: scratch.path };
      const backup = async () => {
        const { exitCode, stdout, stderr } = await runDbstash(['backup', '--json'], env);
        expect([exitCode, stderr]).toEqual([0, expect.any(String)]);
        expect(stdout).not.toContain('"names"');
        const { outcome, warnings, backups } = JSON.parse(stdout);
        return { outcome, warnings, artifact: backups[0].artifact as string };
      };
      const kind = engine === 'mongo' ? 'collection' : 'table';
      const [before, after] = [
        [...(engine === 'pg' ? ['parts'] : []), 'goes', 'stays'].sort(),
        engine === 'pg' ? ['parts', 'stays'] : ['stays'],
      ];
      const named = (names: readonly string[]) => names.map((name) => `${NAMES[engine] ?? ''}${name}`);
      const keptOf = async (artifact: string) =>
        JSON.parse((await remote.read(`${artifact}.manifest.json`)).toString()).tables;

      const first = await backup();
      expect(first).toMatchObject({ outcome: 'succeeded', warnings: [] });
      expect(await keptOf(first.artifact)).toEqual({ kind, count: before.length, names: named(before) });
      await place.change();
      const second = await backup();
      expect(second).toMatchObject({
        outcome: 'warning',
        warnings: [
          `1 of the ${before.length} ${kind}s that ${first.artifact} holds is not there any more: ${named(['goes'])[0]}; look whether that is meant`,
        ],
      });
      expect(await keptOf(second.artifact)).toEqual({ kind, count: after.length, names: named(after) });
      expect(await backup()).toMatchObject({ outcome: 'succeeded', warnings: [] });
      // One of an earlier release says nothing of them, one of a later release perhaps something else.
      const [newest] = JSON.parse((await runDbstash(['list', '--json'], env)).stdout);
      await rewriteManifest(remote, newest.artifact, { tables: ['another', 'format'] });
      expect(await backup()).toMatchObject({ outcome: 'succeeded', warnings: [] });
      const listed = JSON.parse((await runDbstash(['list', '--json'], env)).stdout);
      expect(listed.map(({ state }: { state: string }) => state)).toEqual(['good', 'good', 'good', 'good']);
    });
  });
}
