import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Scratch, scratchFolder, waitFor } from './scratch.ts';

interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

export interface DbstashRun {
  readonly exitCode: number | null;
  /** The signal that ended it; null where it exited. */
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What of both is a line of the JSON log. */
  readonly lines: readonly LogLine[];
  readonly durationMs: number;
}

interface ProgramOptions {
  /** HOME and TMPDIR; a folder of its own, gone at the end, if absent. */
  readonly scratch?: Pick<Scratch, 'path'>;
  readonly input?: string;
  readonly cwd?: string;
  /** Killed after so long (60 s); `exited` then rejects. */
  readonly timeoutMs?: number;
}

interface DbstashOptions extends ProgramOptions {
  /** The program, from the repository's root. */
  readonly entry?: 'src/main.ts' | 'src/entry.ts' | 'dist/dbstash.js';
}

export interface DbstashProcess extends AsyncDisposable {
  readonly pid: number;
  stdout(): string;
  stderr(): string;
  lines(): LogLine[];
  /** The first line of the log whose text fits, as it was written. */
  waitForLog(pattern: RegExp, timeoutMs?: number): Promise<string>;
  kill(signal: NodeJS.Signals): void;
  readonly exited: Promise<DbstashRun>;
}

type Env = Readonly<Record<string, string | undefined>>;

/** Where node keeps what it made of the sources: two thirds of the time that a short command takes. */
export const COMPILE_CACHE = join(tmpdir(), 'dbstash-test-compiled');

/** Runs `dbstash ARGS` to its end. It sees `env`, and besides only PATH, HOME and TMPDIR, which `env` may replace, and node's own NODE_COMPILE_CACHE. */
export async function runDbstash(args: readonly string[], env: Env, options?: DbstashOptions): Promise<DbstashRun> {
  return await startDbstash(args, env, options).exited;
}

/** Starts `dbstash ARGS`. Disposing of it kills it. */
export function startDbstash(args: readonly string[], env: Env, options: DbstashOptions = {}): DbstashProcess {
  const file = join(import.meta.dirname, '../..', options.entry ?? 'src/main.ts');
  // Many run side by side: those that are to listen are given a port of their own.
  return startProgram([file, ...args], { NODE_COMPILE_CACHE: COMPILE_CACHE, HEALTH_PORT: '0', ...env }, options);
}

/** As startDbstash, for any program of node's. */
export function startProgram(args: readonly string[], env: Env, options: ProgramOptions = {}): DbstashProcess {
  const own = options.scratch ? undefined : scratchFolder();
  const child = spawnProgram(args, env, options, (options.scratch ?? own)?.path ?? '');
  const output = collectOutput(child);
  const exited = waitForEnd(child, output, options.timeoutMs ?? 60_000).finally(() => own?.[Symbol.asyncDispose]());
  exited.catch(() => {}); // whoever awaits it sees the error
  return {
    pid: child.pid ?? 0,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    lines: () => parseLines(output),
    waitForLog: (pattern, timeoutMs = 20_000) => waitForLine(child, output, pattern, timeoutMs),
    kill: (signal) => void child.kill(signal),
    exited,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exited.catch(() => {});
    },
  };
}

interface Output {
  stdout: string;
  stderr: string;
  /** Both pipes have ended. */
  isWhole: boolean;
}

function spawnProgram(args: readonly string[], env: Env, { input = '', cwd }: ProgramOptions, home: string) {
  const all = { PATH: process.env.PATH, HOME: home, TMPDIR: home, ...env };
  const child = spawn(process.execPath, args, { cwd: cwd ?? home, env: all });
  child.stdin.on('error', () => {}).end(input); // it need not read it
  return child;
}

function collectOutput(child: ChildProcessWithoutNullStreams): Output {
  const output: Output = { stdout: '', stderr: '', isWhole: false };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  child.once('close', () => {
    output.isWhole = true;
  });
  return output;
}

async function waitForEnd(
  child: ChildProcessWithoutNullStreams,
  output: Output,
  timeoutMs: number,
): Promise<DbstashRun> {
  const startedAt = performance.now();
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  try {
    await once(child, 'close');
  } finally {
    clearTimeout(timer);
  }
  const durationMs = performance.now() - startedAt;
  const { stdout, stderr } = output;
  if (durationMs > timeoutMs) throw new Error(`dbstash ran for more than ${timeoutMs} ms: ${stdout}${stderr}`);
  return { exitCode: child.exitCode, signal: child.signalCode, stdout, stderr, lines: parseLines(output), durationMs };
}

async function waitForLine(
  child: ChildProcessWithoutNullStreams,
  output: Output,
  pattern: RegExp,
  timeoutMs: number,
): Promise<string> {
  const find = () => `${output.stdout}\n${output.stderr}`.split('\n').find((line) => pattern.test(line));
  const title = () =>
    `dbstash (${child.exitCode ?? child.signalCode ?? 'running'}) says ${pattern}: ${output.stdout}${output.stderr}`;
  const line = await waitFor(() => find() ?? (output.isWhole && ''), { timeoutMs, title });
  if (line === '') throw new Error(`it never happened: ${title()}`);
  return line;
}

function parseLines({ stdout, stderr }: Output): LogLine[] {
  return `${stdout}\n${stderr}`.split('\n').flatMap((line) => {
    if (!line.startsWith('{')) return [];
    try {
      const parsed: LogLine = JSON.parse(line);
      return typeof parsed.level === 'string' && typeof parsed.message === 'string' ? [parsed] : [];
    } catch {
      return [];
    }
  });
}
