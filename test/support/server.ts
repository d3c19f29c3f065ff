import { type ChildProcess, spawn } from 'node:child_process';
import { createConnection } from 'node:net';
import { waitFor } from './scratch.ts';
import { findTool } from './tools.ts';

export interface ServerOptions {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** The user to run as; only root can ask for another. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
  readonly isReady: () => boolean | Promise<boolean>;
  readonly stopSignal?: NodeJS.Signals;
}

export interface RunningServer {
  readonly pid: number;
  stop(): Promise<void>;
}

/**
 * Starts a server and waits until it is ready. Its environment is `env` and PATH. It dies with us, however we die, where
 * there is `setpriv` (Linux).
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { file, args, env, user, isReady, stopSignal = 'SIGTERM' } = options;
  const setpriv = findTool('setpriv');
  const wrapped = ['--pdeathsig', stopSignal.slice(3), '--', file, ...args];
  const child = spawn(setpriv ?? file, setpriv ? wrapped : args, {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...user,
  });
  const output = collectOutput(child);
  let gone = false;
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()).once('error', () => resolve()));
  exited.then(() => {
    gone = true;
  });
  const stop = () => stopServer(child, exited, stopSignal);
  try {
    await waitFor(() => gone || isReady(), { timeoutMs: 30_000, title: `${file} is ready` });
    if (gone) throw new Error(`it exited with ${child.exitCode ?? child.signalCode}`);
    return { pid: child.pid ?? 0, stop };
  } catch (error) {
    await stop();
    throw new Error(`${file} did not start: ${output()}`, { cause: error });
  }
}

function collectOutput(child: ChildProcess): () => string {
  let text = '';
  const add = (chunk: Buffer) => {
    text = (text + chunk.toString()).slice(-8_000);
  };
  child.stdout?.on('data', add);
  child.stderr?.on('data', add);
  child.on('error', (error) => add(Buffer.from(String(error))));
  return () => text;
}

async function stopServer(child: ChildProcess, exited: Promise<void>, signal: NodeJS.Signals): Promise<void> {
  const force = setTimeout(() => child.kill('SIGKILL'), 5_000);
  child.kill(signal);
  await exited;
  clearTimeout(force);
}

/** Whether something accepts connections there. */
export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
