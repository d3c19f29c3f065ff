/** The S3 server of the tests in a process of its own: its variables for rclone on the first line, then until its input ends. */
import { startS3 } from '../test/support/s3.ts';

await using server = await startS3({ discardBodies: true });
process.stdout.write(`${JSON.stringify({ bucket: server.bucket, env: server.rcloneEnv('s3') })}\n`);
await process.stdin.resume().toArray();
