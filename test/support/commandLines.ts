import { readdirSync, readFileSync } from 'node:fs';
import type { DbstashProcess } from './dbstash.ts';

/** Command lines of all processes, as everybody on the machine can read them. */
export function readCommandLines(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/cmdline`, 'utf8')];
      } catch {
        return [];
      }
    });
}

/** Every command line there was while `run` went on. */
export async function watchCommandLines(run: DbstashProcess): Promise<string[]> {
  const seen = new Set<string>();
  let over = false;
  void run.exited.finally(() => {
    over = true;
  });
  while (!over) {
    for (const line of readCommandLines()) seen.add(line);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return [...seen];
}
