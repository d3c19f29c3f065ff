import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from '../core/command.ts';
import { keepTail } from '../core/tail.ts';

/** How a child ended. `failure` is why it could not be started at all. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly failure?: Error;
}

/** A running child process, leader of its own process group, so that killing it takes its descendants along. */
export interface Child {
  /** The program's name, for messages. */
  readonly name: string;
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Settles when the process has ended; never rejects. */
  readonly exit: Promise<Exit>;
  /** The last lines of standard error, at most 4 KiB. */
  stderrTail(): string;
  /** Signals the whole group. */
  kill(signal: NodeJS.Signals): void;
  /** False when the process and all its descendants are gone. */
  isRunning(): boolean;
}

export interface SpawnOptions {
  /** The whole environment of the child, but for what the command adds. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Called with each piece of standard error. */
  readonly onStderr?: (text: string) => void;
}

const running = new Set<Child>();

/** Starts a rendered command (its `files` are the caller's to write). There is no shell. */
export function spawnChild(command: Command, options: SpawnOptions): Child {
  const child = spawn(command.file, command.args, {
    env: { ...options.env, ...command.env },
    cwd: options.cwd,
    detached: true,
    stdio: 'pipe',
  });
  const exit = waitForExit(child);
  // Where there is not even a file descriptor left for its pipes, it has none.
  if (!child.stdin) throw new Error(`${command.file} could not be started: too many files are open`);
  const tail = collectTail(child.stderr, options.onStderr);
  // A child that dies while we write gives EPIPE here; its exit says why.
  child.stdin.on('error', () => {});
  const self: Child = {
    name: command.file,
    stdin: child.stdin,
    stdout: child.stdout,
    exit: exit.finally(() => {
      running.delete(self);
      // A descendant that holds it open must not hold us.
      child.stderr.destroy();
    }),
    stderrTail: tail,
    ...leadGroup(child),
  };
  running.add(self);
  return self;
}

/** SIGKILLs every child there is, uploads (which would commit at our death's end-of-input) and all. Synchronous. */
export function killAllChildren(): void {
  for (const child of running) child.kill('SIGKILL');
}

/**
 * Tells a child to end, and makes it after `graceMs`. Resolves when it and its descendants are gone, or half a second after
 * SIGKILL, which only a process stuck in the kernel survives.
 */
export async function stopChild(child: Child, graceMs: number): Promise<void> {
  running.add(child);
  child.kill('SIGTERM');
  if (!(await hasEndedWithin(child, graceMs))) {
    child.kill('SIGKILL');
    await hasEndedWithin(child, 500);
  }
  if (!child.isRunning()) running.delete(child);
}

async function hasEndedWithin(child: Child, ms: number): Promise<boolean> {
  if (!(await hasExitedWithin(child, ms))) return false;
  // Nothing tells of the end of descendants, and few have any. One that nobody reaps counts as there: not for ever, then.
  const deadline = performance.now() + Math.min(ms, 1000);
  while (child.isRunning()) {
    if (performance.now() > deadline) return false;
    await sleep(20);
  }
  return true;
}

function hasExitedWithin(child: Child, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), ms);
    void child.exit.then(() => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}

export const hasSucceeded = (exit: Exit): boolean => exit.code === 0 && exit.failure === undefined;

/** "pg_dump exited with 1: the tail of its standard error". */
export function describeExit(name: string, exit: Exit, stderr: string): string {
  const detail = stderr === '' ? '' : `: ${stderr}`;
  if (exit.failure) {
    const isMissing = 'code' in exit.failure && exit.failure.code === 'ENOENT';
    return `${name} could not be started: ${isMissing ? 'it is not installed, or not on PATH' : exit.failure.message}`;
  }
  if (exit.signal) return `${name} was killed by ${exit.signal}${detail}`;
  return `${name} exited with ${exit.code}${detail}`;
}

function waitForExit(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    child.on('error', (failure) => resolve({ code: null, signal: null, failure }));
    // `close` comes after the last byte of stderr, but never while a descendant holds it open: give that a moment only.
    child.once('exit', (code, signal) => {
      const settle = () => resolve({ code, signal });
      if (child.stderr?.closed) return settle();
      const timer = setTimeout(settle, 200);
      child.stderr?.once('close', () => {
        clearTimeout(timer);
        settle();
      });
    });
  });
}

/** A group outlives its leader while descendants are left. Once seen empty, its number may be somebody else's. */
function leadGroup(child: ChildProcess): Pick<Child, 'kill' | 'isRunning'> {
  let isEmpty = child.pid === undefined;
  const send = (signal: NodeJS.Signals | 0) => {
    if (isEmpty) return;
    try {
      process.kill(-child.pid!, signal);
    } catch {
      isEmpty = true;
    }
  };
  child.once('exit', () => send(0));
  return {
    kill: send,
    isRunning: () => {
      send(0);
      return !isEmpty;
    },
  };
}

function collectTail(stream: Readable, onText?: (text: string) => void): () => string {
  let tail = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    tail = keepTail(tail + text, 4096);
    onText?.(text);
  });
  stream.on('error', () => {});
  return () => tail.trim();
}
