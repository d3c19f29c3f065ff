import type { ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Outcome, Report } from '../src/core/report.ts';
import { createPolicy } from '../src/notify/policy.ts';
import { cut, fitLines, plainLine, plainText } from '../src/notify/text.ts';
import { makeCertificate } from './support/certificates.ts';
import { A_BACKUP, aFailure, aReport, openNotifier } from './support/notifier.ts';
import { startProxy } from './support/proxy.ts';
import { startReceiver } from './support/receiver.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';

let scratch: Scratch;
beforeAll(() => {
  scratch = scratchFolder();
});
afterAll(() => scratch?.[Symbol.asyncDispose]());

/** What one address is sent of a run, parsed. */
async function sendTo(path: string, report: Report, more: Record<string, string> = {}) {
  await using receiver = await startReceiver();
  const notifier = openNotifier({ NOTIFY_WEBHOOK_URL: receiver.origin + path, NOTIFY_ON: 'always', ...more });
  await notifier.ended(report);
  expect(notifier.warnings()).toEqual([]);
  return { request: receiver.received[0]!, body: JSON.parse(receiver.received[0]!.body) };
}

const NASTY = '@everyone @here <!channel> <@U1> [click](http://evil.example) <http://evil.example|x> `*b*` ``` & <b>';

describe('what is said', () => {
  it('says outcome, what, size, where, how long, what was pruned, and where to look', async () => {
    const { body } = await sendTo('/x', aReport({ removed: ['old-1.sql', 'old-2.sql'] }));
    expect(body.title).toBe('dbstash: backup succeeded: PostgreSQL orders (db.internal:5432)');
    expect(body.message.split('\n')).toEqual([
      'orders: 1.5 KiB (of a dump of 1.0 MiB) at s3:bucket/db/orders-2026-02-07-020000.sql and /backup/orders-2026-02-07-020000.sql',
      'pruned: old-1.sql, old-2.sql',
      'took 10m30s',
      'run 20260207T020000Z-d4e5f6; more in the log of dbstash on box',
    ]);
  });

  it('says the first cause first', async () => {
    const { body } = await sendTo('/x', aFailure('pg_dump exited with 1: no route to host\nand much more'));
    expect(body.title).toBe('dbstash: backup failed: PostgreSQL orders (db.internal:5432)');
    expect(body.message.split('\n')[0]).toBe('pg_dump exited with 1: no route to host');
  });

  it('of several databases is one message with a line for each', async () => {
    const failures = [{ database: 'stock', error: 'permission denied' }];
    const report = aFailure('1 of 2 databases failed: stock: permission denied', { failures, backups: [A_BACKUP] });
    const { body } = await sendTo('/x', report, { DB_URI: 'postgres://db.internal', DB_NAME: 'orders,stock' });
    expect(body.title).toBe('dbstash: backup failed: PostgreSQL orders,stock (db.internal:5432)');
    expect(body.message.split('\n').slice(0, 2)).toEqual([
      'stock: failed: permission denied',
      expect.stringMatching(/^orders: 1\.5 KiB /),
    ]);
    expect(body.failures).toEqual(failures);
  });

  it('tells warnings', async () => {
    const { body } = await sendTo('/x', aReport({ outcome: 'warning', warnings: ['it shrank', 'it is late'] }));
    expect(body).toMatchObject({ outcome: 'warning', status: 'success', recovered: false });
    expect(body.title).toContain('backup succeeded with 2 warnings: ');
    expect(body.message).toContain('warning: it shrank\nwarning: it is late\n');
  });

  it('F33: names no secret, wherever it stands', async () => {
    const secret = 'login canary-password refused';
    const report = aFailure(secret, {
      warnings: [secret],
      removed: [secret],
      backups: [{ ...A_BACKUP, database: secret, artifact: secret, series: secret }],
      failures: [{ database: secret, error: secret }],
    });
    for (const path of ['/x', '/slack', '/x#discord']) {
      const { request } = await sendTo(path, report, { DB_NAME: 'canary-password' });
      expect(request.body).toContain('login *** refused');
      expect(request.body).not.toContain('canary');
    }
  });

  it('holds no character that steers a terminal or turns the text around', async () => {
    const report = aFailure('a\u001b[31mb\u202Ec\u0000d\u2028e\r\nf');
    const { body } = await sendTo('/x', report);
    expect(body.message.split('\n').slice(0, 3)).toEqual(['a[31mbcd', 'e', 'f']);
  });
});

describe('Slack', () => {
  it.each(['/services/slack', '/slack?wait=true', '/anything#slack'])('is told at %s', async (path) => {
    const { body, request } = await sendTo(path, aReport());
    expect(body.blocks[0]).toEqual({
      type: 'header',
      text: { type: 'plain_text', emoji: false, text: expect.stringContaining('backup succeeded') },
    });
    expect(request.path).toBe(path.replace('#slack', ''));
    expect(request.headers['content-type']).toBe('application/json');
  });

  it('can be made neither to mention anybody nor to show links or markup', async () => {
    const { body } = await sendTo('/slack', aFailure(NASTY));
    for (const { text } of body.blocks) expect(text).toMatchObject({ type: 'plain_text', emoji: false });
    expect(body.text).toMatch(/^```\n[^`<>]*\n```$/);
    expect(body.text).toContain('&lt;!channel&gt;');
    expect(JSON.stringify(body)).not.toMatch(/@(everyone|here|channel)/);
    expect(body).toMatchObject({ unfurl_links: false, unfurl_media: false });
  });

  it('gets no more than it takes, and what matters stays', async () => {
    const { body } = await sendTo('/slack', aFailure(`first\n${'x'.repeat(9000)}`, { warnings: lots('w') }));
    expect(body.blocks[0].text.text.length).toBeLessThanOrEqual(150);
    expect(body.blocks[1].text.text.length).toBeLessThanOrEqual(3000);
    expect(body.blocks[1].text.text).toMatch(/^first\n/);
    expect(body.blocks[1].text.text).toMatch(/\n… \d+ more lines\nrun 2026/);
    expect(body.text.length).toBeLessThan(4000);
  });
});

const lots = (word: string) => Array.from({ length: 300 }, (_, index) => `${word}${index} ${word.repeat(40)}`);

describe('Discord', () => {
  it('is sent an embed, coloured by the outcome', async () => {
    const good = await sendTo('/x#discord', aReport());
    const bad = await sendTo('/x#discord', aFailure('no'));
    expect(good.body.embeds[0].title).toContain('backup succeeded');
    expect(good.body.embeds[0].color).not.toBe(bad.body.embeds[0].color);
  });

  it('can be made neither to mention anybody nor to show links or markup', async () => {
    const { body } = await sendTo('/x#discord', aFailure(NASTY), { DB_URI: 'postgres://h/a_b_%40everyone[x](y)' });
    expect(body.allowed_mentions).toEqual({ parse: [] });
    expect(body.content).toBeUndefined();
    const [{ title, description }] = body.embeds;
    expect(description).toMatch(/^```\n[^`]*\n```$/);
    expect(title).toContain('a\\_b\\_');
    expect(title).toContain('\\[x\\]\\(y\\)');
    expect(JSON.stringify(body)).not.toMatch(/@(everyone|here)/);
  });

  it('gets no more than it takes', async () => {
    const { body } = await sendTo('/x#discord', aFailure('`'.repeat(9000), { warnings: lots('`') }));
    const [{ title, description, footer }] = body.embeds;
    expect(title.length).toBeLessThanOrEqual(256);
    expect(description.length).toBeLessThanOrEqual(4096);
    expect(title.length + description.length + footer.text.length).toBeLessThanOrEqual(6000);
    expect(description).toMatch(/took 10m30s\n```$/);
  });
});

it.each([
  ['https://hooks.slack.com/services/T0/B0/canarycanary', 'slack at hooks.slack.com'],
  ['https://hooks.slack-gov.com/services/T0/B0/canarycanary', 'slack at hooks.slack-gov.com'],
  ['https://discord.com/api/webhooks/1/canarycanary', 'discord at discord.com'],
  ['https://discordapp.com/api/webhooks/1/canarycanary', 'discord at discordapp.com'],
  ['https://canary.discord.com/api/webhooks/1/canarycanary?thread_id=2', 'discord at canary.discord.com'],
  ['https://discord.com/api/webhooks/1/canarycanary/slack', 'slack at discord.com'],
  ['https://hooks.slack.com.evil.example/services/canarycanary', 'webhook at hooks.slack.com.evil.example'],
  ['https://discord.com.evil.example/api/webhooks/1/canarycanary', 'webhook at discord.com.evil.example'],
  ['https://gotify.example.com/message?token=canarycanary', 'webhook at gotify.example.com'],
])('the address %s is told as %s, whose failure does not show it', async (url, title) => {
  // A proxy that is not there: nothing of this leaves the machine.
  const notifier = openNotifier({ NOTIFY_WEBHOOK_URL: url, HTTPS_PROXY: 'http://127.0.0.1:1' });
  await notifier.ended(aFailure('x'));
  expect(notifier.warnings()).toEqual([`${title} was not told: connect ECONNREFUSED 127.0.0.1:1`]);
  expect(notifier.failures()).toEqual({ [title.split(' ')[0]!]: 1 });
});

describe('cutting', () => {
  it('keeps within the limit, whole lines where it can, and the last line always', () => {
    const lines = fc.array(fc.string({ minLength: 1, maxLength: 200, unit: 'grapheme' }), { maxLength: 60 });
    fc.assert(
      fc.property(lines, fc.integer({ min: 100, max: 2000 }), (given, limit) => {
        const text = fitLines(given, 'the last', limit);
        expect(text.length).toBeLessThanOrEqual(limit);
        expect(text.endsWith('the last')).toBe(true);
        if ([...given, 'the last'].join('\n').length <= limit) expect(text).toBe([...given, 'the last'].join('\n'));
      }),
    );
  });

  it('never leaves half a character', () => {
    expect(cut('ab😀cd', 4)).toBe('ab…');
    expect(cut('ab', 2)).toBe('ab');
  });

  it('makes one line of many', () => {
    expect(plainLine(' a\r\nBcc: b\tc ')).toBe('a Bcc: b c');
    expect(plainText('a\n\n  \nb')).toBe('a\nb');
  });
});

describe('NOTIFY_ON', () => {
  const told = (on: 'failure' | 'success' | 'always', outcomes: readonly Outcome[]) => {
    const decide = createPolicy(on);
    return outcomes.map((outcome) => {
      const { isTold, recoveredAfter } = decide({ outcome });
      return isTold ? recoveredAfter || true : false;
    });
  };
  const DAYS = [
    'succeeded',
    'failed',
    'skipped',
    'succeeded',
    'succeeded',
    'warning',
    'succeeded',
    'interrupted',
  ] as const;

  it('failure tells all that did not go well, and the first success after it', () => {
    expect(told('failure', DAYS)).toEqual([false, true, true, 2, false, true, 1, true]);
  });
  it('success tells what went well', () => {
    expect(told('success', DAYS)).toEqual([true, false, false, 2, true, false, 1, false]);
  });
  it('always tells all', () => {
    expect(told('always', DAYS)).toEqual([true, true, true, 2, true, true, 1, true]);
  });

  it('a recovery says that it is one', async () => {
    await using receiver = await startReceiver();
    const notifier = openNotifier({ NOTIFY_WEBHOOK_URL: receiver.origin });
    for (const report of [aReport(), aFailure('one'), aFailure('two'), aReport(), aReport()])
      await notifier.ended(report);
    const bodies = receiver.received.map(({ body }) => JSON.parse(body));
    expect(bodies.map(({ outcome, recovered }) => [outcome, recovered])).toEqual([
      ['failed', false],
      ['failed', false],
      ['succeeded', true],
    ]);
    expect(bodies[2].title).toContain('backup succeeded again: ');
    expect(bodies[2].message).toContain('the first good run after 2 that were not');
  });
});

/** Tells a failure, and returns what was logged of it and how long it took. */
async function tell(url: string, more: Record<string, string> = {}) {
  const notifier = openNotifier({ NOTIFY_WEBHOOK_URL: url, ...more });
  const start = performance.now();
  await notifier.ended(aFailure('x'));
  return { ms: performance.now() - start, warnings: notifier.warnings(), failures: notifier.failures() };
}

const TOKEN = '/services/canary-token';

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
}

describe('F34: a hostile receiver', () => {
  it.each([301, 302, 303, 307, 308])(
    'that redirects with %i is not followed, and the address is not shown',
    async (code) => {
      await using other = await startReceiver();
      const location = `${other.origin}/stolen?with=secret`;
      await using receiver = await startReceiver({
        answer: (_, response) => void response.writeHead(code, { location }).end(),
      });
      const { warnings } = await tell(receiver.origin + TOKEN);
      expect(other.received).toEqual([]);
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toMatch(new RegExp(`answered ${code} .* redirect to ${other.origin}, which is not followed`));
      expect(warnings[0]).not.toMatch(/stolen|canary/);
    },
  );

  it('that hangs is given up after ten seconds, and holds up nobody else', async () => {
    await using hanging = await startReceiver({ answer: () => {} });
    await using good = await startReceiver();
    const telling = tell(`${hanging.origin + TOKEN},${good.origin}`);
    await good.waitForRequests(1);
    const { ms, warnings, failures } = await telling;
    expect(ms).toBeGreaterThan(9_900);
    expect(ms).toBeLessThan(13_000);
    expect(warnings).toEqual([expect.stringMatching(/no answer within 10s$/)]);
    expect(failures).toEqual({ webhook: 1 });
  });

  it('that takes the connection and says nothing, or dribbles headers, is given up after ten seconds', async () => {
    const mute = createServer((socket) => void socket.on('error', () => {}));
    const dribbling = createServer((socket) => {
      socket.on('error', () => {}).write('HTTP/1.1 200 OK\r\n');
      const timer = setInterval(() => socket.write('X-A: b\r\n'), 300);
      socket.on('close', () => clearInterval(timer));
    });
    const { ms, failures } = await tell(`http://${await listen(mute)},http://${await listen(dribbling)}`);
    expect(failures).toEqual({ webhook: 2 });
    expect(ms).toBeLessThan(13_000);
    for (const server of [mute, dribbling]) server.close();
  });

  const pour = (code: number) => (_: unknown, response: ServerResponse) => {
    response.writeHead(code, { 'content-type': 'text/plain' });
    const chunk = Buffer.alloc(1024 * 1024, 'spam ');
    let sent = 0;
    const more = () => {
      while (sent < 4096 && !response.destroyed) {
        sent += 1;
        if (!response.write(chunk)) return void response.once('drain', more);
      }
    };
    more();
  };
  it.each([200, 500])('that answers %i with gigabytes is hung up on', async (code) => {
    await using receiver = await startReceiver({ answer: pour(code) });
    const before = process.memoryUsage().rss;
    const { ms, warnings } = await tell(receiver.origin + TOKEN);
    expect(ms).toBeLessThan(5_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(300e6);
    expect(warnings).toHaveLength(code === 200 ? 0 : 1);
    expect(warnings.join().length).toBeLessThan(400);
  });

  it('that answers garbage, or resets the connection, is a failure in a sentence', async () => {
    const garbage = createServer(
      (socket) => void socket.on('error', () => {}).end('\u0000\u0001 SSH-2.0 nonsense\r\n\r\n'),
    );
    const reset = createServer(
      (socket) => void socket.on('error', () => {}).once('data', () => socket.resetAndDestroy()),
    );
    const addresses = [await listen(garbage), await listen(reset)];
    const { warnings } = await tell(addresses.map((address) => `http://${address}${TOKEN}`).join());
    expect(warnings).toHaveLength(2);
    for (const warning of warnings) expect(warning).toMatch(/^webhook at 127\.0\.0\.1:\d+ was not told: \S+/);
    expect(warnings.join()).not.toContain('canary');
    for (const server of [garbage, reset]) server.close();
  });

  it('that refuses with our address and a secret in its answer shows neither', async () => {
    await using receiver = await startReceiver({
      answer: ({ url }, response) => {
        response.writeHead(403).end(`no\u001b[31m ${url}\nof canary-password ${'x'.repeat(5000)}`);
      },
    });
    const { warnings } = await tell(receiver.origin + TOKEN);
    expect(warnings[0]).toMatch(/answered 403 Forbidden: no\[31m \*\*\* of \*\*\* x+…$/);
    expect(warnings[0]!.length).toBeLessThan(320);
  });

  it('F53: is given up after two seconds where the process has to end', async () => {
    await using receiver = await startReceiver({ answer: () => {} });
    const notifier = openNotifier({ NOTIFY_WEBHOOK_URL: `${receiver.origin},${receiver.origin}` });
    notifier.stop();
    const start = performance.now();
    await notifier.ended(aFailure('x'));
    expect(performance.now() - start).toBeGreaterThan(1_900);
    expect(performance.now() - start).toBeLessThan(4_000);
    expect(notifier.failures()).toEqual({ webhook: 2 });
  });

  it('F53: is given up two seconds after the signal, where that comes meanwhile', async () => {
    await using receiver = await startReceiver({ answer: () => {} });
    const notifier = openNotifier({ NOTIFY_WEBHOOK_URL: receiver.origin });
    const ending = notifier.ended(aFailure('x'));
    await receiver.waitForRequests(1);
    const start = performance.now();
    notifier.stop();
    await ending;
    expect(performance.now() - start).toBeLessThan(4_000);
  });
});

describe('F34: TLS', () => {
  it('is checked: a server of an unknown authority is told nothing', async () => {
    await using receiver = await startReceiver({ tls: makeCertificate(scratch, 'unknown') });
    const { warnings } = await tell(receiver.origin + TOKEN);
    expect(warnings).toEqual([expect.stringMatching(/was not told: .*self.signed certificate/)]);
    expect(receiver.received).toEqual([]);
  });

  it('trusts what SSL_CERT_FILE holds besides', async () => {
    const tls = makeCertificate(scratch, 'own');
    await using receiver = await startReceiver({ tls });
    const { warnings } = await tell(receiver.origin + TOKEN, { SSL_CERT_FILE: tls.path });
    expect(warnings).toEqual([]);
    expect(receiver.received).toHaveLength(1);
  });

  it('is checked though SSL_CERT_FILE names nothing that can be read', async () => {
    await using receiver = await startReceiver({ tls: makeCertificate(scratch, 'unread') });
    const { warnings } = await tell(receiver.origin + TOKEN, { SSL_CERT_FILE: join(scratch.path, 'missing.pem') });
    expect(warnings).toHaveLength(1);
  });
});

describe('a proxy', () => {
  it('is asked for the whole address where that is HTTP', async () => {
    await using receiver = await startReceiver();
    await using proxy = await startProxy();
    const { warnings } = await tell(`${receiver.origin}/a?b=c`, { HTTP_PROXY: proxy.origin });
    expect(warnings).toEqual([]);
    expect(proxy.asked).toEqual([`POST ${receiver.origin}/a?b=c`]);
    expect(receiver.received).toHaveLength(1);
  });

  it('opens a tunnel where that is HTTPS, and the certificate is checked through it', async () => {
    const tls = makeCertificate(scratch, 'tunnelled');
    await using receiver = await startReceiver({ tls });
    await using proxy = await startProxy();
    const login = proxy.origin.replace('//', '//me:canary%2Fpass@');
    const good = await tell(receiver.origin + TOKEN, { https_proxy: login, SSL_CERT_FILE: tls.path });
    expect(good.warnings).toEqual([]);
    expect(proxy.asked).toEqual([`CONNECT 127.0.0.1:${receiver.port}`]);
    expect(proxy.authorization()).toBe(`Basic ${Buffer.from('me:canary/pass').toString('base64')}`);
    expect(receiver.received).toHaveLength(1);
    const bad = await tell(receiver.origin + TOKEN, { https_proxy: login });
    expect(bad.warnings).toHaveLength(1);
    expect(receiver.received).toHaveLength(1);
  });

  it('is left out for what NO_PROXY names, and for the other scheme', async () => {
    await using receiver = await startReceiver();
    await using proxy = await startProxy();
    await tell(receiver.origin, { HTTP_PROXY: proxy.origin, NO_PROXY: 'example.com,127.0.0.1' });
    await tell(receiver.origin, { HTTPS_PROXY: proxy.origin });
    expect(proxy.asked).toEqual([]);
    expect(receiver.received).toHaveLength(2);
  });

  it('may be named without its scheme', async () => {
    await using receiver = await startReceiver();
    await using proxy = await startProxy();
    await tell(receiver.origin, { HTTP_PROXY: proxy.origin.replace('http://', '') });
    expect(proxy.asked).toHaveLength(1);
  });
});

it('a login in the address is sent, and shown nowhere', async () => {
  await using receiver = await startReceiver({ answer: (_, response) => void response.writeHead(401).end() });
  const { warnings } = await tell(receiver.origin.replace('//', '//me:canary%20word@'));
  expect(receiver.received[0]!.headers.authorization).toBe(`Basic ${Buffer.from('me:canary word').toString('base64')}`);
  expect(warnings[0]).not.toMatch(/canary|me:/);
});
