import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { backupEnv, listBackups } from './support/backups.ts';
import { runDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { PG_ROLES, PG_SCHEMA } from './support/pgSchema.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { type RemoteKind, startRemote, type TestRemote } from './support/remotes.ts';
import { makeBackup } from './support/restores.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

type Env = Record<string, string>;

const TIMEOUT = { timeout: 240_000 };

const TOOLS = ['initdb', 'postgres', 'psql', 'pg_dump', 'pg_restore', 'gzip', 'zstd', 'rclone', 'tar'];

describeWith(TOOLS, 'a PostgreSQL database travels', () => {
  let server: PostgresServer;
  let scratch: Scratch;

  beforeAll(async () => {
    scratch = scratchFolder();
    server = await startPostgres();
    await server.sql(PG_ROLES);
    await server.createDatabase('source');
    await server.sql(PG_SCHEMA, { database: 'source' });
    await server.createDatabase('small');
    await server.sql('CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i', { database: 'small' });
  });

  afterAll(async () => {
    await server?.stop();
    await scratch?.[Symbol.asyncDispose]();
  });

  const envOf = (remote: TestRemote, database: string, more: Env = {}): Env =>
    backupEnv(server.uri(database), remote, scratch, more);

  const dump = (database: string): string =>
    execFileSync(requireTool('pg_dump'), [`--dbname=${server.uri(database)}`], { maxBuffer: 1024 ** 3 })
      .toString()
      .replaceAll(/^\\(un)?restrict .*$/gm, '');

  const CASES: readonly [mode: string, more: Env, kind: RemoteKind, extension: RegExp, format: string][] = [
    ['file', {}, 'local', /\d\.sql$/, 'plain'],
    ['file', { BACKUP_COMPRESS: 'true' }, 's3', /\d\.dump$/, 'custom'],
    ['file', { BACKUP_COMPRESS: 'gzip' }, 'sftp', /\d\.sql\.gz$/, 'plain'],
    ['tar', { BACKUP_JOBS: '2' }, 's3', /\d\.tar$/, 'directory'],
    ['tar', { BACKUP_COMPRESS: 'zstd' }, 'local', /\d\.tar\.zst$/, 'directory'],
    ['directory', { BACKUP_JOBS: '2' }, 'local', /\d$/, 'directory'],
    ['directory', { BACKUP_COMPRESS: 'true' }, 's3', /\d$/, 'directory'],
    ['directory', {}, 'sftp', /\d$/, 'directory'],
  ];

  it.each(CASES)(
    'as a %s %j to %s and comes back with all its objects',
    async (mode, more, kind, extension, format) => {
      await using remote = await startRemote(kind);
      const env = envOf(remote, 'source', { BACKUP_MODE: mode, ...more });
      const { artifact, bytes } = await makeBackup(env);
      expect(artifact).toMatch(extension);
      const [listed] = await listBackups(env);
      expect(listed).toMatchObject({ state: 'good', mode, format, bytes });
      const stored = [...(await remote.list())].filter(([path]) => !path.endsWith('.manifest.json'));
      expect(stored.reduce((sum, [, file]) => sum + file.bytes, 0)).toBe(bytes);
      expect(stored.every(([path]) => path.startsWith(artifact))).toBe(true);

      const copy = `copy ${CASES.findIndex((row) => row[1] === more)}`;
      const run = await runDbstash(['restore', '--database', copy], env);
      expect(run.exitCode, run.stderr).toBe(0);
      expect(dump(copy)).toBe(dump('source'));
      expect(readdirSync(join(scratch.path, 'tmp')).filter((name) => name.startsWith('work-'))).toEqual([]);
    },
  );

  it('F15: as a directory of which a file was changed is damaged, and says so ever after', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envOf(remote, 'small', { BACKUP_MODE: 'directory' });
    const { artifact } = await makeBackup(env);
    const path = `${artifact}/toc.dat`;
    const bytes = await remote.read(path);
    bytes[bytes.length - 3]! ^= 1;
    await remote.write(path, bytes);
    const run = await runDbstash(['restore', '--database', 'never'], env);
    expect(run, run.stderr).toMatchObject({ exitCode: 4 });
    expect(run.stderr).toContain('the SHA-256 of toc.dat is not the one in its manifest (never was not created)');
    expect(await listBackups(env)).toMatchObject([{ state: 'damaged' }]);
  });

  it(
    'F23: as a directory that lost a file is missing, and one with a file of somebody else is not loaded',
    TIMEOUT,
    async () => {
      await using remote = await startRemote('s3');
      const env = envOf(remote, 'small', { BACKUP_MODE: 'directory' });
      const { artifact } = await makeBackup(env);
      await remote.write(`${artifact}/stray.dat`, 'x');
      const stray = await runDbstash(['restore', '--database', 'never'], env);
      expect(stray, stray.stderr).toMatchObject({ exitCode: 4 });
      expect(stray.stderr).toContain('it holds stray.dat, which its manifest does not name');
      await remote.remove(`${artifact}/toc.dat`);
      expect(await listBackups(env)).toMatchObject([{ state: 'missing' }]);
    },
  );

  it('F11: as a directory is pruned file by file, and what somebody put there stays', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envOf(remote, 'small', { BACKUP_MODE: 'directory', BACKUP_NAME_TEMPLATE: '{db}-{uuid}' });
    const first = await makeBackup(env);
    const second = await makeBackup(env);
    await remote.write(`${second.artifact}/notes.txt`, 'mine');
    const third = await makeBackup({ ...env, RETENTION_MAX_FILES: '1' });
    expect((await listBackups(env)).map(({ id }) => id)).toEqual([third.id]);
    const left = [...(await remote.list()).keys()].filter((path) => !path.startsWith(third.artifact));
    expect(left).toEqual([`${second.artifact}/notes.txt`]);
    expect(readdirSync(remote.remote)).not.toContain(first.artifact);
  });

  it(
    'F06: as a directory of which a run died is swept a day later, with its folder, and nothing else',
    TIMEOUT,
    async () => {
      await using remote = await startRemote('local');
      const env = envOf(remote, 'small', { BACKUP_MODE: 'directory' });
      const { artifact, id, series } = await makeBackup(env);
      const files = [...(await remote.list()).keys()].filter((path) => path.startsWith(`${artifact}/`));
      await remote.remove(`${artifact}.manifest.json`);
      const days = (count: number) => new Date(Date.now() - count * 86_400_000).toISOString();
      const record = { dbstash: 1, id, run: id, series, startedAt: days(3), refreshedAt: days(2) };
      const objects = [artifact, ...files, `${artifact}.manifest.json`];
      await remote.write(`${artifact}.${id}.pending.json`, JSON.stringify({ ...record, objects }));
      await remote.write('notes.txt', 'mine');
      const run = await runDbstash(['prune'], env);
      expect(run, run.stderr).toMatchObject({ exitCode: 0 });
      expect(readdirSync(remote.remote)).toEqual(['notes.txt']);
    },
  );

  it('F01: as nothing at all where the dump fails: not even a record is written', TIMEOUT, async () => {
    for (const mode of ['file', 'tar', 'directory']) {
      await using remote = await startRemote('local');
      const env = envOf(remote, 'small', { BACKUP_MODE: mode, DUMP_EXTRA_ARGS: '--table=no_such_table' });
      const run = await runDbstash(['backup'], env);
      expect(run, run.stderr).toMatchObject({ exitCode: 1 });
      expect(run.stderr).toContain('no matching tables were found');
      expect((await remote.list()).size).toBe(0);
    }
  });

  it('only so as its tool can: what contradicts itself is refused at once', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const wrong: readonly [Env, string][] = [
      [{ BACKUP_MODE: 'tar', DUMP_EXTRA_ARGS: '--format=custom' }, '--format=custom does not go with BACKUP_MODE=tar'],
      [{ BACKUP_MODE: 'file', DUMP_EXTRA_ARGS: '-Fd' }, '--format=directory does not go with BACKUP_MODE=file'],
      [{ BACKUP_MODE: 'file', DUMP_EXTRA_ARGS: '-f x' }, 'must not say where the dump goes'],
    ];
    for (const [more, message] of wrong) {
      const run = await runDbstash(['backup'], envOf(remote, 'small', more));
      expect(run, run.stderr).toMatchObject({ exitCode: 2 });
      expect(run.stderr).toContain(message);
    }
    const sqlite = { DB_URI: 'sqlite:///nowhere.db', RCLONE_REMOTE: remote.remote, BACKUP_MODE: 'directory' };
    const run = await runDbstash(['backup'], sqlite);
    expect(run, run.stderr).toMatchObject({ exitCode: 2 });
    expect(run.stderr).toContain('BACKUP_MODE: "directory" does not go with sqlite, which takes stream or file');
  });
});
