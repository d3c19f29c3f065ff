import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { variables } from '../src/config/variables.ts';
import { findTime, readName } from '../src/core/nameTime.ts';
import { parseTemplate } from '../src/core/naming.ts';
import { runDbstash } from './support/dbstash.ts';
import { fakeTools } from './support/fakeTool.ts';
import { type MysqlServer, startMariadb } from './support/mysql.ts';
import { describeWith } from './support/need.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';

const TIMEOUT = { timeout: 400_000 };
const root = join(import.meta.dirname, '..');
const page = readFileSync(join(root, 'docs/migrating.md'), 'utf8');
/** By their titles. */
const sections = new Map(page.split(/^## /m).map((text) => [text.slice(0, text.indexOf('\n')), text]));
const blocksOf = (text: string, kind: 'sh' | 'env'): string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(([, block = '']) => block);
const namesIn = (text: string): string[] => text.match(/\b[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9]\b/g) ?? [];

function section(title: string): string {
  const text = sections.get(title);
  if (text === undefined) throw new Error(`docs/migrating.md has no section ${title}`);
  return text;
}

describe('docs/migrating.md', () => {
  const known = new Set(
    variables.flatMap(({ name, hasFile = true }) => (hasFile ? [name, `${name}_FILE`] : [name])) as string[],
  );
  const isOurs = (name: string) => known.has(name) || /^RCLONE_CONFIG_(S3|SMB)_[A-Z0-9_]+$/.test(name);
  const rows = [...sections.values()].flatMap((text) => {
    const [, table = ''] = text.split('| theirs | ours |\n|---|---|\n');
    return table.split('\n\n')[0]!.split('\n').filter(Boolean);
  });
  const theirs = new Set(rows.flatMap((row) => namesIn(row.split(' | ')[0]!)));

  it('maps what others call a variable to one that dbstash has, or says that there is none', () => {
    expect(rows.length).toBeGreaterThan(50);
    for (const row of rows) {
      const [, ours = ''] = row.split(' | ');
      const unknown = namesIn(ours).filter((name) => !isOurs(name) && !theirs.has(name));
      expect(unknown, row).toEqual([]);
      const says = namesIn(ours).some(isOurs) || /\bnone\b|the same|another container/.test(ours);
      expect(says, `${row} says neither`).toBe(true);
    }
  });

  it('names no variable of dbstash that is none', () => {
    const rest = page.split('\n').filter((line) => !rows.includes(line));
    const prefixes = /^(DB|RCLONE|BACKUP|RETENTION|NOTIFY|HOOK|HEALTH|LOG|VERIFY|PING|DUMP|DECRYPT|SSH|SMTP)_/;
    const unknown = namesIn(rest.join('\n')).filter(
      (name) => prefixes.test(name) && !isOurs(name) && !theirs.has(name),
    );
    // Prefixes that the text speaks of, and what old versions called it.
    expect([...new Set(unknown)]).toEqual(['DB_TYPE', 'DB_DUMP_BY_SCHEMA']);
  });

  it.each(
    [...page.matchAll(/^\| `(\+|-I)[^|]*\| `(app[^`]+)`([^|]*)\|$/gm)].map(([, , name = '', note = '']) => [
      name,
      note,
    ]),
  )('the time in %s is found', (name, note) => {
    const [, template] = /BACKUP_NAME_TEMPLATE=([^`]+)/.exec(note) ?? [];
    const found = template ? readName(parseTemplate(template), name, 'UTC')?.startedAt : findTime(name, 'UTC');
    const time = note.includes('modification')
      ? undefined
      : new Date(note.includes('beginning') ? '2026-02-07T00:00:00Z' : '2026-02-07T02:15:00Z');
    expect(found).toEqual(time);
  });

  it('shows configurations that are valid as they stand', TIMEOUT, async () => {
    await using scratch = scratchFolder();
    const secrets = {
      'db-password': 'secret',
      'rclone.conf': '[s3]\ntype = s3\n',
      rclone_conf: '[s3]\ntype = s3\n',
      pg_uri: 'postgres://backup:secret@db/app\n',
    };
    for (const [name, text] of Object.entries(secrets)) writeFileSync(join(scratch.path, name), text, { mode: 0o600 });
    const blocks = blocksOf(page, 'env');
    expect(blocks).toHaveLength(6);
    for (const block of blocks) {
      const env = Object.fromEntries(
        block
          .replaceAll('/run/secrets', scratch.path)
          .trim()
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
      );
      const done = await runDbstash(['config', '--json'], env);
      expect(done, `${block}${done.stdout}`).toMatchObject({ exitCode: 0 });
      expect(JSON.parse(done.stdout), block).toMatchObject({ problems: [], warnings: [] });
    }
  });
});

interface Tool {
  readonly section: string;
  readonly engine: 'pg' | 'mariadb';
  /** What the tool runs, by the file that it writes: to `$FILE`, of the database `app`. */
  readonly files: Readonly<Record<string, string>>;
  /** What lies there besides, and is not taken. */
  readonly others: Readonly<Record<string, string>>;
  /** What the section's command takes, and of when it is. */
  readonly adopted: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
}

const MARIADB_DUMP = 'mariadb-dump --max-allowed-packet=512M -h 127.0.0.1 -P "$PORT" -uroot';
const AT = '2026-02-07 02:15:00';

const TOOLS: readonly Tool[] = [
  {
    section: 'The dbstash written in Go',
    engine: 'pg',
    files: {
      'app-20260207T074500+0530.sql': 'pg_dump --format=plain "$DB_URI" > "$FILE"',
      'app-20260208T021500Z.dump': 'pg_dump --format=custom "$DB_URI" > "$FILE"',
    },
    others: { 'all-20260207T074500+0530.sql': 'pg_dumpall -d "$DB_URI" > "$FILE"' },
    adopted: { 'app-20260207T074500+0530.sql': AT, 'app-20260208T021500Z.dump': '2026-02-08 02:15:00' },
    env: { TZ: 'Asia/Kolkata' },
  },
  {
    section: 'nfrastack/db-backup, formerly tiredofit/db-backup',
    engine: 'mariadb',
    files: {
      'mariadb_app_db_20260207-021500.sql.zst': `${MARIADB_DUMP} --events --single-transaction --routines app | zstd -q -3 -T2 > "$FILE"`,
    },
    others: {
      'mariadb_app_db_20260207-021500.sql.zst.md5': 'echo 0 > "$FILE"',
      'mariadb_app_archive_db_20260207-021500.sql.zst': 'echo 0 > "$FILE"',
    },
    adopted: { 'mariadb_app_db_20260207-021500.sql.zst': AT },
  },
  {
    section: 'prodrigestivill/postgres-backup-local',
    engine: 'pg',
    files: {
      'last/app-20260207-021500.sql.gz': 'pg_dump -d app -f "$FILE" -Z1',
      'daily/app-20260207.sql.gz': 'ln "$OUT/last/app-20260207-021500.sql.gz" "$FILE"',
      'weekly/app-202606.sql.gz': 'ln "$OUT/last/app-20260207-021500.sql.gz" "$FILE"',
      'monthly/app-202602.sql.gz': 'ln "$OUT/last/app-20260207-021500.sql.gz" "$FILE"',
    },
    others: { 'last/app-latest.sql.gz': 'ln -s app-20260207-021500.sql.gz "$FILE"' },
    adopted: {
      'last/app-20260207-021500.sql.gz': AT,
      'daily/app-20260207.sql.gz': '2026-02-07 00:00:00',
      'weekly/app-202606.sql.gz': AT,
      'monthly/app-202602.sql.gz': AT,
    },
  },
  {
    section: 'eeshugerman/postgres-backup-s3 and schickling/postgres-backup-s3',
    engine: 'pg',
    files: {
      'app_2026-02-07T02:15:00.dump': 'pg_dump --format=custom -d app > "$FILE"',
      'app_2026-02-08T02:15:00Z.sql.gz': 'pg_dump app | gzip > "$FILE"',
    },
    others: {
      'all_2026-02-08T02:15:00Z.sql.gz': 'pg_dumpall | gzip > "$FILE"',
      'app_2026-02-09T02:15:00.dump.gpg': 'echo 0 > "$FILE"',
      'app_archive_2026-02-08T02:15:00Z.sql.gz': 'echo 0 > "$FILE"',
    },
    adopted: { 'app_2026-02-07T02:15:00.dump': AT, 'app_2026-02-08T02:15:00Z.sql.gz': '2026-02-08 02:15:00' },
    env: { TZ: 'Asia/Kolkata' },
  },
  {
    section: 'databack/mysql-backup',
    engine: 'mariadb',
    files: {
      'db_backup_20260207021500.gz': `mkdir "$OUT/w"; ${MARIADB_DUMP} --databases app > "$OUT/w/app_20260207021500.sql"; tar -C "$OUT/w" -cf - . | gzip > "$FILE"; rm -r "$OUT/w"`,
      'app_20260207021500.sql': 'tar -xzf "$OUT/db_backup_20260207021500.gz" -C "$OUT" ./app_20260207021500.sql',
    },
    others: {},
    adopted: { 'app_20260207021500.sql': AT },
    env: { TZ: 'Asia/Kolkata' },
  },
];

/** What the page says is left, with the patterns that fit it. */
const LEFT: Readonly<Record<string, readonly [script: string, reason: string]>> = {
  'all_20260207.sql.gz': ['pg_dumpall | gzip > "$FILE"', 'made by pg_dumpall'],
  'app_20260207.tar': ['pg_dump -Ft app > "$FILE"', 'it is no dump of PostgreSQL'],
  'named_20260207.sql': ['pg_dump --create app > "$FILE"', 'made with --create'],
  'postgres-app-db-full-20260207-021500.sql.zst': [
    'printf -- \'-- db-backup | PostgreSQL | 5.0.7\\n-- Database: app\\n\' | zstd -q > "$FILE"',
    'it is no dump of PostgreSQL',
  ],
};

const PROGRAMS = ['rclone', 'gzip', 'zstd', 'xz', 'bzip2', 'tar', 'bash'];

describeWith(
  [...PROGRAMS, 'postgres', 'initdb', 'psql', 'pg_dump', 'pg_dumpall', 'pg_restore', 'mariadbd', 'mariadb-dump'],
  'what docs/migrating.md shows',
  () => {
    let scratch: Scratch;
    let pg: PostgresServer;
    let mariadb: MysqlServer;
    beforeAll(async () => {
      scratch = scratchFolder();
      [pg, mariadb] = await Promise.all([startPostgres(), startMariadb()]);
      await pg.createDatabase('app');
      // More than bzip2 takes for one block, and hardly smaller compressed.
      await pg.sql('CREATE TABLE t AS SELECT i, md5(i::text) AS word FROM generate_series(1, 60000) i', {
        database: 'app',
      });
      await mariadb.createDatabase('app');
      await mariadb.sql('CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)', { database: 'app' });
    }, 180_000);
    afterAll(async () => {
      await pg?.stop();
      await mariadb?.stop();
      await scratch?.[Symbol.asyncDispose]();
    });

    function envOf(engine: Tool['engine']): Record<string, string> {
      const dbstash = fakeTools(scratch, { dbstash: `exec '${process.execPath}' '${root}/src/main.ts' "$@"` });
      return {
        PATH: `${dbstash}:${process.env.PATH}`,
        HOME: scratch.path,
        TMPDIR: scratch.path,
        BACKUP_TEMP_DIR: join(scratch.path, 'tmp'),
        ENGINE: engine,
        DB_URI: engine === 'pg' ? pg.uri('app') : mariadb.uri('app'),
        PORT: String(mariadb.port),
        MYSQL_PWD: mariadb.password,
        PGHOST: pg.host,
        PGPORT: String(pg.port),
        PGUSER: pg.user,
        PGPASSWORD: pg.password,
      };
    }

    const run = (script: string, env: Record<string, string>): string =>
      execFileSync('bash', ['-euo', 'pipefail', '-c', script], {
        env,
        cwd: scratch.path,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      });

    /** Runs a script for each file, in a folder of its own. */
    function make(name: string, engine: Tool['engine'], files: Readonly<Record<string, string>>): string {
      const folder = join(scratch.path, name);
      for (const [file, script] of Object.entries(files)) {
        mkdirSync(join(folder, file, '..'), { recursive: true });
        run(script, { ...envOf(engine), OUT: folder, FILE: join(folder, file) });
        const isLink = script.startsWith('ln -s');
        if (!isLink) utimesSync(join(folder, file), new Date(`${AT}Z`), new Date(`${AT}Z`));
      }
      return folder;
    }

    it.each(TOOLS)(
      'takes over what $section left',
      TIMEOUT,
      ({ section: title, engine, files, others, adopted, env }) => {
        const folder = make(title.replaceAll(/\W/g, ''), engine, { ...files, ...others });
        const blocks = blocksOf(section(title), 'sh');
        expect(blocks).toHaveLength(1);
        const said = run(blocks[0]!, { ...envOf(engine), ...env, RCLONE_REMOTE: folder });
        const found = [...said.matchAll(/^ *would adopt\s+(\S+) on \S+\s+(\S+) of (\S+ \S+) UTC/gm)];
        expect(
          Object.fromEntries(found.map(([, path, database, time]) => [path, `${database} ${time}`])),
          said,
        ).toEqual(Object.fromEntries(Object.entries(adopted).map(([path, time]) => [path, `app ${time}`])));
        expect(said).not.toContain('left');
      },
    );

    it('leaves what it says is left, and takes what xz and bzip2 made', TIMEOUT, async () => {
      const scripts = Object.fromEntries(Object.entries(LEFT).map(([file, [script]]) => [file, script]));
      const folder = make('left', 'pg', {
        ...scripts,
        'pgsql_app_db_20260207-021500.sql.bz2': 'pg_dump app | bzip2 > "$FILE"',
        'pgsql_app_db_20260208-021500.sql.xz': 'pg_dump app | xz -1 > "$FILE"',
      });
      const env = { ...envOf('pg'), RCLONE_REMOTE: folder };
      const done = await runDbstash(['adopt', '--json', '*'], env, { timeoutMs: 120_000 });
      expect(done, done.stderr).toMatchObject({ exitCode: 2 });
      const results: { path: string; reason?: string; manifest?: { compression: string } }[] = JSON.parse(done.stdout);
      for (const { path, reason, manifest } of results)
        if (path.startsWith('pgsql_')) expect(manifest?.compression, reason).toBe(path.endsWith('xz') ? 'xz' : 'bzip2');
        else expect(reason, path).toContain(LEFT[path]?.[1]);
      expect(results).toHaveLength(6);
      const read = await runDbstash(['verify', 'all'], env, { timeoutMs: 120_000 });
      expect(read, read.stderr).toMatchObject({ exitCode: 0 });
    });

    it(
      'every step of the way over works as it stands there, and the way back leaves the old files as they were',
      TIMEOUT,
      async () => {
        const storage = join(scratch.path, 'storage/backups');
        mkdirSync(join(storage, 'app'), { recursive: true });
        const [script = ''] = blocksOf(section('A script of your own'), 'sh');
        const dated = fakeTools(scratch, { date: 'echo 2026-02-07-021500' });
        const env: Record<string, string> = {
          ...envOf('pg'),
          RCLONE_CONFIG_S3_TYPE: 'alias',
          RCLONE_CONFIG_S3_REMOTE: join(scratch.path, 'storage'),
        };
        run(script.replaceAll('/backups/', `${storage}/app/`), { ...env, PATH: `${dated}:${env.PATH}` });
        const old = join(storage, 'app/app-2026-02-07-021500.sql.gz');
        const sha256 = () => createHash('sha256').update(readFileSync(old)).digest('hex');
        const before = sha256();
        const steps = blocksOf(section('The way over'), 'sh');
        expect(steps).toHaveLength(5);
        const said = run(steps.slice(0, 4).join('\n'), env);
        const sum = 'SELECT count(*), sum(hashtext(word)) FROM t';
        expect(await pg.sql(sum, { database: 'app_trial' })).toEqual(await pg.sql(sum, { database: 'app' }));
        expect(said).toMatch(/^ *would adopt +app-2026-02-07-021500\.sql\.gz on .* app of 2026-02-07 02:15:00 UTC/m);
        expect(said).toContain('1 adopted');
        expect(existsSync(join(storage, 'app-dbstash/app-2026-02-07-021500.sql.gz'))).toBe(false);
        const kept = readdirSync(join(storage, 'app'));
        expect(kept.filter((name) => name.endsWith('.manifest.json'))).toHaveLength(2);
        run(steps[4]!, env);
        const left = readdirSync(join(storage, 'app'));
        expect(left).toHaveLength(2);
        expect(left).toContain('app-2026-02-07-021500.sql.gz');
        expect(sha256()).toBe(before);
      },
    );
  },
);
