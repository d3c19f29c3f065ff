import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { parseConfig } from '../src/config/config.ts';
import type { Command } from '../src/core/command.ts';
import { planDecoding, planEncoding } from '../src/pipeline/filters.ts';
import { createScratch } from '../src/process/scratch.ts';
import { parseSchedule } from '../src/schedule.ts';
import { backupEnv, fakePath } from './support/backups.ts';
import { watchCommandLines } from './support/commandLines.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { flipByte, makeBackup, rcloneThatReads, rewriteManifest } from './support/restores.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { createSqlite, runSqlite } from './support/seeds.ts';
import { findTool, requireTool } from './support/tools.ts';

type Env = Record<string, string>;

interface Key {
  /** As BACKUP_ENCRYPT_TO takes it. */
  readonly recipient: string;
  /** As DECRYPT_IDENTITY takes it. */
  readonly identity: string;
}

function makeAgeKey(): Key {
  const identity = execFileSync(requireTool('age-keygen'), { encoding: 'utf8', stdio: 'pipe' });
  return { identity, recipient: /age1\w+/.exec(identity)?.[0] ?? '' };
}

let count = 0;

function makeSshKey(folder: string, type: string, more: readonly string[] = []): Key & { readonly file: string } {
  const file = join(folder, `key-${++count}`);
  execFileSync(requireTool('ssh-keygen'), ['-q', '-t', type, '-N', '', '-f', file, ...more]);
  return { file, identity: readFileSync(file, 'utf8'), recipient: readFileSync(`${file}.pub`, 'utf8').trim() };
}

const parse = (env: Env) =>
  parseConfig({
    env: { DB_URI: 'sqlite:///tmp/none.db', RCLONE_REMOTE: '/tmp/none', ...env },
    flags: {},
    cwd: '/',
    parseSchedule,
  });

const LEVELS = [
  'false',
  'gzip',
  'zstd',
  ...Array.from({ length: 9 }, (_, index) => `gzip:${index + 1}`),
  ...Array.from({ length: 22 }, (_, index) => `zstd:${index + 1}`),
];

describeWith(['age', 'age-keygen', 'ssh-keygen', 'gzip', 'pigz', 'zstd', 'sqlite3', 'rclone'], 'filters', () => {
  let scratch: Scratch;
  let key: Key;
  let other: Key;

  beforeAll(() => {
    scratch = scratchFolder();
    key = makeAgeKey();
    other = makeAgeKey();
  });
  afterAll(() => scratch?.[Symbol.asyncDispose]());

  /** A PATH with nothing but these programs. */
  function pathOf(...names: string[]): string {
    const folder = join(scratch.path, `path-${names.join('-')}`);
    if (!existsSync(folder)) {
      mkdirSync(folder);
      for (const name of names) symlinkSync(requireTool(name), join(folder, name));
    }
    return folder;
  }

  it.each(LEVELS)('undo what they did, with and without encryption, at BACKUP_COMPRESS=%s', async (level) => {
    await using own = await createScratch(scratch.path, `levels-${level.replace(':', '-')}`);
    const run = async (commands: readonly Command[], bytes: Buffer): Promise<Buffer> => {
      let data = bytes;
      for (const command of commands) {
        const { file, args } = await own.prepare(command);
        const { status, stdout, stderr } = spawnSync(file, args, { input: data, maxBuffer: 1024 ** 3 });
        expect(status, stderr.toString()).toBe(0);
        data = stdout;
      }
      return data;
    };
    const dump = Buffer.from(Array.from({ length: 20_000 }, (_, i) => `INSERT INTO t VALUES (${i});`).join('\n'));
    for (const to of ['', key.recipient]) {
      const { commands, ...encoding } = planEncoding(
        parse({ BACKUP_COMPRESS: level, BACKUP_ENCRYPT_TO: to }),
        process.env.PATH,
      );
      const stored = await run(commands, dump);
      if (level !== 'false') expect(stored.length).toBeLessThan(dump.length / 4);
      if (to !== '') expect(stored.includes('INSERT INTO')).toBe(false);
      const decoding = planDecoding(encoding, parse({ DECRYPT_IDENTITY: key.identity }).identity);
      expect((await run(decoding, stored)).equals(dump)).toBe(true);
    }
  });

  it('take pigz where it is on PATH, gzip where it is not, and both write what gzip reads', () => {
    const config = parse({ BACKUP_COMPRESS: 'gzip:3' });
    const onlyGzip = pathOf('gzip');
    const both = `${onlyGzip}:${pathOf('pigz')}`;
    expect(planEncoding(config, onlyGzip).commands).toEqual([{ file: 'gzip', args: ['--stdout', '-3'] }]);
    expect(planEncoding(config, both).commands).toEqual([{ file: 'pigz', args: ['--stdout', '-3'] }]);
    expect(planEncoding(config, '/nonexistent').commands).toMatchObject([{ file: 'gzip' }]);
    expect(planEncoding(config, both)).toMatchObject({ extension: '.gz', compression: 'gzip' });
  });

  it('go in their order: compressed, then encrypted, and the name says so', () => {
    const config = parse({ BACKUP_COMPRESS: 'zstd', BACKUP_ENCRYPT_TO: `${key.recipient}, ${other.recipient}` });
    const { commands, ...rest } = planEncoding(config);
    expect(commands.map(({ file }) => file)).toEqual(['zstd', 'age']);
    expect(commands[1]?.args).toEqual(['--encrypt', '--recipient', key.recipient, '--recipient', other.recipient]);
    expect(rest).toEqual({ extension: '.zst.age', compression: 'zstd', encryption: 'age' });
    const files = planDecoding(rest, ['one', 'two']);
    expect(files.map(({ file }) => file)).toEqual(['age', 'zstd']);
    expect(files[0]?.files).toEqual({ 'identity-1': 'one', 'identity-2': 'two' });
  });
});

describeWith(['age', 'age-keygen', 'ssh-keygen'], 'BACKUP_ENCRYPT_TO and DECRYPT_IDENTITY', () => {
  let scratch: Scratch;
  let key: Key;
  beforeAll(() => {
    scratch = scratchFolder();
    key = makeAgeKey();
  });
  afterAll(() => scratch?.[Symbol.asyncDispose]());

  it('take several recipients of every kind, separated by commas or line breaks, with comments, each once', () => {
    const [ed, rsa] = [makeSshKey(scratch.path, 'ed25519'), makeSshKey(scratch.path, 'rsa', ['-b', '2048'])];
    const bare = (recipient: string) => recipient.split(' ').slice(0, 2).join(' ');
    const text = `# the safe\n${key.recipient}, ${ed.recipient}\r\n\n${rsa.recipient}\n  # twice\n${key.recipient}`;
    expect(parse({ BACKUP_ENCRYPT_TO: text }).encryptTo).toEqual([
      key.recipient,
      bare(ed.recipient),
      bare(rsa.recipient),
    ]);
  });

  it.each<[string, () => string]>([
    ['a typo', () => key.recipient.replace(/.$/, (last) => (last === 'q' ? 'p' : 'q'))],
    ['one cut short', () => key.recipient.slice(0, -3)],
    ['one of a plugin', () => 'age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t'],
    ['an SSH key cut short', () => makeSshKey(scratch.path, 'ed25519').recipient.slice(0, 60)],
    ['an SSH key that age does not know', () => makeSshKey(scratch.path, 'ecdsa').recipient],
    ['an RSA key that is too small', () => makeSshKey(scratch.path, 'rsa', ['-b', '1024']).recipient],
    ['a word', () => 'everybody'],
    ['nothing but a comment', () => '# nobody'],
  ])('F66: refuse %s among the recipients, at start, in one sentence', (_, recipient) => {
    expect(() => parse({ BACKUP_ENCRYPT_TO: `${key.recipient},${recipient()}`.replace(/^.*,#/, '#') })).toThrow(
      /^the configuration has a problem:\n {2}BACKUP_ENCRYPT_TO: [^\n]*right is one like age1\.\.\.[^\n]*$/,
    );
  });

  it('F33: refuse an identity among the recipients without repeating it', () => {
    const secret = /AGE-SECRET-KEY-1\w+/.exec(key.identity)?.[0] ?? '';
    let message = '';
    try {
      parse({ BACKUP_ENCRYPT_TO: secret });
    } catch (error) {
      message = String(error);
    }
    expect(message).toMatch(/BACKUP_ENCRYPT_TO: it holds a secret key.*DECRYPT_IDENTITY/);
    expect(message).not.toContain(secret.slice(15, 40));
  });

  it('take an identity file with comments and several keys, and SSH keys, one file for each', () => {
    const ssh = makeSshKey(scratch.path, 'ed25519');
    const second = makeAgeKey();
    const { identity } = parse({ DECRYPT_IDENTITY: `${key.identity}\n${ssh.identity}\r\n${second.identity}` });
    expect(identity).toHaveLength(2);
    expect(identity[0]).toMatch(/^AGE-SECRET-KEY-1\w+\nAGE-SECRET-KEY-1\w+\n$/);
    expect(identity[1]).toBe(ssh.identity);
  });

  it.each<[string, () => string, RegExp]>([
    ['a recipient', () => key.recipient, /holds a line that is no identity/],
    ['one cut short', () => key.identity.trimEnd().slice(0, -2), /holds a line that is no identity/],
    ['nothing but comments', () => '# created: today', /or none at all/],
    ['an SSH key with a passphrase', () => lockedKey(), /with a passphrase; right is a copy without one/],
    ['a file that age protects', () => 'age-encryption.org/v1\n-> scrypt x 18\n', /protected by a passphrase/],
  ])('F66, F33: refuse %s as an identity, and repeat nothing of it', (_, text, says) => {
    const given = text();
    const problem = () => parse({ DECRYPT_IDENTITY: given });
    expect(problem).toThrow(says);
    expect(problem).not.toThrow(given.trim().split('\n').at(-1));
  });

  function lockedKey(): string {
    const file = join(scratch.path, 'locked');
    if (!existsSync(file))
      execFileSync(requireTool('ssh-keygen'), ['-q', '-t', 'ed25519', '-N', 'a passphrase', '-f', file]);
    return readFileSync(file, 'utf8');
  }

  it('F66: an empty file of recipients is not the same as none', () => {
    const file = join(scratch.path, 'recipients');
    writeFileSync(file, '\n');
    expect(() => parse({ BACKUP_ENCRYPT_TO_FILE: file })).toThrow(/BACKUP_ENCRYPT_TO_FILE: .* is empty/);
  });

  it.each([
    [{ BACKUP_COMPRESS: 'gzip' }, 'BACKUP_COMPRESS=gzip'],
    [{ BACKUP_COMPRESS: 'zstd:9' }, 'BACKUP_COMPRESS=zstd'],
    [{ encrypt: '1' }, 'BACKUP_ENCRYPT_TO'],
  ])('F66: refuse BACKUP_MODE=directory with %j, naming tar', ({ encrypt, ...env }: Env, what) => {
    const pg = { DB_URI: 'postgres://h/x' };
    const all = { ...pg, BACKUP_MODE: 'directory', ...env, ...(encrypt && { BACKUP_ENCRYPT_TO: key.recipient }) };
    expect(() => parse(all)).toThrow(`BACKUP_MODE: "directory" does not go together with ${what}; right is tar`);
    expect(parse({ ...all, BACKUP_MODE: 'tar' }).mode).toBe('tar');
    expect(parse({ ...pg, BACKUP_MODE: 'directory', BACKUP_COMPRESS: 'true' }).mode).toBe('directory');
  });
});

describeWith(['age', 'age-keygen', 'ssh-keygen', 'zstd', 'pigz', 'sqlite3', 'rclone'], 'an encrypted backup', () => {
  let scratch: Scratch;
  let remote: TestRemote;
  let key: Key;
  let env: Env;

  beforeAll(() => {
    key = makeAgeKey();
  });

  beforeEach(async () => {
    scratch = scratchFolder();
    remote = await startRemote('local');
    const fill = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)';
    const uri = createSqlite(
      scratch,
      `CREATE TABLE t AS ${fill} SELECT i, 'clear text ' || hex(randomblob(20)) AS x FROM n`,
    );
    env = backupEnv(uri, remote, scratch, { BACKUP_ENCRYPT_TO: key.recipient });
  });

  afterEach(async () => {
    await remote.stop();
    await scratch[Symbol.asyncDispose]();
  });

  const copy = () => join(scratch.path, 'copy.db');
  const restore = (more: Env, ...args: string[]) =>
    runDbstash(['restore', '--database', copy(), ...args], { ...env, ...more });
  const sumOf = (path: string) => runSqlite(path, 'SELECT count(*), sum(i), max(x), min(x) FROM t');

  async function expectRestored(more: Env): Promise<void> {
    const run = await restore(more);
    expect(run.exitCode, run.stderr).toBe(0);
    expect(sumOf(copy())).toBe(sumOf(join(scratch.path, 'app.db')));
  }

  it.each([
    ['false', '.sql.age'],
    ['zstd', '.sql.zst.age'],
    ['gzip', '.sql.gz.age'],
  ])('comes back, and holds nothing in clear (BACKUP_COMPRESS=%s)', async (compress, extension) => {
    const { artifact } = await makeBackup({ ...env, BACKUP_COMPRESS: compress });
    expect(artifact.endsWith(extension)).toBe(true);
    const stored = await remote.read(artifact);
    expect(stored.subarray(0, 21).toString()).toBe('age-encryption.org/v1');
    expect(stored.includes('clear text')).toBe(false);
    const manifest = JSON.parse((await remote.read(`${artifact}.manifest.json`)).toString());
    expect(manifest).toMatchObject({ encryption: 'age', compression: compress === 'false' ? null : compress });
    await expectRestored({ DECRYPT_IDENTITY: key.identity });
  });

  it.each(['ed25519', 'rsa'])(
    'comes back with an SSH key (%s) beside another recipient, given as a file',
    async (type) => {
      const ssh = makeSshKey(scratch.path, type);
      await makeBackup({ ...env, BACKUP_ENCRYPT_TO: `${key.recipient}\n${ssh.recipient}` });
      await expectRestored({ DECRYPT_IDENTITY_FILE: ssh.file });
    },
  );

  async function expectUntouched(run: Awaited<ReturnType<typeof restore>>, exitCode: number, says: RegExp) {
    expect(run.exitCode, run.stderr).toBe(exitCode);
    expect(run.stderr.trim().split('\n').at(-1)).toMatch(says);
    expect(readdirSync(scratch.path).filter((name) => name.startsWith('copy'))).toEqual([]);
  }

  it('is not restored without an identity: one sentence says what is missing, and nothing is touched', async () => {
    const { artifact } = await makeBackup(env);
    const run = await restore({});
    await expectUntouched(
      run,
      2,
      new RegExp(`^dbstash: ${artifact} is encrypted with age, and DECRYPT_IDENTITY is not set`),
    );
  });

  it('is not restored with the identity of somebody else, and nothing is touched, not even what --replace may', async () => {
    await makeBackup(env);
    const wrong = { DECRYPT_IDENTITY: makeAgeKey().identity };
    await expectUntouched(
      await restore(wrong),
      2,
      /DECRYPT_IDENTITY is of none of its recipients; the target was not touched$/,
    );
    runSqlite(copy(), 'CREATE TABLE precious (a)');
    const before = readFileSync(copy());
    const run = await restore(wrong, '--replace', '--yes', copy());
    expect(run.exitCode).toBe(2);
    expect(readFileSync(copy()).equals(before)).toBe(true);
  });

  it('F15: that is cut short, or changed in its header or its middle, is refused as damaged', async () => {
    const identity = { DECRYPT_IDENTITY: key.identity };
    const { artifact, bytes } = await makeBackup(env);
    const whole = await remote.read(artifact);
    await remote.write(artifact, whole.subarray(0, bytes - 100_000));
    await expectUntouched(await restore(identity, '--at', '2100-01-01'), 1, /no good backup/);
    await expectUntouched(
      await restore(identity, artifact),
      4,
      new RegExp(`${artifact} is damaged: it has ${bytes - 100_000} bytes, its manifest says ${bytes}`),
    );
    const header = Buffer.from(whole);
    header[40]! ^= 1;
    await remote.write(artifact, header);
    await expectUntouched(await restore(identity, artifact), 4, /is damaged: its SHA-256/);
    await remote.remove(`${artifact}.verify.json`);
    await remote.write(artifact, whole);
    await flipByte(remote, artifact);
    await expectUntouched(await restore(identity, artifact), 4, /is damaged: its SHA-256/);
  });

  it('F18: whose reading breaks midway leaves the target as it was', async () => {
    await makeBackup(env);
    const cut = rcloneThatReads(scratch, 'real "$@" | head -c 1000000; exit 1');
    await expectUntouched(await restore({ DECRYPT_IDENTITY: key.identity, ...cut }), 3, /was not created/);
  });

  it('of a kind that this version does not know is refused', async () => {
    const { artifact } = await makeBackup(env);
    await rewriteManifest(remote, artifact, { encryption: 'gpg', compression: 'brotli' });
    await expectUntouched(
      await restore({}),
      2,
      /is compressed with "brotli" and encrypted with "gpg", which this version cannot/,
    );
  });

  const FAKES: readonly [string, Env, RegExp][] = [
    [
      'exits 1 midway',
      { age: 'head -c 1000000 >/dev/null; echo "age: error: no entropy" >&2; exit 1' },
      /age exited with 1: age: error: no entropy/,
    ],
    ['exits 1 at its end, after all of its output', { age: `'${findTool('age')}' "$@"; exit 1` }, /age exited with 1/],
    ['exits 0 before its input has ended', { age: 'head -c 1000000' }, /age exited before the end of its input/],
    ['is killed', { age: 'head -c 1000000; kill -9 $$' }, /age was killed by SIGKILL/],
  ];

  it.each(FAKES)('F05: is none where age %s while the dump is fine', async (_, tools, says) => {
    const run = await runDbstash(['backup'], { ...env, BACKUP_COMPRESS: 'gzip', ...fakePath(scratch, tools) });
    expect(run.exitCode, run.stderr).toBe(1);
    expect(run.lines.findLast(({ level }) => level === 'error')?.message).toMatch(says);
    expect(await remote.list()).toEqual(new Map());
  });

  it('F05: is none where age is not installed, which is said before anything is uploaded', async () => {
    const folder = join(scratch.path, 'few');
    mkdirSync(folder);
    for (const name of ['sqlite3', 'rclone', 'sh']) symlinkSync(requireTool(name), join(folder, name));
    const run = await runDbstash(['backup'], { ...env, PATH: folder });
    expect(run.exitCode).toBe(1);
    expect(run.stderr).toContain('age could not be started: it is not installed, or not on PATH');
  });

  it('F32, F33: no part of the identity is in a command line, a log or an answer, also where age repeats it; nor is it left behind', async () => {
    const secret = /AGE-SECRET-KEY-1\w+/.exec(key.identity)?.[0] ?? '';
    const { artifact } = await makeBackup(env);
    const more = { ...env, DECRYPT_IDENTITY: key.identity, LOG_LEVEL: 'debug' };
    const slow = fakePath(scratch, { age: `'${findTool('age')}' "$@"; sleep 0.5` });
    await using run = startDbstash(['restore', '--database', copy()], { ...more, ...slow });
    const lines = await watchCommandLines(run);
    const { exitCode, stdout, stderr } = await run.exited;
    expect(exitCode, stderr).toBe(0);
    expect(lines.some((line) => /age\0.*--decrypt\0--identity\0.*identity-1/.test(line))).toBe(true);
    const telling = fakePath(scratch, { age: 'cat "$3" >&2; env >&2; exit 1' });
    const failed = await runDbstash(['restore', artifact, '--database', join(scratch.path, 'copy2.db')], {
      ...more,
      ...telling,
    });
    expect(failed.exitCode).not.toBe(0);
    const config = await runDbstash(['config'], more);
    const outputs = [...lines, stdout, stderr, failed.stdout, failed.stderr, config.stdout];
    for (const form of [
      secret,
      secret.slice(15),
      Buffer.from(key.identity).toString('base64'),
      encodeURIComponent(secret),
    ])
      expect(outputs.filter((output) => output.includes(form))).toEqual([]);
    expect(readdirSync(join(scratch.path, 'tmp')).filter((name) => name.startsWith('work-'))).toEqual([]);
  });

  it('F40: the identity is in a file of 0600 while it is needed', async () => {
    await makeBackup(env);
    const note = join(scratch.path, 'mode');
    const looking = fakePath(scratch, {
      age: `stat -L -c '%a' "$3" "$(dirname "$3")" > '${note}'; exec '${findTool('age')}' "$@"`,
    });
    await expectRestored({ DECRYPT_IDENTITY: key.identity, ...looking });
    expect(readFileSync(note, 'utf8')).toBe('600\n700\n');
  });
});
