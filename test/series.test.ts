import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Connection } from '../src/core/connection.ts';
import { defaultSeries } from '../src/core/series.ts';

const PG: Connection = {
  engine: 'pg',
  hosts: [{ host: 'db.internal', port: 5432 }],
  user: 'canary-user',
  password: 'canary-password',
  database: 'orders',
  params: { sslmode: 'require', options: 'canary-option' },
  tls: undefined,
  tlsCa: 'canary-ca',
};
const pg = (hosts: readonly [string, number][], database = 'orders') =>
  defaultSeries({ ...PG, hosts: hosts.map(([host, port]) => ({ host, port })), database });
const sqlite = (database: string) => defaultSeries({ ...PG, engine: 'sqlite', hosts: [], database });

describe('defaultSeries', () => {
  it('names engine, server and database', () => {
    expect(defaultSeries(PG)).toBe('pg://db.internal:5432/orders');
  });

  it('writes a host in lower case, whose case means nothing, and the database as it is', () => {
    expect(pg([['DB.Internal', 5433]], 'Orders')).toBe('pg://db.internal:5433/Orders');
  });

  it('keeps several hosts in the order given', () => {
    const hosts: [string, number][] = [
      ['b', 5433],
      ['a', 5432],
    ];
    expect(pg(hosts)).toBe('pg://b:5433,a:5432/orders');
  });

  it('puts an IPv6 address in brackets', () => {
    expect(pg([['2001:DB8::1', 5432]])).toBe('pg://[2001:db8::1]:5432/orders');
    expect(pg([['fe80::1%eth0', 5432]])).toBe('pg://[fe80::1%25eth0]:5432/orders');
  });

  it('encodes the folder of a socket, whose case does mean something', () => {
    expect(pg([['/var/run/PG', 5432]])).toBe('pg://%2Fvar%2Frun%2FPG:5432/orders');
  });

  it('gives a file by its path', () => {
    expect(sqlite('/data/My App/app.db')).toBe('sqlite:///data/My App/app.db');
    expect(sqlite('/data//x/./app.db')).toBe('sqlite:///data/x/app.db');
  });

  it('F32: never holds a user, a password or a parameter', () => {
    for (const series of [defaultSeries(PG), sqlite('/data/app.db')]) expect(series).not.toContain('canary');
  });

  it('F30: keeps odd names on one line, one series for each', () => {
    expect(pg([['h', 1]], 'a/b?c\nd')).toBe('pg://h:1/a%2Fb%3Fc%0Ad');
    expect(sqlite('/data/a\n?.db')).toBe('sqlite:///data/a%0A%3F.db');
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 20 }),
        fc.string({ unit: 'binary', maxLength: 20 }),
        (a, b) => {
          expect(pg([['h', 1]], a) === pg([['h', 1]], b)).toBe(a === b);
          expect(pg([['h', 1]], a)).not.toMatch(/\p{Cc}/u);
        },
      ),
    );
  });

  it('F11: tells databases with the same beginning apart', () => {
    expect(pg([['h', 1]], 'app')).not.toBe(pg([['h', 1]], 'app2'));
  });
});
