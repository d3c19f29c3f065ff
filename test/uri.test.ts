import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../src/core/errors.ts';
import { isHost, parseDatabaseUri, readPort } from '../src/core/uri.ts';

const NOTHING = { hosts: [], user: undefined, password: undefined, database: undefined, params: {} };

/** What no connection string, shell or URI may trip over. */
const ODD = `@ : / ? # % ' " \\ $ ünï;-\`$(id)\`=&+,[]`;

describe('parseDatabaseUri', () => {
  test('takes a whole URI apart', () => {
    expect(
      parseDatabaseUri('postgres://app:s3cret@db.internal:5433/orders?sslmode=require&application_name=x'),
    ).toEqual({
      scheme: 'postgres',
      hosts: [{ host: 'db.internal', port: 5433 }],
      user: 'app',
      password: 's3cret',
      database: 'orders',
      params: { sslmode: 'require', application_name: 'x' },
    });
  });

  test('leaves undefined what the URI does not say', () => {
    expect(parseDatabaseUri('postgres://')).toEqual({ ...NOTHING, scheme: 'postgres' });
    expect(parseDatabaseUri('postgres://db')).toEqual({
      ...NOTHING,
      scheme: 'postgres',
      hosts: [{ host: 'db', port: undefined }],
    });
    expect(parseDatabaseUri('postgres://:@db/?')).toMatchObject({
      user: undefined,
      password: undefined,
      database: undefined,
    });
  });

  test('reads several hosts, each with or without a port', () => {
    expect(parseDatabaseUri('postgres://a,b:5433,[::1]:5434,:5435/x').hosts).toEqual([
      { host: 'a', port: undefined },
      { host: 'b', port: 5433 },
      { host: '::1', port: 5434 },
      { host: '', port: 5435 },
    ]);
  });

  test('reads an IPv6 address with its zone', () => {
    expect(parseDatabaseUri('postgres://[fe80::1%25eth0]/x').hosts).toEqual([
      { host: 'fe80::1%eth0', port: undefined },
    ]);
  });

  test('reads a percent-encoded folder of a socket, commas in it too', () => {
    expect(parseDatabaseUri('postgres://%2Fvar%2Frun%2Fa%2Cb:5433/x').hosts).toEqual([
      { host: '/var/run/a,b', port: 5433 },
    ]);
  });

  test('reads the path of a file with its slash', () => {
    expect(parseDatabaseUri('sqlite:///data/my@app.db')).toEqual({
      ...NOTHING,
      scheme: 'sqlite',
      database: 'data/my@app.db',
    });
  });

  test('takes the scheme in any case and no notice of white space around', () => {
    expect(parseDatabaseUri(' PostgreSQL://db/x\n')).toMatchObject({ scheme: 'postgresql', database: 'x' });
  });

  test('a bare @ or # in the password is a part of it', () => {
    expect(parseDatabaseUri('postgres://u:p@ss#w:rd@db/x')).toMatchObject({ user: 'u', password: 'p@ss#w:rd' });
  });

  test('F35: user, password, database and parameters of any characters come back as they were', () => {
    const text = fc
      .oneof(fc.constant(ODD), fc.string({ unit: 'binary', minLength: 1 }))
      .filter((s) => !s.includes('\0'));
    fc.assert(
      fc.property(text, text, text, text, (user, password, database, value) => {
        const [u, p, d, v] = [user, password, database, value].map(encodeURIComponent);
        expect(parseDatabaseUri(`postgres://${u}:${p}@db:1/${d}?x=${v}`)).toEqual({
          scheme: 'postgres',
          hosts: [{ host: 'db', port: 1 }],
          user,
          password,
          database,
          params: { x: value },
        });
      }),
    );
  });

  test.each([
    ['db:5432/x', 'is no URI'],
    ['postgres:/db/x', 'is no URI'],
    ['postgres://db:543x2/canary', 'a port that is no number'],
    ['postgres://db:0/canary', 'a port that is no number'],
    ['postgres://db:65536/canary', 'a port that is no number'],
    ['postgres://::1/canary', 'too many colons'],
    ['postgres://[::g]/canary', 'a host that is none'],
    ['postgres://-canary/x', 'a host that is none'],
    ['postgres://u:50%zcanary@db/x', 'a bare % in the password'],
    ['postgres://u:canary%00@db/x', 'a %00 in the password'],
    ['postgres://u:canary%ff@db/x', 'a password that is not UTF-8'],
    ['postgres://db/50%zcanary', 'a bare % in the database'],
    ['postgres://db/x?canary', 'a parameter without name or value'],
    ['postgres://db/x?=canary', 'a parameter without name or value'],
    ['postgres://u:can\nary@db/x', 'a line break'],
    ['postgres://u:canary/w@db/x', 'an @ after the host'],
    ['postgres://u:5/canary@db/x', 'an @ after the host'],
    ['postgres://u:5?canary=w@db/x', 'an @ after the host'],
    ['postgres://u:p@x/canary@db/x', 'an @ after the host'],
    ['postgres://u:p?canary@db/x', 'an @ after the host'],
  ])('refuses %j and repeats nothing of it', (text, reason) => {
    expect(() => parseDatabaseUri(text)).toThrow(ConfigError);
    expect(() => parseDatabaseUri(text)).toThrow(/^(this is no|the URI) /);
    const said = messageOf(() => parseDatabaseUri(text));
    expect(said).not.toContain('canary');
    expect(said).toContain(reason);
  });

  test('whatever it is given, it throws a ConfigError or gives back strings without NUL', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), (a, b) => {
        try {
          const uri = parseDatabaseUri(`postgres://${a}${b}`);
          expect(JSON.stringify(uri)).not.toContain('\\u0000');
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
        }
      }),
    );
  });
});

test.each(['db', 'db_1', 'db.example.org', '10.0.0.1', '::1', '/run/pg', 'bücher.example'])('%s is a host', (host) => {
  expect(isHost(host)).toBe(true);
});

test.each(['', '-x', 'a b', 'a:1', 'http://a', 'a,b', 'a/b', '[::1]', 'a;b', '$(id)', 'a\n'])(
  '%j is no host',
  (host) => {
    expect(isHost(host)).toBe(false);
  },
);

test('a port is a number from 1 to 65535', () => {
  expect(['1', '65535', '0', '65536', '', '1e3', ' 1', 'tcp://x'].map(readPort)).toEqual([
    1,
    65_535,
    ...Array(6).fill(undefined),
  ]);
});

function messageOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('nothing was thrown');
}
