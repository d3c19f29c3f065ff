import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { formatTable, median } from './table.ts';

const PIPE = 'source \\| cat \\| cat';
const RELAY = 'source, relay with SHA-256, cat';

/** The relay between a fast source and a sink, against a pipe of as many processes. */
export async function compareRelay(bytes: number, rounds: number): Promise<string> {
  const source = `dd if=/dev/zero bs=1M count=${Math.ceil(bytes / 1024 ** 2)} status=none`;
  const sink = 'cat >/dev/null';
  const pipes: number[] = [];
  const relays: number[] = [];
  for (let round = 0; round < 2 * rounds + 1; round++) {
    const startedAt = performance.now();
    execFileSync('sh', ['-c', `${source} | cat | ${sink}`]);
    pipes.push((performance.now() - startedAt) / 1000);
    const args = [join(import.meta.dirname, 'relayAlone.ts'), source, sink];
    relays.push(Number(execFileSync(process.execPath, args, { encoding: 'utf8' })));
  }
  const speed = median(pipes.map((seconds, index) => seconds / relays[index]!));
  return formatTable(
    ['', 'wall', 'speed'],
    [
      [PIPE, `${median(pipes).toFixed(2)} s`, '1.00'],
      [RELAY, `${median(relays).toFixed(2)} s`, speed.toFixed(2)],
    ],
  );
}
