import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate } from './support/certificates.ts';
import { runDbstash } from './support/dbstash.ts';
import { startMailServer } from './support/mailServer.ts';
import { startReceiver } from './support/receiver.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';

let scratch: Scratch;
beforeAll(() => {
  scratch = scratchFolder();
});
afterAll(() => scratch?.[Symbol.asyncDispose]());

/** Neither the database nor the remote is there. */
const NOWHERE = { DB_URI: 'postgres://app:canary-password@127.0.0.1:1/orders', RCLONE_REMOTE: 'nowhere:canary' };

const run = (env: Record<string, string>, ...args: string[]) =>
  runDbstash(['notify-test', ...args], { ...NOWHERE, BACKUP_TEMP_DIR: `${scratch.path}/tmp`, ...env });

const mailTo = (port: number) => ({
  SMTP_URL: `smtp://127.0.0.1:${port}`,
  NOTIFY_EMAIL_TO: 'ops@example.com',
  NOTIFY_EMAIL_FROM: 'db@example.com',
});

describe('notify-test', () => {
  it.each(['failure', 'success', 'always'])('tells every channel, also with NOTIFY_ON=%s', async (on) => {
    await using receiver = await startReceiver();
    await using mail = await startMailServer();
    const { exitCode, stdout, stderr } = await run({
      NOTIFY_WEBHOOK_URL: `${receiver.origin}/json,${receiver.origin}/slack,${receiver.origin}/x#discord`,
      PING_URL: `${receiver.origin}/ping/canary-key`,
      NOTIFY_ON: on,
      ...mailTo(mail.port),
    });
    expect(exitCode, stderr).toBe(0);
    expect(stdout.trim().split('\n')).toEqual(
      [`webhook at`, `slack at`, `discord at`, `email by`, `ping at`].map((title) =>
        expect.stringMatching(new RegExp(`^ *delivered +${title} 127\\.0\\.0\\.1:\\d+$`)),
      ),
    );
    expect(receiver.received.map(({ path }) => path.replace(/\?rid=.*/, '')).sort()).toEqual([
      '/json',
      '/ping/canary-key/log',
      '/slack',
      '/x',
    ]);
    const json = JSON.parse(receiver.received.find(({ path }) => path === '/json')!.body);
    expect(json).toMatchObject({ event: 'test', outcome: null, run: null, engine: 'pg', database: 'orders' });
    expect(mail.mails[0]!.text).toMatch(/Subject: dbstash: test message: PostgreSQL orders/);
    expect(stdout + stderr + JSON.stringify(receiver.received.map(({ body }) => body))).not.toContain('canary-p');
  });

  it('says which did not work and why, and exits 1', async () => {
    await using good = await startReceiver();
    await using bad = await startReceiver({ answer: (_, response) => void response.writeHead(404).end('no_team') });
    const { exitCode, stdout, stderr } = await run({
      NOTIFY_WEBHOOK_URL: `${good.origin},${bad.origin}/canary-token-1`,
    });
    expect(exitCode, stderr).toBe(1);
    expect(stdout).toMatch(/^ +delivered +webhook at \S+\s+failed +webhook at \S+ +answered 404 Not Found: no_team\n$/);
    expect(stdout + stderr).not.toContain('canary');
  });

  it('answers in JSON where that is wanted', async () => {
    await using receiver = await startReceiver({ answer: (_, response) => void response.writeHead(500).end() });
    const { exitCode, stdout } = await run({ NOTIFY_WEBHOOK_URL: receiver.origin }, '--json');
    expect(exitCode).toBe(1);
    const detail = 'answered 500 Internal Server Error';
    expect(JSON.parse(stdout)).toEqual([
      { channel: 'webhook', title: `webhook at 127.0.0.1:${receiver.port}`, state: 'failed', detail },
    ]);
  });

  it('does not ask where all that comes counts, and says so', async () => {
    await using receiver = await startReceiver();
    const { exitCode, stdout } = await run({ PING_URL: `${receiver.origin}/api/push/canary` });
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^ +skipped +ping at \S+ +not asked: there all that comes counts/);
    expect(receiver.received).toEqual([]);
  });

  it('exits 2 where nobody is to be told', async () => {
    const { exitCode, stderr } = await run({});
    expect(exitCode).toBe(2);
    expect(stderr).toContain('nobody would be told: set NOTIFY_WEBHOOK_URL');
  });

  it('trusts what NODE_EXTRA_CA_CERTS holds, by web and by mail', async () => {
    const tls = makeCertificate(scratch);
    await using receiver = await startReceiver({ tls });
    await using mail = await startMailServer({ ...tls });
    const env = { NOTIFY_WEBHOOK_URL: receiver.origin, ...mailTo(mail.port) };
    expect(await run(env)).toMatchObject({ exitCode: 1 });
    const trusting = await run({ ...env, NODE_EXTRA_CA_CERTS: tls.path });
    expect(trusting.exitCode, trusting.stdout).toBe(0);
    // What SSL_CERT_FILE adds takes nothing away.
    const other = makeCertificate(scratch, 'other');
    const both = await run({ ...env, NODE_EXTRA_CA_CERTS: tls.path, SSL_CERT_FILE: other.path });
    expect(both.exitCode, both.stdout).toBe(0);
    expect(mail.mails.map(({ isEncrypted }) => isEncrypted)).toEqual([true, true]);
  });
});
