import { readdirSync, readFileSync } from 'node:fs';

/** What one process holds at a moment. */
export interface ProcessState {
  readonly pid: number;
  readonly parent: number;
  /** Memory, with shared pages divided among those who share them. */
  readonly pssBytes: number;
  /** The most it ever had resident. */
  readonly peakBytes: number;
}

/** The processes below `root`, itself left out. Those that end while we look are left out too. */
export function readDescendants(root: number): readonly ProcessState[] {
  const parents = readParents();
  const isBelow = (pid: number | undefined): boolean =>
    pid !== undefined && pid > 1 && (parents.get(pid) === root || isBelow(parents.get(pid)));
  return [...parents].filter(([pid]) => isBelow(pid)).flatMap(([pid, parent]) => readState(pid, parent));
}

function readParents(): ReadonlyMap<number, number> {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readText(`/proc/${name}/stat`);
    // The name, in brackets, may hold anything; behind it come the state and the parent.
    const parent = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1];
    if (parent !== undefined) parents.set(Number(name), Number(parent));
  }
  return parents;
}

function readState(pid: number, parent: number): ProcessState[] {
  const pss = readKib(`/proc/${pid}/smaps_rollup`, 'Pss');
  const peak = readKib(`/proc/${pid}/status`, 'VmHWM');
  return pss === undefined || peak === undefined ? [] : [{ pid, parent, pssBytes: pss, peakBytes: peak }];
}

function readKib(file: string, key: string): number | undefined {
  const kib = new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(readText(file))?.[1];
  return kib === undefined ? undefined : Number(kib) * 1024;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
