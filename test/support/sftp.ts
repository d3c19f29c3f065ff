import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { obscure } from './rclone.ts';
import { freePort, scratchFolder } from './scratch.ts';
import { isListening, startServer } from './server.ts';
import { requireTool } from './tools.ts';

export interface SftpServer extends AsyncDisposable {
  /** What it serves as `/`. */
  readonly folder: string;
  readonly port: number;
  /** The variables that make it the rclone remote `name`. */
  rcloneEnv(name: string): Record<string, string>;
  stop(): Promise<void>;
}

const USER = 'tester';
const PASSWORD = 'sftp-test-password';

/** `rclone serve sftp` on a scratch folder. It looks at the folder anew each time, so files may be put there directly. */
export async function startSftp(): Promise<SftpServer> {
  await using starting = new AsyncDisposableStack();
  const scratch = starting.use(scratchFolder());
  const folder = join(scratch.path, 'files');
  mkdirSync(folder);
  const port = await freePort();
  const server = await startServer({
    file: requireTool('rclone'),
    args: ['serve', 'sftp', folder, '--addr', `127.0.0.1:${port}`, '--dir-cache-time=0'],
    env: { HOME: scratch.path, RCLONE_CONFIG: '/notfound', RCLONE_USER: USER, RCLONE_PASS: PASSWORD },
    isReady: () => isListening(port),
  });
  starting.defer(server.stop);
  const pass = await obscure(PASSWORD);
  const running = starting.move();
  const stop = () => running.disposeAsync();
  const rcloneEnv = (name: string) => {
    const prefix = `RCLONE_CONFIG_${name.toUpperCase()}`;
    return {
      [`${prefix}_TYPE`]: 'sftp',
      [`${prefix}_HOST`]: '127.0.0.1',
      [`${prefix}_PORT`]: String(port),
      [`${prefix}_USER`]: USER,
      [`${prefix}_PASS`]: pass,
    };
  };
  return { folder, port, rcloneEnv, stop, [Symbol.asyncDispose]: stop };
}
