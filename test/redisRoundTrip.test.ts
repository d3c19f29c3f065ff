import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { backupEnv, fakePath, listBackups } from './support/backups.ts';
import { readCommandLines } from './support/commandLines.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { contentOf, quote, type RedisOptions, type RedisServer, startRedis } from './support/redis.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { flipByte, heldRclone, makeBackup } from './support/restores.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';
import { findTool, requireTool } from './support/tools.ts';

/** What `--yes` must say, since a restore empties the whole server. */
const placeOf = ({ port }: Pick<RedisServer, 'port'>): string => `127.0.0.1:${port}`;

type Env = Record<string, string>;

const ODD = `p@ss:/?#%'"\\$ ü;\`id\`$(id)`;
const MINUTE_MS = 60_000;

/** Every type in both of its encodings, keys and values of any bytes, times to go, several databases, functions. */
const FILL = `
SET plain value
SET number 42
SET "b\\x00in\\xff\\r\\nary" "\\x00\\x01\\xfe\\xff\\r\\n"
SET "" "the empty key"
SET later x PX 90000000000
SET hopeless x PXAT 1
RPUSH list a b c "\\xff"
SADD numbers 1 2 3
SADD words a b "\\xff"
ZADD scores 1 a 2.5 b -inf c
HSET hash f v "b\\xff" "\\x00"
EXPIRE hash 100000000
XADD stream 1-1 f v
XADD stream 2-1 f w g x
XADD stream 3-1 f z
XDEL stream 3-1
XGROUP CREATE stream group 0
XREADGROUP GROUP group consumer COUNT 1 STREAMS stream >
PFADD hll a b c
SETBIT bits 1000 1
GEOADD geo 13.4 52.5 berlin
EVAL "for i = 1, 5000 do redis.call('RPUSH', 'long list', i, string.rep('x', 100)) redis.call('HSET', 'long hash', i, i) redis.call('SADD', 'long set', 'w' .. i) redis.call('ZADD', 'long scores', i, 'w' .. i) end" 0
EVAL "for i = 1, 3000 do redis.call('SET', 'key:' .. i, string.rep('y', i % 200)) end" 0
EVAL "redis.call('SET', 'big', string.rep('0123456789', 2500000))" 0
FUNCTION LOAD "#!lua name=lib\\nredis.register_function('f', function() return 'called' end)"
SELECT 5
SET plain "another one"
SELECT 15
SET last "\\xff" EX 100000
`;

describeWith(
  ['redis-server', 'redis-cli', 'openssl', 'gzip', 'zstd', 'rclone'],
  'a Redis server goes to a remote and comes back',
  () => {
    let source: RedisServer;
    let scratch: Scratch;
    let remote: TestRemote;

    beforeAll(async () => {
      scratch = scratchFolder();
      remote = await startRemote('local');
      source = await startRedis({ password: ODD });
      fill(source);
    }, MINUTE_MS);

    afterAll(async () => {
      await source?.stop();
      await remote?.stop();
      await scratch?.[Symbol.asyncDispose]();
    });

    function fill(server: RedisServer): void {
      expect(server.runAll(FILL)).not.toMatch(/\(error\)/);
    }

    const ours = async (env: Env) => (await listBackups(env)).filter(({ series: name }) => name === env.BACKUP_SERIES);

    let series = 0;
    /** Each test has a series of its own. */
    const envOf = (server: RedisServer, more: Env = {}): Env =>
      backupEnv(server.uri(), remote, scratch, {
        BACKUP_SERIES: `series ${series++}`,
        BACKUP_NAME_TEMPLATE: '{uuid}',
        ...more,
      });

    async function restore(env: Env, target: RedisServer, ...args: string[]): Promise<string> {
      const run = await runDbstash(['restore', ...args], { RESTORE_DB_URI: target.uri(), ...env });
      expect(run.exitCode, run.stderr).toBe(0);
      return run.stderr;
    }

    async function failToRestore(env: Env, target: RedisServer, ...args: string[]) {
      const run = await runDbstash(['restore', ...args], { RESTORE_DB_URI: target.uri(), ...env });
      expect(run.exitCode, run.stderr).not.toBe(0);
      return run;
    }

    const KINDS: readonly [title: string, settings: Record<string, string>, more: Env, extension: string][] = [
      ['with diskless sync', { 'repl-diskless-sync': 'yes' }, {}, '.rdb'],
      ['without diskless sync', { 'repl-diskless-sync': 'no' }, {}, '.rdb'],
      ['with diskless sync and no checksum', { 'repl-diskless-sync': 'yes', rdbchecksum: 'no' }, {}, '.rdb'],
      ['without either', { 'repl-diskless-sync': 'no', rdbchecksum: 'no' }, {}, '.rdb'],
      ['through zstd', { 'repl-diskless-sync': 'yes' }, { BACKUP_COMPRESS: 'zstd' }, '.rdb.zst'],
      ['through gzip', { 'repl-diskless-sync': 'no' }, { BACKUP_COMPRESS: 'gzip:1' }, '.rdb.gz'],
    ];

    it.each(KINDS)('whole, from a server %s', async (_title, settings, more, extension) => {
      await using server = await startRedis({ settings });
      await using target = await startRedis();
      fill(server);
      const before = contentOf(server);
      expect(before.length).toBeGreaterThan(3020);
      const env = envOf(server, more);
      const { artifact, bytes, sha256 } = await makeBackup(env);
      expect(artifact.endsWith(extension)).toBe(true);
      expect((await remote.list()).get(artifact)).toEqual({ bytes, sha256 });
      if (extension === '.rdb') {
        const stored = await remote.read(artifact);
        expect(stored.subarray(0, 5).toString()).toBe('REDIS');
        // No marker: a server that checks it takes the file as it is.
        expect(stored.at(-9)).toBe(0xff);
        expect(stored.subarray(-8).equals(Buffer.alloc(8))).toBe(settings.rdbchecksum === 'no');
      }
      expect(await ours(env)).toMatchObject([{ state: 'good', format: 'rdb', engine: 'redis', serverId: null }]);
      await restore(env, target);
      expect(contentOf(target)).toEqual(before);
      expect(target.run('FCALL', 'f', '0')).toBe('"called"');
      expect(target.run('XPENDING', 'stream', 'group')).toContain('"consumer"');
      expect(readdirSync(env.BACKUP_TEMP_DIR!).filter((name) => name.startsWith('work-'))).toEqual([]);
    });

    it('what has gone by the time of the restore does not come back, and what has not goes at its time', async () => {
      await using server = await startRedis();
      await using target = await startRedis();
      server.runAll('SET soon x PX 4000\nSET late x PX 100000000\nSET ever x\n');
      const at = server.run('PEXPIRETIME', 'late');
      const env = envOf(server);
      await makeBackup(env);
      await expect.poll(() => server.run('EXISTS', 'soon'), { timeout: MINUTE_MS }).toBe('(integer) 0');
      await restore(env, target);
      expect(target.run('KEYS', '*').split('\n')).toHaveLength(2);
      expect(target.run('PEXPIRETIME', 'late')).toBe(at);
      expect(target.run('PEXPIRETIME', 'ever')).toBe('(integer) -1');
    });

    it('an empty server too', async () => {
      await using server = await startRedis();
      await using target = await startRedis();
      const env = envOf(server);
      await makeBackup(env);
      await restore(env, target);
      expect(contentOf(target)).toEqual(contentOf(server));
    });

    it('a target that holds anything is refused, and replaced with the word of the user', async () => {
      await using target = await startRedis({ password: ODD });
      const env = envOf(source);
      await makeBackup(env);
      target.runAll('SELECT 7\nSET theirs x\n');
      const refused = await failToRestore(env, target);
      expect(refused.exitCode).toBe(2);
      expect(refused.stderr).toMatch(
        /the whole server 127\.0\.0\.1:\d+ holds 1 key: restore into another server with --to URI or RESTORE_DB_URI, or .* --replace/,
      );
      expect((await failToRestore(env, target, '--replace', '--yes', 'x')).exitCode).toBe(2);
      expect((await failToRestore(env, target, '--database', 'copy')).stderr).toContain(
        'right is another one, with --to URI',
      );
      expect(target.run('-n', '7', 'GET', 'theirs')).toBe('"x"');
      target.runAll(`FUNCTION LOAD "#!lua name=other\\nredis.register_function('g', function() return 1 end)"\n`);
      expect((await failToRestore(env, target)).stderr).toContain('1 key, 1 function library');
      await restore(env, target, '--replace', '--yes', placeOf(target));
      expect(contentOf(target)).toEqual(contentOf(source));
    });

    /** A server with TLS, and with a user whose name and password are full of traps. */
    const USER = `o'dd"u=ser;$(id)`;
    const startOdd = (more: RedisOptions = {}) =>
      startRedis({
        tls: true,
        password: 'admin',
        ...more,
        settings: { user: `${quote(USER)} on ${quote(`>${ODD}`)} ~* &* +@all` },
      });

    it('F35: with odd names and passwords, over TLS, into a server that wants them too', async () => {
      await using server = await startOdd();
      await using target = await startOdd();
      fill(server);
      const login = { user: USER, password: ODD };
      const env = { ...envOf(server, { DB_TLS_CA: server.ca }), DB_URI: server.uri(login) };
      await makeBackup(env);
      const uri = `${target.uri(login)}/?sslrootcert=${encodeURIComponent(join(target.folder, 'ca.crt'))}`;
      await restore({ ...env, RESTORE_DB_URI: uri }, target);
      expect(contentOf(target)).toEqual(contentOf(server));

      const before = contentOf(server);
      server.run('SET', 'plain', 'spoilt');
      const again = await runDbstash(['restore', '--replace', '--yes', placeOf(server)], env);
      expect(again.exitCode, again.stderr).toBe(0);
      expect(contentOf(server)).toEqual(before);
    });

    it('F55: over TLS, of which the certificate is looked at unless told otherwise', async () => {
      await using server = await startOdd({ asksForCertificate: true });
      server.run('SET', 'a', '1');
      const login = { user: USER, password: ODD };
      const [cert, key] = ['server.crt', 'server.key'].map((name) => encodeURIComponent(join(server.folder, name)));
      const uri = `${server.uri(login)}?sslcert=${cert}&sslkey=${key}`;
      const env = { ...envOf(server), DB_URI: uri };
      const unknown = await runDbstash(['backup'], env);
      expect(unknown.exitCode).toBe(1);
      expect(unknown.stderr).toContain('certificate verify failed');
      await makeBackup({ ...env, DB_TLS: 'require' });
      const back = await runDbstash(['restore', '--replace', '--yes', placeOf(server)], {
        ...env,
        DB_TLS_CA: server.ca,
      });
      expect(back.exitCode, back.stderr).toBe(0);
      expect(server.run('GET', 'a')).toBe('"1"');
      const plain = await runDbstash(['backup'], { ...env, DB_URI: server.uri({ ...login, scheme: 'redis' }) });
      expect(plain.stderr).toMatch(/may want TLS/);
    });

    it('F30 F31: under a label full of traps, from a socket', async () => {
      const label = `../-x; $(touch pwned) \`id\` "q" 's' é %41\\`;
      await using target = await startRedis();
      const { DB_URI: _, ...rest } = envOf(source);
      const env = {
        ...rest,
        ENGINE: 'redis',
        DB_HOST: source.socket,
        DB_PASSWORD: ODD,
        DB_NAME: label,
        BACKUP_NAME_TEMPLATE: '{db}',
      };
      const { artifact, database } = await makeBackup(env);
      expect(database).toBe(label);
      expect(artifact).not.toContain('/');
      expect(existsSync(join(scratch.path, 'pwned'))).toBe(false);
      await restore(env, target, artifact);
      expect(contentOf(target)).toEqual(contentOf(source));
    });

    it('F32 F33: no secret is in a command line, a log, a name or a manifest', async () => {
      const canary = 'canary:s3cret/%"\\ $x';
      await using server = await startRedis({ password: canary });
      await using target = await startRedis({ password: canary });
      server.runAll(`EVAL "for i = 1, 100000 do redis.call('SET', i, 'x') end" 0\n`);
      const env = envOf(server, { LOG_LEVEL: 'debug' });
      const seen = new Set<string>();
      const outputs: string[] = [];
      for (const args of [['backup', '--json'], ['restore'], ['check'], ['config']]) {
        await using run = startDbstash(args, { ...env, RESTORE_DB_URI: target.uri() });
        let isOver = false;
        void run.exited.finally(() => {
          isOver = true;
        });
        while (!isOver) {
          for (const line of readCommandLines()) seen.add(line);
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        const { exitCode, stdout, stderr } = await run.exited;
        expect(exitCode, stderr).toBe(0);
        outputs.push(stdout, stderr);
      }
      for (const tool of ['redis-cli\0', '--rdb\0-', 'redis-server\0--port', 'dd\0of='])
        expect(
          [...seen].some((line) => line.includes(tool)),
          tool,
        ).toBe(true);
      const stored = [...(await remote.list()).keys()].filter((path) => path.endsWith('.json'));
      const texts = await Promise.all(stored.map(async (path) => (await remote.read(path)).toString()));
      const forms = [canary, encodeURIComponent(canary), JSON.stringify(canary).slice(1, -1), 's3cret'];
      for (const text of [...seen, ...outputs, ...texts]) {
        for (const form of forms) expect(text).not.toContain(form);
      }
    });

    it.each([
      ['in its middle', 'real "$@" | head -c 100000'],
      ['within its checksum', 'real "$@" | head -c -43'],
      ['within the marker behind it', 'real "$@" | head -c -3'],
      ['before it began', ':'],
      ['and changed', `real "$@" | LC_ALL=C sed 's/another one/another two/'`],
    ])('F03 F04: a dump that was cut short %s is never a backup, whatever redis-cli says', async (_title, script) => {
      const env = { ...envOf(source), ...fakeRedisCli(script) };
      const run = await runDbstash(['backup'], env);
      expect(run.exitCode).toBe(1);
      expect(run.stderr).toMatch(
        /the dump is not whole: it (is empty|does not end as an RDB file)|checksum of the RDB file/,
      );
      expect(await ours(env)).toEqual([]);
    });

    it('F01: a dump that fails midway is none', async () => {
      const env = {
        ...envOf(source),
        ...fakeRedisCli('real "$@" | head -c 100000; echo "I/O Error reading RDB" >&2; exit 1'),
      };
      const run = await runDbstash(['backup'], env);
      expect(run.exitCode).toBe(1);
      expect(run.stderr).toContain('I/O Error reading RDB');
      expect(await ours(env)).toEqual([]);
    });

    it('F55: what is wrong is said in one sentence', async () => {
      await using server = await startRedis({
        password: 'right',
        settings: {
          user: [
            'poor on >poor-secret ~* +info +replconf',
            'blind on >blind-secret ~* +@all -info',
            'half on >half-secret ~* +@all -sync -replconf',
          ],
        },
      });
      const backup = (login: { user?: string; password?: string }) =>
        runDbstash(['backup'], { ...envOf(server), DB_URI: server.uri(login) });
      const cases: readonly (readonly [{ user?: string; password?: string }, RegExp])[] = [
        [{ password: 'wrong' }, /the server refuses the password of the default user \(AUTH failed/],
        [{ user: 'poor', password: 'wrong' }, /the server refuses the password of user poor/],
        [{ password: '' }, /wants a password and was given none/],
        [{ user: 'poor', password: 'poor-secret' }, /SYNC with master failed: -NOPERM/],
        [{ user: 'blind', password: 'blind-secret' }, /may not run INFO: ACL SETUSER blind \+info/],
      ];
      for (const [login, says] of cases) {
        const run = await backup(login);
        expect(run.exitCode, run.stderr).toBe(1);
        expect(run.stderr).toMatch(says);
      }
      const check = await runDbstash(['check'], {
        ...envOf(server),
        DB_URI: server.uri({ user: 'half', password: 'half-secret' }),
      });
      expect(check.exitCode).toBe(1);
      expect(check.stdout).toMatch(/may not read the dataset \(SYNC\).*ACL SETUSER half \+sync \+replconf/);
      const down = await runDbstash(['backup'], { ...envOf(server), DB_URI: 'redis://127.0.0.1:1' });
      expect(down.exitCode).toBe(1);
      expect(down.stderr).toMatch(/Could not connect to Redis at 127\.0\.0\.1:1: Connection refused/);
    });

    it('F55: the dump itself fails where only it is refused', async () => {
      const { DB_URI: _, ...env } = envOf(source);
      const wrong = fakeRedisCli('REDISCLI_AUTH=wrong real "$@"');
      const run = await runDbstash(['backup'], { ...env, DB_URI: source.uri(), ...wrong });
      expect(run.exitCode).toBe(1);
      expect(run.stderr).toContain('WRONGPASS');
    });

    it('a least login is enough', async () => {
      await using server = await startRedis({
        password: 'x',
        settings: { user: 'least on >least +info +sync +replconf' },
      });
      await using target = await startRedis({
        password: 'x',
        settings: {
          user: 'writer on >writer ~* +info +select +restore +flushall +function|list +function|restore +function|flush',
        },
      });
      fill(server);
      const env = { ...envOf(server), DB_URI: server.uri({ user: 'least', password: 'least' }) };
      await makeBackup(env);
      const uri = target.uri({ user: 'writer', password: 'writer' });
      await restore({ ...env, RESTORE_DB_URI: uri }, target);
      await restore({ ...env, RESTORE_DB_URI: uri }, target, '--replace', '--yes', placeOf(target));
      expect(contentOf(target)).toEqual(contentOf(server));
    });

    it('a node of a cluster is refused, as source and as target', async () => {
      await using node = await startRedis({ settings: { 'cluster-enabled': 'yes', databases: '1' } });
      const run = await runDbstash(['backup'], envOf(node));
      expect(run.exitCode).toBe(2);
      expect(run.stderr).toContain('node of a cluster');
      const env = envOf(source);
      await makeBackup(env);
      expect((await failToRestore(env, node)).stderr).toContain('node of a cluster');
    });

    it('from a replica, which says so', async () => {
      await using replica = await startRedis({
        settings: { replicaof: `127.0.0.1 ${source.port}`, masterauth: quote(ODD) },
      });
      const synced = () => /master_link_status:up/.test(replica.run('INFO', 'replication'));
      await expect.poll(synced, { timeout: MINUTE_MS }).toBe(true);
      await using target = await startRedis();
      const env = envOf(replica);
      expect(await makeBackup(env)).toMatchObject({ server: `Redis 7.0.15, a replica of 127.0.0.1:${source.port}` });
      await restore(env, target);
      expect(contentOf(target)).toEqual(contentOf(source));
      expect((await failToRestore(env, replica)).stderr).toMatch(/the target is a replica: restore into its primary/);
    });

    it('F15 F18: nothing is touched before all of the backup came and matched', async () => {
      await using target = await startRedis();
      target.run('SET', 'precious', 'x');
      const env = envOf(source);
      const { artifact } = await makeBackup(env);
      const held = heldRclone(scratch);
      await using run = startDbstash(['restore', '--replace', '--yes', placeOf(target)], {
        ...env,
        ...held.env,
        RESTORE_DB_URI: target.uri(),
      });
      await waitFor(held.isHeld, { timeoutMs: MINUTE_MS });
      expect(target.run('GET', 'precious')).toBe('"x"');
      run.kill('SIGTERM');
      const stopped = await run.exited;
      expect(stopped.exitCode).toBe(143);
      expect(stopped.stderr).toMatch(/\(0 is as it was\)/);
      expect(target.run('GET', 'precious')).toBe('"x"');
      await flipByte(remote, artifact);
      const damaged = await failToRestore(env, target, artifact, '--replace', '--yes', placeOf(target));
      expect(damaged.exitCode).toBe(4);
      expect(damaged.stderr).toMatch(/is damaged.*\(0 is as it was\)/);
      expect(target.run('GET', 'precious')).toBe('"x"');
    });

    it('F53: a restore that is stopped leaves no server behind', async () => {
      await using server = await startRedis();
      await using target = await startRedis();
      server.runAll(`EVAL "for i = 1, 400000 do redis.call('SET', i, 'x') end" 0\n`);
      const env = envOf(server);
      await makeBackup(env);
      await using run = startDbstash(['restore'], { ...env, RESTORE_DB_URI: target.uri() });
      await run.waitForLog(/keys go into the target/);
      await expect.poll(() => target.run('DBSIZE'), { timeout: MINUTE_MS }).not.toBe('(integer) 0');
      run.kill('SIGTERM');
      const { exitCode, stderr } = await run.exited;
      expect(exitCode, stderr).toBe(143);
      expect(stderr).toMatch(/0 may be partly restored/);
      expect(readCommandLines().filter((line) => line.includes(env.BACKUP_TEMP_DIR!))).toEqual([]);
    });

    it('F06 F40: a restore that is killed leaves no server behind either', async ({ skip }) => {
      if (findTool('setpriv') === undefined) skip('setpriv is missing');
      await using server = await startRedis();
      await using target = await startRedis();
      server.runAll(`EVAL "for i = 1, 400000 do redis.call('SET', i, 'x') end" 0\n`);
      const env = envOf(server);
      await makeBackup(env);
      await using run = startDbstash(['restore'], { ...env, RESTORE_DB_URI: target.uri() });
      await run.waitForLog(/keys go into the target/);
      const isThere = () =>
        readCommandLines().some((line) => line.includes('redis-server') && line.includes(env.BACKUP_TEMP_DIR!));
      expect(isThere()).toBe(true);
      run.kill('SIGKILL');
      await run.exited;
      await expect.poll(isThere, { timeout: MINUTE_MS }).toBe(false);
    });

    it.each([
      ['knows no RESTORE', { 'rename-command': 'RESTORE ""' }, /the target says to RESTORE: ERR unknown command/],
      ['has too few databases', { databases: '4' }, /the dump has a database 15, and the target says to SELECT/],
      [
        'may not be emptied',
        { 'rename-command': 'FLUSHALL ""' },
        /--replace empties the target, and the target says to FLUSHALL/,
      ],
    ] as const)('a target that %s is not touched', async (_title, settings, says) => {
      await using target = await startRedis({ settings });
      target.run('SET', 'precious', 'x');
      const env = envOf(source);
      await makeBackup(env);
      const { stderr, exitCode } = await failToRestore(env, target, '--replace', '--yes', placeOf(target));
      expect(exitCode).toBe(2);
      expect(stderr).toMatch(says);
      expect(stderr).toMatch(/\(0 is as it was\)/);
      expect(target.run('GET', 'precious')).toBe('"x"');
    });

    it.each([
      ['refuses', 'noeviction', /does not take the key .*OOM.*\(0 may be partly restored\)/],
      [
        'throws out',
        'allkeys-lru',
        /keys of database \d+ are not in the target: perhaps it is full.*\(0 may be partly restored\)/,
      ],
    ])('a target that is full, and %s keys, is no success', async (_title, policy, says) => {
      await using target = await startRedis({ settings: { maxmemory: '10mb', 'maxmemory-policy': policy } });
      const env = envOf(source);
      await makeBackup(env);
      expect((await failToRestore(env, target)).stderr).toMatch(says);
    });

    it('a dump of a newer server than the one here is refused in one sentence', async () => {
      const file = join(scratch.path, 'newer.rdb');
      // Without a checksum.
      writeFileSync(file, Buffer.concat([Buffer.from('REDIS0099\xff', 'latin1'), Buffer.alloc(8)]));
      await using target = await startRedis();
      const env = envOf(source);
      await makeBackup({ ...env, ...fakeRedisCli(`cat '${file}'`) });
      const { stderr } = await failToRestore(env, target);
      expect(stderr).toMatch(
        /the dump is of Redis 7\.0\.15, and the redis-server here does not know its version 99: restore with one as new/,
      );
    });

    it('a target older than the server here is refused in one sentence, and not touched', async () => {
      await using older = await startOlder();
      const env = envOf(source);
      await makeBackup(env);
      const { exitCode, stderr } = await runDbstash(['restore'], {
        ...env,
        RESTORE_DB_URI: `redis://127.0.0.1:${older.port}`,
      });
      expect(exitCode).toBe(2);
      expect(stderr).toMatch(/the target does not take values of RDB version \d+, .* no newer than the target/);
      expect(older.seen.filter((command) => /^(RESTORE|FLUSH)/.test(command))).toEqual(['RESTORE dbstash:probe']);
    });

    it('without redis-server nothing is touched', async () => {
      await using target = await startRedis();
      target.run('SET', 'precious', 'x');
      const env = envOf(source);
      await makeBackup(env);
      const links = join(scratch.path, 'links');
      mkdirSync(links);
      for (const tool of ['redis-cli', 'rclone', 'dd']) symlinkSync(requireTool(tool), join(links, tool));
      const { exitCode, stderr } = await failToRestore(
        { ...env, PATH: links },
        target,
        '--replace',
        '--yes',
        placeOf(target),
      );
      expect(exitCode).toBe(1);
      expect(stderr).toMatch(
        /redis-server could not be started: it is not installed, or not on PATH \(0 is as it was\)/,
      );
      expect(target.run('GET', 'precious')).toBe('"x"');
    });

    it('in the mode file the tool writes the file, and no marker behind it', async () => {
      const folder = join(scratch.path, 'file mode');
      mkdirSync(folder);
      const login = { env: { PATH: process.env.PATH, REDISCLI_AUTH: ODD } };
      execFileSync(requireTool('redis-cli'), ['-p', String(source.port), '--rdb', join(folder, 'dump')], {
        ...login,
        stdio: 'pipe',
      });
      const file = readFileSync(join(folder, 'dump'));
      expect(file.at(-9)).toBe(0xff);
      expect(statSync(join(folder, 'dump')).size).toBe(file.length);
    });

    /** PATH with a redis-cli that dumps as the script says, in which `real` is the real one. */
    const fakeRedisCli = (script: string): { PATH: string } =>
      fakePath(scratch, {
        'redis-cli': `real() { '${requireTool('redis-cli')}' "$@"; }\ncase "$*" in *--rdb*) ;; *) real "$@"; exit ;; esac\n${script}`,
      });
  },
);

/** Debian 13 has it, 12 has not. */
describeWith(
  ['valkey-server', 'valkey-cli', 'redis-cli', 'rclone'],
  'a Valkey server goes to a remote and comes back',
  () => {
    it.each(['yes', 'no'])(
      'by its own tools, under the names of those of Redis (diskless sync: %s)',
      async (diskless) => {
        await using scratch = scratchFolder();
        await using remote = await startRemote('local');
        const options: RedisOptions = {
          program: 'valkey-server',
          password: ODD,
          settings: { 'repl-diskless-sync': diskless },
        };
        await using server = await startRedis(options);
        await using target = await startRedis(options);
        expect(server.runAll(FILL)).not.toMatch(/\(error\)/);
        const links = join(scratch.path, 'links');
        mkdirSync(links);
        for (const tool of ['server', 'cli']) symlinkSync(requireTool(`valkey-${tool}`), join(links, `redis-${tool}`));
        const env = { ...backupEnv(server.uri(), remote, scratch), PATH: `${links}:${process.env.PATH}` };
        expect(await makeBackup(env)).toMatchObject({
          server: expect.stringMatching(/^Valkey \d/),
          tool: expect.stringMatching(/^valkey-cli \d/),
        });
        const run = await runDbstash(['restore'], { ...env, RESTORE_DB_URI: target.uri() });
        expect(run.exitCode, run.stderr).toBe(0);
        expect(contentOf(target)).toEqual(contentOf(server));
      },
    );

    it('a dump or a target of another kind that does not fit is refused in one sentence', async ({ skip }) => {
      await using scratch = scratchFolder();
      await using remote = await startRemote('local');
      await using valkey = await startRedis({ program: 'valkey-server' });
      await using older = await startRedis();
      if (!/redis_version:7\.0\./.test(older.run('INFO'))) skip('Redis 7.2 and later write what Valkey does');
      for (const server of [valkey, older]) server.run('SET', 'precious', 'x');
      const args = ['restore', '--replace', '--yes', placeOf(older)];
      const links = join(scratch.path, 'links');
      mkdirSync(links);
      symlinkSync(requireTool('valkey-server'), join(links, 'redis-server'));

      const fromOlder = backupEnv(older.uri(), remote, scratch);
      await makeBackup(fromOlder);
      const tooNew = await runDbstash(args, { ...fromOlder, PATH: `${links}:${process.env.PATH}` });
      expect(tooNew.stderr).toMatch(
        /the target does not take values of RDB version 11, .* no newer than the target.*\(0 is as it was\)/,
      );

      const fromValkey = backupEnv(valkey.uri(), remote, scratch);
      await makeBackup(fromValkey);
      const tooOld = await runDbstash(args, fromValkey);
      expect(tooOld.stderr).toMatch(
        /the dump is of Valkey .* does not know its version 11: restore with one as new.*\(0 is as it was\)/,
      );
      for (const server of [valkey, older]) expect(server.run('GET', 'precious')).toBe('"x"');
    });
  },
);

/** Says what a server of version 6 would to us, which Debian no longer has; and the first two words of what it was asked. */
async function startOlder(): Promise<AsyncDisposable & { port: number; seen: string[] }> {
  const seen: string[] = [];
  const info = 'redis_version:6.0.16\r\nredis_mode:standalone\r\nrole:master\r\ncluster_enabled:0\r\n';
  const answer = (command: string): string => {
    if (command === 'INFO') return `$${info.length}\r\n${info}\r\n`;
    if (command === 'INFO keyspace') return '$0\r\n\r\n';
    if (command.startsWith('RESTORE')) return '-ERR DUMP payload version or checksum are wrong\r\n';
    return command.startsWith('FUNCTION') ? '-ERR unknown command `FUNCTION`\r\n' : '+OK\r\n';
  };
  const server = createServer((socket) => {
    socket.setEncoding('latin1');
    socket.on('error', () => {});
    // Every command comes in one piece, and begins with a star.
    socket.on('data', (text) => {
      const commands = String(text).matchAll(/\*\d+\r\n\$\d+\r\n(\w+)\r\n(?:\$\d+\r\n(\S*)\r\n)?/g);
      for (const [, ...words] of commands) {
        const command = words.filter((word) => word !== undefined).join(' ');
        seen.push(command);
        socket.write(answer(command));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { port, seen, [Symbol.asyncDispose]: async () => void server.close() };
}
