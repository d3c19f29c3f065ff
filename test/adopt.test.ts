import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EngineName } from '../src/core/connection.ts';
import { findTime, readName } from '../src/core/nameTime.ts';
import { parseTemplate } from '../src/core/naming.ts';
import { engines } from '../src/engines/index.ts';
import { listBackups } from './support/backups.ts';
import { runDbstash } from './support/dbstash.ts';
import { describeEngine, FIXTURES, type Fixture } from './support/fixtures.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

const TIMEOUT = { timeout: 400_000 };

/** What people's scripts do, by the file they write. `$URI` and the rest of it stand for the database. */
const SCRIPTS: Readonly<Record<EngineName, Readonly<Record<string, string>>>> = {
  pg: {
    'source-2026-02-07-020000.sql': 'pg_dump "$URI" > "$FILE"',
    'source-2026-02-08-020000.sql.gz': 'pg_dump --clean --if-exists "$URI" | gzip > "$FILE"',
    'source-2026-02-09-020000.dump': 'pg_dump -Fc "$URI" > "$FILE"',
    'source-2026-02-10-020000.dump.zst.age': 'pg_dump -Fc -Z0 "$URI" | zstd | age -r "$RECIPIENT" > "$FILE"',
    'source-2026-02-11-020000.sql.xz': 'pg_dump "$URI" | xz > "$FILE"',
    'source-2026-02-12-020000.dump.bz2': 'pg_dump -Fc "$URI" | bzip2 > "$FILE"',
  },
  mysql: {
    'source-2026-02-07-020000.sql':
      'mysqldump -h 127.0.0.1 -P "$PORT" -u "$USER" --password="$PASSWORD" --single-transaction --no-tablespaces source > "$FILE"',
  },
  mariadb: {
    'source-2026-02-07-020000.sql.gz':
      'mariadb-dump -h 127.0.0.1 -P "$PORT" -u "$USER" --password="$PASSWORD" --routines source | gzip -9 > "$FILE"',
  },
  mongo: {
    'source-2026-02-07-020000.archive': 'mongodump --uri="$URI" --archive > "$FILE"',
    'source-2026-02-08-020000.archive.gz': 'mongodump --uri="$URI" --gzip --archive="$FILE"',
  },
  redis: { 'source-2026-02-07-020000.rdb': 'redis-cli --no-auth-warning -p "$PORT" -a "$PASSWORD" --rdb "$FILE"' },
  sqlite: {
    'source-2026-02-07-020000.sql.zst': 'sqlite3 "$DATABASE" .dump | zstd > "$FILE"',
    'source-2026-02-08-020000.sqlite3': 'sqlite3 "$DATABASE" ".backup \'$FILE\'"',
    'source-2026-02-09-020000.db.gz':
      'sqlite3 "$DATABASE" "VACUUM INTO \'$FILE.tmp\'" && gzip -c "$FILE.tmp" > "$FILE" && rm "$FILE.tmp"',
  },
};

const PROGRAMS = ['rclone', 'zstd', 'gzip', 'xz', 'bzip2', 'age', 'age-keygen'];

interface Key {
  readonly identity: string;
  readonly recipient: string;
}

function createKey(): Key {
  const identity = execFileSync('age-keygen', { stdio: ['ignore', 'pipe', 'ignore'] }).toString();
  return { identity, recipient: /public key: (\S+)/.exec(identity)?.[1] ?? '' };
}

for (const { name: engine, title } of Object.values(engines)) {
  describeEngine(engine, PROGRAMS, `${title} dumped by a script`, () => {
    let scratch: Scratch;
    let fixture: Fixture;
    let env: Record<string, string>;
    let key: Key;
    beforeAll(async () => {
      scratch = scratchFolder();
      key = createKey();
      fixture = await FIXTURES[engine](scratch);
      const folder = join(scratch.path, 'remote');
      mkdirSync(folder);
      env = {
        ...fixture.env,
        RCLONE_REMOTE: folder,
        BACKUP_TEMP_DIR: join(scratch.path, 'tmp'),
        DECRYPT_IDENTITY: key.identity,
        ...(engine === 'redis' && { DB_NAME: 'source' }),
      };
      const uri = new URL(env.DB_URI ?? '');
      for (const [file, script] of Object.entries(SCRIPTS[engine]))
        execFileSync('bash', ['-euo', 'pipefail', '-c', script], {
          env: {
            ...process.env,
            ...env,
            URI: env.DB_URI,
            PORT: uri.port,
            USER: decodeURIComponent(uri.username),
            PASSWORD: decodeURIComponent(uri.password),
            DATABASE: uri.pathname,
            RECIPIENT: key.recipient,
            FILE: join(folder, file),
          },
          stdio: ['ignore', 'inherit', 'inherit'],
        });
      writeFileSync(join(folder, 'notes.txt'), 'what I did');
    }, 180_000);
    afterAll(async () => {
      await fixture?.[Symbol.asyncDispose]();
      await scratch?.[Symbol.asyncDispose]();
    });

    it('is adopted, verified, and comes back', TIMEOUT, async () => {
      const files = Object.keys(SCRIPTS[engine]);
      const folder = env.RCLONE_REMOTE!;
      const tried = await runDbstash(['adopt', '--dry-run', '--json'], env, { timeoutMs: 120_000 });
      expect(tried, tried.stderr).toMatchObject({ exitCode: 0 });
      const rows: { path: string; manifest?: { startedAt: string; database: string; tool: string } }[] = JSON.parse(
        tried.stdout,
      );
      expect(rows.map(({ path }) => path).sort()).toEqual(files);
      expect(readdirSync(folder).sort()).toEqual(['notes.txt', ...files]);

      const adopted = await runDbstash(['adopt'], env, { timeoutMs: 120_000 });
      expect(adopted, adopted.stderr).toMatchObject({ exitCode: 0 });
      expect(adopted.stdout).toContain(`${files.length} adopted`);
      const listed = await listBackups(env);
      expect(listed.map(({ artifact, state, database, startedAt }) => [artifact, state, database, startedAt])).toEqual(
        files.toReversed().map((file) => [file, 'good', 'source', `${file.slice(7, 17)}T02:00:00.000Z`]),
      );
      for (const [index, file] of files.entries()) {
        const verified = await runDbstash(['verify', file], env);
        expect(verified, verified.stderr).toMatchObject({ exitCode: 0 });
        const name = `back${index}`;
        const restored = await runDbstash(['restore', file, ...fixture.target(name)], env, { timeoutMs: 120_000 });
        expect(restored, `${file}: ${restored.stderr}`).toMatchObject({ exitCode: 0 });
        expect(await fixture.content(name)).toEqual(await fixture.content());
      }

      const pruned = await runDbstash(['prune', '--retention-max-files', '1'], env);
      expect(pruned, pruned.stderr).toMatchObject({ exitCode: 0 });
      expect((await listBackups(env)).map(({ artifact }) => artifact)).toEqual(files.slice(-1));
      expect(readdirSync(folder).filter((file) => !file.startsWith(files.at(-1)!))).toEqual(['notes.txt']);
      const again = await runDbstash(['adopt'], env);
      expect(again).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('left to adopt') });
    });
  });
}

describeEngine('pg', ['rclone', 'gzip', 'bzip2', 'age', 'age-keygen', 'pg_dumpall'], 'what is not adopted', () => {
  let scratch: Scratch;
  let fixture: Fixture;
  let env: Record<string, string>;
  let folder: string;
  const run = (script: string) =>
    execFileSync('bash', ['-euo', 'pipefail', '-c', script], {
      env: {
        ...process.env,
        ...env,
        URI: env.DB_URI,
        OUT: folder,
        PGPASSWORD: decodeURIComponent(new URL(env.DB_URI!).password),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    }).toString();
  beforeAll(async () => {
    scratch = scratchFolder();
    fixture = await FIXTURES.pg(scratch);
    env = { ...fixture.env, RCLONE_REMOTE: '', BACKUP_TEMP_DIR: join(scratch.path, 'tmp') };
  }, 120_000);
  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
    await scratch?.[Symbol.asyncDispose]();
  });
  beforeEach(({ task }) => {
    folder = join(scratch.path, task.id);
    mkdirSync(folder);
    env.RCLONE_REMOTE = folder;
  });

  /** It was left, and nothing was written beside it. */
  async function expectLeft(name: string, exitCode: number, sentence: string | RegExp): Promise<void> {
    const before = readdirSync(folder);
    const done = await runDbstash(['adopt', name], env);
    expect(done, done.stderr).toMatchObject({ exitCode });
    expect(done.stdout + done.stderr).toMatch(sentence);
    expect(readdirSync(folder)).toEqual(before);
  }

  it('what was cut short, whatever around it', TIMEOUT, async () => {
    run('pg_dump "$URI" > $OUT/a.sql; truncate -s -1000 $OUT/a.sql; gzip < $OUT/a.sql > $OUT/b.sql.gz');
    run(
      'pg_dump -Fc "$URI" > $OUT/c.dump; truncate -s -1000 $OUT/c.dump; pg_dump "$URI" | gzip > $OUT/d.sql.gz; truncate -s -1000 $OUT/d.sql.gz',
    );
    for (const name of ['a.sql', 'b.sql.gz', 'c.dump', 'd.sql.gz']) await expectLeft(name, 4, 'it is not whole: ');
  });

  it('a dump of another database, of all of a server, or one that names its own', TIMEOUT, async () => {
    run(
      'pg_dump -Fc "$URI" > $OUT/source-2026-02-07-020000.dump; pg_dumpall -l source -d "$URI" --no-role-passwords > $OUT/all.sql; pg_dump --create "$URI" > $OUT/named.sql',
    );
    const other = { ...env, DB_NAME: 'other', DB_URI: env.DB_URI!.replace('/source', '/other') };
    const done = await runDbstash(['adopt', 'source-2026-02-07-020000.dump'], other);
    expect(done).toMatchObject({
      exitCode: 2,
      stdout: expect.stringContaining('it is of source, not of other: DB_NAME'),
    });
    // Its name says so too, and nobody named it.
    const silent = await runDbstash(['adopt'], other);
    expect(silent).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('left to adopt') });
    await expectLeft('all.sql', 2, 'made by pg_dumpall');
    await expectLeft('named.sql', 2, 'it was made with --create');
  });

  it('what is no dump, a name that is not there, and what is a backup already', TIMEOUT, async () => {
    writeFileSync(join(folder, 'notes.sql'), 'select 1;\n');
    await expectLeft('notes.sql', 2, 'it is no dump of PostgreSQL in a form that dbstash makes');
    await expectLeft('gone*.sql', 2, 'gone*.sql: there is nothing of that name');
    const made = await runDbstash(['backup', '--backup-name-template', 'ours'], env);
    expect(made).toMatchObject({ exitCode: 0 });
    await expectLeft('ours.sql', 2, 'ours.sql: there is nothing of that name that is not a backup already');
    appendFileSync(join(folder, 'ours.sql.manifest.json'), 'x');
    await expectLeft('ours.sql', 2, 'the manifest beside it cannot be read');
  });

  it('what is encrypted, without the identity', TIMEOUT, async () => {
    const { recipient } = createKey();
    run(`pg_dump "$URI" | age -r ${recipient} > $OUT/a.sql.age`);
    await expectLeft('a.sql.age', 2, 'DECRYPT_IDENTITY is not set');
    env.DECRYPT_IDENTITY = createKey().identity;
    await expectLeft('a.sql.age', 2, /age makes nothing of it: .*no identity matched/);
    delete env.DECRYPT_IDENTITY;
  });

  it('what takes a program that is missing', TIMEOUT, async () => {
    run('pg_dump "$URI" | bzip2 > $OUT/a.sql.bz2');
    const few = join(scratch.path, 'few');
    mkdirSync(few);
    for (const tool of ['rclone', 'cat', 'sh']) symlinkSync(requireTool(tool), join(few, tool));
    env.PATH = few;
    await expectLeft('a.sql.bz2', 2, 'bzip2 could not be started: it is not installed');
    delete env.PATH;
  });

  it('but a dump by any other name is, at the time of the file where the name tells none', TIMEOUT, async () => {
    run('mkdir $OUT/old; pg_dump "$URI" > $OUT/old/nightly.sql');
    utimesSync(join(folder, 'old/nightly.sql'), new Date('2025-03-04T05:06:07Z'), new Date('2025-03-04T05:06:07Z'));
    copyFileSync(join(folder, 'old/nightly.sql'), join(folder, 'weekly_20250301_0300.sql'));
    const done = await runDbstash(['adopt', 'old/*', 'weekly_*', '--tz', 'Asia/Kolkata'], env);
    expect(done, done.stderr).toMatchObject({ exitCode: 0 });
    expect((await listBackups(env)).map(({ artifact, startedAt }) => [artifact, startedAt])).toEqual([
      ['old/nightly.sql', '2025-03-04T05:06:07.000Z'],
      ['weekly_20250301_0300.sql', '2025-02-28T21:30:00.000Z'],
    ]);
    const manifest = JSON.parse(readFileSync(join(folder, 'old/nightly.sql.manifest.json'), 'utf8'));
    expect(manifest).toMatchObject({ serverId: null, tool: expect.stringMatching(/^pg_dump \d/), format: 'plain' });
    expect(manifest.dumpBytes).toBe(manifest.bytes);
  });

  it('of several databases each goes to its own', TIMEOUT, async () => {
    run(
      'pg_dump "$URI" > $OUT/source-2026-02-07-020000.sql; cp $OUT/source-2026-02-07-020000.sql $OUT/postgres-2026-02-07-020000.sql; cp $OUT/source-2026-02-07-020000.sql $OUT/any.sql',
    );
    const all = { ...env, DB_NAME: '*', DB_EXCLUDE: 'post*' };
    const done = await runDbstash(['adopt'], all);
    expect(done, done.stderr).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('1 adopted') });
    expect((await listBackups(all)).map(({ artifact, database }) => [artifact, database])).toEqual([
      ['source-2026-02-07-020000.sql', 'source'],
    ]);
    const unclear = await runDbstash(['adopt', 'any.sql'], all);
    expect(unclear).toMatchObject({
      exitCode: 2,
      stdout: expect.stringContaining('which database it is of is not clear'),
    });
  });
});

for (const engine of ['mysql', 'mariadb'] as const)
  describeEngine(engine, ['rclone', 'gzip'], `${engines[engine].title} dumped with --databases`, () => {
    let scratch: Scratch;
    let fixture: Fixture;
    let env: Record<string, string>;
    beforeAll(async () => {
      scratch = scratchFolder();
      fixture = await FIXTURES[engine](scratch);
      const folder = join(scratch.path, 'remote');
      mkdirSync(folder);
      env = { ...fixture.env, RCLONE_REMOTE: folder, BACKUP_TEMP_DIR: join(scratch.path, 'tmp') };
      const uri = new URL(env.DB_URI!);
      const tool = engine === 'mysql' ? 'mysqldump' : 'mariadb-dump';
      const login = `-h 127.0.0.1 -P ${uri.port} -u ${uri.username} --password="$PASSWORD"`;
      const client = `${engine} ${login} -e`;
      execFileSync(
        'bash',
        [
          '-euo',
          'pipefail',
          '-c',
          `${client} 'CREATE DATABASE zebra; CREATE TABLE zebra.t (a int)'
          ${tool} ${login} --routines --databases source | gzip > $OUT/one_20260207.sql.gz
          ${tool} ${login} --databases source zebra > $OUT/two_20260207.sql
          ${tool} ${login} --databases zebra > $OUT/other_20260207.sql
          ${tool} ${login} --all-databases > $OUT/all_20260207.sql
          ${client} 'DROP DATABASE zebra'`,
        ],
        { env: { ...process.env, ...env, OUT: folder, PASSWORD: decodeURIComponent(uri.password) }, stdio: 'pipe' },
      );
    }, 180_000);
    afterAll(async () => {
      await fixture?.[Symbol.asyncDispose]();
      await scratch?.[Symbol.asyncDispose]();
    });

    it('is adopted where it holds that database alone, and comes back under its own name', TIMEOUT, async () => {
      const done = await runDbstash(['adopt', '*.sql*', '--json'], env, { timeoutMs: 120_000 });
      expect(done, done.stderr).toMatchObject({ exitCode: 2 });
      const rows: { path: string; reason?: string; manifest?: object }[] = JSON.parse(done.stdout);
      const reasons = Object.fromEntries(rows.map(({ path, reason }) => [path, reason]));
      expect(reasons).toEqual({
        'all_20260207.sql': expect.stringContaining('goes into those that it names'),
        'one_20260207.sql.gz': undefined,
        'other_20260207.sql': expect.stringContaining('it is of zebra, not of source'),
        'two_20260207.sql': expect.stringContaining('goes into those that it names'),
      });
      expect(rows.find(({ path }) => path.startsWith('one'))?.manifest).toMatchObject({
        database: 'source',
        target: { createsDatabase: 'source', adopted: true },
      });
      expect(readdirSync(env.RCLONE_REMOTE!).filter((name) => name.endsWith('.manifest.json'))).toHaveLength(1);

      const aside = await runDbstash(['restore', 'latest', ...fixture.target('aside')], env);
      expect(aside).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('under another name') });
      const before = await fixture.content();
      const restored = await runDbstash(['restore', 'latest', '--replace', '--yes', 'source'], env);
      expect(restored, restored.stderr).toMatchObject({ exitCode: 0 });
      expect(await fixture.content()).toEqual(before);
    });
  });

describe('the time in a name', () => {
  it.each([
    ['orders-2026-02-07-020000.sql', '2026-02-07T02:00:00Z'],
    ['20260207T020000Z.sql', '2026-02-07T02:00:00Z'],
    ['db_20260207_0215.sql.gz', '2026-02-07T02:15:00Z'],
    ['db-2026-02-07_02h15m.Saturday.sql.gz', '2026-02-07T02:15:00Z'],
    ['pgsql_app_db_20260207-021500.sql.gz', '2026-02-07T02:15:00Z'],
    ['db_2026-02-07T02:15:30Z.tgz', '2026-02-07T02:15:30Z'],
    ['app-20260207.sql', '2026-02-07T00:00:00Z'],
    ['app-20260207T073000+0530.sql', '2026-02-07T02:00:00Z'],
    ['app_2026-02-06T18:00:00-08:00.dump', '2026-02-07T02:00:00Z'],
    ['app-20260207-020000-0001.sql', '2026-02-07T02:00:00Z'],
    ['app-2026-02-31.sql', undefined],
    ['app-1712121212.sql', undefined],
    ['app-latest.sql', undefined],
    ['v12345678.sql', undefined],
  ])('%s is of %s', (name, time) => {
    expect(findTime(name, 'UTC')).toEqual(time === undefined ? undefined : new Date(time));
  });

  it('is that of the time zone, on both sides of a change of the clocks', () => {
    expect(findTime('a-2026-03-29-013000', 'Europe/Berlin')).toEqual(new Date('2026-03-29T00:30:00Z'));
    expect(findTime('a-2026-03-29-033000', 'Europe/Berlin')).toEqual(new Date('2026-03-29T01:30:00Z'));
    expect(findTime('a-2026-10-25-120000', 'America/New_York')).toEqual(new Date('2026-10-25T16:00:00Z'));
  });

  it.each([
    ['{db}-{date}-{time}', 'my-app-2026-02-07-020000.sql.gz', 'my-app', '2026-02-07T02:00:00Z'],
    ['{engine}/{db}/{timestamp}', 'pg/app/20260207T020000.sql', 'app', '2026-02-07T02:00:00Z'],
    ['{db}-{timestamp}', 'app-20260206T210000-0500.sql', 'app', '2026-02-07T02:00:00Z'],
    ['{db}_{ts}_{uuid}', 'app_1770508800_019c38fb.sql', 'app', '2026-02-08T00:00:00Z'],
    ['nightly', 'nightly.dump', undefined, undefined],
    ['{db}-{date}-{time}', 'notes.txt', null, undefined],
    ['{db}-{date}-{time}', 'sub/app-2026-02-07-020000.sql', null, undefined],
  ])('%s reads %s', (template, name, database, time) => {
    const found = readName(parseTemplate(template), name, 'UTC');
    if (database === null) expect(found).toBeUndefined();
    else expect(found).toEqual({ database, startedAt: time === undefined ? undefined : new Date(time) });
  });
});
