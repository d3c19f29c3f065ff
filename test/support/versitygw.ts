import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { runRclone } from './rclone.ts';
import { rcloneS3Env } from './s3.ts';
import { freePort, scratchFolder } from './scratch.ts';
import { isListening, startServer } from './server.ts';
import { requireTool } from './tools.ts';

export interface Versitygw extends AsyncDisposable {
  readonly endpoint: string;
  /** Exists from the start. */
  readonly bucket: string;
  /** The bucket on disk: an object is the file of its name. */
  readonly folder: string;
  /** The variables that make it the rclone remote `name`. */
  rcloneEnv(name: string): Record<string, string>;
  stop(): Promise<void>;
}

const ACCESS_KEY = 'versity-access-key';
const SECRET_KEY = 'versity-secret-key';

/** A real S3 server on a scratch folder. */
export async function startVersitygw(): Promise<Versitygw> {
  await using starting = new AsyncDisposableStack();
  const scratch = starting.use(scratchFolder());
  const bucket = 'bucket';
  const [root, sidecar] = [join(scratch.path, 'root'), join(scratch.path, 'sidecar')];
  for (const path of [root, sidecar]) mkdirSync(path);
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const rcloneEnv = (name: string) => rcloneS3Env(name, endpoint, ACCESS_KEY, SECRET_KEY);
  const server = await startServer({
    file: requireTool('versitygw'),
    args: ['--quiet', '--port', `127.0.0.1:${port}`, 'posix', '--sidecar', sidecar, root],
    env: { ROOT_ACCESS_KEY: ACCESS_KEY, ROOT_SECRET_KEY: SECRET_KEY },
    isReady: () => isListening(port),
  });
  starting.defer(server.stop);
  const { exitCode, stderr } = await runRclone(['mkdir', `s3:${bucket}`], rcloneEnv('s3'));
  if (exitCode !== 0) throw new Error(`making the bucket: ${stderr}`);
  const running = starting.move();
  const stop = () => running.disposeAsync();
  return { endpoint, bucket, folder: join(root, bucket), rcloneEnv, stop, [Symbol.asyncDispose]: stop };
}
