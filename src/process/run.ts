import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { Command } from '../core/command.ts';
import { type Child, type Exit, type SpawnOptions, spawnChild, stopChild } from './child.ts';

export interface Output {
  readonly exit: Exit;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions extends SpawnOptions {
  readonly signal: AbortSignal;
  /** A file that takes what it prints, instead of `stdout`; where the disk is full, a part of it. */
  readonly output?: string;
}

/** Answers of tools are small, listings some megabytes; more than this is a tool gone mad. */
const MAX_OUTPUT_BYTES = 512 * 1024 * 1024;

/**
 * Runs a rendered command to its end and returns what it printed, however it ended. Rejects only when `signal` fires, and
 * then soon, also where the command cannot be killed.
 */
export async function runCommand(command: Command, options: RunOptions): Promise<Output> {
  const { signal } = options;
  signal.throwIfAborted();
  const child = spawnChild(command, options);
  const stopped = Promise.withResolvers<never>();
  stopped.promise.catch(() => {});
  const abort = () => void stopChild(child, 1000).then(() => stopped.reject(signal.reason));
  signal.addEventListener('abort', abort, { once: true });
  try {
    child.stdin.end(command.input ?? '');
    const [stdout, exit] = await Promise.race([
      Promise.all([collect(child, options.output), child.exit]),
      stopped.promise,
    ]);
    if (signal.aborted) await stopped.promise;
    return { exit, stdout, stderr: child.stderrTail() };
  } finally {
    signal.removeEventListener('abort', abort);
    child.stdin.destroy();
    child.stdout.destroy();
  }
}

async function collect({ stdout, exit }: Child, output: string | undefined): Promise<string> {
  if (output === undefined) return await readAll(stdout, exit);
  // What it prints then has nowhere to go, and its exit tells.
  const written = pipeline(stdout, createWriteStream(output, { mode: 0o600 })).catch(() => {});
  await Promise.race([written, soonAfter(exit)]);
  return '';
}

/** A descendant that holds the pipe open must not hold us. */
const soonAfter = (exit: Promise<Exit>): Promise<void> =>
  exit.then(() => new Promise((resolve) => setTimeout(resolve, 1000).unref()));

async function readAll(stream: NodeJS.ReadableStream, exit: Promise<Exit>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= MAX_OUTPUT_BYTES) chunks.push(chunk);
  });
  const ended = new Promise<void>((resolve) => {
    stream.once('end', resolve);
    stream.once('error', resolve);
    stream.once('close', resolve);
    void soonAfter(exit).then(resolve);
  });
  await ended;
  if (bytes > MAX_OUTPUT_BYTES) throw new Error(`more than ${MAX_OUTPUT_BYTES} bytes of output`);
  return Buffer.concat(chunks).toString('utf8');
}
