import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inspectConfig } from '../src/config/config.ts';
import { parseConnection } from '../src/config/uriConnection.ts';
import { SCRATCH } from '../src/core/command.ts';
import type { Connection } from '../src/core/connection.ts';
import type { DumpRequest, RestoreRequest, Server } from '../src/engines/engine.ts';
import { redis } from '../src/engines/redis.ts';
import { createCrc64 } from '../src/engines/redisCrc.ts';
import { examineRdb } from '../src/engines/redisExamine.ts';
import { parseSchedule } from '../src/schedule.ts';

const CA = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n';

const SERVER: Server = {
  title: 'Redis 7.0.15',
  serverId: null,
  bytes: 0,
  target: {},
  major: undefined,
  needsCopy: false,
  warnings: [],
};

const connect = (uri: string, more: Partial<Connection> = {}): Connection => ({ ...parseConnection(uri), ...more });

const plan = (connection: Connection, more: Partial<DumpRequest> = {}) =>
  redis.planDump({
    connection,
    server: SERVER,
    tool: 'redis-cli 7.0.15',
    mode: 'stream',
    jobs: 1,
    compress: false,
    extraArgs: [],
    ...more,
  });

const argsOf = (connection: Connection, more?: Partial<DumpRequest>) => plan(connection, more).dump.args.join(' ');

describe('where a Redis server is', () => {
  it.each([
    ['redis://db', '-h db -p 6379', undefined],
    ['redis://', '-h localhost -p 6379', undefined],
    ['redis://:secret@db:7000/3', '-h db -p 7000', 'secret'],
    ['redis://app:secret@db', '-h db -p 6379 --user app', 'secret'],
    ['redis://-x:%2Da%20b@db', '-h db -p 6379 --user -x', '-a b'],
    ['redis://[::1]:7000', '-h ::1 -p 7000', undefined],
    ['redis://:pw@%2Frun%2Fredis.sock', '-s /run/redis.sock', 'pw'],
    ['rediss://db', '-h db -p 6379 --tls', undefined],
    [
      'rediss://db?sslcert=/c&sslkey=/k&sslrootcert=/r&sni=s',
      '-h db -p 6379 --tls --cacert /r --cert /c --key /k --sni s',
      undefined,
    ],
  ])('%s', (uri, args, password) => {
    const { dump } = plan(connect(uri));
    expect(dump.args.join(' ')).toBe(`${args} --rdb -`);
    expect(dump.env?.REDISCLI_AUTH).toBe(password);
    expect(dump.file).toBe('redis-cli');
  });

  it.each([
    ['redis://db', 'disable', '-h db -p 6379'],
    ['redis://db', 'require', '-h db -p 6379 --tls --insecure'],
    ['redis://db', 'verify', '-h db -p 6379 --tls'],
    ['rediss://db', 'require', '-h db -p 6379 --tls --insecure'],
    ['rediss://db', 'disable', '-h db -p 6379'],
  ] as const)('%s with DB_TLS=%s', (uri, tls, args) => {
    expect(argsOf(parseConnection(uri, { tls }))).toBe(`${args} --rdb -`);
  });

  it('DB_TLS_CA alone means TLS, and goes by a private file', () => {
    const { dump } = plan(connect('redis://db', { tlsCa: CA }));
    expect(dump.args.join(' ')).toBe(`-h db -p 6379 --tls --cacert ${SCRATCH}/ca.pem --rdb -`);
    expect(dump.files).toEqual({ 'ca.pem': CA });
  });

  it('what no client of Redis can do is refused in one sentence', () => {
    expect(() => plan(connect('redis://db', { tls: 'prefer' }))).toThrow(/^DB_TLS: prefer is not possible/);
    expect(() => plan(connect('redis://a,b'))).toThrow(/several hosts are named/);
    expect(() => plan(connect('redis://somebody@db'))).toThrow(/a user is named and no password/);
    expect(() => plan(connect('redis://somebody@db'))).not.toThrow(/somebody/);
    expect(() => connect('redis://db/orders')).toThrow(/a database that is no number/);
  });

  it('is called by its label, else by the number in the URI', () => {
    expect(connect('redis://db').database).toBe('0');
    expect(connect('redis://db/3').database).toBe('3');
    expect(parseConnection('redis://db/3', { database: 'sessions' }).database).toBe('sessions');
  });
});

describe('the dump', () => {
  it('goes to standard output or to a file', () => {
    expect(argsOf(connect('redis://db'))).toBe('-h db -p 6379 --rdb -');
    expect(argsOf(connect('redis://db'), { mode: 'file' })).toBe(`-h db -p 6379 --rdb ${SCRATCH}/dump`);
    expect(redis.modes).toEqual(['stream', 'file']);
    expect(plan(connect('redis://db'))).toMatchObject({ extension: '.rdb', format: 'rdb', compression: null });
  });

  it('begins with the name of Redis or of Valkey', () => {
    const { begins } = plan(connect('redis://db')).marks;
    for (const head of ['REDIS0011\xfa', 'REDIS0009', 'VALKEY080\xfa']) expect(begins?.test(head)).toBe(true);
    for (const head of ['-NOAUTH Authentication', 'REDISxxxx', ' REDIS0011']) expect(begins?.test(head)).toBe(false);
  });

  it('takes further arguments that leave it what it is, each value apart', () => {
    const extraArgs = ['--tls-ciphers', '-h', '--verbose', '-t', '5'];
    expect(argsOf(connect('redis://db'), { extraArgs })).toBe(`-h db -p 6379 --rdb - ${extraArgs.join(' ')}`);
  });

  it.each([
    [['-h', 'other'], /must not say where the database is \(-h\)/],
    [['-u', 'redis://:canary@x'], /must not say where the database is \(-u\)/],
    [['-n', '3'], /must not say where the database is \(-n\)/],
    [['--user', 'x'], /must not say where the database is/],
    [['-a', 'canary'], /must not hold a password \(-a\)/],
    [['--rdb', 'x'], /must not say what is dumped/],
    [['--functions-rdb', '-'], /must not say what is dumped/],
    [['-t'], /-t needs a value/],
    [['--sni=canary'], /--sni does not go with a dump/],
    [['canary'], /a word that belongs to no option/],
    [['--bigkeys'], /--bigkeys does not go/],
  ])('refuses DUMP_EXTRA_ARGS %j', (extraArgs, says) => {
    expect(() => plan(connect('redis://db'), { extraArgs })).toThrow(says);
    expect(() => plan(connect('redis://db'), { extraArgs })).not.toThrow(/canary/);
  });

  it('says that it has no compression, and which parameters it ignores', () => {
    const { warnings } = plan(connect('redis://db?timeout=5'), { compress: true });
    expect(warnings).toHaveLength(2);
    expect(warnings.join()).toMatch(/BACKUP_COMPRESS=true changes nothing.*timeout/s);
  });

  it('F32: shows no secret in any argument', () => {
    const connection = connect('rediss://app:canary@db', { tlsCa: CA });
    const request = {
      connection,
      facts: {},
      mode: 'stream',
      format: 'rdb',
      replace: true,
      createRoles: false,
    } as const;
    const target = { exists: true, holds: '', missingRoles: [], title: '', major: undefined };
    const restore = redis.planRestore({ ...request, target, id: 'x' });
    const commands = [
      redis.inspect(connection).command,
      redis.inspectTarget(connection).command,
      plan(connection).dump,
      restore.load,
      restore.copy!.server,
    ];
    for (const { args, input } of commands) expect(`${args.join(' ')} ${input}`).not.toContain('canary');
    expect(restore.copy?.target.password).toBe('canary');
  });
});

describe('the restore', () => {
  const request: RestoreRequest = {
    connection: connect('rediss://app:pw@db', { tls: 'require' }),
    target: { exists: true, holds: '', missingRoles: [], title: 'Redis 7', major: undefined },
    facts: { product: 'Valkey', version: '8.1.4' },
    mode: 'stream',
    format: 'rdb',
    replace: false,
    createRoles: false,
    id: 'x',
  };

  it('goes by a private file and a private server that no network reaches', () => {
    const { load, copy, isAtomic } = redis.planRestore(request);
    expect(load).toMatchObject({ file: 'dd', files: { dump: '' } });
    expect(isAtomic).toBe(false);
    const args = copy!.server.args.join(' ');
    for (const part of [
      '--port 0',
      `--unixsocket ${SCRATCH}/redis.sock`,
      `--dir ${SCRATCH} --dbfilename dump`,
      '--unixsocketperm 700',
    ])
      expect(args).toContain(part);
    expect(copy).toMatchObject({
      origin: 'Valkey 8.1.4',
      target: { place: { host: 'db', port: 6379 }, user: 'app', password: 'pw', tls: { verify: false } },
    });
  });

  it('refuses a format that it does not know', () => {
    expect(() => redis.planRestore({ ...request, format: 'aof' })).toThrow(/of the format aof/);
  });
});

/** Bit by bit, as the definition says. */
function slowCrc(bytes: Uint8Array): bigint {
  let crc = 0n;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0x95ac9329ac4bc9b5n : crc >> 1n;
  }
  return crc;
}

const fastCrc = (...chunks: readonly Uint8Array[]): bigint => {
  const crc = createCrc64();
  for (const chunk of chunks) crc.add(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
  return crc.digest().readBigUInt64LE();
};

describe('CRC64', () => {
  it('is that of Redis', () => {
    expect(fastCrc(Buffer.from('123456789'))).toBe(0xe9c6d914c4b8d9can);
    expect(fastCrc(Buffer.alloc(0))).toBe(0n);
  });

  it('is the same however the bytes come, and wherever they lie in memory', () => {
    const chunk = fc.tuple(fc.uint8Array({ maxLength: 100 }), fc.nat(9)).map(([bytes, shift]) => {
      const memory = new Uint8Array(bytes.length + shift);
      memory.set(bytes, shift);
      return memory.subarray(shift);
    });
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 8 }), (chunks) => {
        expect(fastCrc(...chunks)).toBe(slowCrc(Buffer.concat(chunks)));
      }),
    );
  });
});

const MARKER = Buffer.from('7ac97cb0f6e4bbd9aa2a3a0b2f10f2ca39dd3e30');

/** An RDB file of which only the ends matter. */
function rdbOf(body: Uint8Array, { sum = 'right' }: { sum?: 'right' | 'zero' | 'wrong' } = {}): Buffer {
  const bytes = Buffer.concat([Buffer.from('REDIS0011'), body, Buffer.from([0xff])]);
  const crc = Buffer.alloc(8);
  if (sum !== 'zero') crc.writeBigUInt64LE(slowCrc(bytes) ^ (sum === 'wrong' ? 1n << 63n : 0n));
  return Buffer.concat([bytes, crc]);
}

function examine(bytes: Buffer, cuts: readonly number[] = []): { problem?: string; excessBytes?: number } {
  const examination = examineRdb();
  const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
  places.forEach((place, index) => {
    if (index > 0) examination.add(bytes.subarray(places[index - 1], place));
  });
  return examination.end();
}

const bodies = fc.uint8Array({ maxLength: 300 });
const cuts = fc.array(fc.nat(400), { maxLength: 8 });

describe('F04: a whole RDB file', () => {
  it.each(['right', 'zero'] as const)('is known with and without a marker behind it, its checksum %s', (sum) => {
    fc.assert(
      fc.property(bodies, cuts, (body, places) => {
        const file = rdbOf(body, { sum });
        expect(examine(file, places)).toEqual({ excessBytes: 0 });
        expect(examine(Buffer.concat([file, MARKER]), places)).toEqual({ excessBytes: 40 });
      }),
    );
  });

  it('is not one that was cut short, marker or none', () => {
    fc.assert(
      fc.property(bodies, cuts, fc.integer({ min: 1, max: 400 }), (body, places, missing) => {
        const file = rdbOf(body);
        const short = file.subarray(0, Math.max(0, file.length - missing));
        expect(examine(short, places).problem).toMatch(/cut short/);
        expect(examine(Buffer.concat([short, MARKER]), places).problem).toMatch(/cut short/);
      }),
    );
  });

  it('is not one with half a marker, or two, or another end behind it', () => {
    const file = rdbOf(Buffer.from('some body'));
    const ends = [MARKER.subarray(0, 39), Buffer.concat([MARKER, MARKER]), Buffer.from('\n'), Buffer.from('+OK\r\n')];
    for (const end of ends) expect(examine(Buffer.concat([file, end])).problem, String(end)).toBeDefined();
    expect(examine(Buffer.concat([file, Buffer.from(MARKER.toString().toUpperCase())])).problem).toBeDefined();
  });

  it('is not one of which a bit has changed', () => {
    fc.assert(
      fc.property(bodies, fc.nat(), fc.nat(7), fc.boolean(), (body, at, bit, isMarked) => {
        const file = rdbOf(body);
        file[at % (file.length - 9)]! ^= 1 << bit;
        const { problem } = examine(isMarked ? Buffer.concat([file, MARKER]) : file);
        expect(problem).toMatch(/checksum of the RDB file does not match/);
      }),
    );
    expect(examine(rdbOf(Buffer.from('x'), { sum: 'wrong' })).problem).toMatch(/does not match/);
  });

  it('is not an empty one, nor a refusal', () => {
    expect(examine(Buffer.alloc(0)).problem).toBeDefined();
    expect(examine(MARKER).problem).toBeDefined();
    expect(examine(Buffer.from('-NOAUTH Authentication required.\r\n')).problem).toBeDefined();
  });
});

describe('what INFO says', () => {
  const connection = connect('redis://app:pw@db');
  const info = (fields: Readonly<Record<string, string>>) =>
    `# Server\r\n${Object.entries({
      redis_version: '7.2.4',
      redis_mode: 'standalone',
      cluster_enabled: '0',
      role: 'master',
      ...fields,
    })
      .map(([name, value]) => `${name}:${value}\r\n`)
      .join('')}\r\n`;
  const ask = (fields: Readonly<Record<string, string>>, rights = 'OK\nOK\n(integer) 1\n', stderr = '') =>
    redis.inspect(connection).parse({ stdout: info(fields) + rights, stderr, exitCode: 0 });
  const fail =
    (stdout: string, stderr = '') =>
    () =>
      redis.inspect(connection).parse({ stdout, stderr, exitCode: 0 });

  it('becomes title, size and facts', () => {
    const fields = {
      used_memory_dataset: '12345',
      db0: 'keys=3,expires=1,avg_ttl=0',
      db7: 'keys=4,expires=0,avg_ttl=0',
    };
    expect(ask(fields)).toEqual({
      title: 'Redis 7.2.4',
      serverId: null,
      bytes: 12345,
      target: { product: 'Redis', version: '7.2.4', keys: 7, databases: 8 },
      major: undefined,
      needsCopy: false,
      warnings: [],
    });
    expect(ask({ valkey_version: '8.1.4' })).toMatchObject({ title: 'Valkey 8.1.4', target: { product: 'Valkey' } });
  });

  it('tells of a replica in the title, and warns of one that lost its primary', () => {
    const replica = { role: 'slave', master_host: 'main', master_port: '6379' };
    const well = ask({ ...replica, master_link_status: 'up' });
    expect(well).toMatchObject({ title: 'Redis 7.2.4, a replica of main:6379', warnings: [] });
    expect(ask({ ...replica, master_link_status: 'down' }).warnings.join()).toMatch(/has lost its primary main:6379/);
  });

  it('names the right that is missing', () => {
    const remedy = 'ACL SETUSER app +sync +replconf';
    const unreadable = { names: ['the dataset (SYNC)'], remedy };
    const noPermission = `"User app has no permissions to run the 'sync' command"`;
    expect(ask({}, `OK\n${noPermission}\n(error) NOPERM x\n`).unreadable).toEqual(unreadable);
    expect(ask({}, 'OK\n(error) NOPERM x\n(integer) 0\n').unreadable).toEqual(unreadable);
    expect(ask({}, 'OK\n(error) NOPERM x\n(error) NOPERM y\n').unreadable).toBeUndefined();
    const noReplconf = ask({}, '(error) NOPERM x\nOK\n(integer) 1\n');
    expect(noReplconf.warnings.join()).toContain('ACL SETUSER app +replconf');
    expect(noReplconf.unreadable).toBeUndefined();
  });

  it('refuses what a dump would not be whole of', () => {
    expect(() => ask({ cluster_enabled: '1', redis_mode: 'cluster' })).toThrow(/node of a cluster/);
    expect(() => ask({ redis_mode: 'sentinel' })).toThrow(/sentinel/);
    expect(() => ask({ loading: '1' })).toThrow(/still loading/);
  });

  it('F55: says why there is none', () => {
    const refused = 'NOAUTH Authentication required.\n(error) NOAUTH Authentication required.\n';
    expect(fail(refused, 'AUTH failed: WRONGPASS invalid username-password pair\n')).toThrow(
      /^the server refuses the password of user app/,
    );
    expect(fail(refused)).toThrow(/wants a password and was given none/);
    expect(fail('', 'AUTH failed: ERR AUTH <password> called without any password configured')).toThrow(/leave it out/);
    expect(fail("NOPERM this user has no permissions to run the 'info' command\n")).toThrow(/ACL SETUSER app \+info/);
    expect(fail('', 'Could not connect to Redis at db:6379: Connection refused\nCould not x')).toThrow(
      /^Could not connect to Redis at db:6379: Connection refused$/,
    );
    expect(fail('Error: Server closed the connection\n')).toThrow(/may want TLS/);
    expect(fail('')).toThrow(/got no answer/);
  });

  it('of a target says what it holds, and refuses one that cannot take it', () => {
    const target = (fields: Readonly<Record<string, string>>, rest = '(empty array)\n') =>
      redis.inspectTarget(connection).parse({ stdout: info(fields) + rest, stderr: '', exitCode: 0 });
    expect(target({}).holds).toBe('');
    const functions = '1) 1) "library_name"\n   2) "library_name"\n2) 1) "library_name"\n   2) "b"\n';
    expect(target({ db3: 'keys=1,expires=0' }, functions).holds).toBe('1 key, 2 function libraries');
    expect(() => target({ role: 'slave', master_host: 'main', master_port: '1' })).toThrow(/into its primary, main:1/);
    expect(() => target({ cluster_enabled: '1' })).toThrow(/node of a cluster/);
  });
});

describe('the variables of a Redis server', () => {
  const inspect = (env: Readonly<Record<string, string>>) =>
    inspectConfig({ env: { RCLONE_REMOTE: '/backup', ...env }, flags: {}, cwd: '/', parseSchedule });

  it('need no name', () => {
    const { config, problems, warnings } = inspect({ ENGINE: 'redis', DB_HOST: 'db', DB_PASSWORD: 'pw' });
    expect([...problems, ...warnings]).toEqual([]);
    expect(config).toMatchObject({ database: '0', series: 'redis://db:6379/0' });
    expect(config?.connection).toMatchObject({ user: undefined, password: 'pw', tls: undefined });
  });

  it('F19: a name is a label, and contradicts no number', () => {
    const { config, warnings } = inspect({ DB_URI: 'rediss://:pw@db/3', DB_NAME: 'sessions' });
    expect(warnings).toEqual([]);
    expect(config).toMatchObject({ database: 'sessions', series: 'redis://db:6379/sessions' });
    expect(config?.connection.tls).toBe('verify');
    expect(config?.settings.DB_NAME).toEqual({ text: 'sessions', source: 'environment' });
    expect(inspect({ DB_URI: 'redis://:pw@db/3' }).config?.series).toBe('redis://db:6379/3');
  });

  it('say what is wrong', () => {
    expect(inspect({ DB_URI: 'redis://:pw@db/orders' }).problems).toEqual([
      'DB_URI: the URI names a database that is no number; right is .../0 at its end, or nothing',
    ]);
  });
});
