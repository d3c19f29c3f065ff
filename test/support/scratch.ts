import { mkdtempSync, realpathSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Scratch {
  readonly path: string;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A private folder that is gone when it is disposed of: `await using scratch = scratchFolder()`. */
export function scratchFolder(): Scratch {
  const path = mkdtempSync(join(realpathSync(tmpdir()), 'dbstash-test-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) };
}

/** A TCP port on 127.0.0.1 that nobody listened on a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

export interface WaitOptions {
  readonly timeoutMs?: number;
  /** For the error: what did not happen. */
  readonly title?: string | (() => string);
}

/** The first answer that is neither undefined, null nor false, asked for every 20 ms. Throws after `timeoutMs` (10 s). */
export async function waitFor<T>(
  predicate: () => T | Promise<T>,
  { timeoutMs = 10_000, title = String(predicate) }: WaitOptions = {},
): Promise<Exclude<T, undefined | null | false>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await predicate();
    if (answer !== undefined && answer !== null && answer !== false)
      return answer as Exclude<T, undefined | null | false>;
    if (performance.now() > deadline) {
      throw new Error(`not within ${timeoutMs} ms: ${typeof title === 'function' ? title() : title}`);
    }
    await sleep(20);
  }
}
