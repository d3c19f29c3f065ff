import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describeSchedule } from '../src/schedule.ts';
import { backupEnv } from './support/backups.ts';
import { runDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { startPostgres } from './support/postgres.ts';
import { type RemoteKind, startRemote } from './support/remotes.ts';
import { scratchFolder } from './support/scratch.ts';
import { createSqlite } from './support/seeds.ts';

type Env = Record<string, string>;

const TIMEOUT = { timeout: 120_000 };
const MINUTE_MS = 60_000;

interface Row {
  readonly what: string;
  readonly state: string;
  readonly detail: string;
}

async function check(env: Env): Promise<{ rows: Row[]; code: number | null; of: (what: string) => Row[] }> {
  const run = await runDbstash(['check', '--json'], env);
  const rows = JSON.parse(run.stdout) as Row[];
  return { rows, code: run.exitCode, of: (what) => rows.filter((row) => row.what.startsWith(what)) };
}

async function openStage(kind: RemoteKind, more: Env = {}) {
  const home = scratchFolder();
  const remote = await startRemote(kind);
  const env = backupEnv(createSqlite(home), remote, home, more);
  const dispose = async () => {
    await remote.stop();
    await home[Symbol.asyncDispose]();
  };
  return { home, remote, env, [Symbol.asyncDispose]: dispose };
}

describe.concurrent('check', () => {
  it('says when the schedule is due, in words and in times', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: '30 4 * * 1; @monthly', TZ: 'Europe/Berlin' });
    const [row] = (await check(stage.env)).of('schedule');
    expect(row).toMatchObject({ state: 'ok' });
    expect(row!.detail).toMatch(/^At 04:30, only on Monday; At 00:00, on day 1 of the month \(Europe\/Berlin\), next /);
    expect(row!.detail.match(/\d{4}-\d\d-\d\dT[\d:.]+Z/g)).toHaveLength(3);
  });

  it(
    'says that nothing is ever pruned and that nobody is told, and names what is set without using it',
    TIMEOUT,
    async () => {
      await using stage = await openStage('local');
      const bare = await check(stage.env);
      expect(bare.code).toBe(0);
      expect(bare.of('retention')).toMatchObject([
        { state: 'info', detail: expect.stringMatching(/^off: nothing is ever/) },
      ]);
      expect(bare.of('notifications')).toMatchObject([
        { state: 'info', detail: expect.stringMatching(/^none: nobody/) },
      ]);
      expect(bare.of('hooks')).toMatchObject([{ state: 'ok', detail: 'none' }]);
      const script = join(stage.home.path, 'hook');
      writeFileSync(script, `#!/bin/sh\ntouch ${stage.home.path}/ran\n`, { mode: 0o644 });
      const set = await check({
        ...stage.env,
        RETENTION_KEEP_DAILY: '7',
        PING_URL: 'http://127.0.0.1:1/ping/0123456789abcdef',
        HOOK_PRE_BACKUP: `${script} --now`,
        HOOK_POST_BACKUP: 'true',
      });
      expect(set.code).toBe(0);
      expect(set.of('retention')).toMatchObject([{ state: 'ok', detail: 'keepDaily 7' }]);
      expect(set.of('notifications')[0]!.detail).toBe('ping to 127.0.0.1:1 at start and end (not tried)');
      expect(set.of('hooks').map(({ state, detail }) => [state, detail])).toEqual([
        ['ok', 'HOOK_PRE_BACKUP, HOOK_POST_BACKUP (not run)'],
        ['warning', `HOOK_PRE_BACKUP: ${script} is not there, or may not be run`],
      ]);
    },
  );

  it(
    'F14: warns where our clock and that of the storage are minutes apart, and not where they are seconds',
    TIMEOUT,
    async () => {
      await using stage = await openStage('s3');
      const look = async (skewMs: number) => {
        stage.remote.s3!.clockSkewMs = skewMs;
        return (await check(stage.env)).of('remote: write').map(({ state, detail }) => [state, detail]);
      };
      expect(await look(30_000)).toEqual([['ok', expect.anything()]]);
      const clock = (text: string) => [
        'warning',
        expect.stringMatching(new RegExp(`the clock of this machine is ${text}`)),
      ];
      expect(await look(10 * MINUTE_MS)).toEqual([['ok', expect.anything()], clock('(9|10)m.* behind that of s3:')]);
      expect(await look(-10 * MINUTE_MS)).toEqual([['ok', expect.anything()], clock('(9|10)m.* ahead of that of s3:')]);
    },
  );

  it('warns where the uploads may take more memory than there is', TIMEOUT, async () => {
    await using stage = await openStage('s3');
    expect((await check(stage.env)).of('memory')).toMatchObject([{ state: 'ok' }]);
    const large = await check({ ...stage.env, RCLONE_S3_CHUNK_SIZE: '5Gi', RCLONE_S3_UPLOAD_CONCURRENCY: '1000' });
    expect(large.of('memory')[1]).toMatchObject({
      state: 'warning',
      detail: expect.stringMatching(/killed for want of memory.*RCLONE_S3_CHUNK_SIZE or RCLONE_S3_UPLOAD_CONCURRENCY/),
    });
  });

  it('F37: names the rights that a key needs which has none', TIMEOUT, async () => {
    await using stage = await openStage('s3');
    stage.remote.s3?.fault({ operation: 'PutObject', status: 403, code: 'AccessDenied' });
    const denied = await check(stage.env);
    expect(denied.code).toBe(3);
    expect(denied.of('remote: write')[0]).toMatchObject({
      state: 'failed',
      detail: expect.stringMatching(
        /s3:ListBucket, s3:GetObject, s3:PutObject\), retention that to delete \(s3:DeleteObject/,
      ),
    });
  });
});

describeWith(['initdb', 'postgres', 'pg_dump', 'pg_dumpall'], 'check of several databases', () => {
  it('looks at each', TIMEOUT, async () => {
    await using home = scratchFolder();
    await using remote = await startRemote('local');
    await using server = await startPostgres();
    for (const name of ['open', 'closed']) {
      await server.createDatabase(name);
      await server.sql('CREATE TABLE t AS SELECT 1 AS i', { database: name });
    }
    await server.sql("CREATE ROLE poor LOGIN PASSWORD 'of-the-poor'");
    await server.sql('GRANT SELECT ON t TO poor', { database: 'open' });
    const uri = server.uri('postgres', { user: 'poor', password: 'of-the-poor' });
    const { of, code } = await check(backupEnv(uri, remote, home, { DB_NAME: 'open,closed' }));
    expect(code).toBe(1);
    expect(of('database open')).toMatchObject([{ state: 'ok' }]);
    expect(of('database closed')).toMatchObject([{ state: 'failed', detail: expect.stringMatching(/public\.t/) }]);
  });
});

describe('a schedule in words', () => {
  it.each([
    ['0 2 * * *', 'At 02:00 (UTC)'],
    ['0 2 15 * 1', 'At 02:00, on day 15 of the month, or on Monday (UTC)'],
    ['*/5 * * * *', 'Every 5 minutes (UTC)'],
    ['@daily', 'At 00:00 (UTC)'],
    ['7/20 * * * *', 'Every 20 minutes, starting at 7 minutes past the hour (UTC)'],
    ['once', 'Once, at start (UTC)'],
    ['0 2 * * *;  0 14 * * 7 ;', 'At 02:00; At 14:00, only on Sunday (UTC)'],
  ])('is for %j: %s', (text, words) => {
    expect(describeSchedule(text, 'UTC')).toBe(words);
  });
});
