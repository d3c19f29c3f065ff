import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createId, formatTimestamp } from '../src/core/backupId.ts';
import { ConfigError } from '../src/core/errors.ts';
import { pendingPath } from '../src/core/manifest.ts';
import {
  artifactName,
  isSameName,
  type NameFacts,
  parseExtension,
  parseTemplate,
  renderName,
  withId,
} from '../src/core/naming.ts';
import { encodeSegment } from '../src/core/segment.ts';

const FACTS: NameFacts = {
  db: 'orders',
  engine: 'pg',
  host: 'db.internal',
  startedAt: new Date('2026-02-07T02:00:00.999Z'),
  timeZone: 'UTC',
  randomHex: 'a1b2c3d4',
};
const render = (template: string, facts: Partial<NameFacts> = {}) =>
  renderName(parseTemplate(template), { ...FACTS, ...facts });

/** Anything that could be in a name, odd characters more often than by chance. */
const arbName = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.string({
    unit: fc.constantFrom(...'. /\\:*?"<>|%~-\n\r\t\0\u007f\u0085\u2028\u202eéA;$()`\'', '\ud800', '..', '%2E'),
  }),
  fc.string({ unit: 'grapheme', minLength: 100, maxLength: 300 }),
);
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

describe('createId', () => {
  it('is the start in UTC and the random digits', () => {
    expect(createId(new Date('2026-02-07T02:00:00.999Z'), 'a1b2c3')).toBe('20260207T020000Z-a1b2c3');
    expect(formatTimestamp(new Date('1999-12-31T23:59:59Z'))).toBe('19991231T235959Z');
  });
});

describe('renderName', () => {
  it.each([
    ['{db}-{date}-{time}', 'orders-2026-02-07-020000'],
    ['{engine}/{host}/{db}/{timestamp}', 'pg/db.internal/orders/20260207T020000Z'],
    ['{ts}_{uuid}', '1770429600_a1b2c3d4'],
    ['nightly {db} (backup) 100%', 'nightly orders (backup) 100%'],
    ['{db}{db}', 'ordersorders'],
    ['.hidden/..{db}', '.hidden/..orders'],
  ])('renders %s', (template, name) => {
    expect(render(template)).toBe(name);
  });

  it.each([
    ['Europe/Berlin', '2026-02-07T23:30:00Z', '2026-02-08 003000'],
    ['America/New_York', '2026-02-07T02:00:00Z', '2026-02-06 210000'],
    ['Asia/Kathmandu', '2026-02-07T18:15:00Z', '2026-02-08 000000'],
    ['UTC', '2026-02-07T00:00:05Z', '2026-02-07 000005'],
  ])('gives date and time in %s', (timeZone, startedAt, name) => {
    expect(render('{date} {time}', { timeZone, startedAt: new Date(startedAt) })).toBe(name);
  });

  it('keeps a long name short enough for an id, an extension and a record beside it', () => {
    const id = createId(FACTS.startedAt, 'a1b2c3');
    const base = render('{engine}-{host}-{db}-{date}-{time}', { db: 'ж'.repeat(500), host: 'h'.repeat(250) });
    expect(Buffer.byteLength(pendingPath(withId(base, '.sql.zst.age', id), id))).toBeLessThanOrEqual(255);
    expect(base).not.toBe(render('{engine}-{host}-{db}-{date}-{time}', { db: 'ж'.repeat(501), host: 'h'.repeat(250) }));
  });
});

describe('parseTemplate', () => {
  it.each([
    [
      '{db}-{dat}',
      /unknown token \{dat\}; known are \{db\} \{engine\} \{host\} \{date\} \{time\} \{timestamp\} \{ts\} \{uuid\}$/,
    ],
    ['{DB}-{ db }-{toString}-{}', /unknown tokens \{DB\} \{ db \} \{toString\} \{\};/],
    ['{db', /brace/],
    ['db}', /brace/],
    ['{{db}}', /brace/],
    ['/{db}', /begins with a slash/],
    ['{db}/', /ends with a slash/],
    ['a//{db}', /empty part/],
    ['a/ /{db}', /empty part/],
    ['', /empty part/],
    ['../{db}', /part \. or \.\./],
    ['a/../{db}', /part \. or \.\./],
    ['a/.', /part \. or \.\./],
    ['. ./{db}/..', /part \. or \.\./],
    ['a\\{db}', /backslash/],
    ['s3:{db}', /colon/],
    ['{db}\n', /control character/],
    ['{db}\u0085', /control character/],
    ['{db}.manifest.json', /ends in \.manifest\.json/],
    ['{db}.Partial', /ends in \.partial/],
  ])('F31: refuses %j', (template, sentence) => {
    expect(() => parseTemplate(template)).toThrow(ConfigError);
    expect(() => parseTemplate(template)).toThrow(sentence);
  });

  it('F31: accepts or refuses with a ConfigError, and what it accepts stays under the folder of the remote', () => {
    const arbTemplate = fc.string({
      unit: fc.constantFrom(
        '{db}',
        '{host}',
        '{date}',
        '.',
        '..',
        '/',
        ' ',
        '-',
        'a',
        '%',
        '\\',
        ':',
        '\n',
        '{',
        '}',
        '~',
      ),
      maxLength: 8,
    });
    let accepted = 0;
    fc.assert(
      fc.property(arbTemplate, arbName, (text, db) => {
        let name: string;
        try {
          name = render(text, { db });
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
          return;
        }
        accepted++;
        for (const segment of name.split('/')) expect(['', '.', '..']).not.toContain(segment.trim());
        expect(name).not.toMatch(/[\\:\n]/);
      }),
      { numRuns: 3000 },
    );
    expect(accepted).toBeGreaterThan(300);
  });
});

describe('encodeSegment', () => {
  it.each([
    ['orders', 'orders'],
    ['my-app_2.eu (old)', 'my-app_2.eu (old)'],
    ['größe 数据库 😀', 'größe 数据库 😀'],
    ['', '%'],
    ['%', '%25'],
    ['.', '%2E'],
    ['..', '%2E%2E'],
    ['...', '..%2E'],
    ['.git', '.git'],
    ['a.', 'a%2E'],
    [' a ', '%20a%20'],
    ['-rf', '%2Drf'],
    ['a-b', 'a-b'],
    ['~root', '%7Eroot'],
    ['../../etc/passwd', '..%2F..%2Fetc%2Fpasswd'],
    ['a\\b:c*d?e"f<g>h|i', 'a%5Cb%3Ac%2Ad%3Fe%22f%3Cg%3Eh%7Ci'],
    ['a\nb\0c\u007f\u0085', 'a%0Ab%00c%7F%C2%85'],
    ['gpj.\u202esql', 'gpj.%E2%80%AEsql'],
    ['::1', '%3A%3A1'],
    ['\ud800x', '%uD800x'],
  ])('F31: makes of %j one part of a path', (text, segment) => {
    expect(encodeSegment(text)).toBe(segment);
  });

  it('cuts what is longer than 180 bytes between characters, and adds a digest of the whole', () => {
    expect(encodeSegment('x'.repeat(180))).toBe('x'.repeat(180));
    expect(encodeSegment('x'.repeat(181))).toMatch(/^x{171}~[0-9a-f]{8}$/);
    expect(encodeSegment('ж'.repeat(91))).toMatch(/^ж{85}~[0-9a-f]{8}$/); // 170 bytes: 171 would be half a character
    expect(encodeSegment(`${'x'.repeat(169)}${'\n'.repeat(10)}`)).toMatch(/^x{169}~[0-9a-f]{8}$/); // not within %0A
    expect(encodeSegment(`${'x'.repeat(300)}1`)).not.toBe(encodeSegment(`${'x'.repeat(300)}2`));
  });

  it('F30, F31: any name becomes exactly one visible part of a path', () => {
    fc.assert(
      fc.property(arbName, arbName, (db, host) => {
        const name = render('x/{db}/{host}-{date}', { db, host });
        const segments = name.split('/');
        expect(segments).toHaveLength(3);
        for (const segment of segments) expect(['', '.', '..']).not.toContain(segment);
        for (const segment of segments) expect(Buffer.byteLength(segment)).toBeLessThanOrEqual(180);
        expect(name).not.toMatch(INVISIBLE);
        expect(name).not.toMatch(/[\\:*?"<>|]/);
        expect(segments[1]).not.toMatch(/^[\s~-]|[\s.]$/);
        expect(name.isWellFormed()).toBe(true);
      }),
      { numRuns: 3000 },
    );
  });

  it('F30, F31: different names become different parts', () => {
    const seen = new Map<string, string>();
    fc.assert(
      fc.property(arbName, (db) => {
        const segment = encodeSegment(db);
        expect(seen.get(segment) ?? db).toBe(db);
        seen.set(segment, db);
        expect(decode(segment) ?? db).toBe(db);
      }),
      { numRuns: 5000 },
    );
  });

  /** Back again, which only an encoding that loses nothing allows; undefined where it was cut. */
  function decode(segment: string): string | undefined {
    if (segment === '%') return '';
    if (Buffer.byteLength(segment) > 170) return undefined;
    return segment
      .replace(/%u([0-9A-F]{4})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
      .replace(/(?:%[0-9A-F]{2})+/g, decodeURIComponent);
  }
});

describe('artifactName', () => {
  it('puts the id between base and extension', () => {
    expect(artifactName('a/orders', '.sql.zst')).toBe('a/orders.sql.zst');
    expect(withId('a/orders', '.sql', '20260207T020000Z-a1b2c3')).toBe('a/orders-20260207T020000Z-a1b2c3.sql');
  });

  it.each([
    ['orders.pending', '.json'],
    ['orders.manifest', '.JSON'],
    ['orders', '.verify.json'],
    ['orders.partial', ''],
  ])('refuses %s with %s, which reads as one of our records', (base, extension) => {
    expect(() => artifactName(base, extension)).toThrow(ConfigError);
  });
});

describe('parseExtension', () => {
  it.each([
    ['sql', '.sql'],
    ['.sql', '.sql'],
    ['sql.zst', '.sql.zst'],
    ['.größe', '.größe'],
  ])('takes %s', (text, extension) => {
    expect(parseExtension(text)).toBe(extension);
  });

  it.each([
    '',
    '.',
    '..sql',
    'sql.',
    'a/b',
    '../x',
    'a\\b',
    'a:b',
    'a b',
    'a\n',
    '*',
    '{db}',
    'manifest.json',
    '.partial',
    'x.pending.json',
  ])('F31: refuses %j', (text) => {
    expect(() => parseExtension(text)).toThrow(ConfigError);
  });
});

describe('isSameName', () => {
  it('F16: takes names for the same that differ in case or in the way a character is written', () => {
    expect(isSameName('Orders.SQL', 'orders.sql')).toBe(true);
    expect(isSameName('caf\u00e9', 'CAFE\u0301')).toBe(true);
    expect(isSameName('straße', 'STRASSE')).toBe(true);
    expect(isSameName('ὈΔΥΣΣΕΎΣ', 'ὀδυσσεύς')).toBe(true);
  });

  it('F16: tells others apart', () => {
    expect(isSameName('orders', 'orders2')).toBe(false);
    expect(isSameName('cafe', 'café')).toBe(false);
  });

  it('F16: holds for any name in upper case, in lower case and decomposed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (name) => {
        expect(isSameName(name, name.toUpperCase())).toBe(true);
        expect(isSameName(name, name.normalize('NFD'))).toBe(true);
        expect(isSameName(name, name.normalize('NFC'))).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
