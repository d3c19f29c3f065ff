/** The relay with its digest between a fast source and a sink. Prints the seconds it took: node's start is not what is measured. */
import { createDigest } from '../src/pipeline/digest.ts';
import { relay } from '../src/pipeline/relay.ts';
import { spawnChild } from '../src/process/child.ts';

const shell = (script: string) => ({
  child: spawnChild({ file: 'sh', args: ['-c', script] }, { env: { PATH: process.env.PATH ?? '' } }),
  fail: (message: string) => new Error(message),
});

const [source = '', sink = ''] = process.argv.slice(2);
const digest = createDigest();
const startedAt = performance.now();
const producer = { ...shell(`exec ${source}`), tap: digest.add };
producer.child.stdin.end();
await relay([producer], shell(`exec ${sink}`), new AbortController().signal);
process.stdout.write(`${(performance.now() - startedAt) / 1000}\n`);
