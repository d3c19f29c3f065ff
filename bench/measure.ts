import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { readDescendants } from './processes.ts';

export interface Measurement {
  readonly wallSeconds: number;
  /** User and system time of every process that the script started, and theirs. Servers are not among them. */
  readonly cpuSeconds: number;
  /** The most that all of them held at one moment. */
  readonly memoryBytes: number;
  /** The most that one process held which the script itself started: of a script with one command, that command. */
  readonly mainBytes: number;
  /** The most that lay in the temporary folder. */
  readonly temporaryBytes: number;
}

export interface Job {
  /** For sh. */
  readonly script: string;
  readonly env: Readonly<Record<string, string>>;
  /** TMPDIR of all. */
  readonly temporary: string;
}

const LOOK_EVERY_MS = 200;

/** Runs a script to its end and measures it. Throws where it fails. Linux only. */
export async function measure({ script, env, temporary }: Job): Promise<Measurement> {
  const cpuFile = `${temporary}.cpu`;
  // `times` tells of all descendants that somebody waited for: the shell for its children, they for theirs.
  const child = spawn('sh', ['-c', `${script}\ncode=$?; times >'${cpuFile}'; exit $code`], {
    env: { ...env, TMPDIR: temporary },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const startedAt = performance.now();
  const watch = watchTree(child.pid ?? 0, temporary);
  const stderr = text(child.stderr);
  const [code] = await once(child, 'exit');
  const wallSeconds = (performance.now() - startedAt) / 1000;
  const peaks = watch.stop();
  if (code !== 0) throw new Error(`exited with ${code}: ${script}\n${await stderr}`);
  return { wallSeconds, cpuSeconds: parseTimes(readFileSync(cpuFile, 'utf8')), ...peaks };
}

type Peaks = Pick<Measurement, 'memoryBytes' | 'mainBytes' | 'temporaryBytes'>;

function watchTree(root: number, folder: string): { stop(): Peaks } {
  let peaks: Peaks = { memoryBytes: 0, mainBytes: 0, temporaryBytes: 0 };
  const timer = setInterval(() => {
    const processes = readDescendants(root);
    const memory = processes.reduce((sum, { pssBytes }) => sum + pssBytes, 0);
    const main = processes.filter(({ parent }) => parent === root).map(({ peakBytes }) => peakBytes);
    peaks = {
      memoryBytes: Math.max(peaks.memoryBytes, memory),
      mainBytes: Math.max(peaks.mainBytes, ...main),
      temporaryBytes: Math.max(peaks.temporaryBytes, folderBytes(folder)),
    };
  }, LOOK_EVERY_MS);
  return {
    stop: () => {
      clearInterval(timer);
      return peaks;
    },
  };
}

function folderBytes(folder: string): number {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names.reduce((sum, name) => sum + fileBytes(join(folder, name)), 0);
}

function fileBytes(path: string): number {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat?.isFile() ? stat.size : 0;
}

/** Two lines, the shell's own times and those of its children: `0m0.010000s 0m0.020000s`. */
function parseTimes(output: string): number {
  const times = [...output.matchAll(/(\d+)m([\d.]+)s/g)].map(
    ([, minutes, seconds]) => Number(minutes) * 60 + Number(seconds),
  );
  if (times.length !== 4) throw new Error(`times says ${JSON.stringify(output)}`);
  return times.reduce((sum, seconds) => sum + seconds, 0);
}
