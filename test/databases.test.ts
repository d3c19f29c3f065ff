import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { expectAgreed } from '../src/jobs/consent.ts';
import { backupEnv, fakePgDump, listBackups } from './support/backups.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';

type Env = Record<string, string>;

const TIMEOUT = { timeout: 240_000 };

const TOOLS = ['initdb', 'postgres', 'psql', 'pg_dump', 'pg_dumpall', 'rclone'];
const NAMES = ['shop', 'Odd, "name"/x', 'audit'];

describeWith(TOOLS, 'several databases of one server', () => {
  let server: PostgresServer;
  let scratch: Scratch;

  beforeAll(async () => {
    scratch = scratchFolder();
    server = await startPostgres();
    await server.sql("CREATE ROLE app LOGIN PASSWORD 'secret-of-app'; CREATE ROLE reader; GRANT reader TO app");
    for (const [index, name] of NAMES.entries()) {
      await server.createDatabase(name);
      await server.sql(`CREATE TABLE t AS SELECT ${index} AS i; ALTER TABLE t OWNER TO app`, { database: name });
    }
  });

  afterAll(async () => {
    await server?.stop();
    await scratch?.[Symbol.asyncDispose]();
  });

  const envOf = (remote: TestRemote, more: Env = {}): Env =>
    backupEnv(server.uri('postgres'), remote, scratch, { DB_NAME: '*', ...more });

  const namesOf = (backups: readonly { database: string }[]) => backups.map(({ database }) => database).sort();

  async function backUp(env: Env): Promise<{ run: string; exitCode: number | null; stderr: string; outcome: string }> {
    const { stdout, exitCode, stderr } = await runDbstash(['backup', '--json'], env);
    return { ...JSON.parse(stdout), exitCode, stderr };
  }

  it('make an artifact and a series each, with what belongs to the server beside them', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envOf(remote, { DB_EXCLUDE: 'post*, a?dit' });
    expect(await backUp(env)).toMatchObject({ exitCode: 0, outcome: 'succeeded' });
    const backups = await listBackups(env);
    expect(namesOf(backups)).toEqual([NAMES[1], 'all', 'shop']);
    expect(backups.every(({ state }) => state === 'good')).toBe(true);
    expect(new Set(backups.map(({ series }) => series)).size).toBe(3);
    const globals = backups.find(({ database }) => database === 'all')!;
    expect(globals.artifact).toMatch(/^all-[\d-]+\.sql$/);
    expect((await remote.read(globals.artifact)).toString()).toMatch(/CREATE ROLE app;/);
  });

  it('come from a list too, whose names are told apart where the template does not', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envOf(remote, { DB_NAME: 'shop, audit', BACKUP_NAME_TEMPLATE: 'x/{date}', BACKUP_SERIES: 'mine' });
    expect(await backUp(env)).toMatchObject({ exitCode: 0 });
    const backups = await listBackups(env);
    expect(backups.map(({ artifact }) => artifact.replace(/\d{4}-\d\d-\d\d/, 'D')).sort()).toEqual([
      'x/D-all.sql',
      'x/D-audit.sql',
      'x/D-shop.sql',
    ]);
    expect(backups.map(({ series }) => series).sort()).toEqual(['mine/', 'mine/audit', 'mine/shop']);
  });

  it(
    'are pruned each for itself, by the command too, and a stranger with a like name is left alone',
    TIMEOUT,
    async () => {
      await using remote = await startRemote('local');
      const env = envOf(remote, { DB_NAME: 'shop,audit', BACKUP_NAME_TEMPLATE: '{db}-{uuid}' });
      const other = backupEnv(server.uri('shop'), remote, scratch, { BACKUP_SERIES: 'stranger' });
      for (let count = 0; count < 2; count += 1) await backUp(other);
      for (let count = 0; count < 3; count += 1) expect(await backUp(env)).toMatchObject({ exitCode: 0 });
      const keepTwo = await backUp({ ...env, RETENTION_MAX_FILES: '2' });
      expect(keepTwo.exitCode, keepTwo.stderr).toBe(0);
      const count = async (name: string) => (await listBackups(env)).filter(({ database }) => database === name).length;
      expect([await count('audit'), await count('all')]).toEqual([2, 2]);
      const prune = await runDbstash(['prune', '--json'], { ...env, RETENTION_MAX_FILES: '1' });
      expect(prune, prune.stderr).toMatchObject({ exitCode: 0 });
      expect([await count('audit'), await count('all')]).toEqual([1, 1]);
      expect((await listBackups(env)).filter(({ series }) => series === 'stranger')).toHaveLength(2);
    },
  );

  it('do not stop one another: one that fails is named, the others are committed', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const run = await backUp(envOf(remote, { DB_NAME: 'shop,no such database,audit' }));
    expect(run).toMatchObject({ exitCode: 1, outcome: 'failed' });
    expect(run.stderr).toMatch(/1 of 4 databases failed: no such database: .*does not exist/);
    expect(namesOf(await listBackups(envOf(remote)))).toEqual(['all', 'audit', 'shop']);
  });

  it('F22: of which one is being backed up elsewhere leave that one out', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envOf(remote, { DB_NAME: 'shop,audit' });
    const go = join(scratch.path, 'go');
    const slow = fakePgDump(scratch, `while [ ! -e '${go}' ]; do sleep 0.1; done; real "$@"`);
    await using first = startDbstash(['backup'], { ...env, DB_NAME: 'shop', DB_URI: server.uri('shop'), ...slow });
    await waitFor(async () => [...(await remote.list()).keys()].some((path) => path.includes('shop')));
    const second = await backUp(env);
    expect(second, second.stderr).toMatchObject({ exitCode: 0, outcome: 'warning' });
    expect(second.stderr).toMatch(/shop: another run of .* is going on/);
    writeFileSync(go, '');
    expect(await first.exited).toMatchObject({ exitCode: 0 });
  });

  it('that no pattern leaves are an error that names what there is', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const run = await runDbstash(['backup'], envOf(remote, { DB_EXCLUDE: '*' }));
    expect(run, run.stderr).toMatchObject({ exitCode: 2 });
    expect(run.stderr).toContain('DB_NAME: * finds no database that DB_EXCLUDE does not leave out (of Odd, ');
  });

  it('come back together with their roles on another server, by the id of their run', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envOf(remote, { DB_EXCLUDE: 'postgres', BACKUP_MODE: 'directory' });
    const { run } = await backUp(env);
    await using other = await startPostgres({ password: 'pw-of-other' });
    const to = { RESTORE_DB_URI: other.uri('postgres') };
    const restored = await runDbstash(['restore', '--run', run], { ...env, ...to });
    expect(restored.exitCode, restored.stderr).toBe(0);
    for (const [index, name] of NAMES.entries())
      expect(await other.sql('SELECT i FROM t', { database: name })).toEqual([String(index)]);
    const roles = `SELECT rolname, rolcanlogin, rolpassword IS NOT NULL FROM pg_authid WHERE oid >= 16384 ORDER BY 1`;
    expect(await other.sql(roles)).toEqual(await server.sql(roles));
    // Our own login is as it was: we could still connect. What is there now is not changed unasked.
    const again = await runDbstash(['restore', '--run', run], { ...env, ...to });
    expect(again, again.stderr).toMatchObject({ exitCode: 2 });
    const all = `Odd, "name"/x (1 table), audit (1 table), shop (1 table) on ${other.host}:${other.port}`;
    expect(again.stderr).toContain(
      `the run ${run} would change the roles app, reader, and empty ${all}: restore into another server with --to URI or RESTORE_DB_URI, or go on with --replace --yes ${run}`,
    );
    const replacing = ['restore', '--run', run, '--replace'];
    for (const told of [[], ['--yes', 'postgres'], ['--yes', 'shop']]) {
      const unconfirmed = await runDbstash([...replacing, ...told], { ...env, ...to });
      expect(unconfirmed, unconfirmed.stderr).toMatchObject({ exitCode: 2 });
      expect(unconfirmed.stderr).toContain(
        `--replace changes the roles app, reader, and empties ${all}: confirm it with --yes ${run}`,
      );
    }
    const foreseen = await runDbstash([...replacing, '--dry-run'], { ...env, ...to });
    expect(foreseen, foreseen.stderr).toMatchObject({ exitCode: 0 });
    const [first = '', ...others] = foreseen.stdout.trim().split(/(?=would restore)/);
    expect(first).toMatch(/into +the roles of the server \(PostgreSQL [\d.]+\), none of which would be removed\n/);
    expect(first).toMatch(/would change +the roles app, reader\n/);
    expect(first).not.toMatch(/lose|emptied/);
    expect(others.map((text) => /would lose +1 table/.test(text))).toEqual([true, true, true]);
    const replaced = await runDbstash([...replacing, '--yes', run], { ...env, ...to });
    expect(replaced.exitCode, replaced.stderr).toBe(0);
  });

  it('go by --to too, as the refusal says, and of the roles alone it says that they are changed', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envOf(remote, { DB_NAME: 'shop,audit' });
    const { run } = await backUp(env);
    await using other = await startPostgres();
    const restored = await runDbstash(['restore', '--run', run, '--to', other.uri('postgres')], env);
    expect(restored.exitCode, restored.stderr).toBe(0);
    expect(await other.sql('SELECT i FROM t', { database: 'shop' })).toEqual(['0']);
    const { artifact } = (await listBackups(env)).find(({ database }) => database === 'all')!;
    const to = { ...env, RESTORE_DB_URI: other.uri('postgres') };
    const place = `${other.host}:${other.port}`;
    expect((await runDbstash(['restore', artifact], to)).stderr).toContain(
      `${place} has the roles app, reader, which would be changed: restore into another server with --to URI or RESTORE_DB_URI, or go on with --replace`,
    );
    expect((await runDbstash(['restore', artifact, '--replace'], to)).stderr).toContain(
      `--replace changes the roles app, reader on ${place}: confirm it with --yes postgres`,
    );
    const changed = await runDbstash(['restore', artifact, '--replace', '--yes', 'postgres'], to);
    expect(changed.exitCode, changed.stderr).toBe(0);
  });

  it('come back without the one that failed in that run, which is said', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envOf(remote, { DB_NAME: 'shop,audit', BACKUP_NAME_TEMPLATE: '{db}-{uuid}' });
    const whole = await backUp(env);
    const last = (await listBackups(env)).find(({ database }) => database === 'audit')!;
    await backUp(envOf(remote, { DB_NAME: NAMES[2]!, BACKUP_SERIES: 'stranger' }));
    const failing = fakePgDump(scratch, 'case "$PGDATABASE$*" in *audit*) exit 1 ;; esac; real "$@"');
    for (let count = 0; count < 2; count += 1) {
      const { run, stderr, exitCode } = await backUp({ ...env, ...failing });
      expect(exitCode, stderr).toBe(1);
      await using other = await startPostgres();
      const restored = await runDbstash(['restore', '--run', run], { ...env, RESTORE_DB_URI: other.uri('postgres') });
      expect(restored.exitCode, restored.stderr).toBe(0);
      const warnings = restored.lines.filter(({ level }) => level === 'warn').map(({ message }) => message);
      expect(warnings).toEqual([
        `the run ${run} has no backup of audit, which a run before it had: it failed then, or was not there; its last one before is ${last.artifact}`,
      ]);
    }
    await using other = await startPostgres();
    const to = { RESTORE_DB_URI: other.uri('postgres') };
    const restored = await runDbstash(['restore', '--run', whole.run], { ...env, ...to });
    expect(restored, restored.stderr).toMatchObject({ exitCode: 0 });
    expect(restored.stderr).not.toContain('has no backup of');
  });

  it(
    'F11: are told from those of a stack whose series begin like theirs, and from those left out',
    TIMEOUT,
    async () => {
      await using remote = await startRemote('local');
      const common = { BACKUP_NAME_TEMPLATE: '{db}-{uuid}' };
      const strange = backupEnv(server.uri('shop'), remote, scratch, { ...common, BACKUP_SERIES: 'mine/eu' });
      const excluded = backupEnv(server.uri('audit'), remote, scratch, common);
      for (const env of [strange, strange, excluded, excluded])
        expect(await backUp(env)).toMatchObject({ exitCode: 0 });
      const prune = async (more: Env) => {
        const run = await runDbstash(['prune', '--json'], envOf(remote, { RETENTION_MAX_FILES: '1', ...more }));
        expect(run, run.stderr).toMatchObject({ exitCode: 0 });
        return JSON.parse(run.stdout).removed;
      };
      expect(await prune({ BACKUP_SERIES: 'mine' })).toEqual([]);
      expect(await prune({ DB_EXCLUDE: 'audit' })).toEqual([]);
      expect(await prune({})).toHaveLength(1);
    },
  );

  it(
    'are pruned where that can be done, with the exit code of a remote that failed where another cannot be listed',
    TIMEOUT,
    async () => {
      await using remote = await startRemote('local');
      const env = envOf(remote, { DB_NAME: 'shop,audit', BACKUP_NAME_TEMPLATE: '{db}-{uuid}' });
      for (let run = 0; run < 2; run++) expect(await backUp(env)).toMatchObject({ exitCode: 0 });
      const gone = `${scratch.path}/no-folder`;
      writeFileSync(gone, '');
      const prune = await runDbstash(['prune', '--json'], { ...env, RCLONE_REMOTE_2: gone, RETENTION_MAX_FILES: '1' });
      expect(prune, prune.stderr).toMatchObject({ exitCode: 3 });
      expect(JSON.parse(prune.stdout).removed).toHaveLength(3);
      expect(prune.stderr).toContain(`${gone} is left out: `);
    },
  );

  it('go back each into its own, by the name of an artifact too', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envOf(remote, { DB_NAME: 'shop,audit' });
    expect(await backUp(env)).toMatchObject({ exitCode: 0 });
    const { artifact } = (await listBackups(env)).find(({ database }) => database === 'audit')!;
    const refused = await runDbstash(['restore', artifact], env);
    expect(refused.stderr).toMatch(/audit on 127\.0\.0\.1:\d+ holds 1 table/);
    await server.sql('DROP DATABASE audit');
    const run = await runDbstash(['restore', artifact], env);
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    expect(await server.sql('SELECT i FROM t', { database: 'audit' })).toEqual(['2']);
  });

  it('are none where the list is empty, or holds a star', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    for (const [name, says] of [
      [',', 'names no database'],
      ['shop,*', '* means all databases'],
    ] as const) {
      const run = await runDbstash(['backup'], envOf(remote, { DB_NAME: name }));
      expect(run, run.stderr).toMatchObject({ exitCode: 2 });
      expect(run.stderr).toContain(says);
    }
  });

  it('are not one: latest needs the name of one', TIMEOUT, async () => {
    await using remote = await startRemote('local');
    const env = envOf(remote, { DB_NAME: 'shop,audit' });
    expect(await backUp(env)).toMatchObject({ exitCode: 0 });
    const vague = await runDbstash(['restore'], env);
    expect(vague, vague.stderr).toMatchObject({ exitCode: 2 });
    expect(vague.stderr).toContain('give --database NAME for one, or --run ID for all of one run');
    const elsewhere = await runDbstash(['restore', 'latest'], { ...env, RESTORE_DB_URI: 'postgres://u:p@other:5432' });
    expect(elsewhere, elsewhere.stderr).toMatchObject({ exitCode: 2 });
    expect(elsewhere.stderr).toContain('give --database NAME for one, or --run ID for all of one run');
    const into = join(scratch.path, 'downloads');
    mkdirSync(into);
    const download = await runDbstash(['download', 'latest', into], env);
    expect(download, download.stderr).toMatchObject({ exitCode: 2 });
    expect(download.stderr).toContain('latest is not clear, since there are several databases: give a name');
    expect(readdirSync(into)).toEqual([]);
    await server.sql('DROP DATABASE audit');
    const run = await runDbstash(['restore', 'latest', '--database', 'audit'], env);
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    expect(await server.sql('SELECT i FROM t', { database: 'audit' })).toEqual(['2']);
  });

  it(
    'are dumped without the passwords of roles where the login may not read them, and the run says so',
    TIMEOUT,
    async () => {
      await using remote = await startRemote('local');
      await server.sql("CREATE ROLE weak LOGIN PASSWORD 'w'");
      for (const database of ['shop', 'audit']) await server.sql('GRANT SELECT ON t TO weak', { database });
      const uri = server.uri('postgres').replace(/\/\/[^@]*@/, '//weak:w@');
      const env = { ...envOf(remote, { DB_NAME: 'shop,audit' }), DB_URI: uri };
      const run = await backUp(env);
      expect(run, run.stderr).toMatchObject({ exitCode: 0, outcome: 'warning' });
      expect(run.stderr).toContain('the roles are dumped without their passwords');
      const globals = (await listBackups(env)).find(({ database }) => database === 'all')!;
      const text = (await remote.read(globals.artifact)).toString();
      expect(text).toMatch(/CREATE ROLE app;/);
      expect(text).not.toContain('PASSWORD');
    },
  );
});

it('a run that would empty very many databases names the first ten and their count', async () => {
  const stakes = Array.from({ length: 23 }, (_, i) => ({
    name: `db${i}`,
    place: 'db:3306',
    holds: '1 table',
    isAmended: false,
  }));
  const asked: string[][] = [];
  const confirm = async (...words: string[]) => asked.push(words) < 0;
  const refused = expectAgreed(stakes, { run: 'R', replace: true, confirm });
  const what =
    'empties db0 (1 table), db1 (1 table), db2 (1 table), db3 (1 table), db4 (1 table), db5 (1 table), db6 (1 table), db7 (1 table), db8 (1 table), db9 (1 table) and 13 more on db:3306';
  await expect(refused).rejects.toThrow(`--replace ${what}: confirm it with --yes R`);
  expect(asked).toEqual([['R', what]]);
  await expectAgreed([], { run: 'R', replace: false, confirm });
});
