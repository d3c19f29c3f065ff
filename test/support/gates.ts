import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fakeTools } from './fakeTool.ts';
import { type Scratch, waitFor } from './scratch.ts';
import { requireTool } from './tools.ts';

/**
 * A pg_dump and an rclone for PATH that stop at exactly the points one asks for, until they are let go. The pg_dump writes
 * the bytes of a file; the rclone is the real one. Whoever waits for five minutes fails: the test that had to open is gone.
 */
export interface Gates {
  /** For PATH, the tools in front of the real ones. */
  readonly path: string;
  /** The id of the process that waits at the gate `name`, as soon as one does. */
  arrived(name: string): Promise<number>;
  open(name: string): void;
  /** Every call of rclone so far, and what runs as its process: `verb last-argument names-in-its-list-of-files`. */
  calls(): { readonly pid: number; readonly text: string }[];
  /** Opens every gate, and waits until no pg_dump and no rclone is left. */
  drain(): Promise<void>;
}

export interface GateOptions {
  /** What pg_dump writes. */
  readonly dump: string;
  /** Where pg_dump stops: the gate is called `dump@BYTES`. */
  readonly stops?: readonly number[];
  /** A name, and a shell pattern for the text of a call of rclone that waits there before it does anything. */
  readonly rclone?: Readonly<Record<string, string>>;
}

export function createGates(scratch: Pick<Scratch, 'path'>, { dump, stops = [], rclone = {} }: GateOptions): Gates {
  const folder = mkdtempSync(join(scratch.path, 'gates-'));
  const names = [...stops.map((bytes) => `dump@${bytes}`), ...Object.keys(rclone)];
  const tools = fakeTools(scratch, { pg_dump: dumpScript(folder, dump, stops), rclone: rcloneScript(folder, rclone) });
  const file = (name: string) => join(folder, name);
  mkdirSync(file('open'));
  const open = (name: string) => writeFileSync(file(`open/${name}`), '');
  const calls = () => readCalls(file('calls'));
  return {
    path: `${tools}:${process.env.PATH}`,
    arrived: async (name) =>
      Number(
        await waitFor(() => existsSync(file(name)) && readFileSync(file(name), 'utf8'), {
          timeoutMs: 60_000,
          title: `somebody is at ${name}`,
        }),
      ),
    open,
    calls,
    drain: async () => {
      for (const name of names) open(name);
      const pids = [...calls(), ...readCalls(file('dumps'))].map(({ pid }) => pid);
      await waitFor(() => !pids.some(isAlive), { timeoutMs: 60_000, title: 'the tools are gone' });
    },
  };
}

/** A process that has ended but that nobody has waited for is gone, too. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function readCalls(file: string): { pid: number; text: string }[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
  return lines.map((line) => ({ pid: Number.parseInt(line, 10), text: line.slice(line.indexOf(' ') + 1) }));
}

const waitAt = (folder: string): string => `
gate() {
  [ -e '${folder}/open/'"$1" ] && return
  echo $$ > '${folder}/'"$1.new"
  mv '${folder}/'"$1.new" '${folder}/'"$1"
  waits=0
  while [ ! -e '${folder}/open/'"$1" ]; do
    waits=$((waits + 1))
    if [ ! -d '${folder}' ] || [ $waits -gt 3000 ]; then exit 1; fi
    sleep 0.1
  done
}`;

function dumpScript(folder: string, dump: string, stops: readonly number[]): string {
  const pieces = stops.map((bytes, index) => `${writePiece(dump, stops[index - 1] ?? 0, bytes)}\ngate dump@${bytes}`);
  return `
if [ "$1" = --version ]; then exec ${requireTool('pg_dump')} --version; fi
echo "$$ pg_dump" >> '${folder}/dumps'
${waitAt(folder)}
${pieces.join('\n')}
exec tail -c +${(stops.at(-1) ?? 0) + 1} '${dump}'`;
}

const writePiece = (dump: string, from: number, to: number): string =>
  from === to ? '' : `tail -c +${from + 1} '${dump}' | head -c ${to - from}`;

function rcloneScript(folder: string, gates: Readonly<Record<string, string>>): string {
  const cases = Object.entries(gates).map(([name, pattern]) => `  ${pattern}) gate '${name}';;`);
  return `
last= files= before=
for word; do
  if [ "$before" = --files-from-raw ]; then files=$(tr '\\n' ' ' < "$word"); fi
  before=$word last=$word
done
call="$1 $last $files"
echo "$$ $call" >> '${folder}/calls'
${waitAt(folder)}
case "$call" in
${cases.join('\n')}
esac
exec ${requireTool('rclone')} "$@"`;
}
