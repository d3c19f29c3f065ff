import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { chmod, chown, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { backupEnv, fakePath, listBackups } from './support/backups.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { describeWith } from './support/need.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { flipByte, heldRclone, makeBackup, rcloneThatReads, rewriteManifest } from './support/restores.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

type Env = Record<string, string>;

const MANY_ROWS = `
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
  INSERT INTO t SELECT hex(randomblob(20)) FROM n;`;

describeWith(['sqlite3', 'rclone'], 'restore into SQLite', () => {
  let scratch: Scratch;
  let remote: TestRemote;
  /** The folder of the database, where nothing else may be left. */
  let folder: string;
  let source: string;
  let env: Env;

  beforeEach(async () => {
    scratch = scratchFolder();
    remote = await startRemote('local');
    folder = join(scratch.path, 'data');
    mkdirSync(folder);
    source = join(folder, 'shop.sqlite3');
    sql(source, 'CREATE TABLE t (i); INSERT INTO t VALUES (1)');
    env = backupEnv(`sqlite://${source}`, remote, scratch);
  });

  afterEach(async () => {
    await remote.stop();
    await scratch[Symbol.asyncDispose]();
  });

  const sql = (path: string, script: string): string =>
    execFileSync(requireTool('sqlite3'), ['-bail', path], { input: script, encoding: 'utf8', stdio: 'pipe' }).trim();
  const countRows = (path: string) => Number(sql(path, 'SELECT count(*) FROM t'));
  const inFolder = () => readdirSync(folder).sort();
  const aside = (name: string) => join(scratch.path, name);
  const restore = (from: Env, ...args: string[]) => runDbstash(['restore', ...args], from, { cwd: scratch.path });
  const replacing = (target = source) => ['--replace', '--yes', target];

  /** sqlite3 that has run a script, and stays. */
  async function holdOpen(script: string) {
    const shell = spawn(requireTool('sqlite3'), [source]);
    const ended = once(shell, 'close');
    shell.stdin.write(`${script}\nSELECT 'it is done';\n`);
    let said = '';
    shell.stdout.on('data', (chunk) => {
      said += chunk;
    });
    await waitFor(() => said.includes('it is done'));
    return { stdin: shell.stdin, kill: () => void shell.kill('SIGKILL'), ended };
  }

  it('restores into a new file, by --database and by --to, and refuses one that holds anything', async () => {
    await makeBackup(env);
    expect((await restore(env, '--database', 'here.sqlite3')).exitCode).toBe(0);
    expect((await restore(env, '--to', `sqlite://${aside('there')}`)).exitCode).toBe(0);
    expect([countRows(aside('here.sqlite3')), countRows(aside('there'))]).toEqual([1, 1]);
    const again = await restore(env, '--to', `sqlite://${aside('there')}`);
    expect(again.exitCode).toBe(2);
    expect(again.stderr).toMatch(/there holds 1 table: .*--database NAME.*--replace/);
  });

  it('replaces a target only under its own name, and keeps its mode and owner', async () => {
    await makeBackup(env);
    sql(source, 'INSERT INTO t VALUES (2)');
    await chmod(source, 0o640);
    if (process.getuid?.() === 0) await chown(source, 1234, 1235);
    const before = statSync(source);
    for (const name of ['shop.sqlite3', source.toUpperCase()]) {
      const run = await restore(env, ...replacing(name));
      expect(run.exitCode).toBe(2);
      expect(run.stderr).toContain(`--yes ${source}`);
    }
    expect(countRows(source)).toBe(2);
    expect((await restore(env, ...replacing())).exitCode).toBe(0);
    expect(countRows(source)).toBe(1);
    expect(inFolder()).toEqual(['shop.sqlite3']);
    const { mode, uid, gid } = statSync(source);
    expect({ mode, uid, gid }).toEqual({ mode: before.mode, uid: before.uid, gid: before.gid });
  });

  it.each(['wal', 'delete'])('refuses a target that somebody is writing to (journal mode %s)', async (mode) => {
    sql(source, `PRAGMA journal_mode=${mode}`);
    await makeBackup(env);
    const writer = await holdOpen('BEGIN IMMEDIATE; INSERT INTO t VALUES (2);');
    const run = await restore(env, ...replacing());
    expect(run.exitCode).toBe(1);
    expect(run.stderr).toMatch(/is in use: stop what has it open, then restore again[\s\S]*is as it was/);
    writer.stdin.end('COMMIT;\n');
    await writer.ended;
    expect(countRows(source)).toBe(2);
    expect(inFolder()).toEqual(['shop.sqlite3']);
  });

  it('does not replay a WAL or a journal that was left beside the target', async () => {
    sql(source, 'PRAGMA journal_mode=WAL');
    await makeBackup(env);
    const crashed = await holdOpen('INSERT INTO t SELECT 7 FROM t;');
    crashed.kill();
    await crashed.ended;
    expect(statSync(`${source}-wal`).size).toBeGreaterThan(0);
    expect((await restore(env, ...replacing())).exitCode).toBe(0);
    expect(inFolder()).toEqual(['shop.sqlite3']);
    expect(sql(source, 'SELECT * FROM t')).toBe('1');

    const again = await holdOpen('INSERT INTO t VALUES (8);');
    again.kill();
    await again.ended;
    expect(statSync(`${source}-wal`).size).toBeGreaterThan(0);
    await rm(source);
    writeFileSync(`${source}-journal`, 'left by a crash');
    expect((await restore(env)).exitCode).toBe(0);
    expect(inFolder()).toEqual(['shop.sqlite3']);
    expect(sql(source, 'SELECT * FROM t')).toBe('1');
  });

  it('replaces what a symbolic link means, and leaves the link', async () => {
    await makeBackup(env);
    sql(source, 'INSERT INTO t VALUES (2)');
    symlinkSync(source, aside('link'));
    const run = await restore(env, '--database', aside('link'), ...replacing(aside('link')));
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    expect(await readlink(aside('link'))).toBe(source);
    expect(countRows(source)).toBe(1);

    symlinkSync('data/new.sqlite3', aside('dangling'));
    expect((await restore(env, '--database', aside('dangling'))).exitCode).toBe(0);
    expect(await readlink(aside('dangling'))).toBe('data/new.sqlite3');
    expect(countRows(join(folder, 'new.sqlite3'))).toBe(1);
  });

  it('replaces a file that is no database, knowingly', async () => {
    await makeBackup(env);
    writeFileSync(source, 'no database at all, but a text of some length'.repeat(100));
    const refused = await restore(env);
    expect(refused.exitCode).toBe(2);
    expect(refused.stderr).toContain('holds a file that is no sound SQLite database');
    expect((await restore(env, ...replacing())).exitCode).toBe(0);
    expect(countRows(source)).toBe(1);
  });

  it('says where a target cannot be: no folder, an unwritable folder, a folder itself', async () => {
    await makeBackup(env);
    for (const [place, says] of [
      [aside('none/x.sqlite3'), `the folder ${aside('none')} is not there`],
      ['/proc/dbstash-test.sqlite3', '/proc/dbstash-test.sqlite3'],
      [folder, `${folder} cannot be opened`],
    ] as const) {
      const run = await restore(env, '--database', place);
      expect(run.exitCode, run.stderr).toBe(1);
      expect(run.stderr).toContain(says);
    }
    expect(inFolder()).toEqual(['shop.sqlite3']);
  });

  it('F15 F18: leaves the target, and no unfinished file, where the restore fails', async () => {
    sql(source, MANY_ROWS);
    const good = await makeBackup(env);
    const bad = await makeBackup(env);
    await flipByte(remote, bad.artifact);
    const content = readFileSync(source);
    const real = `'${requireTool('sqlite3')}' "$@"`;
    const noLoad = fakePath(scratch, { sqlite3: `case "$*" in *.restoring-*) exit 9;; esac; ${real}` });
    const attempts: [number, Env, string][] = [
      [4, {}, bad.artifact],
      [3, rcloneThatReads(scratch, 'real "$@" | head -c 600000; kill -9 $$'), good.artifact],
      [3, rcloneThatReads(scratch, 'exit 1'), good.artifact],
      [4, rcloneThatReads(scratch, 'real "$@" | head -c 600000'), good.artifact],
      [1, noLoad, good.artifact],
    ];
    for (const [exitCode, more, name] of attempts) {
      const run = await restore({ ...env, ...more }, name, ...replacing());
      expect(run.exitCode, run.stderr).toBe(exitCode);
      expect(run.stderr).toContain(`(${source} is as it was)`);
      expect(readFileSync(source).equals(content)).toBe(true);
      expect(inFolder()).toEqual(['shop.sqlite3']);
      await rm(join(remote.remote, `${good.artifact}.verify.json`), { force: true });
    }
  });

  it('leaves the target where SIGTERM comes, and says what a killed restore left behind', async () => {
    sql(source, MANY_ROWS);
    await makeBackup(env);
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const held = heldRclone(scratch);
      await using running = startDbstash(['restore', ...replacing()], { ...env, ...held.env });
      await waitFor(held.isHeld);
      await waitFor(() => inFolder().length > 1);
      running.kill(signal);
      const run = await running.exited;
      held.release();
      expect(run.signal ?? run.exitCode).toBe(signal === 'SIGTERM' ? 143 : 'SIGKILL');
      expect(countRows(source)).toBe(20_001);
      expect(inFolder()).toHaveLength(signal === 'SIGTERM' ? 1 : 2);
    }
    const run = await restore(env, ...replacing());
    expect(run.exitCode).toBe(0);
    expect(run.stderr).toMatch(/shop\.sqlite3\.restoring-\w+ is of a restore that was killed/);
    expect(countRows(source)).toBe(20_001);
  });

  it('refuses what a manifest says that this version cannot do, in a sentence', async () => {
    const { artifact } = await makeBackup(env);
    for (const [changed, says] of [
      [{ compression: 'brotli' }, 'compressed with "brotli"'],
      [{ compression: 'constructor' }, 'compressed with "constructor"'],
      [{ compression: null, encryption: 'pgp' }, 'encrypted with "pgp"'],
      [{ encryption: null, mode: 'tar' }, 'was made in the mode tar, which SQLite does not know'],
      [{ mode: 'stream', format: 'pages' }, 'format pages'],
      [{ engine: 'mongo' }, 'is a backup of mongo, the target is SQLite'],
    ] as const) {
      await rewriteManifest(remote, artifact, changed);
      const run = await restore(env, artifact, '--database', join(folder, 'new'));
      expect(run.exitCode, run.stderr).toBe(2);
      expect(run.stderr).toContain(says);
      expect(run.stderr.trim().split('\n')).toHaveLength(1);
    }
    expect(inFolder()).toEqual(['shop.sqlite3']);
  });

  it('F31: reads nothing that a manifest names elsewhere', async () => {
    const { artifact } = await makeBackup(env);
    writeFileSync(join(remote.remote, '../outside.sql'), 'CREATE TABLE stolen (a);');
    const manifest = JSON.parse((await remote.read(`${artifact}.manifest.json`)).toString());
    const names = ['../outside.sql', `../${artifact}`, '..', '', 'a\nb', `${artifact}/../../x`, join(folder, 'shop')];
    for (const [index, name] of names.entries()) {
      await remote.write(`evil${index}.sql`, 'CREATE TABLE evil (a);');
      await remote.write(`evil${index}.sql.manifest.json`, JSON.stringify({ ...manifest, artifact: name }));
    }
    expect((await listBackups(env)).map((backup) => backup.artifact)).toEqual([artifact]);
    for (const name of ['../outside.sql', 'evil0.sql']) {
      const run = await restore(env, name, '--database', aside('stolen'));
      expect(run.exitCode).toBe(1);
    }
    expect(existsSync(aside('stolen'))).toBe(false);

    // A folder that was moved as a whole: the artifact is the one beside the manifest.
    await remote.write(`moved/${artifact}`, await remote.read(artifact));
    const moved = { ...manifest, artifact: `../../${artifact}` };
    await remote.write(`moved/${artifact}.manifest.json`, JSON.stringify(moved));
    expect((await restore(env, `moved/${artifact}`, '--database', aside('moved'))).exitCode).toBe(0);
    expect(countRows(aside('moved'))).toBe(1);
  });

  it('F31: stays in its folder where the keys of a bucket do not', async () => {
    await using s3 = await startRemote('s3');
    const onS3 = backupEnv(`sqlite://${source}`, s3, scratch);
    const { artifact } = await makeBackup(onS3);
    const manifest = (await s3.read(`${artifact}.manifest.json`)).toString();
    const keys = [`${'../'.repeat(12)}${aside('escaped').slice(1)}`, '../up', 'a/../../b', './c', '/d', 'e//f', 'g\nh'];
    for (const key of keys) await s3.write(`${key}.manifest.json`, manifest);
    const run = await runDbstash(['list', '--all'], onS3);
    expect(run, run.stderr).toMatchObject({ exitCode: 0 });
    expect(run.stdout).toContain(artifact);
    expect((await restore(onS3, '--database', aside('safe'))).exitCode).toBe(0);
    expect(readdirSync(scratch.path).sort()).toEqual(['data', 'safe', 'tmp']);
  });

  it('takes no huge record into memory, and prints no commands for the terminal', async () => {
    const { artifact } = await makeBackup(env);
    await rewriteManifest(remote, artifact, { series: 'evil\u001b[2Jseries\nline' });
    await remote.write('huge.manifest.json', Buffer.alloc(64 * 1024 * 1024, ' '));
    const run = await runDbstash(['list', '--all'], env);
    expect(run.exitCode).toBe(0);
    expect(run.stdout).toContain('evil\\u{1b}[2Jseries | line');
    expect(run.stdout).toContain('huge.manifest.json');
    expect(run.stdout).not.toContain('\u001b');
  });

  it('F14: does not take a backup that is dated in the future for the latest', async () => {
    const good = await makeBackup(env);
    const odd = await makeBackup(env);
    await rewriteManifest(remote, odd.artifact, { startedAt: '2999-01-01T00:00:00.000Z' });
    const run = await restore(env, '--database', aside('copy'));
    expect(run.stdout).toContain(`restored ${good.artifact} `);
  });

  describeWith(['script'], 'on a terminal', () => {
    it.each([
      { title: 'goes on when the name was typed', answer: () => `${source}\r`, exitCode: 0 },
      { title: 'refuses another name', answer: () => 'yes\r', exitCode: 2 },
      { title: 'stops at Ctrl-C', answer: () => '\u0003', exitCode: 130 },
      { title: 'refuses at the end of input', answer: () => '\u0004', exitCode: 2 },
    ])('$title', async ({ answer, exitCode }) => {
      await makeBackup(env);
      sql(source, 'INSERT INTO t VALUES (2)');
      const main = join(import.meta.dirname, '../src/main.ts');
      const command = `'${process.execPath}' '${main}' restore --replace`;
      const terminal = spawn(requireTool('script'), ['-qec', command, '/dev/null'], {
        env: { PATH: process.env.PATH, HOME: scratch.path, TERM: 'dumb', SHELL: '/bin/sh', ...env },
      });
      const ended = once(terminal, 'close');
      let said = '';
      terminal.stdout.on('data', (chunk) => {
        said += chunk;
      });
      await waitFor(() => said.includes('to go on:'), { title: () => said });
      terminal.stdin.write(answer());
      expect(await ended, said).toEqual([exitCode, null]);
      expect(said).toContain(`This empties ${source} first. Type ${source} to go on:`);
      expect(countRows(source)).toBe(exitCode === 0 ? 1 : 2);
    });
  });
});
