import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backupEnv, listBackups } from './support/backups.ts';
import { type DbstashRun, runDbstash, startDbstash } from './support/dbstash.ts';
import { createGates } from './support/gates.ts';
import { describeWith } from './support/need.ts';
import { startPostgres } from './support/postgres.ts';
import { startReceiver } from './support/receiver.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { freePort, type Scratch, scratchFolder } from './support/scratch.ts';

let scratch: Scratch;
let remote: TestRemote;
let database: string;
let env: Record<string, string>;

beforeAll(async () => {
  scratch = scratchFolder();
  remote = await startRemote('local');
  database = join(scratch.path, 'shop.db');
  execFileSync('sqlite3', [database, 'CREATE TABLE orders(id); INSERT INTO orders VALUES (1)']);
  env = backupEnv(`sqlite://${database}`, remote, scratch, { BACKUP_NAME_TEMPLATE: '{db}-{uuid}' });
});
afterAll(async () => {
  await remote?.stop();
  await scratch?.[Symbol.asyncDispose]();
});

const warningsOf = (run: DbstashRun) => run.lines.filter(({ level }) => level === 'warn').map(({ message }) => message);

describe('a run', () => {
  it('that went well is told with its artifact and its size, where that is wanted', async () => {
    await using receiver = await startReceiver();
    const run = await runDbstash(['backup'], { ...env, NOTIFY_WEBHOOK_URL: receiver.origin, NOTIFY_ON: 'always' });
    expect(run.exitCode, run.stderr).toBe(0);
    expect(receiver.received).toHaveLength(1);
    const told = JSON.parse(receiver.received[0]!.body);
    const [backup] = await listBackups(env);
    expect(told).toMatchObject({
      outcome: 'succeeded',
      title: `dbstash: backup succeeded: SQLite shop (${database})`,
      run: run.lines.at(-1)?.run,
      backups: [{ id: backup!.id, bytes: backup!.bytes, paths: [`${remote.remote}/${backup!.artifact}`] }],
    });
  });

  it('that went well is not told by default, one that failed is', async () => {
    await using receiver = await startReceiver();
    const told = { ...env, NOTIFY_WEBHOOK_URL: receiver.origin };
    expect(await runDbstash(['backup'], told)).toMatchObject({ exitCode: 0 });
    expect(receiver.received).toEqual([]);
    const run = await runDbstash(['backup'], { ...told, DB_URI: `sqlite://${database}.missing` });
    expect(run.exitCode).toBe(1);
    const body = JSON.parse(receiver.received[0]!.body);
    expect(body).toMatchObject({ outcome: 'failed', status: 'failure', backups: [] });
    expect(run.lines.at(-1)?.message).toBe(`run failed: ${body.error}`);
  });

  it.each(['failure', 'always'])('F64: ends as it did where nobody can be told (%s)', async (on) => {
    await using hanging = await startReceiver({ answer: () => {} });
    await using refusing = await startReceiver({ answer: (_, response) => void response.writeHead(500).end() });
    const nobody = `http://127.0.0.1:${await freePort()}/x`;
    const told = {
      ...env,
      NOTIFY_WEBHOOK_URL: [hanging.origin, refusing.origin, nobody].join(),
      NOTIFY_ON: on,
      PING_URL: `${hanging.origin}/ping`,
      SMTP_URL: `smtp://127.0.0.1:${hanging.port}`,
      NOTIFY_EMAIL_TO: 'ops@example.com',
      NOTIFY_EMAIL_FROM: 'db@example.com',
    };
    const good = await runDbstash(['backup'], told);
    expect(good.exitCode, good.stderr).toBe(0);
    expect(good.lines.filter(({ message }) => message === 'run succeeded')).toHaveLength(1);
    const bad = await runDbstash(['backup'], { ...told, DB_URI: `sqlite://${database}.missing` });
    expect(bad.exitCode).toBe(1);
    expect(bad.durationMs).toBeLessThan(30_000);
    expect(warningsOf(bad).filter((line) => /^webhook at .* was not told: /.test(line))).toHaveLength(3);
  });

  it('F53: that is interrupted is told so, and a receiver that hangs does not keep the process', async () => {
    await using receiver = await startReceiver({ answer: () => {} });
    const gates = createGates(scratch, { dump: database, rclone: { call: 'rcat*.sql.partial*' } });
    const told = { ...env, PATH: gates.path, NOTIFY_WEBHOOK_URL: receiver.origin, PING_URL: `${receiver.origin}/ping` };
    await using program = startDbstash(['backup'], told);
    await gates.arrived('call');
    const start = performance.now();
    program.kill('SIGTERM');
    const run = await program.exited;
    expect(performance.now() - start).toBeLessThan(7_000);
    expect(run.exitCode, run.stderr).toBe(143);
    const bodies = receiver.received.filter(({ path }) => path === '/').map(({ body }) => JSON.parse(body));
    expect(bodies).toMatchObject([{ outcome: 'interrupted', error: 'interrupted by SIGTERM' }]);
    await gates.drain();
  });
});

describeWith(['initdb', 'postgres', 'psql', 'pg_dump'], 'a run over several databases', () => {
  it('is one message, with a line for each', async () => {
    await using receiver = await startReceiver();
    const postgres = await startPostgres();
    await postgres.createDatabase('orders');
    const server = { DB_URI: postgres.uri('postgres').replace(/\/postgres\b/, '/'), DB_NAME: 'orders,gone' };
    const run = await runDbstash(['backup'], { ...env, ...server, NOTIFY_WEBHOOK_URL: receiver.origin });
    await postgres.stop();
    expect(run.exitCode, run.stderr).toBe(1);
    expect(receiver.received).toHaveLength(1);
    const { title, message, failures, backups } = JSON.parse(receiver.received[0]!.body);
    expect(title).toMatch(/^dbstash: backup failed: PostgreSQL orders,gone \(127\.0\.0\.1:\d+\)$/);
    expect(message).toMatch(/^gone: failed: .*does not exist/);
    expect(message).toMatch(/\norders: [\d.]+ \S+ at /);
    expect(failures).toMatchObject([{ database: 'gone' }]);
    expect(backups.map((backup: { database: string }) => backup.database)).toEqual(['all', 'orders']);
  });
});
