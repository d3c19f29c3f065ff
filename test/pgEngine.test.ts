import { spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Command, type Question, renderCommand } from '../src/core/command.ts';
import type { Connection } from '../src/core/connection.ts';
import type { DumpPlan, RestorePlan, Server, Target } from '../src/engines/engine.ts';
import { pg } from '../src/engines/pg.ts';
import { describeWith } from './support/need.ts';
import { PG_MESS, PG_ROLES, PG_SCHEMA, PG_SETTINGS } from './support/pgSchema.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';

const PASSWORD = `p@ss:/?#%'"\\$ ü;\`id\`$(id)`;

const ODD_NAMES = [
  'a=b',
  `it's "quoted"`,
  'postgres://evil/x?sslmode=require',
  '-x --help',
  'new\nline',
  'back\\slash',
  '$(touch /tmp/dbstash-was-here)',
  '`id`;drop',
  'dbname=postgres host=evil',
  `100%41 \${VAR} üñî ';--`,
];

describeWith(
  ['initdb', 'postgres', 'psql', 'pg_dump', 'pg_restore', 'sed'],
  'the engine pg against a real server',
  () => {
    let server: PostgresServer;
    let folder: Scratch;

    beforeAll(async () => {
      folder = scratchFolder();
      server = await startPostgres({ password: PASSWORD });
      await server.sql(PG_ROLES);
      await server.createDatabase('source');
      await server.sql(PG_SCHEMA, { database: 'source' });
      await server.sql(PG_SETTINGS);
    }, 60_000);

    afterAll(async () => {
      await server?.stop();
      await folder?.[Symbol.asyncDispose]();
    });

    const connect = (database: string, login: { user?: string; password?: string } = {}): Connection => ({
      engine: 'pg',
      hosts: [{ host: server.host, port: server.port }],
      user: login.user ?? server.user,
      password: login.password ?? server.password,
      database,
      params: {},
      tls: undefined,
      tlsCa: undefined,
    });

    it('F30 F35: takes any database name, user and password literally', async () => {
      const user = `o'dd "u=ser" -x;$(id)`;
      await server.sql(`CREATE ROLE ${quote(user)} LOGIN SUPERUSER PASSWORD 'secret'`);
      await server.sql(`ALTER ROLE ${quote(user)} PASSWORD '${PASSWORD.replaceAll("'", "''")}'`);
      for (const name of ODD_NAMES) {
        await server.createDatabase(name);
        const connection = connect(name, { user, password: PASSWORD });
        await run(command('psql', connection, `CREATE TABLE t AS SELECT current_database() AS name;`));
        const dump = await makeDump(connection);
        expect(dump.bytes.toString()).toContain(`${name.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n\\.`);
        const copy = connect(`copy of ${name}`, { user, password: PASSWORD });
        await restore(copy, dump);
        expect(await server.sql('SELECT name FROM t', { database: copy.database })).toEqual(name.split('\n'));
      }
    }, 120_000);

    it('F32: shows no secret in any argument', async () => {
      const connection = { ...connect('source'), params: { sslpassword: 'canary-key', password: 'canary-two' } };
      const target: Target = { exists: false, holds: '', missingRoles: ['x'], title: 'PostgreSQL 15', major: 15 };
      const facts = { roles: ['x'] };
      const inspect = pg.inspect(connection);
      const plan = pg.planRestore({
        connection,
        target,
        facts,
        mode: 'stream',
        format: 'custom',
        replace: true,
        createRoles: true,
        id: 'x',
      });
      const dump = pg.planDump({
        connection,
        server: fakeServer(15),
        tool: 'pg_dump 17.6',
        mode: 'stream',
        jobs: 1,
        compress: true,
        extraArgs: [],
      });
      const questions = allOf(pg.inspectTarget(connection, facts));
      const commands = [
        inspect.command,
        ...questions,
        dump.dump,
        ...plan.prepare,
        ...plan.filters,
        plan.load,
        ...plan.finish,
      ];
      expect(commands.length).toBeGreaterThan(8);
      for (const { args } of commands) {
        for (const secret of [PASSWORD, 'canary']) expect(args.join('\n')).not.toContain(secret);
      }
      expect(dump.dump.files?.['pg_service.conf']).toContain('sslpassword=canary-key');
      expect((await run({ ...inspect.command, env: { ...inspect.command.env } })).code).toBe(0);
    });

    it('inspects the server and what a dump does not say', async () => {
      const found = await ask(pg.inspect(connect('source')));
      const [id] = await server.sql('SELECT system_identifier FROM pg_control_system()');
      expect(found).toMatchObject({
        title: `PostgreSQL ${await serverVersion()}`,
        serverId: id,
        major: server.major,
        needsCopy: false,
      });
      expect(found.bytes).toBeGreaterThan(1_000_000);
      expect(found.target).toMatchObject({
        encoding: 'UTF8',
        collate: 'C.UTF-8',
        provider: 'libc',
        owner: 'app owner',
        roles: ['app owner', 'postgres', 'reader;"x"'],
        largeObjects: true,
        droppedSettings: ['app.jwt_secret'],
      });
      expect(found.target.settings).toContainEqual({
        role: null,
        name: 'search_path',
        value: '"$user", "odd Schema", public',
      });
      expect(JSON.stringify(found)).not.toContain('hunter2');
    });

    it('inspects where the login may not ask for the identity of the server', async () => {
      await server.sql(
        `CREATE ROLE poor LOGIN PASSWORD 'poor'; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC`,
      );
      const found = await ask(pg.inspect(connect('postgres', { user: 'poor', password: 'poor' })));
      expect(found.serverId).toBeNull();
    });

    it('F55: fails clearly for a wrong password, and for a database that is not there', async () => {
      await expect(ask(pg.inspect(connect('source', { password: 'wrong' })))).rejects.toThrow(
        /password authentication failed/,
      );
      await expect(ask(pg.inspect(connect('nowhere')))).rejects.toThrow(/database "nowhere" does not exist/);
    });

    it.each([
      { title: 'plain', extraArgs: [] },
      { title: 'custom', extraArgs: ['-Fc'] },
      { title: 'plain, as INSERTs', extraArgs: ['--inserts'] },
    ])(
      'restores everything of a $title dump into a new database',
      async ({ title, extraArgs }) => {
        const dump = await makeDump(connect('source'), { extraArgs });
        const target = connect(`new from ${title}`);
        expect((await ask(pg.inspectTarget(target, dump.server.target))).exists).toBe(false);
        const warnings = await restore(target, dump);
        expect(await difference(target.database, 'source')).toBeUndefined();
        expect(await describeDatabase(target.database)).toEqual(await describeDatabase('source'));
        expect(warnings).toContain('app.jwt_secret');
      },
      120_000,
    );

    it.each(['plain', 'custom'])(
      'empties a messy target first, and restores a %s dump into it',
      async (format) => {
        const target = connect(`messy ${format}`);
        await server.createDatabase(target.database);
        await server.sql(PG_MESS, { database: target.database });
        const dump = await makeDump(connect('source'), { extraArgs: [`--format=${format}`] });
        const found = await ask(pg.inspectTarget(target, dump.server.target));
        expect(found).toMatchObject({ exists: true, missingRoles: [] });
        expect(found.holds).toMatch(/^\d+ \w+.*\b1 large object\b/);
        await restore(target, dump, { replace: true });
        expect(await difference(target.database, 'source')).toBeUndefined();
      },
      120_000,
    );

    it('empties a target to what template0 is', async () => {
      const target = connect('emptied');
      await server.createDatabase(target.database);
      await server.sql(PG_MESS, { database: target.database });
      await server.sql('CREATE DATABASE pristine TEMPLATE template0');
      const dump = await makeDump(connect('pristine'));
      await restore(target, dump, { replace: true });
      expect(await difference('emptied', 'pristine')).toBeUndefined();
      expect((await ask(pg.inspectTarget(target, {}))).holds).toBe('');
      const system = `SELECT nspname, nspowner::regrole, nspacl::text, obj_description(oid) FROM pg_namespace WHERE nspname = 'public'`;
      expect(await server.sql(system, { database: 'emptied' })).toEqual(
        await server.sql(system, { database: 'pristine' }),
      );
      expect(await server.sql('SELECT count(*) FROM pg_default_acl', { database: 'emptied' })).toEqual(['0']);
    }, 60_000);

    it('empties a target for its owner, who is no superuser', async () => {
      await server.sql(`CREATE ROLE tenant LOGIN PASSWORD 'tenant'; CREATE DATABASE tenancy OWNER tenant`);
      const tenant = { user: 'tenant', password: 'tenant' };
      const make = 'CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE SCHEMA s CREATE TABLE u (b int);';
      await server.sql(make, { database: 'tenancy', ...tenant });
      const dump = await makeDump(connect('tenancy', tenant));
      await server.sql("CREATE TYPE mood AS ENUM ('x'); CREATE TABLE more (m mood)", {
        database: 'tenancy',
        ...tenant,
      });
      await restore(connect('tenancy', tenant), dump, { replace: true });
      expect(await server.sql('SELECT a FROM t', { database: 'tenancy' })).toEqual(['1']);
      expect(await server.sql(`SELECT to_regclass('more') IS NULL`, { database: 'tenancy' })).toEqual(['t']);
    });

    it('finds what exists for a login that may connect to its own database only', async () => {
      await server.sql(`CREATE ROLE loner LOGIN PASSWORD 'loner'; CREATE DATABASE loner OWNER loner`);
      await server.sql('REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC');
      const login = { user: 'loner', password: 'loner' };
      try {
        expect(await ask(pg.inspectTarget(connect('loner', login), { roles: ['ghost', 'loner'] }))).toMatchObject({
          exists: true,
          holds: '',
          missingRoles: ['ghost'],
        });
        await expect(ask(pg.inspectTarget(connect('absent', login), {}))).rejects.toThrow(
          /database "absent" does not exist/,
        );
      } finally {
        await server.sql('GRANT CONNECT ON DATABASE postgres, template1 TO PUBLIC');
      }
    });

    it('says the refusal of a target that exists, not that it is absent', async () => {
      await server.sql(
        `CREATE ROLE outsider LOGIN PASSWORD 'outsider'; CREATE DATABASE walled; REVOKE CONNECT ON DATABASE walled FROM PUBLIC`,
      );
      const connection = connect('walled', { user: 'outsider', password: 'outsider' });
      await expect(ask(pg.inspectTarget(connection, {}))).rejects.toThrow(/permission denied for database "walled"/);
    });

    it('keeps encoding and locale of a database that differs from its server', async () => {
      await server.sql(`CREATE DATABASE "latin" TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'`);
      await server.sql(`CREATE TABLE t AS SELECT 'caf\u00e9' AS a`, { database: 'latin' });
      const target = connect('latin copy');
      await restore(target, await makeDump(connect('latin')));
      expect(await describeDatabase('latin copy')).toEqual(await describeDatabase('latin'));
      expect(await server.sql('SELECT a FROM t', { database: 'latin copy' })).toEqual(['caf\u00e9']);
    });

    it('keeps the locale of a database that sorts by ICU', async ({ skip }) => {
      if (server.major < 15) skip();
      await server.sql(`CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk'`);
      await server.sql('CREATE TABLE t (a text)', { database: 'icu' });
      const target = connect('icu copy');
      await restore(target, await makeDump(connect('icu')));
      expect(await describeDatabase('icu copy')).toEqual(await describeDatabase('icu'));
    });

    it('lists the roles that the target lacks, and makes them', async () => {
      await server.sql(`CREATE ROLE "gone;-- role"; CREATE ROLE "gone ""reader"""; CREATE DATABASE orphaned`);
      const make = `CREATE TABLE t (a int); ALTER TABLE t OWNER TO "gone;-- role"; GRANT SELECT ON t TO "gone ""reader"""`;
      await server.sql(make, { database: 'orphaned' });
      const dump = await makeDump(connect('orphaned'));
      await server.sql(`DROP DATABASE orphaned; DROP ROLE "gone;-- role", "gone ""reader"""`);
      const target = connect('orphaned');
      const found = await ask(pg.inspectTarget(target, dump.server.target));
      expect(found.missingRoles).toEqual(['gone "reader"', 'gone;-- role']);
      await restore(target, dump, { createRoles: true });
      expect(
        await server.sql(`SELECT relowner::regrole FROM pg_class WHERE relname = 't'`, { database: 'orphaned' }),
      ).toEqual(['"gone;-- role"']);
      expect(await server.sql(`SELECT count(*) FROM pg_roles WHERE rolname LIKE 'gone%' AND NOT rolcanlogin`)).toEqual([
        '2',
      ]);
    });

    it('F18: leaves a target as it was when the dump breaks off', async () => {
      await server.sql('CREATE DATABASE small');
      await server.sql('CREATE TABLE t AS SELECT i FROM generate_series(1, 50000) i', { database: 'small' });
      await server.sql('CREATE DATABASE kept');
      await server.sql('CREATE TABLE precious AS SELECT 1 AS a', { database: 'kept' });
      for (const format of ['plain', 'custom']) {
        const dump = await makeDump(connect('small'), { extraArgs: [`--format=${format}`] });
        const plan = await planRestore(connect('kept'), dump, { replace: true });
        expect(plan.isAtomic).toBe(true);
        await expect(
          load(plan, dump.bytes.subarray(0, dump.bytes.length - 5000), { endsInput: false }),
        ).rejects.toThrow(/killed/);
        await expect(
          load(plan, Buffer.concat([dump.bytes.subarray(0, -300), Buffer.from('\nnonsense;\n')])),
        ).rejects.toThrow();
        expect(await server.sql('SELECT a FROM precious', { database: 'kept' })).toEqual(['1']);
        expect(await server.sql(`SELECT to_regclass('t') IS NULL`, { database: 'kept' })).toEqual(['t']);
      }
    }, 60_000);

    it('F18: says that a script with large objects is not restored in one piece, and that an archive is', async () => {
      const plain = await makeDump(connect('source'));
      const custom = await makeDump(connect('source'), { extraArgs: ['-Fc'] });
      expect((await planRestore(connect('x'), plain)).isAtomic).toBe(false);
      const plan = await planRestore(connect('kept'), custom, { replace: true });
      expect(plan.isAtomic).toBe(true);
      await expect(load(plan, custom.bytes.subarray(0, -1), { endsInput: true })).rejects.toThrow();
      expect(await server.sql('SELECT a FROM precious', { database: 'kept' })).toEqual(['1']);
    }, 60_000);

    it('points to the real cause of a failed restore', async () => {
      await server.sql('CREATE DATABASE cause');
      const plan = await planRestore(connect('cause'), await makeDump(connect('small')));
      await expect(
        load(plan, Buffer.from('CREATE TABLE t (a int);\nCOPY t FROM stdin;\nx\n\\.\nSELECT 1;\n')),
      ).rejects.toThrow(/<stdin>:\d+: ERROR: {2}invalid input syntax for type integer: "x"/);
    });

    it('F04: finds the begin and end of each format, and nothing whole in what was cut', async () => {
      for (const extraArgs of [
        [],
        ['--verbose'],
        ['--schema-only'],
        ['--data-only'],
        ['--column-inserts'],
        ['-C', '-c'],
      ]) {
        const { bytes, plan } = await makeDump(connect('small'), { extraArgs });
        expect(isWhole(bytes, plan)).toBe(true);
        for (const cut of [1, 2, 3, 30, 100, 600, bytes.length >> 1])
          expect(isWhole(bytes.subarray(0, -cut), plan)).toBe(false);
        expect(isWhole(bytes.subarray(1), plan)).toBe(false);
      }
      // An archive has no end mark but its exit code.
      const { bytes, plan } = await makeDump(connect('small'), { extraArgs: ['-Fc'] });
      expect(isWhole(bytes, plan)).toBe(true);
      expect(isWhole(bytes.subarray(1), plan)).toBe(false);
    }, 60_000);

    it('F04: is not deceived by rows that look like the end of a dump', async () => {
      await server.sql('CREATE DATABASE liar');
      await server.sql(
        `CREATE TABLE t AS SELECT unnest(ARRAY['--', '-- PostgreSQL database dump complete', '--', '', 'x']) AS a`,
        { database: 'liar' },
      );
      const { bytes, plan } = await makeDump(connect('liar'));
      expect(isWhole(bytes, plan)).toBe(true);
      expect(isWhole(bytes.subarray(0, bytes.indexOf('-- PostgreSQL database dump complete') + 60), plan)).toBe(false);
    });

    it('restores a dump made with --create where its database is gone, and nowhere else', async () => {
      await server.sql('CREATE DATABASE "named, db"');
      await server.sql('CREATE TABLE t AS SELECT 1 AS a', { database: 'named, db' });
      const dump = await makeDump(connect('named, db'), { extraArgs: ['--create'] });
      expect(dump.plan.warnings.join()).toContain('--create');
      await expect(planRestore(connect('other'), dump)).rejects.toThrow(/cannot be restored under another name/);
      await expect(planRestore(connect('named, db'), dump, { replace: true })).rejects.toThrow(
        /drop that database first/,
      );
      await server.sql('DROP DATABASE "named, db"');
      expect((await planRestore(connect('named, db'), dump)).isAtomic).toBe(false);
      await restore(connect('named, db'), dump);
      expect(await server.sql('SELECT a FROM t', { database: 'named, db' })).toEqual(['1']);
    });

    it('loads what a newer client wrote into a server that does not know transaction_timeout', async ({ skip }) => {
      if (server.major >= 17) skip();
      const { bytes, ...dump } = await makeDump(connect('small'));
      const line = 'SET transaction_timeout = 0;\n';
      const newer = Buffer.from(bytes.toString().replace('SET client_encoding', `${line}SET client_encoding`));
      expect(newer.includes(line)).toBe(true);
      await restore(connect('older'), { ...dump, bytes: newer });
      expect(await difference('older', 'small')).toBeUndefined();
    });

    it('passes rows of 50 MB', async () => {
      await server.sql('CREATE DATABASE wide');
      await server.sql(
        `CREATE TABLE t AS SELECT repeat('0123456789', 5000000) AS a, decode(repeat('00ff', 5000000), 'hex') AS b`,
        { database: 'wide' },
      );
      const dump = await makeDump(connect('wide'));
      await restore(connect('wide copy'), dump);
      const digest = 'SELECT md5(a), md5(b), length(a) FROM t';
      expect(await server.sql(digest, { database: 'wide copy' })).toEqual(
        await server.sql(digest, { database: 'wide' }),
      );
    }, 120_000);

    it('tells whether the client can compress with zstd', async () => {
      const abilities = await ask(pg.abilities!);
      expect(abilities).toEqual((await hasZstd()) ? ['zstd'] : []);
      const dump = await makeDump(connect('small'), { compress: true, abilities });
      expect(dump.plan.compression).toBe(abilities[0] ?? 'gzip');
      await restore(connect('small copy'), dump);
      expect(await difference('small copy', 'small')).toBeUndefined();
    });

    interface Made {
      readonly server: Server;
      readonly plan: DumpPlan;
      readonly bytes: Buffer;
    }

    async function makeDump(
      connection: Connection,
      options: { extraArgs?: readonly string[]; compress?: boolean; abilities?: readonly string[] } = {},
    ): Promise<Made> {
      const found = await ask(pg.inspect(connection));
      const tool = await ask(pg.tool);
      const common = { mode: 'stream', jobs: 1, compress: false, extraArgs: [] } as const;
      const plan = pg.planDump({ connection, server: found, tool, ...common, ...options });
      const { code, stdout, stderr } = await run(plan.dump);
      if (code !== 0) throw new Error(stderr);
      return { server: found, plan, bytes: stdout };
    }

    interface RestoreOptions {
      readonly replace?: boolean;
      readonly createRoles?: boolean;
    }

    async function planRestore(connection: Connection, dump: Made, options: RestoreOptions = {}): Promise<RestorePlan> {
      const facts = { ...dump.server.target, ...dump.plan.facts };
      const target = await ask(pg.inspectTarget(connection, facts));
      const { format } = dump.plan;
      return pg.planRestore({
        connection,
        target,
        facts,
        mode: 'stream',
        format,
        replace: false,
        createRoles: false,
        id: 'x',
        ...options,
      });
    }

    /** Returns what prepare and finish warned of. */
    async function restore(connection: Connection, dump: Made, options?: RestoreOptions): Promise<string> {
      const plan = await planRestore(connection, dump, options);
      const before = await runAll(plan.prepare);
      await load(plan, dump.bytes);
      return before + (await runAll(plan.finish));
    }

    async function load(plan: RestorePlan, bytes: Buffer, { endsInput = true } = {}): Promise<void> {
      let input: Buffer = bytes;
      for (const filter of plan.filters) {
        const { code, stdout, stderr } = await run(filter, { input, endsInput: true });
        input = stdout;
        if (code !== 0 && endsInput) throw new Error(stderr);
      }
      if (endsInput) input = Buffer.concat([input, Buffer.from(plan.commit ?? '')]);
      const { code, stderr } = await run(plan.load, { input, endsInput });
      if (code !== 0) throw new Error(stderr || 'killed');
    }

    async function runAll(commands: readonly Command[]): Promise<string> {
      let warnings = '';
      for (const each of commands) {
        const { code, stderr } = await run(each);
        if (code !== 0) throw new Error(stderr);
        warnings += stderr;
      }
      return warnings;
    }

    async function ask<T>(question: Question<T>): Promise<T> {
      try {
        const { code, stdout, stderr } = await run(question.command);
        if (!(question.exitCodes ?? [0]).includes(code ?? -1)) throw new Error(stderr);
        return question.parse({ stdout: stdout.toString(), stderr, exitCode: code ?? -1 });
      } catch (error) {
        if (!question.fallback) throw error;
        return ask(question.fallback).catch(() => {
          throw error;
        });
      }
    }

    let scratches = 0;

    /** Runs a command as the program does; where the input is not to end, it is killed once it took everything. */
    async function run(described: Command, options: { input?: Buffer; endsInput?: boolean } = {}) {
      const { input = Buffer.from(described.input ?? ''), endsInput = true } = options;
      const path = join(folder.path, `scratch ${scratches++}`);
      await mkdir(path);
      const { file, args, env, files } = renderCommand(described, path);
      for (const [name, content] of Object.entries(files ?? {}))
        await writeFile(join(path, name), content, { mode: 0o600 });
      const child = spawn(file, args, { env: { PATH: process.env.PATH, ...env } });
      const exit = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
      child.stdin.on('error', () => {});
      if (endsInput) child.stdin.end(input);
      else child.stdin.write(input, () => setTimeout(() => child.kill('SIGKILL'), 300));
      const [stdout, stderr, code] = await Promise.all([buffer(child.stdout), text(child.stderr), exit]);
      return { code, stdout, stderr };
    }

    const serverVersion = async () =>
      (await server.sql(`SELECT split_part(current_setting('server_version'), ' ', 1)`))[0];

    const hasZstd = async () =>
      (
        await run({
          file: 'pg_dump',
          args: ['--format=custom', '--compress=zstd', '--schema-only', `--dbname=${server.uri('small')}`],
        })
      ).code === 0;

    /** All that pg_dump knows of a database, but for the random key of each dump. */
    async function fingerprint(database: string): Promise<string> {
      const { code, stdout, stderr } = await run({ file: 'pg_dump', args: [`--dbname=${server.uri(database)}`] });
      if (code !== 0) throw new Error(stderr);
      return stdout.toString().replace(/^\\(un)?restrict .*$/gm, '');
    }

    /** The first lines in which two databases differ, when dumped. */
    async function difference(first: string, second: string): Promise<unknown> {
      const [a, b] = (await Promise.all([fingerprint(first), fingerprint(second)])).map((dump) => dump.split('\n'));
      const at = a!.findIndex((line, index) => line !== b![index]);
      if (at < 0 && a!.length === b!.length) return undefined;
      return [a, b].map((lines) => lines!.slice(Math.max(at - 5, 0), at + 5).map((line) => line.slice(0, 200)));
    }

    const describeDatabase = (database: string) =>
      server.sql(`
      SELECT to_jsonb(d) - ARRAY['oid', 'datname', 'datfrozenxid', 'datminmxid', 'dattablespace', 'datlastsysoid', 'datacl'] FROM pg_database d WHERE datname = ${literal(database)};
      SELECT coalesce(r.rolname, ''), setconfig - 'x' FROM (SELECT setrole, setdatabase, to_jsonb(ARRAY(SELECT c FROM unnest(setconfig) c WHERE c NOT LIKE 'app.%' ORDER BY c)) AS setconfig FROM pg_db_role_setting) s
        JOIN pg_database d ON d.oid = setdatabase LEFT JOIN pg_roles r ON r.oid = setrole WHERE datname = ${literal(database)} ORDER BY 1;
      SELECT grantee::regrole, privilege_type, is_grantable FROM pg_database, aclexplode(datacl) WHERE datname = ${literal(database)} ORDER BY 1, 2;`);
  },
);

const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;
const literal = (value: string) => `E'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

const command = (file: string, connection: Connection, input: string): Command => ({
  ...pg.inspect(connection).command,
  file,
  input,
});

const allOf = (question: Question<unknown>): Command[] => [
  question.command,
  ...(question.fallback ? allOf(question.fallback) : []),
];

const fakeServer = (major: number): Server => ({
  title: `PostgreSQL ${major}.0`,
  serverId: null,
  bytes: 0,
  target: {},
  major,
  needsCopy: false,
  warnings: [],
});

function isWhole(bytes: Buffer, { marks }: DumpPlan): boolean {
  const head = bytes.subarray(0, 64 * 1024).toString('latin1');
  const tail = bytes.subarray(-64 * 1024).toString('latin1');
  return (marks.begins?.test(head) ?? true) && (marks.ends?.test(tail) ?? true);
}
