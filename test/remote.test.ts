import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backend, inspectBackend } from '../src/remote/backend.ts';
import { parseLocation } from '../src/remote/location.ts';
import { createRclone } from '../src/remote/rclone.ts';
import { createRemote } from '../src/remote/remote.ts';
import { backupEnv, fakePath, listBackups } from './support/backups.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { fakeTools } from './support/fakeTool.ts';
import { describeWith } from './support/need.ts';
import { obscure, RCLONES } from './support/rclone.ts';
import { REMOTE_KINDS, startRemote, type TestRemote } from './support/remotes.ts';
import { type S3Server, startS3 } from './support/s3.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { createSqlite, rclonePath, runSqlite } from './support/seeds.ts';
import { type SftpServer, startSftp } from './support/sftp.ts';
import { findTool, requireTool } from './support/tools.ts';

type Env = Record<string, string>;

const MIB = 1024 * 1024;
const forever = new AbortController().signal;

let scratch: Scratch;
let uri: string;
let s3: S3Server;
let sftp: SftpServer;
let password: string;

beforeAll(async () => {
  scratch = scratchFolder();
  uri = createSqlite(scratch);
  [s3, sftp, password] = await Promise.all([startS3(), startSftp(), obscure('crypt-password')]);
});
afterAll(async () => {
  await Promise.all([s3?.stop(), sftp?.stop()]);
  await scratch?.[Symbol.asyncDispose]();
});

interface Opening {
  readonly tool: string;
  readonly env?: Env;
  readonly configPath?: string;
  readonly extraArgs?: readonly string[];
}

async function open(remote: string, { tool, env = {}, configPath = '/notfound', extraArgs = [] }: Opening) {
  const location = parseLocation(remote, 'dbstash1');
  const all: Env = { HOME: scratch.path, ...rclonePath(scratch, tool), ...env, ...location.env };
  const rclone = createRclone({ env: all, configPath, extraArgs });
  const backend = await inspectBackend(rclone, location, all, extraArgs, forever);
  return createRemote(rclone, location, backend);
}

const inspect = async (remote: string, opening: Opening): Promise<Backend> => (await open(remote, opening)).backend;

for (const tool of RCLONES) {
  describeWith([tool], `through ${tool}`, () => {
    it.each(REMOTE_KINDS)('a remote of kind %s does what it says', async (kind) => {
      await using server = await startRemote(kind);
      const remote = await open(`${server.remote}/not there yet`, { tool, env: { ...server.env } });
      const ODD = ['a b.txt', 'g*[1]?.txt', 'ünï/日本.txt', '-x.txt', "it's.txt"];
      expect([...(await remote.list(forever)).listing]).toEqual([]);
      expect(await remote.stat('nothing', forever)).toBeUndefined();
      for (const name of ODD) await remote.write(name, `text of ${name}`, forever);
      await remote.write('gone*.txt', 'x', forever);
      expect([...(await remote.list(forever)).listing.keys()].sort()).toEqual([...ODD, 'gone*.txt'].sort());
      expect(await remote.stat('a b.txt', forever)).toBe(15);
      expect(await remote.stat('ünï', forever)).toBeUndefined();
      const names = [...ODD, 'missing.txt', 'ünï/missing.txt'];
      const read = await remote.readAll(names, scratch.path, forever);
      expect([...read].sort()).toEqual(ODD.map((name) => [name, `text of ${name}`]).sort());
      expect([...(await remote.readAll(['missing.txt'], scratch.path, forever))]).toEqual([]);
      expect([...(await remote.readAll(['-x.txt'], scratch.path, forever))]).toEqual([['-x.txt', 'text of -x.txt']]);
      await remote.remove(['g*[1]?.txt', 'missing.txt', '-x.txt', 'gone'], scratch.path, forever);
      expect([...(await remote.list(forever)).listing.keys()].sort()).toEqual(
        ['a b.txt', "it's.txt", 'ünï/日本.txt', 'gone*.txt'].sort(),
      );
      await expect(remote.remove(['x\na b.txt'], scratch.path, forever)).rejects.toThrow('no name of ours');
      expect(await text(remote.open('a b.txt').stdout)).toBe('text of a b.txt');
    });

    it.each(REMOTE_KINDS)(
      'an upload to %s has its final name only when it is whole, and replaces nothing',
      async (kind) => {
        await using server = await startRemote(kind);
        const remote = await open(server.remote, { tool, env: { ...server.env } });
        const upload = remote.upload('x.bin', undefined, () => {});
        upload.stdin.write(Buffer.alloc(300_000));
        upload.stdin.end('the end');
        expect((await upload.exit).code).toBe(0);
        expect([...(await server.list()).keys()]).toEqual([kind === 's3' ? 'x.bin' : 'x.bin.partial']);
        await remote.publish('x.bin', forever);
        expect([...(await server.list()).keys()]).toEqual(['x.bin']);
        expect(await remote.stat('x.bin', forever)).toBe(300_007);
        if (kind === 's3') return;
        await server.write('x.bin.partial', 'another');
        await expect(remote.publish('x.bin', forever)).rejects.toThrow('it was left alone');
        expect((await server.list()).get('x.bin')?.bytes).toBe(300_007);
      },
    );

    it('the options of a connection string reach rclone, also for a name with dashes from a file', async () => {
      const configPath = join(scratch.path, `dashes-${tool}.conf`);
      writeFileSync(configPath, '[my-s3.x y]\ntype = s3\nprovider = Other\nendpoint = http://127.0.0.1:1\n');
      const keys = 'access_key_id=a,secret_access_key="b,c",region=us-east-1,force_path_style=true';
      const remote = await open(`my-s3.x y,endpoint="${s3.endpoint}",${keys}:bucket/dashes-${tool}`, {
        tool,
        configPath,
      });
      await remote.write('a.txt', 'text', forever);
      expect((await remote.list(forever)).listing.get('a.txt')).toBe(4);
      expect(s3.objects().has(`dashes-${tool}/a.txt`)).toBe(true);
    });

    it('a configuration that another rclone is just saving is read again', async () => {
      const configPath = join(scratch.path, `saved-${tool}.conf`);
      const folder = join(scratch.path, `saved-${tool}`);
      writeFileSync(configPath, `[mine]\ntype = alias\nremote = ${folder}\n`);
      // What rclone says and does where it finds no configuration: `config dump` takes it for an empty one.
      const missed = `echo '2026/11/21 20:10:53 NOTICE: Config file "${configPath}" not found - using defaults' >&2`;
      const missing = (verb: string) =>
        `if [ "$1" = ${verb} ] && mkdir ${configPath}.${verb}; then ${missed}; [ $1 = config ] && echo {} && exit; exit 1; fi`;
      for (const verb of ['backend', 'config', 'lsjson']) {
        const path = fakeTools(scratch, { rclone: `${missing(verb)}\nexec ${requireTool(tool)} "$@"` });
        const env = { PATH: `${path}:${process.env.PATH}` };
        const remote = await open('mine:', { tool, configPath, env });
        expect(remote.backend.types).toEqual(['alias', 'local']);
        expect(await remote.stat('nothing', forever)).toBeUndefined();
        expect(existsSync(`${configPath}.${verb}`)).toBe(true);
      }
    });

    it.each(REMOTE_KINDS)('F21: several may remove the same objects of %s at once', async (kind) => {
      await using server = await startRemote(kind);
      const remotes = await Promise.all([1, 2, 3].map(() => open(server.remote, { tool, env: { ...server.env } })));
      const names = Array.from({ length: 150 }, (_, index) => `object-${index}`);
      for (const name of [...names, 'stays']) await server.write(name, 'x');
      await Promise.all(remotes.map((remote) => remote.remove(names, scratch.path, forever)));
      expect([...(await server.list()).keys()]).toEqual(['stays']);
    });

    describe('what kind of storage it is', () => {
      /** The same remotes as variables and as an rclone.conf. */
      const options = (): Readonly<Record<string, Env>> => {
        const strip = (env: Env, name: string) =>
          Object.fromEntries(
            Object.entries(env).map(([key, value]) => [
              key.replace(`RCLONE_CONFIG_${name.toUpperCase()}_`, '').toLowerCase(),
              value,
            ]),
          );
        const s3Options = strip(s3.rcloneEnv('s3'), 's3');
        const folder = join(scratch.path, 'plain');
        return {
          s3: s3Options,
          'big-s3': { ...s3Options, chunk_size: '16Mi', upload_concurrency: '2', max_upload_parts: '1000' },
          sftp: strip(sftp.rcloneEnv('sftp'), 'sftp'),
          crypt: { type: 'crypt', remote: 's3:bucket/c', password },
          alias: { type: 'alias', remote: 'crypt:sub/folder' },
          inline: { type: 'crypt', remote: 's3,chunk_size=7M:bucket/c', password },
          big: { type: 'alias', remote: 'big-s3:bucket/b' },
          localcrypt: { type: 'crypt', remote: folder, password },
          union: { type: 'union', upstreams: `"s3:bucket/u u" ${folder}` },
          buckets: { type: 'union', upstreams: 's3:bucket/u big-s3:bucket/v:nc' },
          combine: { type: 'combine', upstreams: `far=s3:bucket/u near=${folder}` },
        };
      };
      const CASES: readonly (readonly [
        remote: string,
        types: string[],
        isAtomic: boolean,
        chunkMib: number | undefined,
      ])[] = [
        ['/nowhere/with:colon', ['local'], false, undefined],
        [':local:/nowhere', ['local'], false, undefined],
        ['s3:bucket/path', ['s3'], true, 5],
        ['s3:', ['s3'], true, 5],
        ['s3,chunk_size=9M:bucket', ['s3'], true, 9],
        ['sftp:/path', ['sftp'], false, undefined],
        ['sftp:', ['sftp'], false, undefined],
        ['crypt:', ['crypt', 's3'], true, 5],
        ['alias:deeper', ['alias', 'crypt', 's3'], true, 5],
        ['inline:', ['crypt', 's3'], true, 7],
        ['big:', ['alias', 's3'], true, 16],
        ['localcrypt:x', ['crypt', 'local'], false, undefined],
        // Half-written objects show on one of the two.
        ['union:', ['union', 's3', 'local'], false, 5],
        ['buckets:', ['union', 's3'], true, 5],
        ['combine:near', ['combine', 's3', 'local'], false, 5],
      ];

      it.each(['variables', 'a file'])('is seen through wrappers, of remotes defined by %s', async (how) => {
        const env: Env = {};
        let conf = '';
        for (const [name, keys] of Object.entries(options())) {
          const prefix = `RCLONE_CONFIG_${name.toUpperCase()}_`;
          conf += `[${name}]\n`;
          for (const [key, value] of Object.entries(keys)) {
            env[prefix + key.toUpperCase()] = value;
            conf += `${key} = ${value}\n`;
          }
        }
        const configPath = join(scratch.path, `${tool}.conf`);
        writeFileSync(configPath, conf);
        const opening = how === 'variables' ? { tool, env } : { tool, configPath };
        const found = await Promise.all(CASES.map(([remote]) => inspect(remote, opening)));
        const rows = found.map(({ types, isAtomic, parts }, index) => [
          CASES[index]?.[0],
          types,
          isAtomic,
          parts && parts.chunkBytes / MIB,
        ]);
        expect(rows).toEqual(CASES);
        expect(found.map(({ canStream }) => canStream)).toEqual(CASES.map(() => true));
        const big = found[CASES.findIndex(([remote]) => remote === 'big:')];
        expect(big?.parts).toMatchObject({
          flag: '--s3-chunk-size',
          variable: 'RCLONE_S3_CHUNK_SIZE',
          maxParts: 1000,
          concurrency: 2,
        });
      });

      it.each<readonly [string, Env, string[], number]>([
        ['the default', {}, [], 5],
        ["the storage's variable", { RCLONE_S3_CHUNK_SIZE: '20M' }, [], 20],
        [
          "the remote's own variable before it",
          { RCLONE_S3_CHUNK_SIZE: '20M', RCLONE_CONFIG_S3_CHUNK_SIZE: '6144' },
          [],
          6,
        ],
        [
          'a flag before all',
          { RCLONE_S3_CHUNK_SIZE: '20M', RCLONE_CONFIG_S3_CHUNK_SIZE: '6M' },
          ['--s3-chunk-size', '30MiB'],
          30,
        ],
        ['the last flag of two', {}, ['--s3-chunk-size=30M', '--s3-chunk-size=1.5Gi'], 1536],
      ])("the user's own chunk size is known: %s", async (_, env, extraArgs, chunkMib) => {
        const { parts } = await inspect('s3:bucket', { tool, env: { ...s3.rcloneEnv('s3'), ...env }, extraArgs });
        expect(parts?.chunkBytes).toBe(chunkMib * MIB);
      });
    });

    describe('encrypted and joined remotes, end to end', () => {
      const REMOTES: readonly (readonly [name: string, remote: string, env: () => Env])[] = [
        ['crypt over S3', 'crypt:', () => cryptEnv(`s3:bucket/crypt-${tool}`)],
        ['crypt over a local folder', 'crypt:sub', () => cryptEnv(join(scratch.path, `crypt-${tool}`))],
        ['a union of S3 and a local folder', 'union:', unionEnv],
      ];
      const cryptEnv = (remote: string): Env => ({
        ...s3.rcloneEnv('s3'),
        RCLONE_CONFIG_CRYPT_TYPE: 'crypt',
        RCLONE_CONFIG_CRYPT_REMOTE: remote,
        RCLONE_CONFIG_CRYPT_PASSWORD: password,
      });
      function unionEnv(): Env {
        const folder = join(scratch.path, `union-${tool}`);
        mkdirSync(folder, { recursive: true });
        return {
          ...s3.rcloneEnv('s3'),
          RCLONE_CONFIG_UNION_TYPE: 'union',
          RCLONE_CONFIG_UNION_UPSTREAMS: `${folder} s3:bucket/union-${tool}`,
        };
      }

      it.each(REMOTES)('%s: backed up, listed, pruned, restored', async (_, remote, more) => {
        const env = {
          DB_URI: uri,
          RCLONE_REMOTE: remote,
          BACKUP_TEMP_DIR: join(scratch.path, 'tmp'),
          BACKUP_NAME_TEMPLATE: 'shop/{db}-{uuid}',
          RETENTION_KEEP_LAST: '1',
          ...rclonePath(scratch, tool),
          ...more(),
        };
        const before = new Set(s3.objects().keys());
        for (let runs = 0; runs < 2; runs += 1) {
          const done = await runDbstash(['backup'], env);
          expect(done.exitCode, done.stderr).toBe(0);
          expect(done.lines.at(-1)).toMatchObject({ outcome: 'succeeded' });
        }
        const all = await listBackups(env, '--all');
        expect(all.map(({ state }) => state)).toEqual(['good']);
        const onS3 = [...s3.objects()].filter(([key]) => !before.has(key));
        for (const [key, { body }] of remote.startsWith('crypt') ? onS3 : [])
          expect(key + body.toString('latin1')).not.toMatch(/shop|manifest|CREATE/);
        const target = join(scratch.path, `restored-${tool}-${remote.replace(':', '')}.db`);
        const restored = await runDbstash(['restore', '--database', target], env);
        expect(restored.exitCode, restored.stderr).toBe(0);
        expect(runSqlite(target, 'SELECT a FROM t;')).toBe('42');
      });
    });

    describeWith(['rclone-current'], 'a protected configuration', () => {
      const PASSWORD = 'the-config-password';
      let encrypted: string;
      beforeAll(() => {
        encrypted = join(scratch.path, `encrypted-${tool}.conf`);
        writeFileSync(encrypted, `[target]\ntype = alias\nremote = ${join(scratch.path, `encrypted-${tool}`)}\n`);
        // The oldest cannot do this without a terminal; it reads what the current one writes.
        const current = requireTool('rclone-current');
        const env = { PATH: process.env.PATH, HOME: scratch.path, RCLONE_CONFIG: encrypted };
        execFileSync(current, ['config', 'encryption', 'set', '--password-command', `echo ${PASSWORD}`], {
          env,
          stdio: 'pipe',
        });
      });

      it('does not take the first line of a dump for its password', async () => {
        const env = { HOME: scratch.path, ...rclonePath(scratch, tool) };
        const rclone = createRclone({ env, configPath: encrypted, extraArgs: [] });
        const call = { verb: ['rcat'], paths: ['target:eaten'], input: `${PASSWORD}\nthe rest of the dump\n` };
        expect((await rclone.run(call, forever)).exit.code).toBeGreaterThan(0);
        expect(existsSync(join(scratch.path, `encrypted-${tool}/eaten`))).toBe(false);
      });

      it('opens with its password, and without it fails clearly and waits for nobody', async () => {
        expect(readFileSync(encrypted, 'utf8')).toContain('RCLONE_ENCRYPT');
        const env = {
          DB_URI: uri,
          RCLONE_REMOTE: 'target:',
          BACKUP_TEMP_DIR: join(scratch.path, 'tmp'),
          ...rclonePath(scratch, tool),
        };
        const given = Buffer.from(readFileSync(encrypted)).toString('base64');
        const good = await runDbstash(['backup'], { ...env, RCLONE_CONFIG: given, RCLONE_CONFIG_PASS: PASSWORD });
        expect(good.exitCode, good.stderr).toBe(0);
        expect(readdirSync(join(scratch.path, `encrypted-${tool}`))).toHaveLength(2);
        for (const pass of [undefined, 'wrong']) {
          const more = { RCLONE_CONFIG_FILE: encrypted, RCLONE_CONFIG_PASS: pass };
          const bad = await runDbstash(
            ['backup'],
            { ...env, ...more },
            { input: 'not a password\n', timeoutMs: 20_000 },
          );
          expect(bad.exitCode, bad.stderr).toBe(3);
          expect(bad.lines.at(-1)?.message).toMatch(/password|decrypt/i);
        }
        expect(readdirSync(join(scratch.path, `encrypted-${tool}`))).toHaveLength(2);
      });
    });
  });
}

describe('which rclone.conf is used', () => {
  const confFor = (name: string): string => {
    const path = join(scratch.path, `which-${name}.conf`);
    writeFileSync(path, `[target]\ntype = alias\nremote = ${join(scratch.path, `which-${name}`)}\n`);
    return path;
  };

  it.each([
    ['RCLONE_CONFIG_FILE', 'file', ['RCLONE_CONFIG_FILE', 'RCLONE_CONFIG', 'own']],
    ['RCLONE_CONFIG as base64', 'config', ['RCLONE_CONFIG', 'own']],
    ["rclone's own", 'own', ['own']],
  ])('%s comes before what is after it', async (_, expected, given) => {
    await using home = scratchFolder();
    const env: Env = { DB_URI: uri, RCLONE_REMOTE: 'target:', BACKUP_TEMP_DIR: join(home.path, 'tmp') };
    if (given.includes('RCLONE_CONFIG_FILE')) env.RCLONE_CONFIG_FILE = confFor('file');
    if (given.includes('RCLONE_CONFIG')) env.RCLONE_CONFIG = readFileSync(confFor('config')).toString('base64');
    mkdirSync(join(home.path, '.config/rclone'), { recursive: true });
    writeFileSync(join(home.path, '.config/rclone/rclone.conf'), readFileSync(confFor('own')));
    const done = await runDbstash(['backup'], env, { scratch: home });
    expect(done.exitCode, done.stderr).toBe(0);
    const written = ['file', 'config', 'own'].filter((name) => readdirSync(scratch.path).includes(`which-${name}`));
    expect(written).toEqual([expected]);
    execFileSync('rm', ['-r', join(scratch.path, `which-${expected}`)]);
  });
});

/** Runs a script in a copy of this machine's files, of which it may write all; what it wrote is in the folder returned. */
function runInCopy(script: string, env: Env): string {
  const [upper, work, root] = ['upper', 'work', 'root'].map((name) => join(scratch.path, 'copy', name));
  for (const folder of [upper!, work!, root!]) mkdirSync(folder, { recursive: true });
  const mount = `mount -t overlay overlay -o lowerdir=/,upperdir=${upper},workdir=${work} ${root}`;
  const bind = ['proc', 'dev'].map((name) => `mount --rbind /${name} ${root}/${name}`).join(' && ');
  execFileSync('unshare', ['-m', 'sh', '-c', `${mount} && ${bind} && exec chroot ${root} sh -c '${script}'`], {
    env: { PATH: process.env.PATH, HOME: '/nonexistent', ...env },
    stdio: 'pipe',
  });
  return upper!;
}

function mayMount(): boolean {
  try {
    execFileSync('unshare', ['-m', 'mount', '-t', 'overlay', 'overlay', '-o', 'lowerdir=/usr:/etc', '/mnt'], {
      stdio: 'pipe',
    });
    return true;
  } catch {
    console.warn('SKIPPED "/config/rclone.conf": mounting an overlay needs root');
    return false;
  }
}

it.skipIf(!mayMount())('/config/rclone.conf is used where no variable names one, before the own one of rclone', () => {
  const main = join(import.meta.dirname, '../src/main.ts');
  const env = { DB_URI: uri, RCLONE_REMOTE: 'target:', BACKUP_TEMP_DIR: '/copy-tmp' };
  const conf = (folder: string) => `[target]\\ntype = alias\\nremote = ${folder}\\n`;
  const write = `mkdir -p /config $HOME/.config/rclone && printf "${conf('/from-config')}" > /config/rclone.conf
    printf "${conf('/from-own')}" > $HOME/.config/rclone/rclone.conf`;
  const upper = runInCopy(`${write}; exec ${process.execPath} ${main} backup`, env);
  expect(readdirSync(join(upper, 'from-config'))).toHaveLength(2);
  expect(readdirSync(upper)).not.toContain('from-own');
});

describe('F67: rclone itself', () => {
  let remote: TestRemote;
  beforeAll(async () => {
    remote = await startRemote('local');
  });
  afterAll(() => remote?.stop());

  /** PATH with nothing but what a backup of SQLite needs besides rclone. */
  function bare(): Env {
    const PATH = fakeTools(scratch, {});
    for (const tool of ['sqlite3', 'sh', 'env']) symlinkSync(requireTool(tool), join(PATH, tool));
    return { PATH };
  }
  const old = (version: string): Env =>
    fakePath(scratch, {
      rclone: `case "$1" in version) echo "rclone ${version}";; *) echo "flag unknown" >&2; exit 2;; esac`,
    });

  const CASES: readonly (readonly [string, () => Env, RegExp])[] = [
    ['missing', bare, /rclone version could not be started: it is not installed, or not on PATH/],
    ['too old', () => old('v1.53.3-DEV'), /rclone 1\.53 is too old: 1\.60 or newer is needed/],
    ['of another major version', () => old('v0.99.0'), /rclone 0\.99 is too old/],
    ['not rclone at all', () => old('of somebody else'), /does not tell its version/],
  ];
  it.each(CASES)(
    'F67: %s: backup fails with exit 3, check says so, and start says so at once',
    async (_, path, message) => {
      const env = backupEnv(uri, remote, scratch, { ...path(), BACKUP_SCHEDULE: '0 0 1 1 *' });
      const done = await runDbstash(['backup'], env);
      expect([done.exitCode, done.lines.at(-1)?.message]).toEqual([3, expect.stringMatching(message)]);
      const listed = await runDbstash(['list'], env);
      expect([listed.exitCode, listed.stderr]).toEqual([3, expect.stringMatching(message)]);
      await using daemon = startDbstash(['start'], env);
      expect(await daemon.waitForLog(message)).toContain('"warn"');
      expect([...(await remote.list())]).toEqual([]);
    },
  );

  it('F67: a current one is taken, whatever is behind its version', async () => {
    const real = findTool('rclone-current') ?? requireTool('rclone');
    const path = fakePath(scratch, {
      rclone: `if [ "$1" = version ]; then echo "rclone v1.80.0-beta.8000.abc"; else exec '${real}' "$@"; fi`,
    });
    const done = await runDbstash(['check'], backupEnv(uri, remote, scratch, path));
    expect(done.exitCode, done.stderr).toBe(0);
    expect(done.stdout).toContain('1.80.0');
  });
});
