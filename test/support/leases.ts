import { existsSync, readdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';

/** Lets the leases of locks, private folders and readers under a temporary folder run out, as if their holders had died a minute ago. */
export function expireLeases(tempDir: string): void {
  const then = new Date(Date.now() - 60_000);
  for (const path of findLeases(tempDir)) utimesSync(path, then, then);
}

export function findLeases(tempDir: string): string[] {
  const list = (folder: string) => (existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []);
  const work = list(tempDir).filter((path) => path.endsWith('.lease'));
  return [...work, ...list(join(tempDir, 'locks')), ...list(join(tempDir, 'reading'))];
}
