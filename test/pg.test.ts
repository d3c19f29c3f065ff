import { describe, expect, it } from 'vitest';
import { SCRATCH } from '../src/core/command.ts';
import type { Connection } from '../src/core/connection.ts';
import { ConfigError } from '../src/core/errors.ts';
import type { DumpRequest, RestoreRequest, Server, Target } from '../src/engines/engine.ts';
import { engines, findEngineByScheme } from '../src/engines/index.ts';
import { pg } from '../src/engines/pg.ts';

const connection: Connection = {
  engine: 'pg',
  hosts: [{ host: 'db.internal', port: 5432 }],
  user: 'app',
  password: 'secret',
  database: 'orders',
  params: {},
  tls: undefined,
  tlsCa: undefined,
};

const CONNINFO = "connect_timeout='15' hostaddr='' host='db.internal' port='5432' user='app' dbname='orders'";

const server: Server = {
  title: 'PostgreSQL 17.6',
  serverId: '1',
  bytes: 1,
  target: {},
  major: 17,
  needsCopy: false,
  warnings: [],
};

const planDump = (changes: Partial<DumpRequest> = {}) =>
  pg.planDump({
    connection,
    server,
    tool: 'pg_dump 17.6',
    mode: 'stream',
    jobs: 1,
    compress: false,
    extraArgs: [],
    ...changes,
  });

const conninfo = (changes: Partial<Connection>) => {
  const { dump } = planDump({ connection: { ...connection, ...changes } });
  return {
    words: dump.args.find((arg) => arg.startsWith('--dbname='))?.slice('--dbname='.length),
    env: dump.env,
    files: dump.files,
  };
};

describe('pg connects', () => {
  it('with one keyword/value string and the password in the environment', () => {
    expect(planDump().dump).toEqual({
      file: 'pg_dump',
      args: ['--format=plain', `--dbname=${CONNINFO}`, '--no-password'],
      env: { PGPASSWORD: 'secret' },
      files: {},
    });
  });

  it('F30: to a database whose name would mean something else', () => {
    const { words } = conninfo({ database: "it's \\ host=evil postgres://x" });
    expect(words).toContain("dbname='it\\'s \\\\ host=evil postgres://x'");
  });

  it('to several hosts, by a socket, or as libpq would without any', () => {
    const hosts = [
      { host: '::1', port: 5432 },
      { host: 'b', port: 6432 },
    ];
    expect(conninfo({ hosts }).words).toContain("host='::1,b' port='5432,6432'");
    expect(conninfo({ hosts: [{ host: '/run/pg', port: 5432 }] }).words).toContain("host='/run/pg'");
    expect(conninfo({ hosts: [], user: undefined }).words).toBe("connect_timeout='15' dbname='orders'");
  });

  it.each([
    [{ params: { sslmode: 'require' } }, "sslmode='require'"],
    [{ params: { ssl: 'true' } }, "sslmode='require'"],
    [{ tls: 'verify' as const, params: { sslmode: 'prefer' } }, "sslmode='verify-full'"],
    [{ tls: 'disable' as const }, "sslmode='disable'"],
    [{ tlsCa: 'PEM' }, "sslmode='verify-full'"],
    [{ params: { connect_timeout: '3' } }, "connect_timeout='3'"],
    [{ params: { options: '-c a=b' } }, "options='-c a=b'"],
  ])('with %j as %s', (changes, expected) => {
    const { words } = conninfo(changes);
    expect(words).toContain(expected);
    expect(words?.match(/sslmode=|connect_timeout=/g)?.length).toBe(expected.startsWith('sslmode') ? 2 : 1);
  });

  it('with the CA in a private file, by a path that needs no quoting', () => {
    const { words, env, files } = conninfo({ tlsCa: 'PEM', params: { sslrootcert: '/old' } });
    expect(files).toEqual({ 'ca.pem': 'PEM' });
    expect(env?.PGSSLROOTCERT).toBe(`${SCRATCH}/ca.pem`);
    expect(words).not.toContain('sslrootcert');
  });

  it('F32: with secrets of the URI in a private file, or in the environment', () => {
    const { words, env, files } = conninfo({
      password: undefined,
      params: { sslpassword: 'k%y=1', password: 'p', sslkey: '/k' },
    });
    expect(words).toBe(CONNINFO.replace("hostaddr='' ", "hostaddr='' sslkey='/k' "));
    expect(env).toEqual({ PGPASSWORD: 'p', PGSERVICEFILE: `${SCRATCH}/pg_service.conf`, PGSERVICE: 'dbstash' });
    expect(files).toEqual({ 'pg_service.conf': '[dbstash]\nsslpassword=k%y=1\n' });
    expect(() => conninfo({ params: { sslpassword: 'a\nhost=evil' } })).toThrow(ConfigError);
    expect(() => conninfo({ params: { sslpassword: 'a', service: 'x' } })).toThrow(ConfigError);
  });
});

describe('pg plans a dump', () => {
  it.each([
    [false, [], 'plain', null, '.sql'],
    [true, [], 'custom', 'zstd', '.dump'],
    [false, ['-Fc'], 'custom', 'gzip', '.dump'],
    [false, ['--format', 'CUSTOM', '-Z0'], 'custom', null, '.dump'],
    [true, ['-Z', '5'], 'custom', 'gzip', '.dump'],
    [true, ['--compress=lz4'], 'custom', 'lz4', '.dump'],
    [true, ['-Fp'], 'plain', null, '.sql'],
    [true, ['--format=p', '--compress=zstd:9'], 'plain', 'zstd', '.sql.zst'],
    [false, ['--compress=zstd:9,long'], 'plain', 'zstd', '.sql.zst'],
    [false, ['-Z5'], 'plain', 'gzip', '.sql.gz'],
    [false, ['--compress=gzip'], 'plain', 'gzip', '.sql.gz'],
    [false, ['--comp=lz4:1'], 'plain', 'lz4', '.sql.lz4'],
    [false, ['--compress=none'], 'plain', null, '.sql'],
    [false, ['-vOx', '--exclude-table=some-Fc', '-T', '-Fc'], 'plain', null, '.sql'],
  ])('compress %s with %j is %s, %s, %s', (compress, extraArgs, format, compression, extension) => {
    const plan = planDump({ compress, extraArgs, abilities: ['zstd'] });
    expect(plan).toMatchObject({ format, compression, extension, warnings: [], prepare: [] });
    expect(plan.dump.args.slice(-extraArgs.length || undefined)).toEqual(
      extraArgs.length > 0 ? extraArgs : plan.dump.args,
    );
  });

  it('not as a tar, which pg_restore does not read to its end', () => {
    expect(() => planDump({ extraArgs: ['-Ft'] })).toThrow(/--format=tar cannot be restored/);
  });

  it('with zstd inside only where the build has it', () => {
    const ownArgs = (abilities: readonly string[]) => planDump({ compress: true, abilities }).dump.args.slice(0, -2);
    expect(ownArgs(['zstd'])).toEqual(['--format=custom', '--compress=zstd:3']);
    expect(ownArgs([])).toEqual(['--format=custom']);
    expect(planDump({ compress: true }).compression).toBe('gzip');
  });

  it.each([
    [[1, 'pg_dump: error: invalid value "zstd:3" for option -Z/--compress'], []],
    [[1, 'pg_dump: error: invalid compression specification: this build does not support compression with ZSTD'], []],
    [[1, 'pg_dump: error: connection to server on socket "/tmp/compress/.s" failed: No such file'], ['zstd']],
  ])('reads %j as the abilities %j', ([exitCode, stderr], expected) => {
    expect(pg.abilities?.parse({ stdout: '', stderr: String(stderr), exitCode: Number(exitCode) })).toEqual(expected);
  });

  it.each([
    [['-f', 'x'], /--file sends the dump elsewhere/],
    [['-vfx'], /--file sends the dump elsewhere/],
    [['--file=x'], /--file sends the dump elsewhere/],
    [['-Fd'], /--format=directory cannot be streamed/],
    [['--Fd'], /--format=directory cannot be streamed/],
    [['--Fc'], /--Fc is no option of pg_dump; taken as -Fc/],
    [['-C'], /--create puts the name/],
    [['--clean'], /--if-exists/],
  ])('warning of %j', (extraArgs, warning) => {
    expect(planDump({ extraArgs }).warnings.join('\n')).toMatch(warning);
  });

  it('without a warning for what only looks like a conflict', () => {
    const extraArgs = [
      '--exclude-table=some-foo',
      '--clean',
      '--if-exists',
      '-T',
      '--file=x',
      '-n',
      '-Fd',
      '--schema-only',
    ];
    expect(planDump({ extraArgs }).warnings).toEqual([]);
  });

  it('taking --Fc for -Fc, but not where it is the value of an option', () => {
    const plan = planDump({ extraArgs: ['-T', '--Fc', '--Fc'] });
    expect(plan.dump.args.slice(-3)).toEqual(['-T', '--Fc', '-Fc']);
    expect(plan.format).toBe('custom');
  });

  it.each([
    [['--dbname=x']],
    [['-dx']],
    [['-h', 'x']],
    [['-U', 'x']],
    [['--port=1']],
    [['other']],
    [['--', 'x']],
    [['--format=x']],
  ])('F19: refusing %j, which would dump something else', (extraArgs) => {
    expect(() => planDump({ extraArgs })).toThrow(ConfigError);
  });

  it('noting the database that a script names, and an archive does not', () => {
    expect(planDump({ extraArgs: ['-C'] }).facts).toEqual({ createsDatabase: 'orders' });
    expect(planDump({ extraArgs: ['-C', '-Fc'] }).facts).toBeUndefined();
    expect(planDump().facts).toBeUndefined();
  });

  it('F56: refusing a client older than the server, and naming the remedy', () => {
    expect(() => planDump({ tool: 'pg_dump 16.10' })).toThrow(/postgresql-client-17/);
    expect(() => planDump({ tool: 'pg_dump 9.6.24' })).toThrow(ConfigError);
    expect(() => planDump({ tool: 'pg_dump 17beta1' })).not.toThrow();
    expect(() => planDump({ tool: 'pg_dump 18.0' })).not.toThrow();
  });

  it('reading the version of the tool, and nothing else for one', () => {
    const answer = (stdout: string) => pg.tool.parse({ stdout, stderr: '', exitCode: 0 });
    expect(answer('pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n')).toBe('pg_dump 15.18');
    expect(answer('pg_dump (PostgreSQL) 18beta1\n')).toBe('pg_dump 18beta1');
    expect(() => answer('pg_dump from elsewhere')).toThrow();
  });
});

describe('F04: the marks of a plain dump', () => {
  const { begins, ends } = planDump().marks;
  const end = '\n--\n-- PostgreSQL database dump complete\n--\n\n';

  it.each([
    [end, true],
    [`${end}\\unrestrict aZ09\n\n`, true],
    [`${end}\\unrestrict aZ09\n`, false],
    [`${end}\\unrestrict aZ-09\n\n`, false],
    [`${end}x`, false],
    [`${end}-- PostgreSQL database dump comp`, false],
    [end.slice(0, -1), false],
    ['', false],
  ])('%j ends one: %s', (text, expected) => {
    expect(ends?.test(`row\n${text}`)).toBe(expected);
  });

  it('begin at the first byte', () => {
    expect(begins?.test('--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n')).toBe(true);
    expect(begins?.test('-- PostgreSQL database dump\n')).toBe(false);
    expect(begins?.test('\n--\n-- PostgreSQL database dump\n')).toBe(false);
    expect(begins?.test('--\n-- PostgreSQL database cluster dump\n')).toBe(false);
  });
});

describe('pg plans a restore', () => {
  const there: Target = { exists: true, holds: '', missingRoles: [], title: 'PostgreSQL 17.6', major: 17 };
  const absent: Target = { ...there, exists: false, notes: { maintenance: 'template1' } };
  const plan = (changes: Partial<RestoreRequest> = {}) =>
    pg.planRestore({
      connection,
      target: there,
      facts: {},
      mode: 'stream',
      format: 'plain',
      replace: false,
      createRoles: false,
      id: 'x',
      ...changes,
    });

  it('of a script into a database that is there, committed only by what stands behind the dump', () => {
    const { load, ...rest } = plan();
    expect(load.file).toBe('psql');
    expect(load.args).toContain('--set=ON_ERROR_STOP=1');
    expect(load.args.slice(-5)).toEqual([
      '--output=/dev/null',
      '--command=BEGIN',
      '--file=-',
      `--dbname=${CONNINFO}`,
      '--no-password',
    ]);
    expect(rest).toEqual({ prepare: [], filters: [], commit: '\nCOMMIT;\n', isAtomic: true, finish: [] });
  });

  it('of an archive through pg_restore, in a transaction of its own where it holds large objects', () => {
    expect(plan({ format: 'custom' }).filters).toEqual([{ file: 'pg_restore', args: ['--file=-'] }]);
    const large = plan({ format: 'custom', facts: { largeObjects: true } });
    expect(large.filters).toEqual([{ file: 'pg_restore', args: ['--file=-', '--single-transaction'] }]);
    expect(large.load.args).not.toContain('--command=BEGIN');
    expect(large).toMatchObject({ isAtomic: true });
    expect(plan({ facts: { largeObjects: true } }).isAtomic).toBe(false);
  });

  it('for a server older than what the head of the dump may speak of', () => {
    expect(plan({ target: { ...there, major: 16 } }).filters.map(({ file }) => file)).toEqual(['sed']);
    expect(plan({ target: { ...there, major: 16 }, format: 'custom' }).filters.map(({ file }) => file)).toEqual([
      'pg_restore',
      'sed',
    ]);
  });

  it('emptying the target in the transaction of the load', () => {
    const { load, prepare } = plan({ replace: true });
    expect(prepare).toEqual([]);
    expect(load.args.indexOf(`--file=${SCRATCH}/empty.sql`)).toBe(load.args.indexOf('--file=-') - 1);
    expect(load.files?.['empty.sql']).toContain('DROP');
    expect(plan({ replace: true, target: absent }).load.files).toEqual({});
  });

  it('into a new database, made with the encoding and locale of the old one', () => {
    const facts = { encoding: 'LATIN1', collate: "d'e", ctype: 'C', provider: 'icu', locale: 'de', icuRules: null };
    const { prepare, finish } = plan({ target: absent, facts, connection: { ...connection, database: 'a"b' } });
    expect(prepare).toHaveLength(1);
    expect(prepare[0]?.args.join()).toContain("dbname='template1'");
    expect(prepare[0]?.input).toBe(
      `CREATE DATABASE "a""b" TEMPLATE template0 ENCODING E'LATIN1' LC_COLLATE E'd\\'e' LC_CTYPE E'C' LOCALE_PROVIDER E'icu' ICU_LOCALE E'de';\n`,
    );
    expect(finish).toHaveLength(1);
  });

  it('refusing a locale that the server cannot have', () => {
    const facts = { provider: 'builtin', locale: 'C.UTF-8' };
    expect(() => plan({ target: { ...absent, major: 16 }, facts })).toThrow(/has no builtin locales/);
    expect(() => plan({ target: { ...there, major: 16 }, facts })).not.toThrow();
  });

  it('making the missing roles only when asked to', () => {
    const target = { ...there, missingRoles: ['a"b'] };
    expect(plan({ target }).prepare).toEqual([]);
    expect(plan({ target, createRoles: true }).prepare[0]?.input).toContain('CREATE ROLE "a""b" NOLOGIN;');
  });

  it('never of a dump that names its database under another name, or over one that is there', () => {
    const facts = { createsDatabase: 'other' };
    expect(() => plan({ facts })).toThrow(/under another name/);
    expect(() => plan({ facts: { createsDatabase: 'orders' } })).toThrow(/drop that database first/);
    const piecemeal = plan({ facts: { createsDatabase: 'orders' }, target: absent });
    expect(piecemeal).toMatchObject({ isAtomic: false, prepare: [], finish: [] });
    expect(piecemeal.load.args.join()).toContain("dbname='template1'");
  });

  it('never of a format that no stream can bring', () => {
    expect(() => plan({ format: 'tar' })).toThrow(ConfigError);
  });
});

describe('the table of engines', () => {
  it('names each by its own name, and finds it by the scheme of a URI', () => {
    for (const [name, engine] of Object.entries(engines)) expect(engine.name).toBe(name);
    expect(findEngineByScheme('postgresql')).toBe(engines.pg);
    expect(findEngineByScheme('Postgres')).toBe(engines.pg);
    expect(findEngineByScheme('sqlite')).toBe(engines.sqlite);
    expect(findEngineByScheme('ftp')).toBeUndefined();
  });
});
