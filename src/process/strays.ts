import { readdir, readFile } from 'node:fs/promises';

const ROUNDS = 5;

/**
 * Kills every process that inherited `entry`, as `NAME=unique value`, with its environment, also those that left their
 * process group or their parent. Does nothing where there is no /proc.
 */
export async function killStrays(entry: string): Promise<void> {
  // A process may start another while we look.
  for (let round = 0; round < ROUNDS; round++) {
    const found = await findStrays(entry);
    if (found.length === 0) return;
    for (const pid of found) kill(pid);
  }
}

async function findStrays(entry: string): Promise<readonly number[]> {
  const names = await readdir('/proc').catch(() => []);
  const pids = names.filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const hits = await Promise.all(
    pids.map(async (pid) => {
      const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
      return environment.split('\0').includes(entry);
    }),
  );
  return pids.filter((_, index) => hits[index]).map(Number);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}
