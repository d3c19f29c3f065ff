import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { commands } from '../src/cli.ts';
import { variables } from '../src/config/variables.ts';
import { backupEnv, fakePath } from './support/backups.ts';
import { type DbstashRun, runDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { makeBackup, rewriteManifest } from './support/restores.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

type Env = Record<string, string>;

const flagOf = (name: string) => `--${name.toLowerCase().replaceAll('_', '-')}`;

/** One sentence on standard error, nothing else, and the exit code of wrong usage. */
function expectUsageError(run: DbstashRun, says: string): void {
  expect(run.exitCode, run.stderr).toBe(2);
  expect(run.stdout).toBe('');
  expect(run.stderr.trimEnd().split('\n')).toHaveLength(1);
  expect(run.stderr).toMatch(/^dbstash: /);
  expect(run.stderr).toContain(says);
}

describe('the command line', () => {
  it.each(commands)(
    'explains $name with an example and its exit codes',
    async ({ name, summary, example, exitCodes, options = [] }) => {
      const { exitCode, stdout, stderr } = await runDbstash([name, '--help'], {});
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
      const words = stdout.replaceAll(/\s+/g, ' ');
      for (const text of [`Usage: dbstash ${name}`, summary, `Example: ${example}`, `Exit codes: ${exitCodes}`]) {
        expect(words).toContain(text.replaceAll(/\s+/g, ' '));
      }
      for (const [flags, help] of options) expect(words).toContain(`${flags} ${help}`);
    },
  );

  it.each(commands)('has an example of $name that it takes itself', ({ example, options = [] }) => {
    const known = [...options.map(([flags]) => flags.split(' ')[0]), ...variables.map(({ name }) => flagOf(name))];
    for (const flag of example.match(/--[a-z-]+/g) ?? []) expect(known).toContain(flag);
    for (const [, name] of example.matchAll(/\b([A-Z][A-Z_]+)=/g)) {
      expect(variables.map((variable) => variable.name)).toContain(name);
    }
  });

  it('shows all commands, and its version', async () => {
    const help = await runDbstash(['--help'], {});
    for (const { name } of commands) expect(help.stdout).toMatch(new RegExp(`^ {2}${name} `, 'm'));
    const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8'));
    expect(await runDbstash(['--version'], {})).toMatchObject({ exitCode: 0, stdout: `${version}\n`, stderr: '' });
  });

  it.each([
    [['bakcup'], 'there is no command bakcup'],
    [['start', 'now'], 'there is no command now'],
    [['help', 'nothing'], 'there is no such command'],
    [['--db-name', 'x', 'list'], 'flags come after the command: dbstash list --flag'],
    [['list', 'all'], 'list takes no argument'],
    [['restore', 'a', 'b'], 'restore takes one argument'],
    [['--frobnicate'], "unknown option '--frobnicate'"],
    [['list', '--jsn'], "unknown option '--jsn'"],
    [['restore', '--at'], "option '--at <time>' argument missing"],
    [['backup', '--db-password', 'x'], "unknown option '--db-password'"],
  ])('refuses %j in one sentence', async (args, says) => {
    expectUsageError(await runDbstash(args, {}), says);
  });

  const LEAST = { DB_URI: 'sqlite:///nowhere', RCLONE_REMOTE: '/nowhere', BACKUP_TEMP_DIR: '/proc/none' };

  it.each([
    [['--at', 'yesterday'], '--at: yesterday is no time'],
    [['--at', '2026-13-01'], '--at: 2026-13-01 is no time'],
    [['--at', '1'], '--at: 1 is no time'],
    [['--to', 'ftp://h/x'], '--to (or RESTORE_DB_URI): the URI has an unknown scheme'],
    [['--to', 'postgres://h'], 'the URI names no database; right is .../NAME at its end, or --database NAME'],
  ])('refuses restore %j before it looks at anything', async (args, says) => {
    expectUsageError(await runDbstash(['restore', ...args], LEAST), says);
  });

  it('F66: tells all problems at once, exits 2, and runs nothing', async () => {
    await using scratch = scratchFolder();
    const ran = join(scratch.path, 'ran');
    const tools = Object.fromEntries(
      ['rclone', 'sqlite3', 'psql', 'pg_dump'].map((name) => [name, `echo ${name} >>'${ran}'`]),
    );
    const env = {
      ...fakePath(scratch, tools),
      DB_URI: 'postgres://h/x',
      BACKUP_SCHEDULE: 'sometimes',
      RETENTION_MIN_KEEP: '0',
      BACKUP_TEMP_DIR: join(scratch.path, 'tmp'),
      BACKUP_NAME_TEMPLATE: '../{db}',
      BAKCUP_MODE: 'x',
      BACKUP_SHEDULE: 'once',
    };
    // The health check reads no configuration but its own.
    for (const { name, args = [] } of commands.filter((command) => command.name !== 'health')) {
      const needed = args.filter((arg) => arg.startsWith('<')).map(() => 'x');
      const run = await runDbstash([name, ...needed, '--backup-compress', 'rar'], env);
      expect(run.exitCode).toBe(2);
      const said = name === 'config' ? run.stdout : run.stderr;
      for (const about of [
        'BACKUP_SCHEDULE',
        'RETENTION_MIN_KEEP',
        'RCLONE_REMOTE',
        'BACKUP_NAME_TEMPLATE',
        '--backup-compress',
      ]) {
        expect(said).toMatch(new RegExp(`^(problem: | {2})${about}\\b`, 'm'));
      }
      expect(said).toContain('BACKUP_SHEDULE'); // perhaps a typo
    }
    expect(existsSync(ran)).toBe(false);
    expect(existsSync(env.BACKUP_TEMP_DIR)).toBe(false);
  });
});

describe('config', () => {
  const shown = async (args: readonly string[], env: Env) => {
    const run = await runDbstash(['config', '--json', ...args], env);
    const { variables: rows, ...rest } = JSON.parse(run.stdout);
    const row = (name: string) => rows.find((each: { name: string }) => each.name === name);
    return { ...run, ...rest, row, rows };
  };

  it('takes a flag for every variable that is no secret, and a flag wins', async () => {
    const given: Env = {
      ENGINE: 'sqlite',
      DB_NAME: '/data/a',
      RCLONE_REMOTE: '/b',
      BACKUP_SCHEDULE: '@daily',
      TZ: 'Asia/Tokyo',
    };
    const flags = {
      DB_NAME: '/data/z',
      RCLONE_REMOTE: 's3:z',
      BACKUP_SCHEDULE: '0 5 * * *',
      RETENTION_KEEP_DAILY: '7',
    };
    const args = Object.entries(flags).flatMap(([name, value]) => [flagOf(name), value]);
    const found = await shown(args, given);
    expect(found.exitCode, found.stderr).toBe(0);
    for (const [name, value] of Object.entries(flags)) expect(found.row(name)).toEqual({ name, value, source: 'flag' });
    expect(found.row('TZ')).toEqual({ name: 'TZ', value: 'Asia/Tokyo', source: 'environment' });
    expect(found.row('BACKUP_LOCK')).toEqual({ name: 'BACKUP_LOCK', value: 'true', source: 'default' });
    expect(found.rows.map(({ name }: { name: string }) => name)).toEqual(variables.map(({ name }) => name));

    const all = variables.filter(({ secret }) => !secret).flatMap(({ name }) => [flagOf(name), 'x']);
    const run = await runDbstash(['config', '--json', ...all], given);
    expect(run.stderr).toBe(''); // no flag is unknown, though the values are wrong
    expect(run.exitCode).toBe(2);
  });

  it('says from which file a value came, and which of two was taken', async () => {
    await using scratch = scratchFolder();
    const file = join(scratch.path, 'uri');
    writeFileSync(file, 'sqlite:///data/from-file\n');
    const found = await shown([], { DB_URI_FILE: file, DB_URI: 'sqlite:///data/other', RCLONE_REMOTE: '/b' });
    expect(found.row('DB_URI')).toMatchObject({ value: 'sqlite:///data/from-file', source: `file ${file}` });
    expect(found.warnings.join()).toContain('DB_URI and DB_URI_FILE are both set');
  });

  it('F33: shows no secret, valid or not, as text or as JSON', async () => {
    const canary = 'c4n4ry/Wörd+ %x';
    const secrets: Env = {
      DB_URI: `postgres://u:${encodeURIComponent(canary)}@h/x?sslpassword=${encodeURIComponent(canary)}`,
      DB_PASSWORD: canary,
      POSTGRES_PASSWORD: canary,
      RCLONE_CONFIG_PASS: canary,
      RCLONE_CONFIG: Buffer.from(`[s3]\ntype = s3\nsecret_access_key = ${canary}\n`).toString('base64'),
      RCLONE_REMOTE: `:s3,secret_access_key="${canary}":bucket`,
      RCLONE_EXTRA_ARGS: `--s3-secret-access-key='${canary}'`,
      RESTORE_DB_URI: `postgres://u:${encodeURIComponent(canary)}@h/y`,
    };
    for (const more of [{}, { BACKUP_SCHEDULE: 'never', DB_URI: `postgres://u:${canary}@@h:x/` }]) {
      for (const args of [[], ['--json']]) {
        const run = await runDbstash(['config', ...args], { ...secrets, ...more });
        expect(run.exitCode).toBe('BACKUP_SCHEDULE' in more ? 2 : run.exitCode);
        const said = run.stdout + run.stderr;
        for (const form of [
          canary,
          encodeURIComponent(canary),
          Buffer.from(canary).toString('base64').slice(0, -4),
          'c4n4ry',
        ]) {
          expect(said).not.toContain(form);
        }
        expect(said).not.toContain(secrets.RCLONE_CONFIG);
        expect(said).toContain('***');
      }
    }
  });
});

describeWith(['sqlite3', 'rclone'], 'the commands', () => {
  let scratch: Scratch;
  let remote: TestRemote;
  let source: string;
  let env: Env;

  beforeEach(async () => {
    scratch = scratchFolder();
    remote = await startRemote('local');
    source = join(scratch.path, 'shop.sqlite3');
    execFileSync(requireTool('sqlite3'), [source, 'CREATE TABLE t AS SELECT 1 AS i']);
    env = backupEnv(`sqlite://${source}`, remote, scratch);
  });

  afterEach(async () => {
    await remote.stop();
    await scratch[Symbol.asyncDispose]();
  });

  const pathsOf = async (at: TestRemote) => [...(await at.list()).keys()].sort();

  it('backup --json prints its report, and nothing else, on standard output', async () => {
    const run = await runDbstash(['backup', '--json'], env);
    const report = JSON.parse(run.stdout);
    expect(report).toMatchObject({ job: 'backup', outcome: 'succeeded', exitCode: 0, error: null, warnings: [] });
    const text = (await remote.read(`${report.backups[0].artifact}.manifest.json`)).toString();
    // What goes to channels and hooks too need not name tables.
    const { tables, ...manifest } = JSON.parse(text);
    expect(tables).toEqual({ kind: 'table', count: 1, names: ['t'] });
    expect(report.backups).toEqual([{ ...manifest, remotes: [env.RCLONE_REMOTE] }]);
    const failed = await runDbstash(['backup', '--json', '--db-uri', 'sqlite:///none'], env);
    expect(failed.exitCode).toBe(1);
    expect(JSON.parse(failed.stdout)).toMatchObject({
      outcome: 'failed',
      exitCode: 1,
      backups: [],
      error: expect.stringContaining('not there'),
    });
  });

  it('F33: backup --json and check mask a secret that a tool tells', async () => {
    const told = fakePath(scratch, { sqlite3: 'echo "cannot log in with c4n4ry-word" >&2; exit 5' });
    for (const args of [['backup', '--json'], ['check'], ['check', '--json']]) {
      const run = await runDbstash(args, { ...env, ...told, PGPASSWORD: 'c4n4ry-word' });
      expect(run.exitCode).toBe(1);
      expect(run.stdout).toContain('cannot log in with ***');
      expect(run.stdout + run.stderr).not.toContain('c4n4ry');
    }
  });

  it('list shows what there is, by series and state, and with --all what is none', async () => {
    const empty = await runDbstash(['list'], env);
    expect(empty).toMatchObject({ exitCode: 0, stdout: `${remote.remote} holds no backup.\n` });
    const damaged = await makeBackup(env);
    await remote.write(damaged.artifact, 'cut');
    const missing = await makeBackup({ ...env, BACKUP_SERIES: 'another' });
    await remote.remove(missing.artifact);
    const good = await makeBackup(env);
    await remote.write('notes.txt', 'mine');
    const pending = {
      dbstash: 1,
      id: '20200101T000000Z-abcdef',
      run: 'r',
      series: 's',
      startedAt: '2020-01-01T00:00:00Z',
      refreshedAt: '2020-01-01T00:00:00Z',
      objects: ['dead.sql'],
    };
    await remote.write('dead.sql.20200101T000000Z-abcdef.pending.json', JSON.stringify(pending));
    await remote.write('dead.sql', 'half');

    const text = (await runDbstash(['list'], env)).stdout;
    expect(text.split('\n')[0]).toBe(`sqlite://${source}`);
    expect(text).toMatch(
      new RegExp(`good +.* ${good.artifact}\\n +damaged +.* ${damaged.artifact} +\\(it has 3 bytes, .*\\)`),
    );
    expect(text).toMatch(new RegExp(`another {2}\\(not of this configuration\\)\\n +missing .*${missing.artifact}`));
    expect(text).not.toContain('notes.txt');

    const listed = JSON.parse((await runDbstash(['list', '--json'], env)).stdout);
    const manifest = JSON.parse((await remote.read(`${good.artifact}.manifest.json`)).toString());
    expect(listed[0]).toEqual({ ...manifest, remote: remote.remote, state: 'good', reason: null, verified: null });
    expect(listed.map((row: Env) => row.state)).toEqual(['good', 'missing', 'damaged']);

    const all = JSON.parse((await runDbstash(['list', '--json', '--all'], env)).stdout);
    expect(all.slice(3)).toEqual([
      {
        remote: remote.remote,
        state: 'orphan',
        path: 'dead.sql.20200101T000000Z-abcdef.pending.json',
        left: ['dead.sql'],
      },
      { remote: remote.remote, state: 'foreign', path: 'notes.txt' },
    ]);
    const allText = (await runDbstash(['list', '--all'], env)).stdout;
    expect(allText).toMatch(/orphans [\s\S]*dead\.sql\n[\s\S]*foreign [\s\S]*notes\.txt/);
  });

  it('prune says what would go and why, with --dry-run removes nothing, and without it just that', async () => {
    const old = await makeBackup(env);
    await rewriteManifest(remote, old.artifact, { startedAt: '2020-01-01T00:00:00.000Z' });
    const kept = await makeBackup(env);
    const before = await pathsOf(remote);
    const policy = ['--retention-max-days', '30'];
    const dry = await runDbstash(['prune', '--dry-run', ...policy], env);
    expect(dry.stdout).toMatch(new RegExp(`keep +${kept.artifact} .*\\n +would go +${old.artifact} .*\\S`));
    const dryJson = JSON.parse((await runDbstash(['prune', '--dry-run', '--json', ...policy], env)).stdout);
    expect(dryJson).toMatchObject({
      keep: [{ id: kept.id }],
      remove: [{ id: old.id, artifact: old.artifact }],
      removed: [],
    });
    expect(dryJson.remove[0].reasons.length).toBeGreaterThan(0);
    expect(await pathsOf(remote)).toEqual(before);

    const done = JSON.parse((await runDbstash(['prune', '--json', ...policy], env)).stdout);
    expect(done.removed).toEqual([old.artifact]);
    expect(await pathsOf(remote)).toEqual([kept.artifact, `${kept.artifact}.manifest.json`]);
    expect((await runDbstash(['prune'], { ...env, BACKUP_SERIES: 'none' })).stdout).toBe('no good backup of none\n');
  });

  it('check finds all well, changes nothing and leaves nothing', async () => {
    const { artifact } = await makeBackup(env);
    const before = await remote.list();
    const run = await runDbstash(['check'], env);
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    const rows = run.stdout.trimEnd().split('\n');
    expect(rows).toHaveLength(10);
    for (const row of rows) expect(row).toMatch(/^ {2}(ok {2}|info)\s+\S/);
    expect(await remote.list()).toEqual(before);
    expect(readdirSync(join(scratch.path, 'tmp')).filter((name) => name.startsWith('work-'))).toEqual([]);

    await remote.write(artifact, 'cut');
    const warned = await runDbstash(['check', '--json'], env);
    expect(warned.exitCode).toBe(0);
    expect(JSON.parse(warned.stdout)).toContainEqual({
      what: 'remote: list',
      state: 'warning',
      detail: expect.stringMatching(/ is damaged: it has 3 bytes/),
    });
  });

  it('F55: check tells what of database and remote fails, and exits as the first', async () => {
    const noFile = await runDbstash(['check'], { ...env, DB_URI: 'sqlite:///none' });
    expect(noFile.exitCode).toBe(1);
    expect(noFile.stdout).toMatch(/failed +database +.*not there/);
    expect(noFile.stdout).toMatch(/ok +remote: write/);
    expect(await pathsOf(remote)).toEqual([]);
    const noRemote = await runDbstash(['check'], { ...env, RCLONE_REMOTE: 'nothing:x' });
    expect(noRemote.exitCode).toBe(3);
    expect(noRemote.stderr).toMatch(/^dbstash: .*nothing/);
  });

  it('F37: check warns of a key that may not delete, and cleans up after itself where anything else fails', async () => {
    await using s3 = await startRemote('s3');
    const onS3 = backupEnv(`sqlite://${source}`, s3, scratch, { RCLONE_LOW_LEVEL_RETRIES: '1', RCLONE_RETRIES: '1' });
    const server = s3.s3!;
    const cases = [
      { fault: { operation: 'GetObject', status: 500 }, exitCode: 3, left: 0 },
      { fault: { operation: 'GetObject', corrupt: true }, exitCode: 3, left: 0 },
      { fault: { operation: 'PutObject', status: 403 }, exitCode: 3, left: 0 },
      { fault: { operation: 'PutObject', status: 500, performed: true }, exitCode: 3, left: 0 },
    ] as const;
    for (const { fault, exitCode, left } of cases) {
      const active = server.fault(fault);
      const run = await runDbstash(['check'], onS3);
      expect(active.hits, fault.operation).toBeGreaterThan(0);
      expect(run.exitCode, run.stdout).toBe(exitCode);
      expect(run.stdout).toMatch(/failed +remote: write, read, delete/);
      active.remove();
      expect(await pathsOf(s3)).toHaveLength(left);
    }
    server.forbidDelete = true;
    const run = await runDbstash(['check'], onS3);
    expect(run.exitCode, run.stdout).toBe(0);
    expect(run.stdout).toMatch(/warning +remote: write, read, delete +backups work, retention will not: /);
    expect(await pathsOf(s3)).toHaveLength(1);
  });
});
