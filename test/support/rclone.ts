import { spawn } from 'node:child_process';
import { requireTool } from './tools.ts';

/** The versions that everything must work with; names as in findTool. */
export const RCLONES = ['rclone', 'rclone-current'] as const;

export interface RcloneRun {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface RcloneProcess {
  readonly pid: number;
  write(data: Buffer | string): void;
  /** Ends its input. */
  end(): void;
  kill(signal: NodeJS.Signals): void;
  readonly exited: Promise<RcloneRun>;
}

const TIMEOUT_MS = 120_000;

/** Starts rclone with `env` and PATH only, and no configuration file. It is killed after two minutes. */
export function startRclone(args: readonly string[], env: Record<string, string>, tool = 'rclone'): RcloneProcess {
  const child = spawn(requireTool(tool), [...args], {
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
    env: {
      PATH: process.env.PATH,
      HOME: '/nonexistent',
      RCLONE_CONFIG: '/notfound',
      RCLONE_ASK_PASSWORD: 'false',
      ...env,
    },
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on('error', () => {}); // a program that does not read to the end is no error of ours
  const exited = new Promise<RcloneRun>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode, signal) =>
      resolve({ exitCode, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() }),
    );
  });
  return {
    pid: child.pid ?? 0,
    write: (data) => void child.stdin.write(data),
    end: () => void child.stdin.end(),
    kill: (signal) => void child.kill(signal),
    exited,
  };
}

export interface RcloneOptions {
  readonly tool?: string;
  readonly input?: Buffer | string;
}

/** Runs rclone to its end; never throws for its exit code. */
export function runRclone(
  args: readonly string[],
  env: Record<string, string>,
  { tool, input = '' }: RcloneOptions = {},
): Promise<RcloneRun> {
  const rclone = startRclone(args, env, tool);
  if (input.length > 0) rclone.write(input);
  rclone.end();
  return rclone.exited;
}

/** A password as rclone's configuration wants it. */
export async function obscure(password: string): Promise<string> {
  const { exitCode, stdout, stderr } = await runRclone(['obscure', '-'], {}, { input: password });
  if (exitCode !== 0) throw new Error(`rclone obscure: ${stderr}`);
  return stdout.toString().trim();
}
