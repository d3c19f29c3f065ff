import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Place } from './contestants.ts';

/** The S3 server of the tests, in a process of its own: what it costs is nobody's. It counts large bodies and drops them. */
export async function startS3Process(): Promise<Place & AsyncDisposable> {
  const file = join(import.meta.dirname, 's3Server.ts');
  const child = spawn(process.execPath, [file], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = await lines.next();
  const { bucket, env }: { bucket: string; env: Record<string, string> } = JSON.parse(String(line.value));
  return {
    remote: `s3:${bucket}`,
    env,
    [Symbol.asyncDispose]: async () => {
      child.stdin.end();
      await exited;
    },
  };
}
