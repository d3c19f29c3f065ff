import { describe, expect, it } from 'vitest';
import { SCRATCH } from '../src/core/command.ts';
import type { Connection } from '../src/core/connection.ts';
import { ConfigError } from '../src/core/errors.ts';
import type { DumpRequest, RestoreRequest, Server, Target } from '../src/engines/engine.ts';
import { findEngineByScheme } from '../src/engines/index.ts';
import { mariadb, mysql } from '../src/engines/mysql.ts';

const connection: Connection = {
  engine: 'mysql',
  hosts: [{ host: 'db.internal', port: 3306 }],
  user: 'app',
  password: 's#cr"t',
  database: 'orders',
  params: {},
  tls: undefined,
  tlsCa: undefined,
};

const server: Server = {
  title: 'MySQL 8.4.3',
  serverId: '1',
  bytes: 1,
  target: {},
  major: undefined,
  needsCopy: false,
  warnings: [],
};

const planDump = (changes: Partial<DumpRequest> = {}, engine = mysql) =>
  engine.planDump({
    connection,
    server,
    tool: 'mysqldump 8.4.3',
    mode: 'stream',
    jobs: 1,
    compress: false,
    extraArgs: [],
    ...changes,
  });

const onMariadb = { server: { ...server, title: 'MariaDB 10.11.6' }, tool: 'mariadb-dump 10.11.6-MariaDB' };

const fileOf = (changes: Partial<Connection>, engine = mysql) => {
  const { args, files } = engine.inspect({ ...connection, ...changes }).command;
  return { args, text: files?.['my.cnf'] ?? '', files };
};

describe('mysql and mariadb connect', () => {
  it('with everything in one private file, which is the first argument', () => {
    const { args, text } = fileOf({});
    expect(args[0]).toBe(`--defaults-extra-file=${SCRATCH}/my.cnf`);
    expect(text).toBe(
      `[client]\nhost="db.internal"\nport=3306\nprotocol=tcp\nuser=app\npassword="s#cr\\"t"\ndefault-character-set=utf8mb4\n[mysql]\nconnect-timeout=15\n`,
    );
    for (const command of [planDump().dump, planDump({ mode: 'file' }).dump])
      expect(command.args[0]).toBe(`--defaults-extra-file=${SCRATCH}/my.cnf`);
  });

  it('past the option file of the user who runs them, which would win', () => {
    expect(planDump().dump.env).toEqual({ HOME: SCRATCH });
  });

  it.each([
    ['/run/mysqld/mysqld.sock', '/run/mysqld/mysqld.sock'],
    ['/run/mysqld', '/run/mysqld/mysqld.sock'],
    ['/run/mysqld/', '/run/mysqld/mysqld.sock'],
    ['/tmp/my.socket', '/tmp/my.socket'],
  ])('at %s by the socket %s', (host, socket) => {
    const { text } = fileOf({ hosts: [{ host, port: 3306 }] });
    expect(text).toContain(`socket="${socket}"\nprotocol=socket\n`);
    expect(text).not.toContain('port');
  });

  it('to one host, and to localhost by TCP', () => {
    expect(fileOf({ hosts: [{ host: 'localhost', port: 3307 }] }).text).toContain(
      'host=localhost\nport=3307\nprotocol=tcp',
    );
    const hosts = [...connection.hosts, { host: 'b', port: 1 }];
    expect(() => fileOf({ hosts })).toThrow(ConfigError);
  });

  it.each([
    [{ tls: 'disable' }, 'loose-ssl-mode=DISABLED', 'ssl=0'],
    [{ tls: 'prefer' }, 'loose-ssl-mode=PREFERRED', 'ssl-verify-server-cert=0'],
    [{ tls: 'require' }, 'loose-ssl-mode=REQUIRED', 'ssl=1\nssl-verify-server-cert=0'],
    [{ tls: 'verify' }, 'loose-ssl-mode=VERIFY_IDENTITY', 'ssl=1\nssl-verify-server-cert=1'],
    [{ tlsCa: 'PEM' }, 'loose-ssl-mode=VERIFY_IDENTITY', 'ssl=1\nssl-verify-server-cert=1'],
    [{ params: { 'ssl-mode': 'REQUIRED' } }, 'loose-ssl-mode=REQUIRED', 'ssl=1\nssl-verify-server-cert=0'],
    [{ params: { sslMode: 'verify_identity' } }, 'loose-ssl-mode=VERIFY_IDENTITY', 'ssl=1\nssl-verify-server-cert=1'],
    [{ params: { tls: 'false' }, tls: 'verify' }, 'loose-ssl-mode=VERIFY_IDENTITY', 'ssl=1\nssl-verify-server-cert=1'],
  ] as const)('with %j as either client understands it', (changes, forMysql, forMariadb) => {
    expect(fileOf(changes).text).toContain(`${forMysql}\n`);
    expect(fileOf(changes).text).toContain(`[client-mariadb]\n${forMariadb}\n`);
    expect(fileOf(changes, mariadb).text).toContain(`[client-mariadb]\n${forMariadb}\n`);
    expect(fileOf(changes, mariadb).text).not.toContain('ssl-mode');
  });

  it('with the CA in a private file, and a mode of TLS that is none refused', () => {
    const { args, files } = fileOf({
      tlsCa: 'PEM',
      params: { 'ssl-ca': '/old', 'ssl-cert': '/c.pem', sslkey: '/k.pem' },
    });
    expect(files?.['ca.pem']).toBe('PEM');
    expect(args.slice(1, 4)).toEqual([`--ssl-ca=${SCRATCH}/ca.pem`, '--ssl-cert=/c.pem', '--ssl-key=/k.pem']);
    expect(fileOf({ tls: 'verify' }).args).toContain('--ssl-capath=/etc/ssl/certs');
    expect(() => fileOf({ params: { tls: 'perhaps' } })).toThrow(ConfigError);
  });

  it('and warn of parameters that mean nothing to them', () => {
    expect(planDump({ connection: { ...connection, params: { parseTime: 'true' } } }).warnings).toEqual([
      'of the URI the parameters parseTime mean nothing to mysqldump, and are ignored',
    ]);
  });
});

const DEFAULTS = [
  '--single-transaction',
  '--quick',
  '--routines',
  '--events',
  '--triggers',
  '--no-tablespaces',
  '--hex-blob',
  '--default-character-set=utf8mb4',
  '--max-allowed-packet=1G',
];

describe('mysql and mariadb plan a dump', () => {
  it('complete by default, with the arguments of the user behind, and the name behind those', () => {
    const { dump, ...rest } = planDump({ extraArgs: ['--no-data'] });
    expect(dump.file).toBe('mysqldump');
    expect(dump.args.slice(1)).toEqual([...DEFAULTS, '--set-gtid-purged=OFF', '--no-data', '--', 'orders']);
    expect(rest).toMatchObject({
      format: 'sql',
      extension: '.sql',
      compression: null,
      container: null,
      prepare: [],
      warnings: [],
    });
    const other = planDump(onMariadb, mariadb).dump;
    expect(other.file).toBe('mariadb-dump');
    expect(other.args.slice(1)).toEqual([...DEFAULTS, '--', 'orders']);
  });

  it('to a file', () => {
    expect(planDump({ mode: 'file' }).dump.args).toContain(`--result-file=${SCRATCH}/dump`);
    expect(() => planDump({ mode: 'file', extraArgs: ['-r', 'x'] })).toThrow(/BACKUP_MODE=file does/);
  });

  it('without histograms where the server has none', () => {
    const old = { ...server, title: 'MySQL 5.7.44' };
    expect(planDump({ server: old }).dump.args).toContain('--column-statistics=0');
    expect(planDump().dump.args).not.toContain('--column-statistics=0');
  });

  it('without what the login may not read', () => {
    const target = { leftOut: { events: true, triggers: true, routines: true, tables: ['a.b'] } };
    const { args } = planDump({ server: { ...server, target } }).dump;
    expect(args).toEqual(
      expect.arrayContaining(['--skip-events', '--skip-triggers', '--skip-routines', '--ignore-table=orders.a.b']),
    );
    expect(args.join()).not.toMatch(/,--(events|triggers|routines),/);
  });

  it.each([
    [['--tab=/x'], /--tab sends the rows elsewhere/],
    [['-T', '/x'], /--tab sends the rows elsewhere/],
    [['-vr', 'x'], /--result-file sends the dump elsewhere/],
    [['--result_file=x'], /--result-file sends the dump elsewhere/],
    [['--skip-triggers'], /the dump has no triggers/],
    [['--loose-skip_routines'], /no procedures and functions/],
    [['--events=0'], /the dump has no events/],
    [['--single-transaction=FALSE'], /different moments/],
    [['--skip-opt'], /in memory whole/],
    [['--force'], /--force goes on after an error/],
    [['--databases'], /restores nowhere but there/],
    [['-B', '--add-drop-database'], /drop its database/],
    [['-A'], /one dump of all databases/],
    [['--set-gtid-purged=ON'], /fails on a server with transactions/],
  ])('warning of %j', (extraArgs, warning) => {
    expect(planDump({ extraArgs }).warnings.join('\n')).toMatch(warning);
  });

  it('without a warning for what only looks like a conflict', () => {
    const extraArgs = [
      '--ignore-table=orders.-T',
      '--where',
      '--tab=x',
      '--skip-lock-tables',
      '--skip-dump-date',
      '--triggers',
    ];
    expect(planDump({ extraArgs }).warnings).toEqual([]);
    expect(planDump({ extraArgs: ['--skip-opt', '--quick'] }).warnings).toEqual([]);
    expect(planDump({ extraArgs: ['--skip-triggers', '--triggers'] }).warnings).toEqual([]);
  });

  it('locking all tables where the user asks for it, which does not go with one transaction', () => {
    expect(planDump({ extraArgs: ['-x'] }).dump.args).not.toContain('--single-transaction');
  });

  it.each([
    [['--host=x']],
    [['-hx']],
    [['-P', '1']],
    [['-psecret']],
    [['--user', 'x']],
    [['--socket=x']],
    [['--defaults-file=x']],
    [['--login-path=x']],
    [['other']],
    [['--', 'x']],
  ])('F19 F32: refusing %j, which would dump something else or show a password', (extraArgs) => {
    const plan = () => planDump({ extraArgs });
    expect(plan).toThrow(ConfigError);
    expect(plan).not.toThrow(/secret/);
  });

  it('noting the database that a dump names', () => {
    expect(planDump({ extraArgs: ['--databases'] }).facts).toEqual({ createsDatabase: 'orders' });
    expect(planDump({ extraArgs: ['--add-drop-database'] }).facts).toBeUndefined();
    const all = planDump({ extraArgs: ['-A'] });
    expect(all.facts).toEqual({ createsDatabase: '*' });
    expect(all.dump.args.at(-1)).toBe('-A');
  });

  it('F56: warning of a client older than the server, and of one of the other kind', () => {
    const warn = (tool: string, title: string, engine = mysql) =>
      planDump({ tool, server: { ...server, title } }, engine).warnings.join('\n');
    expect(warn('mysqldump 5.7.44', 'MySQL 8.0.36')).toMatch(/older than the server, MySQL 8\.0\.36/);
    expect(warn('mariadb-dump 10.11.6-MariaDB', 'MariaDB 11.4.2', mariadb)).toMatch(/older than the server/);
    expect(warn('mysqldump 9.1.0', 'MySQL 8.0.36')).toBe('');
    expect(warn('mysqldump 10.19.1-MariaDB', 'MySQL 8.0.36')).toMatch(/is MariaDB 10\.19\.1's/);
    expect(warn('mysqldump 8.0.36', 'MariaDB 10.11.6')).toMatch(/right is ENGINE=mariadb/);
  });

  it.each([
    ['mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)', 'mysqldump 8.0.36'],
    ['mysqldump  Ver 10.13 Distrib 5.7.44, for Linux (x86_64)', 'mysqldump 5.7.44'],
    ['mysqldump  Ver 10.19 Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)', 'mysqldump 10.11.6-MariaDB'],
    [
      '/usr/bin/mariadb-dump from 11.8.3-MariaDB, client 10.19 for debian-linux-gnu (x86_64)',
      'mysqldump 11.8.3-MariaDB',
    ],
  ])('reading %j as %s', (stdout, expected) => {
    expect(mysql.tool.parse({ stdout, stderr: '', exitCode: 0 })).toBe(expected);
    expect(() => mysql.tool.parse({ stdout: 'from elsewhere', stderr: '', exitCode: 0 })).toThrow();
  });

  it('as a folder by mydumper, with its own arguments only', () => {
    const plan = planDump({ mode: 'tar', jobs: 3, compress: true, extraArgs: ['--rows', '1000'] });
    expect(plan.dump.file).toBe('mydumper');
    expect(plan.dump.args).toEqual(
      expect.arrayContaining([
        `--defaults-file=${SCRATCH}/my.cnf`,
        `--outputdir=${SCRATCH}/dump`,
        '--threads=3',
        '--compress',
      ]),
    );
    expect(plan).toMatchObject({ format: 'mydumper', compression: 'gzip', marks: {} });
    const refused =
      (...extraArgs: string[]) =>
      () =>
        planDump({ mode: 'directory', extraArgs });
    expect(refused('--single-transaction')).toThrow(/flag of mysqldump.*where it is --trx-consistency-only/);
    expect(refused('--ignore-table=a.b')).toThrow(/--omit-from-file=FILE or --regex=PATTERN/);
    expect(refused('--hex-blob=0', '--dump-date')).toThrow(/which has nothing like it/);
    expect(refused('--outputdir=/x')).toThrow(/dbstash says that/);
    expect(refused('-B', 'x')).toThrow(ConfigError);
    expect(refused('orders')).toThrow(ConfigError);
  });
});

describe('F04: the marks of a dump', () => {
  const { begins, ends } = planDump().marks;
  const end = '\n\n-- Dump completed on 2026-02-07  2:00:00\n';

  it.each([
    [end, true],
    ['\n-- Dump completed\n', true],
    [`${end}x`, false],
    [end.slice(0, -1), false],
    ['\n-- Dump comp', false],
    ["INSERT INTO t VALUES ('-- Dump completed\n", false],
    ['', false],
  ])('%j ends one: %s', (text, expected) => {
    expect(ends?.test(`row${text}`)).toBe(expected);
  });

  it.each([
    ['-- MySQL dump 10.13  Distrib 8.0.36', true],
    ['-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB', true],
    ['/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19', true],
    ['-- PostgreSQL database dump', false],
    [' -- MySQL dump', false],
  ])('%j begins one: %s', (text, expected) => {
    expect(begins?.test(text)).toBe(expected);
  });

  it.each([['--compact'], ['--skip-comments'], ['--comments=0']])('are absent with %s', (arg) => {
    expect(planDump({ extraArgs: [arg] }).marks).toEqual({});
  });
});

describe('mysql and mariadb plan a restore', () => {
  const there: Target = { exists: true, holds: '', missingRoles: [], title: 'MySQL 8.4.3', major: undefined };
  const plan = (changes: Partial<RestoreRequest> = {}) =>
    mysql.planRestore({
      connection,
      target: there,
      facts: { charset: 'utf8mb4', collation: 'utf8mb4_bin' },
      mode: 'stream',
      format: 'sql',
      replace: false,
      createRoles: false,
      id: 'x',
      ...changes,
    });

  it('into a database that is there, not in one piece', () => {
    const { load, ...rest } = plan();
    expect(load.file).toBe('mysql');
    expect(load.args).toEqual(expect.arrayContaining(['--binary-mode', '--database=orders']));
    expect(rest).toMatchObject({ prepare: [], filters: [{ file: 'sed' }], isAtomic: false, finish: [] });
  });

  it('into a new one, with the character set and collation of the old one', () => {
    const { prepare } = plan({ target: { ...there, exists: false }, connection: { ...connection, database: 'a`b' } });
    expect(prepare.map(({ input }) => input)).toEqual([
      'CREATE DATABASE `a``b` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n',
    ]);
    const hostile = plan({ target: { ...there, exists: false }, facts: { charset: 'x; DROP', collation: 'y z' } });
    expect(hostile.prepare[0]?.input).toBe('CREATE DATABASE `orders`;\n');
  });

  it('emptying it by what stands before the dump', () => {
    const { filters } = plan({ replace: true });
    expect(filters.map(({ file }) => file)).toEqual(['sed', 'cat']);
    const text = filters[1]?.files?.['before.sql'] ?? '';
    expect(text.indexOf('CREATE DATABASE IF NOT EXISTS')).toBeLessThan(text.indexOf('DROP DATABASE `orders`'));
    expect(plan({ replace: true, target: { ...there, exists: false } }).filters).toHaveLength(1);
  });

  it('without the first line of a dump of MariaDB where the client is too old for it', () => {
    const ask = (client: string) =>
      mariadb
        .inspectTarget(connection, {})
        .parse({ stdout: `${client}\nversion\t10.11.6-MariaDB\n`, stderr: '', exitCode: 0 });
    const filters = (client: string) =>
      plan({ target: ask(client) })
        .filters.slice(0, -1)
        .map(({ file }) => file);
    expect(
      filters('mariadb  Ver 15.1 Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64) using  EditLine wrapper'),
    ).toEqual(['sed']);
    expect(filters('mysql  Ver 15.1 Distrib 10.3.39-MariaDB, for x')).toEqual(['sed']);
    expect(filters('mariadb  Ver 15.1 Distrib 10.11.19-MariaDB, for x')).toEqual([]);
    expect(filters('mariadb from 11.8.3-MariaDB, client 15.2 for x')).toEqual([]);
    expect(filters('/usr/bin/mysql  Ver 8.0.36 for Linux on x86_64')).toEqual([]);
  });

  it('of a folder by myloader', () => {
    const { load, prepare } = plan({
      format: 'mydumper',
      mode: 'directory',
      facts: { sourceDatabase: 'old' },
      replace: true,
    });
    expect(load.file).toBe('myloader');
    expect(load.args).toEqual(
      expect.arrayContaining([`--directory=${SCRATCH}/dump`, '--database=orders', '--source-db=old']),
    );
    expect(prepare.map(({ file }) => file)).toEqual(['find', 'find', 'find', 'mysql']);
    expect(prepare.at(-1)?.input).toContain('DROP DATABASE');
  });

  it('never of a dump that names another database, or of a format it does not know', () => {
    expect(() => plan({ facts: { createsDatabase: 'other' } })).toThrow(/under another name/);
    expect(() => plan({ facts: { createsDatabase: '*' } })).toThrow(/--all-databases/);
    expect(plan({ facts: { createsDatabase: 'orders' } }).load.args.join()).not.toContain('--database=');
    expect(() => plan({ format: 'xml' })).toThrow(ConfigError);
  });

  it('warning of definers that are missing, and making them only when asked to', () => {
    const target = { ...there, notes: { missingDefiners: ["o'b@%"] } };
    expect(plan({ target }).prepare.map(({ file }) => file)).toEqual(['sed']);
    expect(plan({ target }).prepare[0]?.input).toContain("has no 'o\\'b'@'%'");
    expect(plan({ target, createRoles: true }).prepare[0]?.input).toContain(
      "CREATE USER IF NOT EXISTS 'o\\'b'@'%' ACCOUNT LOCK;",
    );
  });
});

describe('an inspection', () => {
  const grantsOf = (...grants: string[]) =>
    mysql
      .inspect(connection)
      .parse({ stdout: `version\t8.0.36\nuser\tx@%\n${grants.join('\n')}\n`, stderr: '', exitCode: 0 });

  it.each([
    [['GRANT ALL PRIVILEGES ON *.* TO `x`@`%`']],
    [['GRANT ALL PRIVILEGES ON `orders`.* TO `x`@`%`']],
    [['GRANT ALL PRIVILEGES ON `ord%`.* TO `x`@`%`']],
    [['GRANT ALL PRIVILEGES ON `o_ders`.* TO `x`@`%`']],
    [['GRANT SELECT, TRIGGER ON *.* TO `x`@`%`']],
    [[]],
  ])('finds nothing missing with %j', (grants) => {
    expect(grantsOf(...grants).warnings).toEqual([]);
  });

  it.each([
    [['GRANT ALL PRIVILEGES ON `o\\_ders`.* TO `x`@`%`'], /triggers, procedures and functions/],
    [['GRANT ALL PRIVILEGES ON `other`.* TO `x`@`%`'], /triggers/],
    [['GRANT SELECT, EXECUTE ON `orders`.* TO `x`@`%`'], /triggers; right would be GRANT TRIGGER ON `orders`/],
    [['GRANT SELECT, TRIGGER ON `orders`.* TO `x`@`%`'], /procedures and functions; right would be GRANT SHOW_ROUTINE/],
  ])('finds what is missing with %j', (grants, warning) => {
    expect(grantsOf(...grants).warnings.join('\n')).toMatch(warning);
  });

  it('repeats nothing of an answer that makes no sense, which may hold the hash of a password', () => {
    const parse = () => mysql.inspect(connection).parse({ stdout: 'GRANT x BY *CANARY', stderr: '', exitCode: 0 });
    expect(parse).toThrow(/makes no sense/);
    expect(parse).not.toThrow(/CANARY/);
  });
});

it('the scheme mysql:// is of mysql, and of mariadb too; mariadb:// is of mariadb alone', () => {
  expect(findEngineByScheme('mysql')).toBe(mysql);
  expect(findEngineByScheme('mariadb')).toBe(mariadb);
  expect(mariadb.uriSchemes).toContain('mysql');
  expect(mysql.uriSchemes).not.toContain('mariadb');
});
