import type { Command } from '../core/command.ts';
import { type Child, type Exit, stopChild } from '../process/child.ts';
import type { Scratch } from '../process/scratch.ts';
import { type Session, startTool } from './session.ts';

/** More than age's header, however many recipients there are, and the first chunk that it can check. */
const HEAD_BYTES = 256 * 1024;

/** The first bytes that a child writes; all, where there are fewer. */
export async function readHead({ stdout }: Child, wanted = HEAD_BYTES): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of stdout as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes >= wanted) break;
    }
  } catch {
    // What did not come is missed by the reader.
  }
  return Buffer.concat(chunks);
}

/** What a filter makes of the beginning of its input. Cut short, that ends badly in any case: what came out is what counts. */
export async function pipeHead(
  { host }: Session,
  scratch: Scratch,
  command: Command,
  head: Buffer,
  signal: AbortSignal,
  wanted = HEAD_BYTES,
): Promise<{ readonly clear: Buffer; readonly exit: Exit; readonly stderr: string }> {
  const child = await startTool(host, scratch, command);
  const stop = () => void stopChild(child, 500);
  signal.addEventListener('abort', stop, { once: true });
  try {
    child.stdin.end(head);
    const clear = await readHead(child, wanted);
    if (clear.length >= wanted) stop();
    return { clear, exit: await child.exit, stderr: child.stderrTail() };
  } finally {
    signal.removeEventListener('abort', stop);
    await stopChild(child, 500);
  }
}
