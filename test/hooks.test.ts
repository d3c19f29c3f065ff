import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backupEnv, fakePath, listBackups } from './support/backups.ts';
import { readCommandLines, watchCommandLines } from './support/commandLines.ts';
import { type DbstashRun, runDbstash, startDbstash } from './support/dbstash.ts';
import { createGates, isAlive } from './support/gates.ts';
import { describeWith } from './support/need.ts';
import { startPostgres } from './support/postgres.ts';
import { startReceiver } from './support/receiver.ts';
import { startRemote, type TestRemote } from './support/remotes.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';

type Env = Record<string, string>;

interface Stage extends AsyncDisposable {
  readonly home: Scratch;
  readonly remote: TestRemote;
  readonly database: string;
  readonly env: Env;
  /** A shell command that writes what a hook gets into a file, which `facts` reads. */
  readonly note: (name: string) => string;
  readonly facts: (name: string) => Env;
  /** How often `note` ran. */
  readonly count: (name: string) => number;
}

const NAMES = ['STATUS', 'OUTCOME', 'FILE', 'DATABASE', 'BYTES', 'ENGINE', 'DURATION', 'ERROR', 'RUN_ID'];

async function openStage(): Promise<Stage> {
  const home = scratchFolder();
  const remote = await startRemote('local');
  const database = join(home.path, 'shop.db');
  execFileSync('sqlite3', [database, 'CREATE TABLE orders(id); INSERT INTO orders VALUES (1)']);
  const file = (name: string) => join(home.path, name);
  return {
    home,
    remote,
    database,
    env: backupEnv(`sqlite://${database}`, remote, home, { BACKUP_NAME_TEMPLATE: '{db}-{uuid}' }),
    note: (name) => `env -0 > '${file(name)}'; echo ran >> '${file(`${name}.count`)}'`,
    facts: (name) => {
      const entries = readFileSync(file(name), 'utf8').split('\0');
      const all = Object.fromEntries(entries.map((entry) => entry.split(/=(.*)/s).slice(0, 2)));
      return Object.fromEntries(NAMES.map((key) => [key, all[`DBSTASH_${key}`]]));
    },
    count: (name) =>
      existsSync(file(`${name}.count`))
        ? readFileSync(file(`${name}.count`), 'utf8')
            .trim()
            .split('\n').length
        : 0,
    [Symbol.asyncDispose]: async () => {
      await remote.stop();
      await home[Symbol.asyncDispose]();
    },
  };
}

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage?.[Symbol.asyncDispose]());

const errorOf = (run: DbstashRun) => run.lines.findLast(({ level }) => level === 'error')?.message ?? '';
const outcomeOf = (run: DbstashRun) => run.lines.findLast(({ outcome }) => outcome !== undefined)?.outcome;
const isThere = (text: string) => readCommandLines().some((line) => line.replaceAll('\0', ' ').includes(text));

describe('hooks', () => {
  it('are told what is documented, before and after a backup that went well', async () => {
    const { env, note, facts, remote, database } = stage;
    const hooks = { HOOK_PRE_BACKUP: note('pre'), HOOK_POST_BACKUP: note('post') };
    const run = await runDbstash(['backup'], { ...env, ...hooks });
    expect(run.exitCode, run.stderr).toBe(0);
    const [backup] = await listBackups(env);
    const id = run.lines.at(-1)?.run;
    const none = { FILE: '', BYTES: '', DURATION: '', ERROR: '' };
    expect(facts('pre')).toEqual({ ...none, STATUS: '', OUTCOME: '', DATABASE: 'shop', ENGINE: 'sqlite', RUN_ID: id });
    expect(facts('post')).toEqual({
      STATUS: 'success',
      OUTCOME: 'succeeded',
      FILE: `${remote.remote}/${backup!.artifact}`,
      DATABASE: 'shop',
      BYTES: String(backup!.bytes),
      ENGINE: 'sqlite',
      DURATION: expect.stringMatching(/^\d+$/),
      ERROR: '',
      RUN_ID: id,
    });
    expect(existsSync(database)).toBe(true);
  });

  it('inherit the whole environment; what they print is logged line by line, whole and redacted', async () => {
    const { env } = stage;
    const print = 'i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo "out $i"; echo "err $i" >&2; done';
    const run = await runDbstash(['backup'], {
      ...env,
      OWN_WORD: 'plum',
      RCLONE_CONFIG_PASS: 'canary-pass',
      HOOK_PRE_BACKUP: `echo "$OWN_WORD, $RCLONE_CONFIG_PASS."; printf 'no line break'`,
      HOOK_POST_BACKUP: print,
    });
    expect(run.exitCode, run.stderr).toBe(0);
    const said = (hook: string) => run.lines.filter((line) => line.hook === hook).map(({ message }) => message);
    expect(said('HOOK_PRE_BACKUP')).toEqual(['plum, ***.', 'no line break']);
    const lines = said('HOOK_POST_BACKUP');
    for (const word of ['out', 'err']) {
      const wanted = Array.from({ length: 400 }, (_, index) => `${word} ${index + 1}`);
      expect(lines.filter((line) => line.startsWith(word))).toEqual(wanted);
    }
    expect(run.stderr).not.toContain('canary');
  });

  it('whose last lines come at their very end lose none of them', async () => {
    const run = await runDbstash(['backup'], { ...stage.env, HOOK_POST_BACKUP: 'exec 2>&-; exec seq 1 900' });
    expect(run.exitCode, run.stderr).toBe(0);
    const said = run.lines.filter(({ hook }) => hook).map(({ message }) => message);
    expect(said).toEqual(Array.from({ length: 900 }, (_, index) => String(index + 1)));
  });

  it('that print without end do not fill the log', async () => {
    const run = await runDbstash(['backup'], { ...stage.env, HOOK_POST_BACKUP: 'yes | head -n 200000' });
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.lines.filter(({ hook, level }) => hook && level === 'info')).toHaveLength(1000);
    expect(run.stderr).toContain('more than 1000 lines');
  });

  it('are in no command line', async () => {
    const command = ': canary-command; sleep 0.4; true';
    const program = startDbstash(['backup'], { ...stage.env, HOOK_PRE_BACKUP: command, HOOK_POST_BACKUP: command });
    const lines = await watchCommandLines(program);
    expect((await program.exited).exitCode).toBe(0);
    expect(lines.some((line) => line.includes('eval "$DBSTASH_HOOK"'))).toBe(true);
    expect(lines.join()).not.toContain('canary');
  });

  it('that leave something running in the background do not hold the run', async () => {
    const file = join(stage.home.path, 'background');
    const hook = { HOOK_POST_BACKUP: `sleep 86415 & echo $! > '${file}'; echo done` };
    const run = await runDbstash(['backup'], { ...stage.env, ...hook });
    const pid = Number(readFileSync(file, 'utf8'));
    const wasAlive = isAlive(pid);
    if (wasAlive) process.kill(pid, 'SIGKILL');
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.durationMs).toBeLessThan(20_000);
    expect(run.lines.some(({ message }) => message === 'done')).toBe(true);
    expect(wasAlive).toBe(true);
  });
});

describe('the pre hook', () => {
  it('that fails stops the run: nothing is stored, and the post hook hears of it', async () => {
    const { env, remote, note, facts } = stage;
    const before = (await remote.list()).size;
    const hooks = {
      HOOK_PRE_BACKUP: 'echo "not now"; echo "the lamp is red" >&2; exit 3',
      HOOK_POST_BACKUP: note('afterFailure'),
    };
    const run = await runDbstash(['backup'], { ...env, ...hooks });
    expect(run.exitCode, run.stderr).toBe(1);
    expect(errorOf(run)).toMatch(/^run failed: HOOK_PRE_BACKUP exited with 3: /);
    expect(errorOf(run)).toContain('the lamp is red');
    expect(errorOf(run)).toContain('not now');
    expect((await remote.list()).size).toBe(before);
    expect(facts('afterFailure')).toMatchObject({
      STATUS: 'failure',
      OUTCOME: 'failed',
      FILE: '',
      BYTES: '',
      ERROR: expect.stringMatching(/^HOOK_PRE_BACKUP exited with 3: .*the lamp is red/s),
    });
  });

  it('that hangs is killed after HOOK_TIMEOUT, with all that it started, whatever that ignores or left', async () => {
    const { env, remote, note, facts } = stage;
    const before = (await remote.list()).size;
    const script = `trap '' TERM INT HUP
      sleep 86431 &
      setsid sleep 86432 &
      setsid sh -c "trap '' TERM; setsid sleep 86433 & sleep 86434; true" &
      (nohup sleep 86435 > /dev/null 2>&1 &)
      sleep 86436; sleep 86437`;
    const hooks = { HOOK_PRE_BACKUP: script, HOOK_POST_BACKUP: note('afterHang'), HOOK_TIMEOUT: '2s' };
    const program = startDbstash(['backup'], { ...env, ...hooks });
    for (const seconds of [86431, 86432, 86433, 86434, 86435, 86436])
      await waitFor(() => isThere(`sleep ${seconds}`), { title: `sleep ${seconds}` });
    const run = await program.exited;
    expect(run.exitCode, run.stderr).toBe(1);
    expect(errorOf(run)).toBe('run failed: HOOK_PRE_BACKUP took longer than HOOK_TIMEOUT, 2s');
    await waitFor(() => !isThere('sleep 8643'));
    expect((await remote.list()).size).toBe(before);
    expect(facts('afterHang')).toMatchObject({ STATUS: 'failure', OUTCOME: 'failed' });
  });

  it('counts to BACKUP_TIMEOUT', async () => {
    const hooks = { HOOK_PRE_BACKUP: 'sleep 86441', BACKUP_TIMEOUT: '2s' };
    const run = await runDbstash(['backup'], { ...stage.env, ...hooks });
    expect(errorOf(run)).toMatch(/longer than BACKUP_TIMEOUT, 2s/);
    await waitFor(() => !isThere('sleep 86441'));
  });

  it('does not run where another run holds the lock', async () => {
    const { env, note, count, facts, home, database } = stage;
    const gates = createGates(home, { dump: database, rclone: { call: 'rcat*.sql.partial*' } });
    await using first = startDbstash(['backup'], { ...env, PATH: gates.path });
    await gates.arrived('call');
    const hooks = { HOOK_PRE_BACKUP: note('preOfSkipped'), HOOK_POST_BACKUP: note('postOfSkipped') };
    const second = await runDbstash(['backup'], { ...env, ...hooks });
    gates.open('call');
    await first.exited;
    await gates.drain();
    expect(second.exitCode, second.stderr).toBe(11);
    expect(count('preOfSkipped')).toBe(0);
    expect(facts('postOfSkipped')).toMatchObject({
      STATUS: 'failure',
      OUTCOME: 'skipped',
      ERROR: expect.stringMatching(/./),
    });
  });
});

describe('the post hook', () => {
  it('that fails is a warning, and the backup stays', async () => {
    const { env } = stage;
    const before = (await listBackups(env)).length;
    const run = await runDbstash(['backup'], { ...env, HOOK_POST_BACKUP: 'echo no post today; exit 7' });
    expect(run.exitCode, run.stderr).toBe(0);
    expect(outcomeOf(run)).toBe('warning');
    expect(run.lines.map(({ message }) => message)).toContain('HOOK_POST_BACKUP exited with 7: no post today');
    const listed = await listBackups(env);
    expect(listed).toHaveLength(before + 1);
    expect(listed[0]!.state).toBe('good');
  });

  it('that fails is told', async () => {
    await using receiver = await startReceiver();
    const hooks = { HOOK_POST_BACKUP: 'exit 7', NOTIFY_WEBHOOK_URL: receiver.origin };
    await runDbstash(['backup'], { ...stage.env, ...hooks });
    const told = JSON.parse(receiver.received[0]!.body);
    expect(told).toMatchObject({ outcome: 'warning', warnings: ['HOOK_POST_BACKUP exited with 7'] });
  });

  it('that hangs is killed after HOOK_TIMEOUT, which is a warning', async () => {
    const hooks = { HOOK_POST_BACKUP: 'setsid sleep 86451 & sleep 86452', HOOK_TIMEOUT: '1s' };
    const run = await runDbstash(['backup'], { ...stage.env, ...hooks });
    expect(run.exitCode, run.stderr).toBe(0);
    expect(outcomeOf(run)).toBe('warning');
    await waitFor(() => !isThere('sleep 8645'));
  });

  it('runs after a dump that failed, with the reason', async () => {
    const { env, note, facts } = stage;
    const broken = fakePath(stage.home, {
      sqlite3: 'case "$*" in *--version*|*-version*) echo "3.46.0 x"; exit;; esac; echo canary-broken >&2; exit 5',
    });
    const run = await runDbstash(['backup'], { ...env, ...broken, HOOK_POST_BACKUP: note('afterDump') });
    expect(run.exitCode, run.stderr).toBe(1);
    expect(facts('afterDump')).toMatchObject({
      STATUS: 'failure',
      OUTCOME: 'failed',
      ERROR: expect.stringContaining('canary-broken'),
    });
  });

  it('runs after a timeout, on a time of its own', async () => {
    const { env, note, facts, home, database } = stage;
    const gates = createGates(home, { dump: database, rclone: { call: 'rcat*.sql.partial*' } });
    const hooks = { HOOK_POST_BACKUP: `sleep 3; ${note('afterTimeout')}`, BACKUP_TIMEOUT: '3s' };
    const run = await runDbstash(['backup'], { ...env, ...hooks, PATH: gates.path });
    await gates.drain();
    expect(run.exitCode, run.stderr).toBe(1);
    expect(facts('afterTimeout')).toMatchObject({
      OUTCOME: 'failed',
      ERROR: expect.stringContaining('BACKUP_TIMEOUT'),
    });
  });
});

describe('F53: SIGTERM', () => {
  /** A run that waits in its upload. */
  async function startWaiting(hooks: Env) {
    const gates = createGates(stage.home, { dump: stage.database, rclone: { call: 'rcat*.sql.partial*' } });
    const program = startDbstash(['backup'], { ...stage.env, ...hooks, PATH: gates.path });
    await gates.arrived('call');
    return { gates, program };
  }

  it('leaves the post hook its two seconds', async () => {
    const { note, facts } = stage;
    const { gates, program } = await startWaiting({ HOOK_POST_BACKUP: `sleep 0.5; ${note('afterSignal')}` });
    program.kill('SIGTERM');
    const run = await program.exited;
    await gates.drain();
    expect(run.exitCode, run.stderr).toBe(143);
    expect(facts('afterSignal')).toMatchObject({
      STATUS: 'failure',
      OUTCOME: 'interrupted',
      ERROR: 'interrupted by SIGTERM',
    });
  });

  it('kills a post hook that hangs, with all that it started: seven seconds are enough, and people are told', async () => {
    await using receiver = await startReceiver();
    const hook = `trap '' TERM; setsid sleep 86461 & sleep 86462 & sleep 86463; sleep 86464`;
    const { gates, program } = await startWaiting({ HOOK_POST_BACKUP: hook, NOTIFY_WEBHOOK_URL: receiver.origin });
    const start = performance.now();
    program.kill('SIGTERM');
    const run = await program.exited;
    expect(performance.now() - start).toBeLessThan(7_000);
    await gates.drain();
    expect(run.exitCode, run.stderr).toBe(143);
    expect(run.stderr).not.toContain('not all could be stopped in order');
    await waitFor(() => !isThere('sleep 8646'));
    expect(receiver.received).toHaveLength(1);
  });

  it('in the post hook of a run that went well leaves the backup, and ends in time', async () => {
    const file = join(stage.home.path, 'posting');
    const program = startDbstash(['backup'], { ...stage.env, HOOK_POST_BACKUP: `touch '${file}'; sleep 86471` });
    await waitFor(() => existsSync(file), { timeoutMs: 30_000 });
    const start = performance.now();
    program.kill('SIGTERM');
    const run = await program.exited;
    expect(performance.now() - start).toBeLessThan(7_000);
    expect(run.lines.map(({ message }) => message)).toContain('HOOK_POST_BACKUP was killed: the process has to end');
    expect(outcomeOf(run)).toBe('warning');
    await waitFor(() => !isThere('sleep 86471'));
  });

  it('in the pre hook stops it, and runs the post hook', async () => {
    const { note, facts, home, env, remote } = stage;
    const before = (await remote.list()).size;
    const file = join(home.path, 'preparing');
    const hooks = {
      HOOK_PRE_BACKUP: `touch '${file}'; setsid sleep 86481 & sleep 86482`,
      HOOK_POST_BACKUP: note('afterPre'),
    };
    const program = startDbstash(['backup'], { ...env, ...hooks });
    await waitFor(() => existsSync(file), { timeoutMs: 30_000 });
    const start = performance.now();
    program.kill('SIGTERM');
    const run = await program.exited;
    expect(performance.now() - start).toBeLessThan(7_000);
    expect(run.exitCode, run.stderr).toBe(143);
    expect(facts('afterPre')).toMatchObject({ OUTCOME: 'interrupted' });
    expect((await remote.list()).size).toBe(before);
    await waitFor(() => !isThere('sleep 8648'));
  });
});

it('hooks run once a run, whatever is tried again', async () => {
  const { env, note, count, home } = stage;
  const flag = join(home.path, 'flag');
  writeFileSync(flag, '');
  const real = execFileSync('sh', ['-c', 'command -v rclone']).toString().trim();
  const script = `if [ "$1" = rcat ] && [ -e '${flag}' ]; then rm '${flag}'; echo once >&2; exit 1; fi; exec '${real}' "$@"`;
  const hooks = { HOOK_PRE_BACKUP: note('preOfTwo'), HOOK_POST_BACKUP: note('postOfTwo'), BACKUP_RETRIES: '1' };
  const run = await runDbstash(['backup'], { ...env, ...hooks, ...fakePath(home, { rclone: script }) });
  expect(run.exitCode, run.stderr).toBe(0);
  expect(existsSync(flag)).toBe(false);
  expect([count('preOfTwo'), count('postOfTwo')]).toEqual([1, 1]);
});

describeWith(['initdb', 'postgres', 'psql', 'pg_dump'], 'hooks of a run over several databases', () => {
  it('run once, with a line for each backup', async () => {
    const { env, note, facts, count, remote } = stage;
    const postgres = await startPostgres();
    for (const name of ['orders', 'stock']) await postgres.createDatabase(name);
    const server = { DB_URI: postgres.uri('postgres').replace(/\/postgres\b/, '/'), DB_NAME: 'orders,stock' };
    const hooks = { HOOK_PRE_BACKUP: note('preOfSeveral'), HOOK_POST_BACKUP: note('postOfSeveral') };
    const run = await runDbstash(['backup'], { ...env, ...server, ...hooks });
    await postgres.stop();
    expect(run.exitCode, run.stderr).toBe(0);
    expect([count('preOfSeveral'), count('postOfSeveral')]).toEqual([1, 1]);
    expect(facts('preOfSeveral').DATABASE).toBe('orders,stock');
    const { DATABASE = '', FILE = '', BYTES = '' } = facts('postOfSeveral');
    expect(DATABASE.split('\n')).toEqual(['all', 'orders', 'stock']);
    const files = FILE.split('\n');
    const sizes = BYTES.split('\n').map(Number);
    const stored = await remote.list();
    expect(files).toHaveLength(3);
    for (const [index, file] of files.entries())
      expect(stored.get(file.slice(remote.remote.length + 1))?.bytes).toBe(sizes[index]);
  });
});
