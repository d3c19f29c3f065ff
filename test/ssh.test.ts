import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../src/config/config.ts';
import { parseConnection } from '../src/config/uriConnection.ts';
import { parseSchedule } from '../src/schedule.ts';
import { openTunnel } from '../src/ssh.ts';
import { backupEnv, fakePgDump, listBackups } from './support/backups.ts';
import { watchCommandLines } from './support/commandLines.ts';
import { type DbstashRun, runDbstash, startDbstash, startProgram } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { heldRclone, makeBackup } from './support/restores.ts';
import { freePort, type Scratch, scratchFolder, waitFor } from './support/scratch.ts';
import { isListening } from './support/server.ts';
import { makeKey, type SshServer, startSshd } from './support/sshd.ts';
import { requireTool } from './support/tools.ts';

type Env = Record<string, string>;

const TOOLS = ['openssl', 'sshd', 'ssh-keygen', 'postgres', 'initdb', 'psql', 'pg_dump', 'rclone'];
const errorOf = (run: DbstashRun): string => run.stderr.trim().split('\n').at(-1) ?? '';

describeWith(TOOLS, 'through an SSH tunnel', () => {
  let scratch: Scratch;
  let server: PostgresServer;
  let sshd: SshServer;
  let remote: TestRemote;
  let env: Env;
  let count = 0;

  beforeAll(async () => {
    scratch = scratchFolder();
    chmodSync(scratch.path, 0o755);
    [server, sshd, remote] = await Promise.all([startPostgres(), startSshd(), startRemote('local')]);
    await server.createDatabase('shop');
    // 24 MB: more than all the buffers on its way hold.
    await server.sql(
      'CREATE TABLE orders AS SELECT i AS id, repeat(md5(i::text), 8) AS note FROM generate_series(1, 90000) i',
      { database: 'shop' },
    );
    env = tunnelEnv(sshd);
  });
  afterAll(async () => {
    await Promise.all([server?.stop(), sshd?.stop(), remote?.stop()]);
    await scratch?.[Symbol.asyncDispose]();
  });

  /** In a folder of its own for locks: what fails in one test must not lock another out. */
  const tunnelEnv = (ssh: SshServer, more: Env = {}): Env =>
    backupEnv(server.uri('shop'), remote, { path: join(scratch.path, `own-${++count}`) }, { ...ssh.env(), ...more });

  const fingerprint = (database: string) =>
    server.sql('SELECT count(*), sum(hashtext(id || note)) FROM orders', { database });

  it('a database is backed up, checked and restored, and names, series and manifest speak of the real host', async () => {
    const named = { ...env, BACKUP_NAME_TEMPLATE: '{host}-{db}-{uuid}' };
    const check = await runDbstash(['check'], named);
    expect(check.exitCode, check.stdout + check.stderr).toBe(0);
    const args = join(scratch.path, 'args');
    const noting = fakePgDump(scratch, `printf '%s\\n' "$@" >'${args}'; real "$@"`);
    const { exitCode, stdout, stderr } = await runDbstash(['backup', '--json'], { ...named, ...noting });
    expect(exitCode, stderr).toBe(0);
    const [, port] = /hostaddr='127\.0\.0\.1'.*port='(\d+)'/.exec(readFileSync(args, 'utf8')) ?? [];
    expect(Number(port)).not.toBe(server.port);
    expect(await isListening(Number(port))).toBe(false);
    const [manifest] = JSON.parse(stdout).backups;
    expect(manifest.artifact).toMatch(/^127\.0\.0\.1-shop-/);
    expect(manifest.series).toMatch(/^pg\+ssh:\/\/[^/]+\/127\.0\.0\.1:\d+\/shop$/);
    const restored = await runDbstash(['restore', manifest.artifact, '--database', 'shop_copy'], named);
    expect(restored.exitCode, restored.stderr).toBe(0);
    expect(await fingerprint('shop_copy')).toEqual(await fingerprint('shop'));
    await waitFor(() => sshd.sessions().length === 0, { title: 'no connection is left' });
  });

  it('the tunnel is what it goes through: where the server forwards nothing there is no backup, and the cause is told', async () => {
    await using closed = await startSshd({ config: ['AllowTcpForwarding no'] });
    const run = await runDbstash(['backup'], tunnelEnv(closed));
    expect(run.exitCode).toBe(1);
    expect(run.lines.findLast(({ level }) => level === 'error')?.message).toContain(
      `the SSH server 127.0.0.1:${closed.port} cannot reach the database at 127.0.0.1:${server.port} (`,
    );
  });

  it('a tunnel works in the bundle too, in which the SSH client has no folder of its own', async () => {
    execFileSync(process.execPath, [join(import.meta.dirname, '../.ci/build.ts')], { stdio: 'pipe' });
    const run = await runDbstash(['check'], env, { entry: 'dist/dbstash.js' });
    expect(run.exitCode, run.stdout + run.stderr).toBe(0);
  });

  it('F55: a database that is down is told as such, by its own name', async () => {
    const port = await freePort();
    const uri = `postgres://postgres@localhost:${port}/shop`;
    const run = await runDbstash(['backup'], { ...env, DB_URI: uri });
    expect(run.exitCode).toBe(1);
    expect(run.stderr).toContain(`cannot reach the database at localhost:${port} (Connection refused)`);
    const check = await runDbstash(['check'], { ...env, DB_URI: uri });
    expect(check.exitCode).toBe(1);
    expect(check.stdout).toContain(`cannot reach the database at localhost:${port}`);
  });

  it('of several hosts one that is down does no harm', async () => {
    const down = await freePort();
    const uri = server.uri('shop').replace(/@.*\//, `@127.0.0.1:${down},127.0.0.1:${server.port}/`);
    const { database } = await makeBackup({ ...env, DB_URI: uri, BACKUP_SERIES: 'several' });
    expect(database).toBe('shop');
  });

  it('restore --to goes straight, since the tunnel leads to the configured server', async () => {
    const { artifact } = await makeBackup(env);
    const down = await freePort();
    const run = await runDbstash(['restore', artifact], {
      ...env,
      RESTORE_DB_URI: server.uri('straight'),
      SSH_PORT: String(down),
    });
    expect(run.exitCode, run.stderr).toBe(0);
    expect(await fingerprint('straight')).toEqual(await fingerprint('shop'));
    const other = await runDbstash(['restore', artifact, '--database', 'never'], { ...env, SSH_PORT: String(down) });
    expect(other.exitCode).toBe(1);
    expect(errorOf(other)).toMatch(new RegExp(`the SSH server 127\\.0\\.0\\.1:${down} cannot be used: .*ECONNREFUSED`));
  });

  describe('a host key', () => {
    const expectRefused = async (known: string, says: RegExp) => {
      const run = await runDbstash(['backup'], { ...env, SSH_KNOWN_HOSTS: known });
      expect(run.exitCode, run.stderr).toBe(2);
      const message = run.lines.findLast(({ level }) => level === 'error')?.message ?? '';
      expect(message).toMatch(says);
      expect(message).toContain(`[127.0.0.1]:${sshd.port}: ssh-ed25519 ${sshd.fingerprint('ed25519')};`);
      expect(message).toContain(`ssh-keyscan -p ${sshd.port} 127.0.0.1`);
    };
    const otherKey = () => {
      const file = join(scratch.path, `other-${++count}`);
      makeKey(file, 'ed25519');
      return readFileSync(`${file}.pub`, 'utf8').trim();
    };

    it('that is another than the known one is refused', () =>
      expectRefused(
        `[127.0.0.1]:${sshd.port} ${otherKey()}`,
        /SSH_KNOWN_HOSTS has another key .*made anew, or somebody/,
      ));
    it('of a host that is not in SSH_KNOWN_HOSTS is refused, be it the same', () =>
      expectRefused(
        sshd.knownHosts.replace(/:\d+/, ':22').replace('127.0.0.1', 'elsewhere'),
        /SSH_KNOWN_HOSTS has no key of/,
      ));
    it('of another port is that of another server', () =>
      expectRefused(sshd.knownHosts.replace(/^\S+/, '127.0.0.1'), /SSH_KNOWN_HOSTS has no key of/));
    it('that is revoked is refused, also where it is known', () =>
      expectRefused(
        `${sshd.knownHosts}@revoked * ${sshd.knownHosts.split(' ').slice(1).join(' ')}`,
        /marks as revoked/,
      ));

    it('is found among several, of any type that the server has, hashed, and in base64', async () => {
      await using many = await startSshd({ keyTypes: ['ed25519', 'ecdsa', 'rsa'] });
      for (const type of ['ssh-rsa', 'ecdsa-sha2-nistp256', 'ssh-ed25519']) {
        const file = join(scratch.path, `known-${type}`);
        writeFileSync(file, many.knownHosts.split('\n').find((line) => line.includes(type))!);
        execFileSync(requireTool('ssh-keygen'), ['-q', '-H', '-f', file], { stdio: 'pipe' });
        const hashed = readFileSync(file, 'utf8');
        expect(hashed).toMatch(/^\|1\|/);
        const known = `# a comment\nelsewhere ${otherKey()}\n${hashed}`;
        const text = type === 'ssh-rsa' ? Buffer.from(known).toString('base64') : known;
        const run = await runDbstash(['check', '--json'], { ...tunnelEnv(many), SSH_KNOWN_HOSTS: text });
        expect(run.exitCode, run.stdout + run.stderr).toBe(0);
      }
    });
  });

  it('a key that the server does not know, or that no passphrase opens, is told as such', async () => {
    const file = join(scratch.path, 'stranger');
    makeKey(file, 'ed25519');
    const stranger = await runDbstash(['backup'], { ...env, SSH_KEY_FILE: file, SSH_KEY: '' });
    expect(stranger.exitCode).toBe(1);
    expect(stranger.stderr).toContain(
      `the SSH server 127.0.0.1:${sshd.port} does not let ${sshd.user} in with SSH_KEY`,
    );
    await using locked = await startSshd({ passphrase: 'open sesame: ü' });
    const lockedEnv = tunnelEnv(locked);
    await makeBackup({ ...lockedEnv, SSH_KEY: Buffer.from(locked.key).toString('base64') });
    const wrong = await runDbstash(['backup'], { ...lockedEnv, SSH_KEY_PASSPHRASE: 'close sesame' });
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain('SSH_KEY_PASSPHRASE: it does not open SSH_KEY');
    const none = await runDbstash(['backup'], { ...lockedEnv, SSH_KEY_PASSPHRASE: '' });
    expect(none.exitCode).toBe(2);
    expect(none.stderr).toContain('SSH_KEY: it has a passphrase; right is that passphrase as SSH_KEY_PASSPHRASE');
  });

  /** A pg_dump that stops in its middle until `release`, and exits 0 whatever became of the real one. */
  function heldDump() {
    const flag = join(scratch.path, `held-${++count}`);
    const script = `real "$@" | { head -c 3000000; : >'${flag}'; while [ ! -e '${flag}.go' ]; do sleep 0.05; done; cat; }`;
    return {
      env: fakePgDump(scratch, script),
      held: () => waitFor(() => existsSync(flag), { timeoutMs: 30_000, title: 'the dump is held' }),
      release: () => writeFileSync(`${flag}.go`, ''),
    };
  }

  it('F01: where the tunnel dies midway the dump dies with it, nothing is committed, and the run says so', async () => {
    const own = await startRemote('local');
    await using _ = own;
    const dump = heldDump();
    const broken = { ...tunnelEnv(sshd, dump.env), RCLONE_REMOTE: own.remote };
    await using run = startDbstash(['backup'], broken);
    await dump.held();
    sshd.killSessions();
    const { exitCode, lines, stderr } = await run.exited;
    expect(exitCode, stderr).toBe(1);
    expect(lines.findLast(({ level }) => level === 'error')?.message).toContain(
      `the SSH tunnel through 127.0.0.1:${sshd.port} broke`,
    );
    dump.release();
    expect(await own.list()).toEqual(new Map());
    expect(await listBackups({ ...broken, PATH: process.env.PATH ?? '' })).toEqual([]);
  });

  it('F18: where it dies midway through a restore the target is as it was', async () => {
    const { artifact } = await makeBackup(env);
    await server.createDatabase('half');
    const held = heldRclone(scratch);
    await using run = startDbstash(['restore', artifact, '--database', 'half'], { ...env, ...held.env });
    await waitFor(held.isHeld, { timeoutMs: 30_000 });
    sshd.killSessions();
    const { exitCode, stderr } = await run.exited;
    held.release();
    expect(exitCode, stderr).toBe(1);
    expect(stderr).toMatch(/the SSH tunnel through .* broke.* \(half is as it was\)/);
    expect(await server.sql("SELECT relname FROM pg_class WHERE relname = 'orders'", { database: 'half' })).toEqual([]);
  });

  it('F53: a run that is told to end closes its tunnel', async () => {
    const dump = heldDump();
    await using run = startDbstash(['backup'], tunnelEnv(sshd, dump.env));
    await dump.held();
    expect(sshd.sessions().length).toBeGreaterThan(0);
    run.kill('SIGTERM');
    expect((await run.exited).exitCode).toBe(143);
    dump.release();
    await waitFor(() => sshd.sessions().length === 0, { title: 'no connection is left' });
  });

  it('F21: two runs at once have a tunnel each', async () => {
    const runs = await Promise.all(
      [1, 2].map(() => runDbstash(['backup'], { ...tunnelEnv(sshd), BACKUP_NAME_TEMPLATE: 'two-{uuid}' })),
    );
    expect(
      runs.map(({ exitCode }) => exitCode),
      runs[0]!.stderr + runs[1]!.stderr,
    ).toEqual([0, 0]);
  });

  it('F32, F33: neither key nor passphrase is in a command line, a log or an answer', async () => {
    const passphrase = 'canary passphrase 4711';
    await using locked = await startSshd({ passphrase });
    const all = tunnelEnv(locked, { LOG_LEVEL: 'debug' });
    await using run = startDbstash(['backup'], { ...all, ...fakePgDump(scratch, 'real "$@"; env >&2; sleep 0.5') });
    const lines = await watchCommandLines(run);
    const { exitCode, stdout, stderr } = await run.exited;
    expect(exitCode, stderr).toBe(0);
    expect(lines.some((line) => line.startsWith('pg_dump') || line.includes('/pg_dump'))).toBe(true);
    const failed = await runDbstash(['backup'], { ...all, ...fakePgDump(scratch, 'env >&2; exit 1') });
    const config = await runDbstash(['config'], all);
    expect(config.stdout).toMatch(/SSH_KNOWN_HOSTS\s+1 line\(s\)/);
    const outputs = [...lines, stdout, stderr, failed.stdout, failed.stderr, config.stdout];
    const secret = locked.key.split('\n')[2]!;
    for (const form of [
      passphrase,
      secret,
      Buffer.from(passphrase).toString('base64'),
      Buffer.from(locked.key).toString('base64').slice(100, 200),
    ])
      expect(
        outputs.filter((output) => output.includes(form)),
        form,
      ).toEqual([]);
  });

  it('DB_TLS=verify checks the certificate against the real name of the host, through the tunnel', {
    timeout: 120_000,
  }, async () => {
    const files = makeCertificate(join(scratch.path, 'tls'), 'db.test');
    await using secure = await startPostgres({
      settings: { ssl: 'on', ssl_cert_file: files.cert, ssl_key_file: files.key },
    });
    const uri = (name: string) => secure.uri('postgres').replace('127.0.0.1', name).concat('?hostaddr=127.0.0.1');
    const own = { ...tunnelEnv(sshd), DB_TLS: 'verify', DB_TLS_CA_FILE: files.cert };
    const { series } = await makeBackup({ ...own, DB_URI: uri('db.test') });
    expect(series).toMatch(new RegExp(`^pg\\+ssh://[^/]+/db\\.test:${secure.port}/postgres$`));
    const run = await runDbstash(['backup'], { ...own, DB_URI: uri('other.test') });
    expect(run.exitCode).toBe(1);
    expect(run.stderr).toMatch(/certificate for .*db\.test.* does not match host name .*other\.test/);
  });

  const isRoot = process.getuid?.() === 0;
  if (!isRoot) console.warn('SKIPPED "any uid" and "another user" through a tunnel: only root can become another');

  it.skipIf(!isRoot)('F39: works for a uid that has no name', async () => {
    const temp = join(scratch.path, 'nameless');
    mkdirSync(temp);
    chownSync(temp, 54_321, 54_321);
    await using elsewhere = await startRemote('sftp');
    const main = join(import.meta.dirname, '../src/main.ts');
    const args = ['--reuid=54321', '--regid=54321', '--clear-groups', '--', process.execPath, main, 'backup'];
    const given = { ...env, ...elsewhere.env, RCLONE_REMOTE: elsewhere.remote, BACKUP_TEMP_DIR: temp };
    const done = spawnSync('setpriv', args, {
      env: { PATH: process.env.PATH, ...given, HOME: '/proc/1' },
      cwd: '/',
      encoding: 'utf8',
    });
    expect(done.status, done.stderr).toBe(0);
    expect([...(await elsewhere.list()).keys()]).toHaveLength(2);
  });

  it.skipIf(!isRoot)('another user of the machine cannot use the tunnel', async () => {
    const config = parseConfig({ env, flags: {}, cwd: '/', parseSchedule });
    await using tunnel = await openTunnel(config.ssh, config.connection, AbortSignal.timeout(60_000));
    const { port } = tunnel.reach(config.connection).hosts[0]!;
    // What the server answers to a request for TLS.
    const script = `const s = require('net').connect(${port}, '127.0.0.1', () => s.write(Buffer.from('0000000804d2162f', 'hex')));
      s.on('data', (data) => { console.log('answer', String(data)); s.destroy(); }).on('error', (e) => console.log(e.code)).on('close', () => console.log('closed'));`;
    const knock = (uid: number) => spawnAs(uid, ['-e', script]);
    expect(await knock(0)).toMatch(/^answer [NS]\nclosed/);
    expect(await knock(54_321)).toMatch(/^(ECONNRESET\n)?closed/);
    expect(await knock(54_321)).not.toContain('answer');
  });

  async function spawnAs(uid: number, args: string[]): Promise<string> {
    const wrapped = `const { spawnSync } = require('child_process'); process.stdout.write(spawnSync('setpriv', ['--reuid=${uid}', '--regid=${uid}', '--clear-groups', '--', process.execPath, ...${JSON.stringify(args)}], { encoding: 'utf8', env: { PATH: process.env.PATH } }).stdout)`;
    return (await startProgram(['-e', wrapped], {}, { cwd: '/' }).exited).stdout;
  }

  it('a tunnel that is closed leaves nothing that listens, and no connection', async () => {
    const config = parseConfig({ env, flags: {}, cwd: '/', parseSchedule });
    const connection = parseConnection(
      server.uri('shop').replace(/@.*\//, `@127.0.0.1:${server.port},localhost:${server.port}/`),
    );
    const tunnel = await openTunnel(config.ssh, connection, AbortSignal.timeout(60_000));
    const ports = tunnel.reach(connection).hosts.map(({ port }) => port);
    expect(new Set(ports).size).toBe(2);
    expect(await Promise.all(ports.map(isListening))).toEqual([true, true]);
    // One that never ends by itself.
    const socket = createConnection(ports[0]!, '127.0.0.1').on('error', () => {});
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await waitFor(() => sshd.sessions().length > 0);
    await tunnel[Symbol.asyncDispose]();
    await closed;
    expect(await Promise.all(ports.map(isListening))).toEqual([false, false]);
    expect(tunnel.lost.aborted).toBe(false);
    await waitFor(() => sshd.sessions().length === 0, { title: 'no connection is left' });
  });

  it('one that is not wanted any more while it is opened is given up at once', async () => {
    const config = parseConfig({ env, flags: {}, cwd: '/', parseSchedule });
    const controller = new AbortController();
    const opening = openTunnel(config.ssh, config.connection, controller.signal);
    controller.abort(new Error('enough'));
    await expect(opening).rejects.toThrow('enough');
    await waitFor(() => sshd.sessions().length === 0, { title: 'no connection is left' });
  });
});

/** A certificate for a name, signed by itself, that PostgreSQL may read. */
function makeCertificate(folder: string, name: string): { cert: string; key: string } {
  mkdirSync(folder, { mode: 0o755 });
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${name}`];
  execFileSync('openssl', [...args, '-addext', `subjectAltName=DNS:${name}`, '-keyout', key, '-out', cert], {
    stdio: 'pipe',
  });
  chmodSync(key, 0o600);
  const owner = /^postgres:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'));
  if (process.getuid?.() === 0 && owner) chownSync(key, Number(owner[1]), Number(owner[2]));
  return { cert, key };
}
