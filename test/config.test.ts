import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Config,
  type ConfigSource,
  describeConfig,
  inspectConfig,
  parseConfig,
  secretsOf,
} from '../src/config/config.ts';
import { parseConnection } from '../src/config/uriConnection.ts';
import { GROUPS, variables } from '../src/config/variables.ts';
import { ConfigError, EXIT } from '../src/core/errors.ts';
import { createRedactor } from '../src/core/redact.ts';
import { parseSchedule } from '../src/schedule.ts';

type Environment = Readonly<Record<string, string | undefined>>;

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'dbstash-config-'));
  chmodSync(folder, 0o755);
});
afterAll(() => rmSync(folder, { recursive: true }));

function writeFile(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** The least that is complete. */
const LEAST = { ENGINE: 'pg', DB_NAME: 'orders', RCLONE_REMOTE: '/backup' };
const WITH_URI = { RCLONE_REMOTE: '/backup' };

const sourceOf = (env: Environment, flags: Readonly<Record<string, string>> = {}): ConfigSource => ({
  env,
  flags,
  cwd: folder,
  parseSchedule,
});

const parse = (env: Environment, flags?: Readonly<Record<string, string>>): Config => parseConfig(sourceOf(env, flags));
const inspect = (env: Environment) => inspectConfig(sourceOf(env));
const connect = (uri: string, env: Environment = {}) => parse({ ...WITH_URI, DB_URI: uri, ...env }).connection;
const problemsOf = (env: Environment): readonly string[] => inspect(env).problems;
const rowOf = (config: Config, name: string) => describeConfig(config).find((row) => row.name === name);

describe('the smallest configuration', () => {
  test('has every default', () => {
    const { settings, ...config } = parse(LEAST);
    expect(config).toEqual({
      connection: {
        engine: 'pg',
        hosts: [{ host: 'localhost', port: 5432 }],
        user: 'postgres',
        password: undefined,
        database: 'orders',
        params: {},
        tls: undefined,
        tlsCa: undefined,
      },
      selection: { kind: 'one' },
      namedSeries: undefined,
      ssh: undefined,
      database: 'orders',
      series: 'pg://localhost:5432/orders',
      remote: {
        remotes: ['/backup'],
        configText: undefined,
        configPath: undefined,
        configPass: undefined,
        extraArgs: [],
      },
      schedule: '0 2 * * *',
      onStart: false,
      timeZone: 'UTC',
      mode: 'stream',
      jobs: 1,
      template: expect.objectContaining({ text: '{db}-{date}-{time}' }),
      extension: undefined,
      compress: { kind: 'none' },
      encryptTo: [],
      tempDir: '/tmp/dbstash-work',
      extraArgs: [],
      timeoutMs: 0,
      stallTimeoutMs: 3_600_000,
      catchUp: true,
      retries: 0,
      dryRun: false,
      notify: { webhooks: [], mail: undefined, pingUrl: undefined, on: 'failure' },
      hooks: { pre: undefined, post: undefined, timeoutMs: 3_600_000 },
      health: { port: 8080, host: undefined, graceMs: 3_600_000 },
      verifyLevel: 'content',
      verifyTimeoutMs: 43_200_000,
      useLock: true,
      minBytes: 1,
      maxShrink: undefined,
      retention: {
        maxFiles: 0,
        maxDays: 0,
        keepLast: 0,
        keepHourly: 0,
        keepDaily: 0,
        keepWeekly: 0,
        keepMonthly: 0,
        keepYearly: 0,
        minKeep: 1,
      },
      log: { level: 'info', format: 'json' },
      restoreUri: undefined,
      identity: [],
      warnings: [],
    });
    expect(settings.RCLONE_REMOTE).toEqual({ text: '/backup', source: 'environment' });
  });

  test('is the same where every other variable is blank', () => {
    const blank = Object.fromEntries(
      variables.flatMap(({ name }) => [
        [name, ' \t'],
        [`${name}_FILE`, ''],
      ]),
    );
    expect(parse({ ...blank, ...LEAST })).toEqual(parse(LEAST));
  });

  test('F66: what is missing is named, all of it', () => {
    expect(problemsOf({})).toEqual([
      expect.stringMatching(/^DB_URI: is not set; right is /),
      expect.stringMatching(/^RCLONE_REMOTE: is not set; right is /),
    ]);
    expect(problemsOf({ ENGINE: 'pg' })).toEqual([
      expect.stringMatching(/^DB_NAME: is not set; right is /),
      expect.stringMatching(/^RCLONE_REMOTE: is not set; right is /),
    ]);
  });
});

describe('the table of variables', () => {
  test('describes each in one line and has defaults that its own parser takes', () => {
    for (const { name, help, parse: read, default: text } of variables) {
      expect(help, name).toMatch(/^[A-Z`][^\n|]{3,140}$/);
      if (text !== undefined) expect(() => read(text), name).not.toThrow();
    }
  });

  test('has a title for each group, and something in each', () => {
    expect([...new Set(variables.map(({ group }) => group))]).toEqual(Object.keys(GROUPS));
  });

  test('refuses what is wrong with a sentence that says what would be right', () => {
    const garbage: Environment = Object.fromEntries(variables.map(({ name }) => [name, '\u0001 %"{/']));
    for (const problem of problemsOf(garbage)) expect(problem).toMatch(/^[A-Z_]+\d?: .{20,}/s);
  });
});

describe('several problems', () => {
  const wrong = {
    DB_URI: 'postgres://u:canary%zz@db/x',
    RCLONE_REMOTE: ':s3,secret_access_key="canary:bucket',
    RCLONE_CONFIG: 'canary canary!',
    BACKUP_TIMEOUT: 'soon',
    BACKUP_SCHEDULE: '99 * * * *',
    RETENTION_MIN_KEEP: '0',
    TZ: 'Mars/Base',
    LOG_LEVEL: 'loud',
    BACKUP_SCHEDUEL: 'canary',
  };

  test('F66: are told at once, each on a line of its own, with exit code 2', () => {
    const error = thrownBy(() => parse(wrong));
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).exitCode).toBe(EXIT.config);
    expect(error.message.split('\n')).toEqual([
      'the configuration has 8 problems:',
      '  DB_URI: the URI has a bare % in the password; it is written %25',
      expect.stringMatching(/^ {2}RCLONE_REMOTE: /),
      '  TZ: "Mars/Base" is no time zone; right is one like UTC or Europe/Berlin',
      '  BACKUP_TIMEOUT: "soon" is no duration; right is one like 90s, 30m, 1h30m or 2d, or 0',
      '  RETENTION_MIN_KEEP: "0" is not possible; right is a whole number, 1 or more',
      '  LOG_LEVEL: "loud" is not possible; right is debug, info, warn or error',
      expect.stringMatching(/^ {2}RCLONE_CONFIG: /),
      expect.stringMatching(/^ {2}BACKUP_SCHEDULE: "99 \* \* \* \*" is no schedule: the minute/),
      '  (warning) BACKUP_SCHEDUEL is no variable of dbstash and is ignored; did you mean BACKUP_SCHEDULE?',
    ]);
  });

  test('F33: show no secret', () => {
    expect(thrownBy(() => parse(wrong)).message).not.toContain('canary');
    expect(JSON.stringify(describeConfig(inspect(wrong)))).not.toContain('canary');
  });

  test('F33: of variables that may hold a secret repeat nothing, however wrong they are', () => {
    const piece = fc.constantFrom(
      ...':/@?,=-%"\'\n ',
      '://',
      'postgres://',
      'sqlite:///',
      'pass=',
      'canary',
      '%zz',
      '[',
    );
    const text = fc.array(piece, { maxLength: 10 }).map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(
        text,
        fc.constantFrom('DB_URI', 'RESTORE_DB_URI', 'RCLONE_REMOTE', 'RCLONE_CONFIG'),
        (value, name) => {
          expect(problemsOf({ ...LEAST, [name]: value }).join('\n')).not.toContain('canary');
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('whatever the variables hold, nothing but ConfigError is thrown', () => {
    const env = fc.record(Object.fromEntries(variables.map(({ name }) => [name, fc.string()])), { requiredKeys: [] });
    fc.assert(
      fc.property(env, (garbage) => {
        const { config, problems } = inspect(garbage);
        expect(config === undefined).toBe(problems.length > 0);
      }),
    );
  });

  test('leave the rest to be described', () => {
    const rows = describeConfig(inspect({ ...LEAST, DB_HOST: 'db:1', BACKUP_COMPRESS: 'zstd' }));
    expect(rows).toContainEqual({ name: 'BACKUP_COMPRESS', value: 'zstd', source: 'environment' });
    expect(rows).toContainEqual({ name: 'DB_HOST', value: 'db:1', source: 'environment' });
  });
});

describe('X_FILE', () => {
  test.each([
    ['s3cret', 's3cret'],
    ['\ufeffs3cret\r\n', 's3cret'],
    ['s3cret\n\n', 's3cret'],
    [' s3 cret \n', ' s3 cret '],
    ['two\nlines\n', 'two\nlines'],
  ])('%j gives %j', (content, password) => {
    const path = writeFile('password', content);
    const config = parse({ ...LEAST, DB_PASSWORD_FILE: path });
    expect(config.connection.password).toBe(password);
    expect(rowOf(config, 'DB_PASSWORD')).toEqual({ name: 'DB_PASSWORD', value: '***', source: `file ${path}` });
  });

  test('works for every variable but rclone.conf, whose variable is a path', () => {
    const path = writeFile('any', 'x');
    for (const { name, hasFile } of variables.filter(({ hasFile }) => hasFile !== false)) {
      expect(hasFile).toBeUndefined();
      expect(inspect({ [`${name}_FILE`]: path }).settings[name], name).toEqual({ text: 'x', source: `file ${path}` });
    }
    expect(inspect({ RCLONE_CONFIG_FILE: path }).settings).toMatchObject({
      RCLONE_CONFIG: { text: undefined },
      RCLONE_CONFIG_FILE: { text: path, source: 'environment' },
    });
  });

  test('wins over X, with a warning', () => {
    const config = parse({ ...LEAST, DB_USER: 'a', DB_USER_FILE: writeFile('user', 'b\n') });
    expect(config.connection.user).toBe('b');
    expect(config.warnings).toEqual(['DB_USER and DB_USER_FILE are both set: the file is used']);
  });

  test('counts as unset where the file is blank, and may be relative to the working directory', () => {
    writeFile('blank', ' \n');
    writeFile('name', 'app\n');
    expect(parse({ ...LEAST, DB_USER_FILE: 'blank' }).connection.user).toBe('postgres');
    expect(parse({ ...LEAST, DB_USER_FILE: 'name' }).connection.user).toBe('app');
  });

  test('keeps the lines of a certificate', () => {
    const pem = '-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n';
    expect(parse({ ...LEAST, DB_TLS_CA_FILE: writeFile('ca.pem', pem) }).connection.tlsCa).toBe(pem);
  });

  test.each([
    ['that is missing', () => join(folder, 'missing'), 'there is no such file'],
    ['that is a folder', () => folder, 'it is a folder'],
    ['that is not UTF-8', () => writeFile('latin1', Buffer.from([0x61, 0xe9])), 'is no text'],
    ['that holds a NUL', () => writeFile('nul', 'a\0b'), 'is no text'],
  ])('%s is an error', (_, path, reason) => {
    expect(problemsOf({ ...LEAST, DB_PASSWORD_FILE: path() })).toEqual([
      expect.stringMatching(new RegExp(`^DB_PASSWORD_FILE: .*${path()}.*${reason}`)),
    ]);
  });

  test.runIf(process.getuid?.() === 0)('that we may not read is an error that names owner, mode and remedy', () => {
    const file = writeFile('private', 's3cret');
    chmodSync(file, 0o600);
    mkdirSync(join(folder, 'closed'), { mode: 0o700 });
    const inside = writeFile('closed/file', 's3cret');
    expect(problemsOfUser({ ...LEAST, DB_PASSWORD_FILE: file, DB_USER_FILE: inside })).toEqual([
      `DB_USER_FILE: cannot read ${inside}: the folder ${folder}/closed belongs to uid 0, gid 0, mode 0700, and we run as uid 65534: chown 65534 ${folder}/closed, chmod a+x ${folder}/closed, or run as uid 0`,
      `DB_PASSWORD_FILE: cannot read ${file}: it belongs to uid 0, gid 0, mode 0600, and we run as uid 65534: chown 65534 ${file}, chmod a+r ${file}, or run as uid 0`,
    ]);
  });

  test('a problem with what a file holds names the file', () => {
    const path = writeFile('size', 'big');
    expect(problemsOf({ ...LEAST, BACKUP_MIN_SIZE_FILE: path })).toEqual([
      expect.stringContaining(`BACKUP_MIN_SIZE (from ${path}): "big" is no size`),
    ]);
  });
});

/** As `problemsOf`, in a process of the user nobody. */
function problemsOfUser(env: Environment): unknown {
  const url = new URL('../src/config/config.ts', import.meta.url).href;
  const script = `
    const { inspectConfig } = await import(${JSON.stringify(url)});
    const source = { env: ${JSON.stringify(env)}, flags: {}, cwd: '/', parseSchedule: () => {} };
    console.log(JSON.stringify(inspectConfig(source).problems));`;
  const options = { uid: 65_534, gid: 65_534, encoding: 'utf8', cwd: '/' } as const;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], options);
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout);
}

describe('flags', () => {
  test('win over variables and files', () => {
    const env = { ...LEAST, DB_USER: 'a', BACKUP_MIN_SIZE_FILE: join(folder, 'missing') };
    const config = parse(env, { DB_USER: 'b', BACKUP_MIN_SIZE: '7' });
    expect(config).toMatchObject({ connection: { user: 'b' }, minBytes: 7, warnings: [] });
    expect(rowOf(config, 'DB_USER')).toEqual({ name: 'DB_USER', value: 'b', source: 'flag' });
  });

  test('are named as such where they are wrong', () => {
    expect(inspectConfig(sourceOf(LEAST, { BACKUP_TIMEOUT: 'x' })).problems).toEqual([
      expect.stringMatching(/^--backup-timeout: "x" is no duration/),
    ]);
  });

  test('F32: that hold a secret are warned about', () => {
    const uri = parse(WITH_URI, { DB_URI: 'postgres://u:canary@db/x' });
    expect(uri.warnings).toEqual([
      '--db-uri holds a secret, which every user of this machine can read: give it as DB_URI or DB_URI_FILE',
    ]);
    const remote = parse(LEAST, { RCLONE_REMOTE: ':sftp,host=h,pass=canary:x' });
    expect(remote.warnings).toEqual([expect.stringContaining('--rclone-remote holds a secret')]);
    expect(parse(WITH_URI, { DB_URI: 'postgres://u@db/x', RCLONE_REMOTE: ':s3,region=x:b' }).warnings).toEqual([]);
  });
});

describe('what is told to people', () => {
  const HOOK = 'https://hooks.slack.com/services/T0/B0/abcdefghijklmnop';
  const MAIL = {
    NOTIFY_EMAIL_TO: 'ops@example.com, Night <night@example.com>',
    SMTP_URL: 'smtp://ops%40x.org:p%3Aw@mail',
  };

  test('is read with every address, and mail with its login', () => {
    const { notify } = parse({ ...LEAST, ...MAIL, NOTIFY_WEBHOOK_URL: `${HOOK} , http://h:81/x`, NOTIFY_ON: 'Always' });
    expect(notify).toEqual({
      webhooks: [HOOK, 'http://h:81/x'],
      on: 'always',
      pingUrl: undefined,
      mail: {
        to: ['ops@example.com', 'Night <night@example.com>'],
        from: 'ops@x.org',
        smtp: { host: 'mail', port: 587, user: 'ops@x.org', password: 'p:w', tls: 'prefer' },
      },
    });
  });

  test.each([
    ['smtps://mail', { host: 'mail', port: 465, tls: 'implicit', user: undefined, password: undefined }],
    ['smtp://mail:25?tls=require', { port: 25, tls: 'require' }],
    ['smtp://[::1]:2525?tls=disable', { host: '::1', port: 2525, tls: 'disable' }],
  ])('SMTP_URL %s', (SMTP_URL, smtp) => {
    const { mail } = parse({ ...LEAST, ...MAIL, SMTP_URL, NOTIFY_EMAIL_FROM: 'dbstash <b@x.org>' }).notify;
    expect(mail).toMatchObject({ from: 'dbstash <b@x.org>', smtp });
  });

  test.each([
    [{ SMTP_URL: 'smtp://mail' }, 'NOTIFY_EMAIL_TO is not set, and SMTP_URL is: who gets the mail?'],
    [
      { NOTIFY_EMAIL_TO: 'a@b.org' },
      'SMTP_URL is not set, and NOTIFY_EMAIL_TO is: right is smtp://user:password@host:587',
    ],
    [{ ...MAIL, SMTP_URL: 'smtp://mail' }, 'NOTIFY_EMAIL_FROM is not set, and the user of SMTP_URL is no mail address'],
    [{ ...MAIL, SMTP_URL: 'mail:25' }, 'SMTP_URL: it is no mail server'],
    [{ ...MAIL, SMTP_URL: 'smtp://mail?secure=1' }, 'SMTP_URL: it has the parameter secure; right is tls alone'],
    [
      { ...MAIL, SMTP_URL: 'smtp://mail?tls=on' },
      'SMTP_URL: tls=on is not possible; right is require, prefer or disable',
    ],
    [{ ...MAIL, SMTP_URL: 'smtp://a%:b@mail' }, 'SMTP_URL: user or password holds a %'],
    [{ ...MAIL, NOTIFY_EMAIL_TO: 'ops' }, 'NOTIFY_EMAIL_TO: "ops" is no mail address'],
    [{ NOTIFY_WEBHOOK_URL: `${HOOK},hooks.slack.com/x` }, 'NOTIFY_WEBHOOK_URL: it is no web address'],
    [
      { NOTIFY_WEBHOOK_URL: 'https://me:50%off@hooks.example.com/x' },
      'NOTIFY_WEBHOOK_URL: user or password holds a % that begins no percent code; right is %25',
    ],
    [{ PING_URL: 'file:///x' }, 'PING_URL: it is no web address; right is https://host/path'],
    [{ NOTIFY_ON: 'never' }, 'NOTIFY_ON: "never" is not possible; right is failure, success or always'],
    [{ HEALTH_PORT: '65536' }, 'HEALTH_PORT: "65536" is no port; right is a number from 1 to 65535, or 0 for none'],
  ])('%j is refused', (env: Environment, problem) => {
    expect(problemsOf({ ...LEAST, ...env })).toEqual([expect.stringContaining(problem)]);
  });

  test('is secret where it opens a door', () => {
    const env = {
      ...LEAST,
      ...MAIL,
      NOTIFY_WEBHOOK_URL: HOOK,
      PING_URL: 'https://hc-ping.com/0123456789abcdef?key=k1',
    };
    expect(secretsOf(parse(env), env)).toEqual(
      expect.arrayContaining([
        HOOK,
        'abcdefghijklmnop',
        '0123456789abcdef',
        'k1',
        'p:w',
        '/services/T0/B0/abcdefghijklmnop',
      ]),
    );
    expect(secretsOf(parse(env), env)).not.toContain('services');
  });
});

describe('unknown variables', () => {
  const warningsOf = (env: Environment) => parse({ ...LEAST, ...env }).warnings;

  test.each([
    ['DB_PASWORD', 'DB_PASSWORD'],
    ['BACKUP_SCHEDUEL', 'BACKUP_SCHEDULE'],
    ['BACKUP_SHEDULE_FILE', 'BACKUP_SCHEDULE_FILE'],
    ['RETENTION_KEEP_DAYLY', 'RETENTION_KEEP_DAILY'],
    ['RCLONE_REMOT', 'RCLONE_REMOTE'],
    ['RCLONE_EXTRA_ARG', 'RCLONE_EXTRA_ARGS'],
    ['LOG_LVEL', 'LOG_LEVEL'],
  ])('%s is taken for a typo of %s', (name, known) => {
    expect(warningsOf({ [name]: 'canary' })).toEqual([
      `${name} is no variable of dbstash and is ignored; did you mean ${known}?`,
    ]);
  });

  test.each(['NOTIFY_SOMETHING', 'DB_SOMETHING_ELSE', 'BACKUP_FANCY'])('%s is warned about without a guess', (name) => {
    expect(warningsOf({ [name]: 'x' })).toEqual([`${name} is no variable of dbstash and is ignored`]);
  });

  test.each([
    'SSH_CLIENT',
    'SSH_AUTH_SOCK',
    'RCLONE_TRANSFERS',
    'RCLONE_CONFIG_S3_TYPE',
    'RCLONE_CONFIG_PASX',
    'PATH',
    'LOGNAME',
    'POSTGRES_INITDB_ARGS',
    'BACKUP',
  ])('%s is not ours', (name) => {
    expect(warningsOf({ [name]: 'x' })).toEqual([]);
  });

  test('a blank one is no worry', () => {
    expect(warningsOf({ BACKUP_SCHEDUEL: ' ' })).toEqual([]);
  });

  test('what Kubernetes adds for a Service called db, or backup, is ignored', () => {
    const config = parse({
      ...LEAST,
      DB_PORT: 'tcp://10.0.0.1:5432',
      DB_SERVICE_HOST: '10.0.0.1',
      DB_SERVICE_PORT: '5432',
      DB_SERVICE_PORT_POSTGRES: '5432',
      DB_PORT_5432_TCP: 'tcp://10.0.0.1:5432',
      DB_PORT_5432_TCP_PROTO: 'tcp',
      DB_PORT_5432_TCP_PORT: '5432',
      DB_PORT_5432_TCP_ADDR: '10.0.0.1',
      BACKUP_PORT: 'tcp://10.0.0.2:80',
    });
    expect(config.connection.hosts).toEqual([{ host: 'localhost', port: 5432 }]);
    expect(config.warnings).toEqual([]);
  });
});

describe('DB_URI', () => {
  test.each([
    ['postgres://app@db/x', { hosts: [{ host: 'db', port: 5432 }], user: 'app', database: 'x' }],
    [
      'postgresql://app:pw@db:1/x?sslmode=require',
      { password: 'pw', hosts: [{ host: 'db', port: 1 }], params: { sslmode: 'require' } },
    ],
    [
      'postgres://a,b:2,[::1]/x',
      {
        hosts: [
          { host: 'a', port: 5432 },
          { host: 'b', port: 2 },
          { host: '::1', port: 5432 },
        ],
      },
    ],
    ['postgres:///x', { hosts: [{ host: 'localhost', port: 5432 }], user: 'postgres' }],
    ['postgres://%2Frun%2Fpg:6/x', { hosts: [{ host: '/run/pg', port: 6 }] }],
    [
      'postgres:///x?host=/run/pg&port=6&user=u&password=p%26w',
      { hosts: [{ host: '/run/pg', port: 6 }], user: 'u', password: 'p&w', params: {} },
    ],
    ['postgres://db:7/x?host=/run/pg', { hosts: [{ host: '/run/pg', port: 7 }] }],
    [
      'postgres:///?host=a,b&port=6&dbname=y',
      {
        hosts: [
          { host: 'a', port: 6 },
          { host: 'b', port: 6 },
        ],
        database: 'y',
      },
    ],
    [
      'postgres://db/x?service=main',
      { hosts: [{ host: 'db', port: 5432 }], user: undefined, params: { service: 'main' } },
    ],
    ['postgres:///x?service=main', { hosts: [], user: undefined }],
    ['postgres://db/a%2Cb', { database: 'a,b' }],
    ['sqlite:///data/app.db', { engine: 'sqlite', hosts: [], database: '/data/app.db', user: undefined }],
    ['sqlite:////data/./my%20app.db', { database: '/data/my app.db' }],
  ])('%s', (uri, expected) => {
    expect(connect(uri)).toMatchObject(expected);
  });

  test.each([
    [
      'ftp://db/x',
      'DB_URI: the URI has an unknown scheme; known are postgres://, postgresql://, mysql://, mariadb://, ',
    ],
    ['postgres://db', 'DB_URI: the URI names no database'],
    ['sqlite://data/app.db', 'DB_URI: the URI of a file has no host'],
    ['sqlite:///', 'DB_URI: the URI names no file'],
    ['postgres:///x?port=0', 'DB_URI: the URI has a parameter port'],
    ['postgres:///x?host=a,b&port=1,2,3', 'DB_URI: the URI has another number of ports'],
    ['postgres:///x?host=a%20b', 'DB_URI: the URI has a parameter host'],
  ])('%s is refused', (uri, problem) => {
    expect(problemsOf({ ...WITH_URI, DB_URI: uri })).toEqual([expect.stringContaining(problem)]);
  });

  test('must be of the engine that ENGINE names', () => {
    expect(connect('postgres://db/x', { ENGINE: 'pg' }).engine).toBe('pg');
    expect(problemsOf({ ...WITH_URI, ENGINE: 'sqlite', DB_URI: 'postgres://db/x' })).toEqual([
      expect.stringMatching(/^ENGINE: "sqlite" contradicts DB_URI, which is of pg/),
    ]);
  });

  test('mysql:// is of mysql, and of mariadb where ENGINE says so', () => {
    expect(connect('mysql://db/x')).toMatchObject({
      engine: 'mysql',
      user: 'root',
      hosts: [{ host: 'db', port: 3306 }],
    });
    expect(connect('mariadb://db/x').engine).toBe('mariadb');
    const config = parse({ ...WITH_URI, DB_URI: 'mysql://db/x', ENGINE: 'mariadb' });
    expect(config).toMatchObject({ connection: { engine: 'mariadb' }, series: 'mariadb://db:3306/x', warnings: [] });
    expect(problemsOf({ ...WITH_URI, ENGINE: 'mysql', DB_URI: 'mariadb://db/x' })).toEqual([
      expect.stringMatching(/^ENGINE: "mysql" contradicts DB_URI, which is of mariadb/),
    ]);
    expect(parseConnection('mysql://db/x', { engine: 'mariadb' }).engine).toBe('mariadb');
    expect(parseConnection('postgres://db/x', { engine: 'mariadb' }).engine).toBe('pg');
  });

  test('makes the single fields ignored, and a warning names them', () => {
    const env = {
      ...WITH_URI,
      DB_URI: 'postgres://u:p@db/x',
      DB_HOST: 'h',
      DB_PORT: '1',
      DB_USER: 'v',
      DB_PASSWORD: 'q',
    };
    const config = parse(env);
    expect(config.connection).toMatchObject({ hosts: [{ host: 'db', port: 5432 }], user: 'u', password: 'p' });
    expect(config.warnings).toEqual(['DB_HOST, DB_PORT, DB_USER, DB_PASSWORD are ignored: DB_URI is set']);
  });

  test('is filled in by DB_PASSWORD and DB_NAME, and by nothing else', () => {
    const env = {
      ...WITH_URI,
      DB_URI: 'postgres://u@db',
      POSTGRES_USER: 'v',
      POSTGRES_PASSWORD: 'q',
      POSTGRES_DB: 'y',
    };
    const config = parse({ ...env, DB_PASSWORD: 'p', DB_NAME: 'x' });
    expect(config).toMatchObject({ connection: { user: 'u', password: 'p', database: 'x' }, warnings: [] });
    expect(problemsOf(env)).toEqual([expect.stringContaining('the URI names no database')]);
  });

  test('F19: wins over DB_NAME with a warning, and connection, name and series speak of one database', () => {
    const config = parse({ ...WITH_URI, DB_URI: 'postgres://db/real', DB_NAME: 'other' });
    expect(config).toMatchObject({
      connection: { database: 'real' },
      database: 'real',
      series: 'pg://db:5432/real',
      warnings: ['DB_NAME is ignored: DB_URI names another database, "real", which is backed up'],
    });
    expect(rowOf(config, 'DB_NAME')).toEqual({ name: 'DB_NAME', value: 'real', source: 'DB_URI' });
  });

  test('F19: and DB_NAME may say the same', () => {
    expect(parse({ ...WITH_URI, DB_URI: 'postgres://db/real', DB_NAME: 'real' }).warnings).toEqual([]);
    const file = { ...WITH_URI, DB_URI: `sqlite://${folder}/app.db` };
    expect(parse({ ...file, DB_NAME: './app.db' }).warnings).toEqual([]);
    expect(parse({ ...file, DB_NAME: 'app2.db' }).warnings).toEqual([expect.stringContaining('DB_NAME is ignored')]);
  });

  test('takes TLS from its own variables', () => {
    const tlsCa = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
    expect(connect('postgres://db/x', { DB_TLS: 'Verify', DB_TLS_CA: tlsCa })).toMatchObject({ tls: 'verify', tlsCa });
  });

  test('of a restore becomes a connection with what the command says', () => {
    expect(parseConnection('postgres://db', { database: 'copy', password: 'p' })).toMatchObject({
      database: 'copy',
      password: 'p',
    });
    expect(() => parseConnection('postgres://db')).toThrow('the URI names no database');
    expect(problemsOf({ ...LEAST, RESTORE_DB_URI: 'ftp://db' })).toEqual([
      expect.stringMatching(/^RESTORE_DB_URI: the URI has an unknown scheme/),
    ]);
    expect(parse({ ...LEAST, RESTORE_DB_URI: 'postgres://db' }).restoreUri).toBe('postgres://db');
  });
});

describe('single fields', () => {
  test('F35: and a URI give the same connection, whatever user, password and database hold', () => {
    const odd = fc.constant(`@ : / ? # % ' " \\ $ ünï;-\`$(id)\`&+`);
    const text = fc
      .oneof(odd, fc.string({ unit: 'binary', minLength: 1 }), fc.constant('-x'))
      .filter((value) => !value.includes('\0') && !value.includes(',') && value.trim() !== '' && value !== '*');
    fc.assert(
      fc.property(text, text, text, (user, password, database) => {
        const [u, p, d] = [user, password, database].map(encodeURIComponent);
        const fields = {
          ...WITH_URI,
          ENGINE: 'pg',
          DB_HOST: 'db',
          DB_USER: user,
          DB_PASSWORD: password,
          DB_NAME: database,
        };
        const { connection } = parse(fields);
        expect(connection).toMatchObject({ user, password, database });
        expect(connect(`postgres://${u}:${p}@db/${d}`)).toEqual(connection);
      }),
    );
  });

  test.each([
    ['db.internal', 'db.internal'],
    ['[::1]', '::1'],
    ['fe80::1', 'fe80::1'],
    ['/run/postgresql', '/run/postgresql'],
    [' db ', 'db'],
  ])('DB_HOST %j is %s', (host, expected) => {
    expect(parse({ ...LEAST, DB_HOST: host, DB_PORT: '6543' }).connection.hosts).toEqual([
      { host: expected, port: 6543 },
    ]);
  });

  test('MONGO_INITDB_* are understood where DB_* are not set, and only for mongo', () => {
    const names = {
      MONGO_INITDB_ROOT_USERNAME: 'mu',
      MONGO_INITDB_ROOT_PASSWORD: 'mp',
      MONGO_INITDB_DATABASE: 'md',
      POSTGRES_USER: 'pu',
    };
    const config = parse({ ...WITH_URI, ENGINE: 'mongo', ...names });
    expect(config.connection).toMatchObject({ user: 'mu', password: 'mp', database: 'md' });
    expect(rowOf(config, 'DB_USER')).toEqual({ name: 'DB_USER', value: 'mu', source: 'MONGO_INITDB_ROOT_USERNAME' });
    expect(parse({ ...WITH_URI, ENGINE: 'mongo', ...names, DB_USER: 'u', DB_NAME: 'd' }).connection).toMatchObject({
      user: 'u',
      password: 'mp',
      database: 'd',
    });
    expect(parse({ ...LEAST, ...names }).connection).toMatchObject({ user: 'pu', password: undefined });
    expect(connect('mongodb://h/', names)).toMatchObject({ user: undefined, password: undefined, database: '' });
  });

  test('POSTGRES_* are understood where DB_* are not set', () => {
    const names = { POSTGRES_USER: 'pu', POSTGRES_PASSWORD: 'pp', POSTGRES_DB: 'pd' };
    const config = parse({ ...WITH_URI, ENGINE: 'pg', ...names });
    expect(config.connection).toMatchObject({ user: 'pu', password: 'pp', database: 'pd' });
    expect(rowOf(config, 'DB_NAME')).toEqual({ name: 'DB_NAME', value: 'pd', source: 'POSTGRES_DB' });
    expect(rowOf(config, 'DB_PASSWORD')).toEqual({ name: 'DB_PASSWORD', value: '***', source: 'POSTGRES_PASSWORD' });
    expect(parse({ ...LEAST, ...names, DB_USER: 'du' }).connection).toMatchObject({
      user: 'du',
      password: 'pp',
      database: 'orders',
    });
  });

  test.each([
    ['mysql', { MYSQL_USER: 'u', MYSQL_PASSWORD: 'p', MYSQL_DATABASE: 'd' }, 'u', 'p'],
    ['mysql', { MYSQL_USER: 'u', MYSQL_PASSWORD: 'p', MYSQL_ROOT_PASSWORD: 'r', MYSQL_DATABASE: 'd' }, 'u', 'p'],
    ['mysql', { MYSQL_ROOT_PASSWORD: 'r', MYSQL_DATABASE: 'd' }, 'root', 'r'],
    [
      'mysql',
      { DB_USER: 'root', MYSQL_USER: 'u', MYSQL_PASSWORD: 'p', MYSQL_ROOT_PASSWORD: 'r', MYSQL_DATABASE: 'd' },
      'root',
      'r',
    ],
    ['mysql', { DB_PASSWORD: 'x', MYSQL_ROOT_PASSWORD: 'r', MYSQL_DATABASE: 'd' }, 'root', 'x'],
    ['mysql', { MARIADB_ROOT_PASSWORD: 'r', POSTGRES_USER: 'pg', MYSQL_DATABASE: 'd' }, 'root', undefined],
    ['mariadb', { MARIADB_USER: 'u', MARIADB_PASSWORD: 'p', MARIADB_DATABASE: 'd' }, 'u', 'p'],
    ['mariadb', { MARIADB_ROOT_PASSWORD: 'r', MARIADB_DATABASE: 'd', MYSQL_DATABASE: 'e' }, 'root', 'r'],
    ['mariadb', { MYSQL_USER: 'u', MYSQL_PASSWORD: 'p', MYSQL_DATABASE: 'd' }, 'u', 'p'],
  ])('of %s are understood as its images name them: %j', (ENGINE, names, user, password) => {
    const config = parse({ ...WITH_URI, ENGINE, ...names });
    expect(config.connection).toMatchObject({ engine: ENGINE, user, password, database: 'd' });
    const source = { r: `${ENGINE === 'mysql' ? 'MYSQL' : 'MARIADB'}_ROOT_PASSWORD`, x: 'environment' }[password ?? ''];
    if (source) expect(rowOf(config, 'DB_PASSWORD')).toEqual({ name: 'DB_PASSWORD', value: '***', source });
  });

  test('of sqlite are the path alone, from the working directory', () => {
    const config = parse({
      ...WITH_URI,
      ENGINE: 'sqlite',
      DB_NAME: 'data/my,app.v2.db',
      DB_HOST: 'h',
      POSTGRES_USER: 'u',
    });
    expect(config.connection).toMatchObject({ engine: 'sqlite', hosts: [], database: `${folder}/data/my,app.v2.db` });
    expect(config.database).toBe('my,app.v2');
    expect(config.warnings).toEqual(['DB_HOST is ignored: sqlite is a file']);
    expect(rowOf(config, 'DB_USER')).toEqual({ name: 'DB_USER', value: null, source: 'default' });
  });

  const ALL = { kind: 'all', exclude: [] };
  test.each([
    [{ DB_NAME: 'a, b,,a' }, { kind: 'list', names: ['a', 'b'] }],
    [{ DB_NAME: '*' }, ALL],
    [{ DB_NAME: ' --all-databases ' }, ALL],
    [{ BACKUP_ALL_DATABASES: 'true' }, ALL],
    [{ BACKUP_ALL_DBS: 'true' }, ALL],
    [{ DUMP_EXTRA_ARGS: '--no-owner --all-databases' }, ALL],
    [
      { DB_NAME: '*', DB_EXCLUDE: 'tmp*, a' },
      { kind: 'all', exclude: ['tmp*', 'a'] },
    ],
  ])('%j means several databases', (env, selection) => {
    const config = parse({ ...LEAST, ...env });
    expect(config).toMatchObject({ selection, warnings: [], series: 'pg://localhost:5432/' });
    expect(config.connection.database).toBe('postgres');
    expect(config.extraArgs).not.toContain('--all-databases');
  });

  test('several databases are asked for through the one that DB_URI names, and get names that tell them apart', () => {
    const named = { DB_URI: 'postgres://db/lobby', DB_NAME: '*', BACKUP_NAME_TEMPLATE: '{date}' };
    const config = parse({ RCLONE_REMOTE: '/backup', ...named });
    expect(config.connection.database).toBe('lobby');
    expect(config.template.text).toBe('{date}-{db}');
    expect(config.warnings).toEqual([]);
  });

  test('what leaves databases out of one is ignored, with a warning', () => {
    expect(parse({ ...LEAST, DB_EXCLUDE: 'x' }).warnings).toEqual([expect.stringContaining('DB_EXCLUDE is ignored')]);
    expect(parse({ ...LEAST, BACKUP_ALL_DATABASES: 'false' }).selection).toEqual({ kind: 'one' });
  });
});

describe('single values', () => {
  test.each([
    ['BACKUP_COMPRESS', 'true', { compress: { kind: 'own' } }],
    ['BACKUP_COMPRESS', 'no', { compress: { kind: 'none' } }],
    ['BACKUP_COMPRESS', 'gzip', { compress: { kind: 'filter', filter: 'gzip', level: undefined } }],
    ['BACKUP_COMPRESS', 'zstd:19', { compress: { kind: 'filter', filter: 'zstd', level: 19 } }],
    ['BACKUP_MAX_SHRINK', '30%', { maxShrink: { fraction: 0.3, isFatal: false } }],
    ['BACKUP_MAX_SHRINK', 'fail:12.5%', { maxShrink: { fraction: 0.125, isFatal: true } }],
    ['BACKUP_MAX_SHRINK', '0%', { maxShrink: undefined }],
    ['BACKUP_SCHEDULE', 'once', { schedule: 'once' }],
    ['BACKUP_SCHEDULE', '@daily; */5 * * * * *', { schedule: '@daily; */5 * * * * *' }],
    ['BACKUP_ON_START', 'yes', { onStart: true }],
    ['BACKUP_LOCK', '0', { useLock: false }],
    ['BACKUP_EXTENSION', 'sql', { extension: '.sql' }],
    ['BACKUP_SERIES', ' main ', { series: 'main' }],
    ['BACKUP_TIMEOUT', '24d', { timeoutMs: 24 * 86_400_000 }],
    ['BACKUP_MIN_SIZE', '1K', { minBytes: 1024 }],
    ['BACKUP_MODE', 'STREAM', {}],
    ['TZ', ':Europe/Berlin', { timeZone: 'Europe/Berlin' }],
    ['RETENTION_KEEP_WEEKLY', '4', { retention: { keepWeekly: 4 } }],
    ['LOG_LEVEL', 'WARN', { log: { level: 'warn' } }],
    ['DUMP_EXTRA_ARGS', `--schema='my app' -O`, { extraArgs: ['--schema=my app', '-O'] }],
    ['RCLONE_EXTRA_ARGS', '--bwlimit "10M off"', { remote: { extraArgs: ['--bwlimit', '10M off'] } }],
    ['RCLONE_REMOTE', ' s3:bucket/path\n', { remote: { remotes: ['s3:bucket/path'] } }],
  ])('%s=%s is taken', (name, text, expected) => {
    expect(parse({ ...LEAST, [name]: text })).toMatchObject(expected);
  });

  test.each([
    ['ENGINE', 'oracle', 'sqlite'],
    ['DB_HOST', 'db:5432', 'DB_PORT'],
    ['DB_HOST', 'postgres://db', 'DB_URI'],
    ['DB_HOST', 'a,b', 'is no host'],
    ['DB_PORT', '70000', 'from 1 to 65535'],
    ['DB_TLS', 'yes', 'disable, prefer, require or verify'],
    ['DB_TLS_CA', '/etc/ca.pem', 'DB_TLS_CA_FILE'],
    ['BACKUP_MODE', 'zip', 'right is stream'],
    ['BACKUP_COMPRESS', 'zstd:23', 'zstd:22'],
    ['BACKUP_COMPRESS', 'gzip:0', 'gzip:1'],
    ['BACKUP_COMPRESS', 'lz4', 'gzip'],
    ['BACKUP_MAX_SHRINK', '30', '30%'],
    ['BACKUP_MAX_SHRINK', '100%', '30%'],
    ['BACKUP_SCHEDULE', 'once; @daily', 'schedule'],
    ['BACKUP_SCHEDULE', '0 0 30 2 *', 'never comes'],
    ['BACKUP_NAME_TEMPLATE', '{dbname}', '{dbname}'],
    ['BACKUP_EXTENSION', 'a/b', 'extension'],
    ['BACKUP_TEMP_DIR', 'tmp', 'absolute'],
    ['BACKUP_TEMP_DIR', "/tmp/it's", 'quote'],
    ['BACKUP_SERIES', 'a\nb', 'control character'],
    ['BACKUP_TIMEOUT', '25d', '24d or less'],
    ['BACKUP_ON_START', 'maybe', 'neither true nor false'],
    ['RETENTION_MAX_FILES', '-1', '0 or more'],
    ['RETENTION_MAX_DAYS', '1.5', 'whole number'],
    ['RETENTION_MIN_KEEP', '0', '1 or more'],
    ['TZ', 'CEST', 'no time zone'],
    ['LOG_FORMAT', 'xml', 'json or text'],
    ['RCLONE_REMOTE', '-x', 'flag'],
    ['RCLONE_REMOTE', ':s3', 'connection string'],
    ['RCLONE_REMOTE', 's3,x="y:bucket', 'connection string'],
    ['DUMP_EXTRA_ARGS', `--schema='x`, 'quote'],
  ])('%s=%s is refused and says what is right', (name, text, right) => {
    const problems = problemsOf({ ...LEAST, [name]: text });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(new RegExp(`^${name}: `));
    expect(problems[0]).toContain(right);
  });
});

describe('rclone', () => {
  const CONF = '[s3]\ntype = s3\nsecret_access_key = canary-conf\n';
  const encoded = Buffer.from(CONF).toString('base64');

  test.each([
    ['base64', encoded],
    ['base64 in lines', encoded.replace(/.{20}/g, '$&\n')],
    ['base64url without padding', Buffer.from(CONF).toString('base64url')],
  ])('RCLONE_CONFIG may be %s', (_, text) => {
    expect(parse({ ...LEAST, RCLONE_CONFIG: text }).remote).toMatchObject({ configText: CONF, configPath: undefined });
  });

  test('RCLONE_CONFIG may be an existing path, RCLONE_CONFIG_FILE always is one and comes first', () => {
    const path = writeFile('rclone.conf', CONF);
    expect(parse({ ...LEAST, RCLONE_CONFIG: path }).remote).toMatchObject({ configText: undefined, configPath: path });
    const both = parse({ ...LEAST, RCLONE_CONFIG: encoded, RCLONE_CONFIG_FILE: 'rclone.conf' });
    expect(both.remote).toMatchObject({ configText: undefined, configPath: path });
    expect(both.warnings).toEqual(['RCLONE_CONFIG is ignored: RCLONE_CONFIG_FILE is set']);
  });

  test('an encrypted configuration is taken, and its password', () => {
    const text = Buffer.from('# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\nAAAA\n').toString('base64');
    expect(parse({ ...LEAST, RCLONE_CONFIG: text, RCLONE_CONFIG_PASS: 'pw' }).remote).toMatchObject({
      configPass: 'pw',
    });
  });

  test.each([
    ['RCLONE_CONFIG', '/no/such/rclone.conf'],
    ['RCLONE_CONFIG', '[canary]\ntype = s3'],
    ['RCLONE_CONFIG', Buffer.from('canary').toString('base64')],
    ['RCLONE_CONFIG', Buffer.from([0xff, 0xfe, 0x5b]).toString('base64')],
    ['RCLONE_CONFIG_FILE', '/no/such/rclone.conf'],
  ])('%s=%s is refused', (name, text) => {
    const problems = problemsOf({ ...LEAST, [name]: text });
    expect(problems).toEqual([expect.stringMatching(new RegExp(`^${name}: `))]);
    expect(problems[0]).not.toMatch(/canary|Y2FuYXJ5/);
  });

  test.each([
    ['--s3-secret-access-key canary', 'RCLONE_S3_SECRET_ACCESS_KEY'],
    ['--sftp-pass=canary', 'RCLONE_SFTP_PASS'],
    ['--header "Authorization: Bearer canary"', 'RCLONE_HEADER'],
    ['--drive-token=\'{"access_token":"canary"}\'', 'RCLONE_DRIVE_TOKEN'],
  ])('F32: a secret in RCLONE_EXTRA_ARGS is refused with another way in: %s', (args, variable) => {
    const env = { ...LEAST, RCLONE_EXTRA_ARGS: args };
    expect(problemsOf(env)).toEqual([
      expect.stringMatching(new RegExp(`^RCLONE_EXTRA_ARGS: .*right is the variable ${variable}$`)),
    ]);
    expect(JSON.stringify([problemsOf(env), describeConfig(inspect(env))])).not.toContain('canary');
  });

  test.each([
    '--s3-chunk-size 16M --transfers=4',
    '--sftp-key-use-agent --sftp-key-file /k',
    '--password-command "pass rclone"',
    '--header-upload "Cache-Control: no-store"',
    '--client-key /etc/key.pem',
  ])('but no other flag: %s', (args) => {
    expect(problemsOf({ ...LEAST, RCLONE_EXTRA_ARGS: args })).toEqual([]);
  });

  test.each(['--dbname=postgres://u:canary@db/x', '"--dbname=host=db password=canary"'])(
    'F32: nor may a password stand in DUMP_EXTRA_ARGS: %s',
    (args) => {
      const env = { ...LEAST, DUMP_EXTRA_ARGS: args };
      expect(problemsOf(env)).toEqual([expect.stringMatching(/^DUMP_EXTRA_ARGS: holds a password/)]);
      expect(JSON.stringify([problemsOf(env), describeConfig(inspect(env))])).not.toContain('canary');
    },
  );
});

describe('describeConfig', () => {
  test('shows every variable once, in the order of the table', () => {
    expect(describeConfig(parse(LEAST)).map(({ name }) => name)).toEqual(variables.map(({ name }) => name));
  });

  test('says where each value comes from', () => {
    const config = parse(
      { ...WITH_URI, DB_URI: 'postgres://u@db:1/x', DB_PASSWORD: 'p', DB_USER: 'ignored' },
      { TZ: 'CET' },
    );
    const sources = Object.fromEntries(
      describeConfig(config).map(({ name, value, source }) => [name, [value, source]]),
    );
    expect(sources).toMatchObject({
      ENGINE: ['pg', 'DB_URI'],
      DB_HOST: ['db', 'DB_URI'],
      DB_PORT: ['1', 'DB_URI'],
      DB_USER: ['u', 'DB_URI'],
      DB_PASSWORD: ['***', 'environment'],
      DB_NAME: ['x', 'DB_URI'],
      TZ: ['CET', 'flag'],
      RCLONE_REMOTE: ['/backup', 'environment'],
      BACKUP_LOCK: ['true', 'default'],
      BACKUP_SERIES: ['pg://db:1/x', 'default'],
      BACKUP_EXTENSION: [null, 'default'],
    });
    const open = describeConfig(parse({ ...WITH_URI, DB_URI: 'postgres:///x' }));
    expect(open.find(({ name }) => name === 'DB_USER')).toEqual({
      name: 'DB_USER',
      value: 'postgres',
      source: 'default',
    });
  });

  test.each([
    [
      'DB_URI',
      'postgres://u:can%40ary@db/x?sslpassword=canary&sslmode=require',
      'postgres://u:***@db/x?sslpassword=***&sslmode=require',
    ],
    ['DB_URI', `postgres://u:can'<a@ry@db/x`, 'postgres://u:***@db/x'],
    ['DB_URI', 'postgres://db/x?password=canary', 'postgres://db/x?password=***'],
    ['RCLONE_REMOTE', ':s3,provider=AWS,secret_access_key="can:ary":b/p', ':s3,provider=***,secret_access_key=***:b/p'],
    ['RCLONE_REMOTE', 's3,pass="a""canary":b', 's3,pass=***:b'],
    ['RCLONE_REMOTE', 's3:bucket/path', 's3:bucket/path'],
    ['RCLONE_REMOTE', '/back,up/a=b', '/back,up/a=b'],
    ['RESTORE_DB_URI', 'postgres://u:canary@db', 'postgres://u:***@db'],
  ])('F33: masks the secret in %s=%s', (name, text, shown) => {
    const env = name === 'DB_URI' ? WITH_URI : LEAST;
    expect(rowOf(parse({ ...env, [name]: text }), name)?.value).toBe(shown);
  });
});

describe('secretsOf', () => {
  const CANARY = /canary-\d+/g;
  /** `rclone obscure canary-90`, seen with rclone 1.60. */
  const OBSCURED = 'VpmFTLyfDmSdAJpxDjUMEQtczYBAdYfjLA';

  test('F33: finds every secret, so that none is left in a text that holds all of them', () => {
    const conf = [
      '[a]',
      'type = s3',
      'secret_access_key = canary-01/x',
      '[b]',
      'pass=canary-02',
      'token = {"access_token":"canary-03","token_type":"Bearer","refresh_token":"canary-04"}',
      '[c]',
      'sas_url = https://x/?sig=canary-05',
    ].join('\n');
    const env = {
      DB_URI: 'postgres://u:canary-10@db/x?sslpassword=canary-11',
      DB_PASSWORD: 'canary-12',
      POSTGRES_PASSWORD: 'canary-13',
      MONGO_INITDB_ROOT_PASSWORD: 'canary-23',
      RESTORE_DB_URI:
        'mongodb://u:canary-14@db/?authMechanismProperties=AWS_SESSION_TOKEN:canary-24&tlsCertificateKeyFilePassword=canary-25',
      RCLONE_REMOTE: ':s3,provider=AWS,secret_access_key=canary-15,unknown_option=canary-16:bucket',
      RCLONE_CONFIG: Buffer.from(conf).toString('base64'),
      RCLONE_CONFIG_PASS: 'canary-17',
      RCLONE_CONFIG_X_PASS: 'canary-18',
      RCLONE_S3_SECRET_ACCESS_KEY: 'canary-19',
      AWS_SESSION_TOKEN: 'canary-20',
      PGPASSWORD: 'canary-21',
      HTTPS_PROXY: 'http://u:canary-22@proxy:1',
      MYSQL_ROOT_PASSWORD: 'canary-23',
      MARIADB_PASSWORD: 'canary-24',
    };
    const secrets = secretsOf(parse(env), env);
    const everything = `${JSON.stringify(env)}\n${conf}`;
    expect(new Set(everything.match(CANARY)).size).toBe(21);
    expect(createRedactor(secrets)(everything).match(CANARY)).toBeNull();
    for (const canary of everything.match(CANARY) ?? []) expect(secrets.join(' '), canary).toContain(canary);
  });

  test('of an rclone.conf that rclone finds by itself are known too', () => {
    mkdirSync(join(folder, '.config/rclone'), { recursive: true });
    writeFile('.config/rclone/rclone.conf', '[a]\npass = canary-1\n');
    const env = { ...LEAST, HOME: folder };
    expect(secretsOf(parse(env), env)).toEqual(['canary-1']);
  });

  test('knows an obscured password in the clear', () => {
    const env = { ...LEAST, RCLONE_REMOTE: `:sftp,host=h,pass=${OBSCURED}:x` };
    expect(secretsOf(parse(env), env)).toEqual([OBSCURED, 'canary-90']);
  });

  test('takes nothing for a secret that would blank out a log', () => {
    const env = {
      ...LEAST,
      DB_USER: 'app',
      DB_URI: '',
      RCLONE_REMOTE: ':s3,provider=AWS,env_auth=true,region=eu-west-1,endpoint=minio,chunk_size=16:bucket',
      RCLONE_CONFIG_A_TYPE: 's3',
      RCLONE_CONFIG_A_KEY_USE_AGENT: 'true',
      RCLONE_CONFIG_A_KEY_FILE: '/key',
      RCLONE_CONFIG_PASSWORDS_REGION: 'eu-west-1',
      GOOGLE_APPLICATION_CREDENTIALS: '/gcp.json',
      RCLONE_SFTP_ASK_PASSWORD: 'false',
      PGPASSFILE: '/pass',
      PGSSLKEY: '/key.pem',
      RCLONE_RC_KEY: '/key.pem',
      AWS_REGION: 'eu-west-1',
      http_proxy: 'http://proxy:3128',
    };
    expect(secretsOf(parse(env), env)).toEqual([]);
  });
});

function thrownBy(action: () => unknown): Error {
  try {
    action();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}

describe('SSH_HOST', () => {
  const KNOWN = `bastion ssh-ed25519 ${'A'.repeat(68)}`;
  const KEY = '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----';
  const SSH = { SSH_HOST: 'bastion', SSH_USER: 'tunnel', SSH_KEY: KEY, SSH_KNOWN_HOSTS: KNOWN };

  test('is read with all that belongs to it, key and known hosts in base64 too, and the series tells it', () => {
    const { ssh, series } = parse({ ...LEAST, ...SSH });
    expect(ssh).toMatchObject({ host: 'bastion', port: 22, user: 'tunnel', key: `${KEY}\n`, passphrase: undefined });
    expect(ssh?.knownHosts).toMatchObject([{ hosts: 'bastion', type: 'ssh-ed25519' }]);
    // Behind another SSH server localhost is another database.
    expect(series).toBe('pg+ssh://bastion:22/localhost:5432/orders');
    const base64 = (text: string) => Buffer.from(text).toString('base64').replace(/.{50}/g, '$&\n');
    expect(parse({ ...LEAST, ...SSH, SSH_KEY: base64(KEY), SSH_KNOWN_HOSTS: base64(KNOWN) }).ssh).toEqual(ssh);
  });

  test('names at once all that is missing', () => {
    const { problems } = inspect({ ...LEAST, SSH_HOST: 'bastion' });
    expect(problems.map((problem) => problem.split(':')[0])).toEqual(['SSH_USER', 'SSH_KEY', 'SSH_KNOWN_HOSTS']);
  });

  test.each([
    [{ ENGINE: 'sqlite', DB_NAME: '/data/app.db' }, 'SSH_HOST: sqlite is a file'],
    [{ DB_URI: 'postgres://u@%2Frun%2Fpostgresql/orders' }, 'SSH_HOST: the database is given as a Unix socket'],
    [{ DB_URI: 'postgres:///orders?service=main' }, 'SSH_HOST: the URI names no host'],
    [{ SSH_HOST: 'tunnel@bastion' }, 'SSH_HOST: "tunnel@bastion" is no host; right is a name or an address'],
    [{ SSH_HOST: 'ssh://bastion' }, 'SSH_HOST: "ssh://bastion" is no host'],
    [{ SSH_KEY: '/root/.ssh/id_ed25519' }, 'SSH_KEY: it holds no private key'],
    [{ SSH_KEY: KEY.replaceAll('PRIVATE', 'ENCRYPTED PRIVATE') }, 'SSH_KEY: it has a passphrase'],
    [{ SSH_KNOWN_HOSTS: 'bastion' }, 'SSH_KNOWN_HOSTS: it holds no line of a known_hosts file'],
    [{ SSH_PORT: 'ssh' }, 'SSH_PORT: "ssh" is no port'],
  ])('is refused with %j, in one sentence', (more, says) => {
    const { problems } = inspect({ ...LEAST, ...SSH, ...more });
    expect(problems).toEqual([expect.stringContaining(says)]);
  });

  test('without it there is no tunnel, which is said where a key is set', () => {
    const { ssh, warnings } = parse({ ...LEAST, SSH_KEY: KEY });
    expect(ssh).toBeUndefined();
    expect(warnings).toEqual(['SSH_KEY without SSH_HOST: there is no tunnel']);
  });
});

describe('mongo', () => {
  const fields = { ...WITH_URI, ENGINE: 'mongo' };

  test.each([
    ['mongodb://u:p@h/', {}, '', {}],
    ['mongodb://u:p@h', { DB_NAME: '*' }, '', {}],
    ['mongodb://u:p@h/', { DB_NAME: 'app' }, 'app', {}],
    ['mongodb://u:p@h/app', {}, 'app', { authSource: 'app' }],
    ['mongodb://u:p@h/app', { DB_NAME: '*' }, '', { authSource: 'app' }],
    ['mongodb://u:p@h/app?authsource=admin', {}, 'app', { authsource: 'admin' }],
    ['mongodb://h/app', {}, 'app', {}],
    ['mongodb://u@h/app?authMechanism=MONGODB-X509', {}, 'app', { authMechanism: 'MONGODB-X509' }],
    ['mongodb+srv://u:p@h/app', {}, 'app', {}],
  ])('%s with %j is the database "%s" with the parameters %j', (uri, env, database, params) => {
    expect(connect(uri, env)).toMatchObject({ engine: 'mongo', database });
    expect(connect(uri, env).params).toEqual(params);
  });

  test('a whole server is called all', () => {
    const config = parse({ ...WITH_URI, DB_URI: 'mongodb://a:1,[::1]/' });
    expect(config).toMatchObject({ database: 'all', series: 'mongo://a:1,[::1]:27017/' });
    expect(rowOf(config, 'DB_NAME')).toMatchObject({ value: '*' });
    expect(connect('mongodb+srv://h/')).toMatchObject({ isSrv: true });
    expect(connect('mongodb://h/')).not.toHaveProperty('isSrv');
  });

  test('of fields the user belongs to DB_AUTH_SOURCE', () => {
    expect(parse(fields).connection).toMatchObject({ user: undefined, database: '', params: {} });
    expect(parse({ ...fields, DB_USER: 'u' }).connection.params).toEqual({ authSource: 'admin' });
    expect(parse({ ...fields, DB_USER: 'u', DB_AUTH_SOURCE: 'x' }).connection.params).toEqual({ authSource: 'x' });
    expect(parse({ ...WITH_URI, DB_URI: 'mongodb://u:p@h/', DB_AUTH_SOURCE: 'x' }).warnings).toEqual([
      'DB_AUTH_SOURCE is ignored: DB_URI is set',
    ]);
  });

  test('F19: a URI wins over DB_NAME', () => {
    const { connection, warnings } = parse({ ...WITH_URI, DB_URI: 'mongodb://h/app', DB_NAME: 'other' });
    expect(connection.database).toBe('app');
    expect(warnings).toEqual([expect.stringContaining('DB_NAME is ignored')]);
  });
});
