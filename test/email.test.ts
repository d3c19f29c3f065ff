import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Report } from '../src/core/report.ts';
import { makeCertificate } from './support/certificates.ts';
import { startMailServer } from './support/mailServer.ts';
import { aFailure, aReport, openNotifier } from './support/notifier.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';

let scratch: Scratch;
let tls: ReturnType<typeof makeCertificate>;
beforeAll(() => {
  scratch = scratchFolder();
  tls = makeCertificate(scratch);
});
afterAll(() => scratch?.[Symbol.asyncDispose]());

const PEOPLE = { NOTIFY_EMAIL_TO: 'ops@example.com', NOTIFY_EMAIL_FROM: 'dbstash <db@example.com>' };

async function tell(url: string, more: Record<string, string> = {}, report: Report = aFailure('disk full')) {
  const notifier = openNotifier({ ...PEOPLE, NOTIFY_ON: 'always', SMTP_URL: url, ...more });
  const start = performance.now();
  await notifier.ended(report);
  return { ms: performance.now() - start, warnings: notifier.warnings(), failures: notifier.failures() };
}

const trusted = () => ({ SSL_CERT_FILE: tls.path });

describe('mail', () => {
  it('arrives, with a subject that says outcome, engine and database', async () => {
    await using server = await startMailServer();
    expect(await tell(`smtp://127.0.0.1:${server.port}`)).toMatchObject({ warnings: [], failures: { email: 0 } });
    const [mail] = server.mails;
    expect(mail).toMatchObject({
      from: 'db@example.com',
      to: ['ops@example.com'],
      isEncrypted: false,
      user: undefined,
    });
    expect(mail!.text).toContain('Subject: dbstash: backup failed: PostgreSQL orders (db.internal:5432)\r\n');
    expect(mail!.text).toContain('From: dbstash <db@example.com>\r\n');
    expect(mail!.text).toContain('Auto-Submitted: auto-generated\r\n');
    expect(mail!.text).toMatch(/text\/plain.*\r\n\r\ndisk full\r\n/s);
    expect(mail!.text).toMatch(/text\/html.*<pre>disk full/s);
  });

  it('shows markup of what went wrong as text', async () => {
    await using server = await startMailServer();
    await tell(`smtp://127.0.0.1:${server.port}`, {}, aFailure('<img src=x> & <b>'));
    expect(server.mails[0]!.text).toContain('<pre>&lt;img src=x&gt; &amp; &lt;b&gt;');
  });

  it('cannot be given headers by the name of a database', async () => {
    await using server = await startMailServer();
    const uri = 'postgres://db/orders%0D%0ABcc%3A%20evil%40example.com%0D%0A%0D%0Abody';
    await tell(`smtp://127.0.0.1:${server.port}`, { DB_URI: uri });
    const [head = ''] = server.mails[0]!.text.split('\r\n\r\n');
    expect(head).not.toMatch(/^Bcc:/im);
    expect(head.replace(/\r\n\s+/g, ' ')).toMatch(/^Subject: .*orders ?Bcc: evil@example.com ?body/m);
    expect(server.mails[0]!.to).toEqual(['ops@example.com']);
  });

  it('is cut where it would be very long', async () => {
    await using server = await startMailServer({ size: 200_000 });
    const warnings = Array.from({ length: 5000 }, (_, index) => `${index} ${'w'.repeat(100)}`);
    expect(
      (await tell(`smtp://127.0.0.1:${server.port}`, {}, aReport({ outcome: 'warning', warnings }))).warnings,
    ).toEqual([]);
    expect(server.mails[0]!.text.length).toBeLessThan(100_000);
    expect(server.mails[0]!.text).toContain('more lines');
  });

  it('goes to several', async () => {
    await using server = await startMailServer();
    await tell(`smtp://127.0.0.1:${server.port}`, { NOTIFY_EMAIL_TO: 'a@example.com, B <b@example.com>' });
    expect(server.mails[0]!.to).toEqual(['a@example.com', 'b@example.com']);
  });
});

describe('TLS and logins', () => {
  it('STARTTLS is taken where it is offered, with an authority of SSL_CERT_FILE, and the login after it', async () => {
    await using server = await startMailServer({ ...tls, password: 'canary p@ss' });
    const { warnings } = await tell(`smtp://me:canary%20p%40ss@127.0.0.1:${server.port}`, trusted());
    expect(warnings).toEqual([]);
    expect(server.mails[0]).toMatchObject({ isEncrypted: true, user: 'me' });
  });

  it('tls=require and TLS from the start work too', async () => {
    await using server = await startMailServer({ ...tls });
    await using implicit = await startMailServer({ ...tls, secure: true });
    expect((await tell(`smtp://127.0.0.1:${server.port}?tls=require`, trusted())).warnings).toEqual([]);
    expect((await tell(`smtps://127.0.0.1:${implicit.port}`, trusted())).warnings).toEqual([]);
    expect(server.mails[0]).toMatchObject({ isEncrypted: true });
    expect(implicit.mails[0]).toMatchObject({ isEncrypted: true });
  });

  it('tls=disable takes none that is offered', async () => {
    await using server = await startMailServer({ ...tls });
    expect((await tell(`smtp://127.0.0.1:${server.port}?tls=disable`)).warnings).toEqual([]);
    expect(server.mails[0]).toMatchObject({ isEncrypted: false });
  });

  it.each(['smtp', 'smtps'])(
    'a certificate of an unknown authority is not taken, and nothing is sent (%s)',
    async (scheme) => {
      await using server = await startMailServer({ ...tls, secure: scheme === 'smtps', password: 'canary' });
      const { warnings, failures } = await tell(`${scheme}://me:canary@127.0.0.1:${server.port}`);
      expect(warnings).toEqual([
        expect.stringMatching(/^email by 127\.0\.0\.1:\d+ was not told: .*self.signed certificate/),
      ]);
      expect(failures).toEqual({ email: 1 });
      expect(server.mails).toEqual([]);
    },
  );

  it('tls=require sends nothing to a server that offers none', async () => {
    await using server = await startMailServer();
    const { warnings } = await tell(`smtp://127.0.0.1:${server.port}?tls=require`);
    expect(warnings).toEqual([expect.stringMatching(/TLS/)]);
    expect(server.mails).toEqual([]);
  });

  it('F33: a wrong password is told, and not shown, though the server repeats it', async () => {
    await using server = await startMailServer({ password: 'right' });
    const { warnings } = await tell(`smtp://me:canary-wrong@127.0.0.1:${server.port}`);
    expect(warnings).toEqual([expect.stringMatching(/Invalid login: 535 no login with \*\*\*/)]);
    expect(warnings[0]).not.toContain('canary');
  });
});

describe('F64: a mail server', () => {
  it('that refuses one recipient: the others get it, and the one is told', async () => {
    await using server = await startMailServer({ refuses: ['gone@example.com'] });
    const to = { NOTIFY_EMAIL_TO: 'a@example.com,gone@example.com,b@example.com' };
    const { warnings, failures } = await tell(`smtp://127.0.0.1:${server.port}`, to);
    expect(server.mails[0]!.to).toEqual(['a@example.com', 'b@example.com']);
    expect(warnings).toEqual([expect.stringMatching(/gone@example\.com was refused: .*550 nobody is called gone/)]);
    expect(failures).toEqual({ email: 1 });
  });

  it('that refuses all of them is told', async () => {
    await using server = await startMailServer({ refuses: ['ops@example.com'] });
    const { warnings } = await tell(`smtp://127.0.0.1:${server.port}`);
    expect(warnings).toEqual([expect.stringMatching(/ops@example\.com was refused: .*550/)]);
  });

  it('that finds the message too large is told', async () => {
    await using server = await startMailServer({ size: 300 });
    const { warnings } = await tell(`smtp://127.0.0.1:${server.port}`);
    expect(warnings).toEqual([expect.stringMatching(/552|larger/)]);
    expect(server.mails).toEqual([]);
  });

  it.each([
    ['says nothing', ''],
    ['greets and hangs', '220 hello\r\n'],
    ['dribbles', '220-x\r\n'],
  ])('that %s is given up after ten seconds', async (name, greeting) => {
    const server = createServer((socket) => {
      socket
        .on('error', () => {})
        .resume()
        .write(greeting);
      const timer = setInterval(() => name === 'dribbles' && socket.write(greeting), 200);
      socket.on('close', () => clearInterval(timer));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { ms, warnings } = await tell(`smtp://127.0.0.1:${(server.address() as AddressInfo).port}`);
    expect(ms).toBeGreaterThan(9_900);
    expect(ms).toBeLessThan(13_000);
    expect(warnings).toEqual([expect.stringMatching(/no answer within 10s$/)]);
    // Our side has hung up: nobody keeps the connection.
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });

  it('that is not there is told', async () => {
    expect((await tell('smtp://127.0.0.1:1')).warnings).toEqual([expect.stringMatching(/ECONNREFUSED/)]);
  });
});
