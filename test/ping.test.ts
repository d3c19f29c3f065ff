import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uuidOf } from '../src/notify/ping.ts';
import { backupEnv } from './support/backups.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { createGates } from './support/gates.ts';
import { aFailure, aReport, openNotifier } from './support/notifier.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';

const { run: RUN } = aReport();
const RID = uuidOf(RUN);
const KEY = '/ping/4b1b2f0c-canary';

const asked = ({ received }: Receiver) => received.map(({ method, path }) => `${method} ${path}`);

describe('the ping', () => {
  it('names a run by a UUID that is one and the same for it', () => {
    expect(RID).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(uuidOf(RUN)).toBe(RID);
    expect(uuidOf('20260207T020000Z-d4e5f7')).not.toBe(RID);
  });

  it.each([
    ['succeeded', aReport(), `GET ${KEY}?rid=${RID}`],
    ['warning', aReport({ outcome: 'warning', warnings: ['small'] }), `POST ${KEY}?rid=${RID}`],
    ['failed', aFailure('no'), `POST ${KEY}/fail?rid=${RID}`],
    ['interrupted', aFailure('no', { outcome: 'interrupted' }), `POST ${KEY}/fail?rid=${RID}`],
  ])('of a run that ended as %s', async (_, report, end) => {
    await using receiver = await startReceiver();
    const notifier = openNotifier({ PING_URL: receiver.origin + KEY });
    notifier.started(RUN);
    await receiver.waitForRequests(1);
    await notifier.ended(report);
    expect(asked(receiver)).toEqual([`GET ${KEY}/start?rid=${RID}`, end]);
    expect(notifier.failures()).toEqual({ ping: 0 });
  });

  it('of a run that was skipped is none', async () => {
    await using receiver = await startReceiver();
    const notifier = openNotifier({ PING_URL: receiver.origin + KEY });
    await notifier.ended(aFailure('another run', { outcome: 'skipped' }));
    expect(receiver.received).toEqual([]);
  });

  it('says why, redacted, and not without end', async () => {
    await using receiver = await startReceiver();
    const notifier = openNotifier({ PING_URL: receiver.origin + KEY });
    await notifier.ended(aFailure(`canary-password refused\n${'x'.repeat(1e6)}`));
    const [{ body, headers }] = receiver.received as [Receiver['received'][0]];
    expect(headers['content-type']).toMatch(/^text\/plain/);
    expect(body).toMatch(/^dbstash: backup failed: PostgreSQL orders .*\n\*\*\* refused\nx+/);
    expect(body.length).toBeLessThanOrEqual(10_000);
  });

  it('keeps the parameters of the address, and minds a slash at its end', async () => {
    await using receiver = await startReceiver();
    const notifier = openNotifier({ PING_URL: `${receiver.origin}/key/slug/?create=1` });
    await notifier.ended(aFailure('x'));
    expect(asked(receiver)).toEqual([`POST /key/slug/fail?create=1&rid=${RID}`]);
  });

  it('to Uptime Kuma is up or down, and nothing at the start', async () => {
    await using receiver = await startReceiver();
    const notifier = openNotifier({ PING_URL: `${receiver.origin}/api/push/canary?status=up&msg=OK&ping=` });
    notifier.started(RUN);
    await notifier.ended(aReport());
    await notifier.ended(aFailure('disk full & more'));
    const urls = receiver.received.map(({ method, path }) => ({ method, url: new URL(path, receiver.origin) }));
    expect(urls.map(({ method, url }) => [method, url.pathname, url.searchParams.get('status')])).toEqual([
      ['GET', '/api/push/canary', 'up'],
      ['GET', '/api/push/canary', 'down'],
    ]);
    expect(urls[1]!.url.searchParams.get('msg')).toMatch(/^disk full & more took/);
  });

  it('to Better Stack is plain or fail, and nothing at the start', async () => {
    await using receiver = await startReceiver();
    const notifier = openNotifier({ PING_URL: `${receiver.origin}/api/v1/heartbeat/canary` });
    notifier.started(RUN);
    await notifier.ended(aReport());
    await notifier.ended(aFailure('x'));
    expect(asked(receiver)).toEqual(['GET /api/v1/heartbeat/canary', 'POST /api/v1/heartbeat/canary/fail']);
  });

  it('of a start that hangs does not overtake the one of the end, and does not keep it for long', async () => {
    let isOver = false;
    const closed: boolean[] = [];
    await using receiver = await startReceiver({
      answer: ({ url = '' }, response) => {
        if (!url.includes('/start')) {
          closed.push(isOver);
          return void response.end();
        }
        response.on('close', () => {
          isOver = true;
        });
      },
    });
    const notifier = openNotifier({ PING_URL: receiver.origin + KEY });
    const start = performance.now();
    notifier.started(RUN);
    expect(performance.now() - start).toBeLessThan(500);
    await receiver.waitForRequests(1);
    await notifier.ended(aReport());
    expect(performance.now() - start).toBeLessThan(6_000);
    expect(asked(receiver)).toEqual([`GET ${KEY}/start?rid=${RID}`, `GET ${KEY}?rid=${RID}`]);
    expect(closed).toEqual([true]);
    expect(notifier.warnings()).toEqual([expect.stringMatching(/^ping at .* was not told: the run was over before/)]);
    expect(notifier.failures()).toEqual({ ping: 1 });
  });

  it('of a start that is only slow is waited for', async () => {
    const order: string[] = [];
    await using receiver = await startReceiver({
      answer: ({ url = '' }, response) => {
        order.push(url.includes('/start') ? 'start' : 'end');
        setTimeout(() => response.end(), url.includes('/start') ? 500 : 0);
      },
    });
    const notifier = openNotifier({ PING_URL: receiver.origin + KEY });
    notifier.started(RUN);
    await notifier.ended(aReport());
    expect(order).toEqual(['start', 'end']);
    expect(notifier.warnings()).toEqual([]);
  });

  it('F53: that hangs is given up in two seconds where the process has to end', async () => {
    await using receiver = await startReceiver({ answer: () => {} });
    const notifier = openNotifier({ PING_URL: receiver.origin + KEY });
    notifier.started(RUN);
    await receiver.waitForRequests(1);
    notifier.stop();
    const start = performance.now();
    await notifier.ended(aFailure('x', { outcome: 'interrupted' }));
    expect(performance.now() - start).toBeLessThan(4_000);
    expect(receiver.received).toHaveLength(2);
    expect(notifier.warnings().join()).not.toContain('canary');
  });
});

describe('a run', () => {
  let scratch: Scratch;
  let remote: TestRemote;
  let env: Record<string, string>;
  let database: string;
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

  it('pings at its start and at its end, by its own id', async () => {
    await using receiver = await startReceiver();
    const run = await runDbstash(['backup'], { ...env, PING_URL: receiver.origin + KEY });
    expect(run.exitCode, run.stderr).toBe(0);
    const rid = uuidOf(String(run.lines.at(-1)?.run));
    expect(asked(receiver)).toEqual([`GET ${KEY}/start?rid=${rid}`, `GET ${KEY}?rid=${rid}`]);
  });

  it('pings neither at the start nor at the end where it is skipped', async () => {
    await using receiver = await startReceiver();
    const gates = createGates(scratch, { dump: database, rclone: { call: 'rcat*.sql.partial*' } });
    await using first = startDbstash(['backup'], { ...env, PATH: gates.path });
    await gates.arrived('call');
    const second = await runDbstash(['backup'], { ...env, PING_URL: receiver.origin + KEY });
    gates.open('call');
    expect((await first.exited).exitCode).toBe(0);
    expect(second.exitCode, second.stderr).toBe(11);
    expect(receiver.received).toEqual([]);
    await gates.drain();
  });

  it('F33: writes the address of the ping and of webhooks into no log', async () => {
    await using receiver = await startReceiver({
      answer: ({ url }, response) => void response.writeHead(400).end(url),
    });
    const told = {
      PING_URL: receiver.origin + KEY,
      NOTIFY_WEBHOOK_URL: `${receiver.origin}/canary/hook`,
      NOTIFY_ON: 'always',
    };
    const run = await runDbstash(['backup'], { ...env, ...told, LOG_LEVEL: 'debug' });
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.stdout + run.stderr).toContain('answered 400');
    expect(run.stdout + run.stderr).not.toContain('canary');
  });
});
