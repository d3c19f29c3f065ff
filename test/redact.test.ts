import fc from 'fast-check';
import { quote } from 'shlex';
import { describe, expect, test } from 'vitest';
import { createRedactor } from '../src/core/redact.ts';

/** How a secret may look in what a tool or a library prints. */
const ENCODERS: Readonly<Record<string, (secret: string) => string>> = {
  'as it is': (secret) => secret,
  encodeURIComponent: encodeURIComponent,
  'percent-encoded in lower case': (secret) => encodeURIComponent(secret).replace(/%../g, (code) => code.toLowerCase()),
  'percent-encoded but for what a path may hold': encodeURI,
  'percent-encoded strictly': (secret) =>
    encodeURIComponent(secret).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`),
  'percent-encoded twice': (secret) => encodeURIComponent(encodeURIComponent(secret)),
  'in a form': (secret) => new URLSearchParams({ a: secret }).toString().slice(2),
  'in a WHATWG URL': (secret) => {
    const url = new URL('http://host');
    url.password = secret;
    return url.password;
  },
  'in JSON': (secret) => JSON.stringify(secret).slice(1, -1),
  'in JSON in JSON': (secret) => JSON.stringify(JSON.stringify(secret)).slice(3, -3),
  'in JSON as Go writes it': (secret) =>
    JSON.stringify(secret)
      .slice(1, -1)
      .replace(/[<>&]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`),
  'in ASCII JSON': (secret) =>
    JSON.stringify(secret)
      .slice(1, -1)
      .replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`),
  'quoted for a shell': (secret) => quote(secret).replace(/^'(.*)'$/s, '$1'),
  'backslashed for a shell': (secret) => secret.replace(/[^A-Za-z0-9\n]/gu, '\\$&'),
  'in a password file': (secret) => secret.replace(/[:\\]/g, '\\$&'),
  'in SQL': (secret) => secret.replaceAll("'", "''"),
  base64: (secret) => Buffer.from(secret).toString('base64'),
  base64url: (secret) => Buffer.from(secret).toString('base64url'),
};

/** Long enough to stand for itself in base64, and without the character of the mask. */
const anySecret = fc
  .oneof(
    fc.string({ minLength: 6, maxLength: 40 }),
    fc.string({ unit: 'binary', minLength: 6, maxLength: 20 }),
    fc.string({ unit: fc.constantFrom(...`ab@:/?#%'"\\$ ü;-\`()&+<>\n\t`), minLength: 6, maxLength: 20 }),
  )
  .filter((secret) => !secret.includes('*') && !secret.includes('\0'));

describe('createRedactor', () => {
  test.each(Object.keys(ENCODERS))('F33: masks a secret %s', (name) => {
    const encode = ENCODERS[name] as (secret: string) => string;
    fc.assert(
      fc.property(anySecret, (secret) => {
        const redact = createRedactor([secret]);
        const encoded = encode(secret);
        const said = redact(`{${encoded}}`);
        expect(said).not.toContain(encoded);
        expect(said).toContain('***');
        expect(said).not.toContain(secret);
      }),
      { numRuns: 300 },
    );
  });

  test('F33: masks a secret inside a longer base64 text, wherever it stands', () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 12, maxLength: 40 }),
        fc.string({ maxLength: 9 }),
        fc.string({ maxLength: 9 }),
        fc.constantFrom('base64' as const, 'base64url' as const),
        (secret, before, after, alphabet) => {
          const said = createRedactor([secret])(Buffer.from(before + secret + after).toString(alphabet));
          expect(said).toContain('***');
          const left = said.split('***').map((part) => Buffer.from(part, 'base64').toString('latin1'));
          // At either end one character of base64 may hold bits of its neighbour as well.
          for (const part of left) expect(part.length).toBeLessThanOrEqual(9 + 1);
        },
      ),
    );
  });

  test('leaves nothing of secrets that overlap', () => {
    expect(createRedactor(['abcd', 'cdef'])('x abcdef y')).toBe('x *** y');
    expect(createRedactor(['abcd', 'abcdef'])('x abcdef abcd y')).toBe('x *** *** y');
    expect(createRedactor(['abab'])('xababababy')).toBe('x***y');
  });

  test('leaves a text without secrets as it is', () => {
    const redact = createRedactor(['canary-1', 'canary 2/"\\']);
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(redact(text)).toBe(text);
      }),
    );
  });

  test('takes each line of a key for a secret, but not the lines around it', () => {
    const redact = createRedactor(['-----BEGIN KEY-----\nAAAAcanarycanary\nBBBBcanarycanary\n-----END KEY-----']);
    expect(redact('line BBBBcanarycanary')).toBe('line ***');
    expect(redact('-----BEGIN KEY-----')).toBe('-----BEGIN KEY-----');
  });

  test('a secret of less than four characters is masked only where its place tells', () => {
    const redact = createRedactor(['a', 'abc', '']);
    expect(redact('a cabbage of abc')).toBe('a cabbage of abc');
    expect(redact('postgres://u:abc@h password=abc')).toBe('postgres://u:***@h password=***');
  });

  test.each([
    ['postgres://app:s3cret@db:5432/x?a=b', 'postgres://app:***@db:5432/x?a=b'],
    ['redis://:s3cret@db', 'redis://:***@db'],
    ['two: a://u:x@h and b://v:y@k', 'two: a://u:***@h and b://v:***@k'],
    [
      ':s3,provider=AWS,secret_access_key=s3cret,region=x:bucket',
      ':s3,provider=AWS,secret_access_key=***,region=x:bucket',
    ],
    [':sftp,host=h,pass="s3 cr,et":path', ':sftp,host=h,pass=***:path'],
    [':azureblob,account=a,key=s3cret==:c', ':azureblob,account=a,key=***'],
    ['pass = s3cret\ntype = sftp', 'pass = ***\ntype = sftp'],
    ['?sslmode=require&sslpassword=s3cret&x=1', '?sslmode=require&sslpassword=***&x=1'],
    ['token={"access_token":"s3cret","expiry":"2026"}', 'token=***'],
    ['{"refresh_token": "s3cret", "a": 1}', '{"refresh_token": ***, "a": 1}'],
    ['Authorization: Bearer s3cret more', 'Authorization: ***'],
    ['https://x/y?X-Amz-Signature=s3cret&z=1', 'https://x/y?X-Amz-Signature=***&z=1'],
    ['https://x/y?sv=1&sig=s3cret', 'https://x/y?sv=1&sig=***'],
    ['-----BEGIN RSA PRIVATE KEY-----\ns3cret\n-----END RSA PRIVATE KEY----- rest', '*** rest'],
    ['-----BEGIN PRIVATE KEY-----\ns3cret', '***'],
  ])('masks what it does not know by its place: %s', (text, masked) => {
    expect(createRedactor([])(text)).toBe(masked);
  });

  test.each([
    'FATAL: password authentication failed for user "app"',
    'http://127.0.0.1:5432/path',
    'fe_sendauth: no password supplied',
    'see https://example.org/a@b',
    'wrote orders-2026-02-07-020000.sql key=orders bytes=123',
    'unexpected token: foo',
  ])('lets ordinary text alone: %s', (text) => {
    expect(createRedactor([])(text)).toBe(text);
  });

  test('a line of a million characters takes less than two seconds of a processor, whatever it holds', () => {
    const secrets = Array.from({ length: 40 }, (_, i) => `p@ss w0rd/${i}'"\\é${'\\'.repeat(i)}`);
    const redact = createRedactor(secrets);
    const hostile = [
      'a',
      '\\',
      '%25',
      '://a:',
      'password',
      'password=',
      `'"`,
      '-----BEGIN PRIVATE KEY-----',
      'p@ss w0rd/',
      '-',
    ];
    for (const piece of hostile) {
      const before = process.cpuUsage();
      redact(piece.repeat(1_000_000 / piece.length));
      const { user, system } = process.cpuUsage(before);
      expect((user + system) / 1000, piece).toBeLessThan(2_000);
    }
  });
});
