import type { Command } from '../core/command.ts';
import { type Exit, type SpawnOptions, spawnChild, stopChild } from './child.ts';

export interface Output {
  readonly exit: Exit;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions extends SpawnOptions {
  readonly signal: AbortSignal;
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
      Promise.all([readAll(child.stdout, child.exit), child.exit]),
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
    // A descendant that holds the pipe open must not hold us.
    void exit.then(() => setTimeout(resolve, 1000).unref());
  });
  await ended;
  if (bytes > MAX_OUTPUT_BYTES) throw new Error(`more than ${MAX_OUTPUT_BYTES} bytes of output`);
  return Buffer.concat(chunks).toString('utf8');
}
