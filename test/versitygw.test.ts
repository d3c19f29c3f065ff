import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { backupEnv, listBackups } from './support/backups.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { RCLONES, runRclone } from './support/rclone.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';
import { createSqlite, rclonePath, runSqlite } from './support/seeds.ts';

const MIB = 1024 * 1024;
/** 40 MB of dump that no part of an upload can hold. */
const ROWS = `CREATE TABLE orders(id INTEGER PRIMARY KEY, note TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
  INSERT INTO orders SELECT i, hex(randomblob(2000)) FROM n;`;

describeWith(['versitygw', 'sqlite3'], 'a real S3 server', () => {
  let remote: TestRemote;
  let scratch: Scratch;
  let small: string;
  let large: string;

  beforeAll(async () => {
    scratch = scratchFolder();
    remote = await startRemote('versitygw');
    small = createSqlite(scratch);
    await using other = scratchFolder();
    createSqlite(other, ROWS);
    large = `sqlite://${join(scratch.path, 'large.db')}`;
    runSqlite(join(other.path, 'app.db'), `VACUUM INTO '${join(scratch.path, 'large.db')}';`);
  });
  afterAll(async () => {
    await remote?.stop();
    await scratch?.[Symbol.asyncDispose]();
  });

  /** What the server has of uploads that nobody has finished. */
  async function openUploads(): Promise<number> {
    const listed = await runRclone(['backend', 'list-multipart-uploads', remote.remote], remote.env);
    const uploads: Record<string, unknown[] | null> = JSON.parse(listed.stdout.toString());
    return Object.values(uploads).flatMap((list) => list ?? []).length;
  }

  for (const tool of RCLONES) {
    describeWith([tool], `with ${tool}`, () => {
      const envFor = (uri: string, more: Record<string, string> = {}) =>
        backupEnv(uri, remote, scratch, {
          BACKUP_NAME_TEMPLATE: `${tool}/{db}-{uuid}`,
          BACKUP_SERIES: `${tool}-${uri === large ? 'large' : 'small'}`,
          ...rclonePath(scratch, tool),
          ...more,
        });

      it('takes small backups, lists, prunes and restores them', async () => {
        const env = envFor(small, { RETENTION_KEEP_LAST: '2' });
        for (let runs = 0; runs < 3; runs += 1) {
          const done = await runDbstash(['backup'], env);
          expect([done.exitCode, done.lines.at(-1)?.outcome], done.stderr).toEqual([0, 'succeeded']);
        }
        const backups = (await listBackups(env)).filter(({ series }) => series === env.BACKUP_SERIES);
        expect(backups.map(({ state }) => state)).toEqual(['good', 'good']);
        const [newest] = backups;
        expect((await remote.list()).get(newest!.artifact)).toEqual({ bytes: newest!.bytes, sha256: newest!.sha256 });
        expect([...(await remote.list()).keys()].filter((path) => path.startsWith(`${tool}/app-`))).toHaveLength(4);
        const target = join(scratch.path, `${tool}-small.db`);
        const restored = await runDbstash(['restore', '--database', target], env);
        expect(restored.exitCode, restored.stderr).toBe(0);
        expect(runSqlite(target, 'SELECT a FROM t;')).toBe('42');
        expect((await runDbstash(['check'], env)).exitCode).toBe(0);
      });

      it('takes 40 MB in parts, and gives them back as they were', async () => {
        const env = envFor(large);
        const done = await runDbstash(['backup'], env);
        expect([done.exitCode, done.lines.at(-1)?.outcome], done.stderr).toEqual([0, 'succeeded']);
        const [backup] = (await listBackups(env)).filter(({ series }) => series === env.BACKUP_SERIES);
        expect(backup?.bytes).toBeGreaterThan(38 * MIB);
        expect((await remote.list()).get(backup!.artifact)).toEqual({ bytes: backup!.bytes, sha256: backup!.sha256 });
        const target = join(scratch.path, `${tool}-large.db`);
        const restored = await runDbstash(['restore', '--database', target], env);
        expect(restored.exitCode, restored.stderr).toBe(0);
        const sums = `SELECT count(*), sum(length(note)), max(note) FROM orders;`;
        expect(runSqlite(target, sums)).toBe(runSqlite(large.slice('sqlite://'.length), sums));
        expect(await openUploads()).toBe(0);
      });

      it('keeps nothing of an upload that was stopped midway, not even its parts', async () => {
        const before = [...(await remote.list()).keys()].sort();
        const slow = envFor(large, { RCLONE_BWLIMIT: '12M', RCLONE_S3_CHUNK_SIZE: '5M' });
        await using program = startDbstash(['backup'], slow);
        await waitFor(async () => (await openUploads()) > 0, { timeoutMs: 30_000, title: 'an upload has begun' });
        program.kill('SIGTERM');
        const { exitCode, durationMs } = await program.exited;
        expect(exitCode).toBe(143);
        expect(durationMs).toBeLessThan(40_000);
        expect([...(await remote.list()).keys()].sort()).toEqual(before);
        expect(await openUploads()).toBe(0);
      });
    });
  }
});
