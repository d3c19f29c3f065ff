import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Clock } from '../src/core/clock.ts';
import { createProgress } from '../src/jobs/progress.ts';
import { watchStall } from '../src/jobs/stall.ts';
import { createLogger } from '../src/logger.ts';
import { backupEnv, fakePath, fakePgDump } from './support/backups.ts';
import { type DbstashRun, runDbstash } from './support/dbstash.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { obscure } from './support/rclone.ts';
import { REMOTE_KINDS, startRemote, type TestRemote } from './support/remotes.ts';
import { rcloneThatReads } from './support/restores.ts';
import { type Scratch, scratchFolder, waitFor } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

let postgres: PostgresServer;
let scratch: Scratch;

beforeAll(async () => {
  scratch = scratchFolder();
  postgres = await startPostgres();
  await postgres.createDatabase('shop');
  await postgres.sql('CREATE TABLE orders AS SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, 90000) i', {
    database: 'shop',
  });
});
afterAll(async () => {
  await postgres?.stop();
  await scratch?.[Symbol.asyncDispose]();
});

const errorOf = (run: DbstashRun): string => run.lines.findLast(({ level }) => level === 'error')?.message ?? '';

/** Is a process whose command line holds the text still there? */
function isRunning(text: string): boolean {
  const { readFileSync } = process.getBuiltinModule('node:fs');
  return readdirSync('/proc').some((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text);
    } catch {
      return false;
    }
  });
}

describe.each(REMOTE_KINDS)('F60: on %s', (kind) => {
  let remote: TestRemote;
  let env: Record<string, string>;
  beforeAll(async () => {
    remote = await startRemote(kind);
    env = backupEnv(postgres.uri('shop'), remote, { path: join(scratch.path, kind) });
  });
  afterAll(() => remote?.stop());

  it('a dump that stalls midway ends at BACKUP_STALL_TIMEOUT, with its children, and leaves nothing', async () => {
    const stalled = fakePgDump(scratch, 'real "$@" | head -c 9000000; sleep 86401');
    const run = await runDbstash(['backup'], { ...env, ...stalled, BACKUP_STALL_TIMEOUT: '2s' });
    expect(run.exitCode, run.stderr).toBe(1);
    expect(errorOf(run)).toMatch(/nothing moved for 2s \(BACKUP_STALL_TIMEOUT\)/);
    expect(await remote.list()).toEqual(new Map());
    expect(remote.s3?.uploads() ?? []).toEqual([]);
    await waitFor(() => !isRunning('86401'));
  });

  it('a run that moves and does not end ends at BACKUP_TIMEOUT, with its children, and leaves nothing', async () => {
    const endless = fakePgDump(scratch, 'while sleep 0.1; do echo 86402; done');
    const run = await runDbstash(['backup'], { ...env, ...endless, BACKUP_TIMEOUT: '4s', BACKUP_STALL_TIMEOUT: '2s' });
    expect(run.exitCode, run.stderr).toBe(1);
    expect(errorOf(run)).toMatch(/the run took longer than BACKUP_TIMEOUT, 4s/);
    expect(run.durationMs).toBeGreaterThan(4000);
    expect(await remote.list()).toEqual(new Map());
    await waitFor(() => !isRunning('86402'));
  });
});

describe('F60: an S3 that stalls', () => {
  let remote: TestRemote;
  let env: Record<string, string>;
  beforeAll(async () => {
    remote = await startRemote('s3');
    env = backupEnv(postgres.uri('shop'), remote, { path: join(scratch.path, 'stalling') });
  });
  afterAll(() => remote?.stop());

  it.each([
    ['in the middle of the upload', 'UploadPart', 8],
    ['after our last byte', 'CompleteMultipartUpload', 8],
    ['when the name is taken', 'ListObjectsV2', 3],
    ['before the first record', 'PutObject', 3],
  ] as const)('%s ends the run at BACKUP_STALL_TIMEOUT', async (_, operation, seconds) => {
    const fault = remote.s3!.fault({
      operation: operation === 'ListObjectsV2' ? ['ListObjectsV2', 'ListObjects'] : operation,
      stall: true,
    });
    const running = runDbstash(['backup'], { ...env, BACKUP_STALL_TIMEOUT: `${seconds}s` });
    await waitFor(() => fault.hits > 0, { timeoutMs: 20_000 });
    // It comes back when the run has given up, else what is to be cleaned up would wait for a minute.
    const comeBack = setTimeout(() => fault.remove(), (seconds + 1) * 1000);
    const run = await running;
    clearTimeout(comeBack);
    fault.remove();
    expect(run.exitCode, run.stderr).toBe(1);
    expect(errorOf(run)).toMatch(/nothing moved for .*BACKUP_STALL_TIMEOUT/);
    expect(run.durationMs).toBeLessThan((seconds + 15) * 1000);
    expect(await remote.list()).toEqual(new Map());
    expect(remote.s3!.uploads()).toEqual([]);
  });

  it('a slow one that does move is no stalled one', async () => {
    remote.s3!.fault({ operation: ['UploadPart', 'PutObject', 'CompleteMultipartUpload'], delayMs: 1500 });
    const run = await runDbstash(['backup'], { ...env, BACKUP_STALL_TIMEOUT: '10s' });
    remote.s3!.clearFaults();
    expect(run.exitCode, run.stderr).toBe(0);
  });
});

it.each([
  ['BACKUP_TIMEOUT', /longer than BACKUP_TIMEOUT, 3s/],
  ['BACKUP_STALL_TIMEOUT', /nothing moved for 3s \(BACKUP_STALL_TIMEOUT\)/],
])('F60: a remote that is silent from the first ends the run at %s', async (variable, message) => {
  await using silent = await startSilent();
  const run = await runDbstash(['backup'], {
    DB_URI: postgres.uri('shop'),
    BACKUP_TEMP_DIR: join(scratch.path, 'silent'),
    ...silent.env,
    [variable]: '3s',
  });
  expect(run.exitCode, run.stderr).toBe(1);
  expect(errorOf(run)).toMatch(message);
  expect(run.durationMs).toBeLessThan(20_000);
});

/** Variables that encrypt and decrypt. */
function createKeys(): Record<string, string> {
  const identity = execFileSync(requireTool('age-keygen'), { encoding: 'utf8', stdio: 'pipe' });
  return { BACKUP_ENCRYPT_TO: /age1\w+/.exec(identity)![0], DECRYPT_IDENTITY: identity };
}

describe('F60: the only remote stalls', () => {
  const LIMIT = { BACKUP_STALL_TIMEOUT: '3s' };
  const given = (title: string) =>
    new RegExp(`${title}.* did not answer for 3s \\(BACKUP_STALL_TIMEOUT\\): it was given up`);

  let folders = 0;
  /** A lock that a failed test leaves must not lock the next one out. */
  const ownFolder = () => ({ path: join(scratch.path, `only-${++folders}`) });

  const expectGivenUp = (run: DbstashRun, title: string) => {
    expect(run.exitCode, run.stderr).toBe(3);
    expect(run.stderr).toMatch(given(title));
    expect(run.durationMs).toBeLessThan(25_000);
  };

  it.each([['list'], ['restore', '--database', 'never'], ['prune']])('%s gives up a listing', async (...args) => {
    await using remote = await startRemote('s3');
    const env = backupEnv(postgres.uri('shop'), remote, ownFolder(), LIMIT);
    remote.s3!.fault({ operation: ['ListObjectsV2', 'ListObjects'], stall: true });
    expectGivenUp(await runDbstash(args, env), 'backups');
  });

  it.each([['list'], ['restore', '--database', 'never']])(
    '%s gives up one that is silent from the first',
    async (...args) => {
      await using silent = await startSilent();
      const env = {
        DB_URI: postgres.uri('shop'),
        BACKUP_TEMP_DIR: join(scratch.path, 'silent'),
        ...silent.env,
        ...LIMIT,
      };
      expectGivenUp(await runDbstash(args, env), 'silent:backups');
    },
  );

  it.each([
    ['stream', { BACKUP_MODE: 'stream' }],
    ['stream, encrypted', { BACKUP_MODE: 'stream', ...createKeys() }],
    ['tar', { BACKUP_MODE: 'tar' }],
    ['directory', { BACKUP_MODE: 'directory' }],
  ])('a restore gives up an artifact that stalls midway, and the target is as it was: %s', async (_, more) => {
    await using remote = await startRemote('s3');
    const env = backupEnv(postgres.uri('shop'), remote, ownFolder(), { BACKUP_NAME_TEMPLATE: '{db}', ...more });
    expect((await runDbstash(['backup'], env)).exitCode).toBe(0);
    remote.s3!.fault({ operation: 'GetObject', key: /shop(?!.*manifest)/, stall: true });
    expectGivenUp(await runDbstash(['restore', '--database', 'never'], { ...env, ...LIMIT }), 'backups');
    expect(await postgres.sql("SELECT count(*) FROM pg_database WHERE datname = 'never'")).toEqual(['0']);
  });

  it('a restore gives up an artifact of which nothing more comes', async () => {
    await using remote = await startRemote('local');
    const env = backupEnv(postgres.uri('shop'), remote, ownFolder());
    expect((await runDbstash(['backup'], env)).exitCode).toBe(0);
    const stalled = rcloneThatReads(scratch, 'real "$@" | head -c 6000000; sleep 86403');
    const run = await runDbstash(['restore', '--database', 'never'], { ...env, ...LIMIT, ...stalled });
    expectGivenUp(run, 'backups');
    expect(run.stderr).toContain('never was not created');
    await waitFor(() => !isRunning('86403'));
  });

  it.each(['stream', 'tar'])('a target that is slow is no stalled remote: %s', async (mode) => {
    await using remote = await startRemote('local');
    const env = backupEnv(postgres.uri('shop'), remote, ownFolder(), { BACKUP_MODE: mode });
    expect((await runDbstash(['backup'], env)).exitCode).toBe(0);
    const slow = (tool: string) =>
      `case "$*" in *--output=/dev/null* | *--extract*) sleep 8 ;; esac; exec '${requireTool(tool)}' "$@"`;
    const path = fakePath(scratch, { psql: slow('psql'), tar: slow('tar') });
    const run = await runDbstash(['restore', '--database', `slow-${mode}`], { ...env, ...LIMIT, ...path });
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.durationMs).toBeGreaterThan(8000);
  });
});

interface Silent extends AsyncDisposable {
  readonly env: Record<string, string>;
}

/** An SFTP server that takes connections and says nothing. */
async function startSilent(): Promise<Silent> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => void sockets.push(socket.on('error', () => {})));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    env: {
      RCLONE_REMOTE: 'silent:backups',
      RCLONE_CONFIG_SILENT_TYPE: 'sftp',
      RCLONE_CONFIG_SILENT_HOST: '127.0.0.1',
      RCLONE_CONFIG_SILENT_PORT: String(port),
      RCLONE_CONFIG_SILENT_PASS: await obscure('password'),
    },
    [Symbol.asyncDispose]: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A clock that stands until it is told to go on. */
function createFakeClock() {
  let now = Date.parse('2026-01-01T00:00:00Z');
  let timers: { at: number; run: () => void }[] = [];
  const clock: Clock = {
    now: () => new Date(now),
    setTimeout: (run, ms) => {
      const timer = { at: now + ms, run };
      timers.push(timer);
      return timer;
    },
    clearTimeout: (timer) => {
      timers = timers.filter((other) => other !== timer);
    },
  };
  const advance = async (ms: number) => {
    const end = now + ms;
    for (;;) {
      const next = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      now = Math.max(now, next.at);
      timers = timers.filter((timer) => timer !== next);
      next.run();
      await new Promise((resolve) => setImmediate(resolve));
    }
    now = end;
  };
  return { clock, advance, timers: () => timers.length };
}

describe('progress', () => {
  it('is a line in the log every 30 s, with bytes, rate and time, until the run is over', async () => {
    const { clock, advance, timers } = createFakeClock();
    const lines: string[] = [];
    const write = (line: string) => void lines.push(JSON.parse(line).message);
    const logger = createLogger({ level: 'info', format: 'json', write, redact: (text) => text, clock });
    let touches = 0;
    {
      using progress = createProgress(clock, logger, undefined, () => touches++);
      await advance(29_000);
      expect(lines).toEqual([]);
      progress.add(60 * 1024 * 1024);
      await advance(1000);
      progress.add(60 * 1024 * 1024);
      await advance(30_000);
    }
    expect(lines).toEqual(['running: 60.0 MiB, 2.0 MiB/s, 30s', 'running: 120.0 MiB, 2.0 MiB/s, 1m']);
    expect(touches).toBe(2);
    expect(timers()).toBe(0);
  });

  it('on a terminal is one line that is written over, and is gone at the end', async () => {
    const { clock, advance } = createFakeClock();
    const shown: string[] = [];
    const logger = createLogger({ level: 'info', format: 'text', write: () => {}, redact: (text) => text, clock });
    {
      using progress = createProgress(
        clock,
        logger,
        (line) => shown.push(line),
        () => {},
      );
      progress.add(1024 * 1024);
      await advance(500);
    }
    expect(shown).toHaveLength(3);
    expect(shown[0]).toMatch(/^1\.0 MiB, 4\.0 MiB\/s/);
    expect(shown.at(-1)).toBe('');
  });
});

describe('time left', () => {
  it('is told while the backup is read, and not where it is read while the server still loads', async () => {
    const { clock, advance } = createFakeClock();
    const shown: string[] = [];
    const logger = createLogger({ level: 'info', format: 'text', write: () => {}, redact: (text) => text, clock });
    const show = (line: string) => shown.push(line);
    using progress = createProgress(clock, logger, show, () => {}, 4 * 1024 * 1024);
    progress.add(1024 * 1024);
    await advance(1000);
    expect(shown.at(-1)).toMatch(/25 % of 4\.0 MiB, 3s left$/);
    progress.add(3 * 1024 * 1024);
    await advance(1000);
    expect(shown.at(-1)).toMatch(/all of it read; not done yet$/);
  });
});

describe('F60: what counts as a stall', () => {
  const watch = async (
    moves: (touch: () => void, grow: (bytes: number) => void, advance: (ms: number) => Promise<void>) => Promise<void>,
    stallMs = 60_000,
  ) => {
    const { clock, advance } = createFakeClock();
    let size = 0;
    using stall = watchStall(clock, stallMs, async () => size);
    await moves(
      stall.touch,
      (bytes) => {
        size += bytes;
      },
      advance,
    );
    return stall.signal.aborted;
  };

  it('is the whole time without a byte and without growth of the temporary folder', async () => {
    expect(await watch(async (_, __, advance) => advance(59_000))).toBe(false);
    expect(await watch(async (_, __, advance) => advance(64_000))).toBe(true);
  });

  it('is not a byte now and then, nor a folder that grows', async () => {
    const often = async (step: () => void, advance: (ms: number) => Promise<void>) => {
      for (let i = 0; i < 10; i++) {
        await advance(50_000);
        step();
      }
    };
    expect(await watch(async (touch, _, advance) => often(touch, advance))).toBe(false);
    expect(await watch(async (_, grow, advance) => often(() => grow(1), advance))).toBe(false);
  });

  it('is never where it is turned off', async () => {
    expect(await watch(async (_, __, advance) => advance(1e9), 0)).toBe(false);
  });
});
