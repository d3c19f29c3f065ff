import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { pickEnvironment, pickRcloneEnvironment, TOOL_NAMES } from '../src/process/environment.ts';
import { joinPath, parseLocation } from '../src/remote/location.ts';
import { fakePath, listBackups } from './support/backups.ts';
import { runDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { RCLONES, runRclone } from './support/rclone.ts';
import { startS3 } from './support/s3.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { createSqlite } from './support/seeds.ts';
import { requireTool } from './support/tools.ts';

/** A bundle of certificates that anybody can read. */
function writeBundle(scratch: Scratch): string {
  const path = join(scratch.path, 'ca.pem');
  writeFileSync(path, rootCertificates.slice(0, 3).join('\n'));
  return path;
}

describe('a remote', () => {
  it.each([
    's3:bucket/path',
    's3:',
    'my remote.x-y:a b/c',
    '/backup',
    '/mnt/with:colon/and,comma',
    './a:b',
    'relative/folder',
    ':local:/tmp/x',
  ])('without options is left as it is: %s', (text) => {
    expect(parseLocation(text, 'dbstash1')).toEqual({ path: text, title: text, env: {} });
  });

  it.each<readonly [string, string, string, Record<string, string>]>([
    [':sftp,host=h:/up', 'dbstash1:/up', ':sftp:/up', { DBSTASH1_TYPE: 'sftp', DBSTASH1_HOST: 'h' }],
    [
      `:s3,endpoint="http://h:9,x",secret_access_key='a''b"c,:':bucket/p`,
      'dbstash1:bucket/p',
      ':s3:bucket/p',
      { DBSTASH1_TYPE: 's3', DBSTASH1_ENDPOINT: 'http://h:9,x', DBSTASH1_SECRET_ACCESS_KEY: `a'b"c,:` },
    ],
    [
      ':s3,env_auth,key="say ""x""":b',
      'dbstash1:b',
      ':s3:b',
      { DBSTASH1_TYPE: 's3', DBSTASH1_ENV_AUTH: 'true', DBSTASH1_KEY: 'say "x"' },
    ],
    ['my-s3,region=x:', 'my-s3:', 'my-s3:', { 'MY-S3_REGION': 'x' }],
    ['s3,pass=:b', 's3:b', 's3:b', { S3_PASS: '' }],
  ])('with options hands them on as variables: %s', (text, path, title, variables) => {
    const env = Object.fromEntries(Object.entries(variables).map(([key, value]) => [`RCLONE_CONFIG_${key}`, value]));
    expect(parseLocation(text, 'dbstash1')).toEqual({ path, title, env });
  });

  it.each([
    ['s3:', 'bucket/a', 's3:bucket/a'],
    ['s3:bucket', 'a', 's3:bucket/a'],
    ['s3:bucket/', 'a', 's3:bucket/a'],
    ['/', 'a', '/a'],
    ['/backup', '', '/backup/'],
  ])('%s joined with %s', (remote, path, joined) => {
    expect(joinPath(remote, path)).toBe(joined);
  });
});

for (const tool of RCLONES) {
  describeWith([tool], `with ${tool}`, () => {
    it('F32: a connection string backs up, and none of its values is in the arguments of rclone or the log', async () => {
      await using s3 = await startS3();
      await using scratch = scratchFolder();
      const log = join(scratch.path, 'argv');
      const { PATH } = fakePath(scratch, { rclone: `echo "$@" >> '${log}'; exec '${requireTool(tool)}' "$@"` });
      const secret = `canary-'x",:=y`;
      const quoted = secret.replaceAll('"', '""');
      const remote = `:s3,provider=Other,endpoint="${s3.endpoint}",access_key_id=canary-id,secret_access_key="${quoted}",region=us-east-1,force_path_style=true:bucket/some where`;
      const env = { PATH, DB_URI: createSqlite(scratch), RCLONE_REMOTE: remote, BACKUP_TEMP_DIR: scratch.path };
      const run = await runDbstash(['backup'], { ...env, LOG_LEVEL: 'debug' });
      expect(run.exitCode, run.stderr).toBe(0);
      expect([...s3.objects().keys()].filter((key) => key.startsWith('some where/app-'))).toHaveLength(2);
      expect((await listBackups(env)).map(({ state }) => state)).toEqual(['good']);
      const argv = readFileSync(log, 'utf8');
      expect(argv).toContain('dbstash1:bucket/some where');
      for (const text of [argv, run.stdout, run.stderr]) expect(text).not.toContain('canary');
    });
  });
}

describe('the environment of rclone', () => {
  const KEPT = {
    PATH: '/bin',
    HOME: '/home/x',
    TMPDIR: '/tmp/x',
    TZ: 'UTC',
    SSL_CERT_FILE: '/ca',
    https_proxy: 'http://p',
    NO_PROXY: 'x',
    XDG_CONFIG_HOME: '/x',
    SSH_AUTH_SOCK: '/agent',
    RCLONE_CONFIG_X_KEY_FILE: '/key',
    RCLONE_CONFIG_X_PASS_FILE: 'what rclone makes of it',
    RCLONE_CONFIG_PASS_TYPE: 'local',
    RCLONE_TRANSFERS: '2',
    RCLONE_REMOTE_NAME: 'a flag of its own, should it ever have one',
    RCLONE_PASSWORD_COMMAND: 'pass',
    AWS_SESSION_TOKEN: 't',
    AZURE_CLIENT_ID: 'i',
    GOOGLE_APPLICATION_CREDENTIALS: '/g',
  };
  const DROPPED = {
    RCLONE_REMOTE: 's3:b',
    RCLONE_REMOTE_FILE: '/r',
    RCLONE_REMOTE_2: 's3:c',
    RCLONE_CONFIG: 'W3MzXQ==',
    RCLONE_CONFIG_FILE: '/config',
    RCLONE_CONFIG_PASS: 'p',
    RCLONE_CONFIG_PASS_FILE: '/p',
    RCLONE_EXTRA_ARGS: '--bwlimit 1M',
    RCLONE_EXTRA_ARGS_FILE: '/e',
    DB_PASSWORD: 'd',
    PGPASSWORD: 'p',
    NODE_OPTIONS: '--inspect',
    LD_PRELOAD: '/evil.so',
    UNKNOWN: 'u',
    UNSET: undefined,
  };

  it('comes from a list: its own variables, without those that are ours, and nothing unknown', () => {
    expect(pickRcloneEnvironment({ ...KEPT, ...DROPPED }, '1.60.1')).toEqual(KEPT);
  });

  it.each([
    [undefined, false],
    ['1.60.1', false],
    ['1.62.2', false],
    ['1.63.0', true],
    ['1.75.1', true],
    ['2.0.0', true],
  ])('has AWS_CA_BUNDLE for version %s: %s', (version, has) => {
    expect('AWS_CA_BUNDLE' in pickRcloneEnvironment({ AWS_CA_BUNDLE: '/ca' }, version)).toBe(has);
  });

  it('of dump tools has what is theirs, and nothing of rclone', () => {
    const env = {
      PATH: '/bin',
      PGSSLMODE: 'require',
      RCLONE_CONFIG_PASS: 'p',
      AWS_SECRET_ACCESS_KEY: 's',
      UNKNOWN: 'u',
    };
    expect(pickEnvironment(env, TOOL_NAMES)).toEqual({ PATH: '/bin', PGSSLMODE: 'require' });
  });

  for (const tool of RCLONES) {
    describeWith([tool], `as ${tool} gets it`, () => {
      it('lets it work where AWS_CA_BUNDLE is set, RCLONE_REMOTE_2 is not its flag, and tells at debug what it did not get', async () => {
        await using s3 = await startS3();
        await using scratch = scratchFolder();
        const seen = join(scratch.path, 'seen');
        const { PATH } = fakePath(scratch, {
          rclone: `env | cut -d= -f1 >> '${seen}'; exec '${requireTool(tool)}' "$@"`,
        });
        const env = {
          PATH,
          DB_URI: createSqlite(scratch),
          RCLONE_REMOTE: 's3:bucket/x',
          ...s3.rcloneEnv('s3'),
          BACKUP_TEMP_DIR: scratch.path,
          AWS_CA_BUNDLE: writeBundle(scratch),
          SECRET_OF_ANOTHER: 'x',
          RCLONE_RETRIES: '1',
          LOG_LEVEL: 'debug',
        };
        const run = await runDbstash(['backup'], env);
        expect(run.exitCode, run.stderr).toBe(0);
        const names = new Set(readFileSync(seen, 'utf8').split('\n'));
        expect(names).toContain('RCLONE_RETRIES');
        expect(names).not.toContain('SECRET_OF_ANOTHER');
        expect(names).not.toContain('RCLONE_REMOTE');
        expect(names.has('AWS_CA_BUNDLE')).toBe(tool === 'rclone-current');
        const told = run.lines.find(({ message }) => message.startsWith('rclone does not get'));
        expect(told).toMatchObject({ level: 'debug', message: expect.stringContaining('SECRET_OF_ANOTHER') });
      });
    });
  }

  it('would not work with AWS_CA_BUNDLE before 1.63: seen with the oldest', async () => {
    await using s3 = await startS3();
    await using scratch = scratchFolder();
    const env = { ...s3.rcloneEnv('s3'), AWS_CA_BUNDLE: writeBundle(scratch) };
    const version = (await runRclone(['version'], {})).stdout.toString();
    const { exitCode } = await runRclone(['lsf', 's3:bucket'], env);
    expect(exitCode === 0).toBe(!/v1\.(60|61|62)\./.test(version));
  });
});
