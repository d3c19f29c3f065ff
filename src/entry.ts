import { setFlagsFromString } from 'node:v8';

/** Where the program begins. The health check of a container runs twice a minute: it loads little. */
// What is young in V8's heap is given room for up to 48 MB, which it keeps: a catalog of thousands would take it all, for no gain.
setFlagsFromString('--semi-space-growth-factor=1');

const [name, ...rest] = process.argv.slice(2);
if (name === 'health' && rest.every((word) => word === '--ready')) {
  const { runHealth } = await import('./commands/health.ts');
  const source = { env: process.env, flags: {}, cwd: process.cwd() };
  process.exitCode = await runHealth(source, rest.length > 0, (text) => void process.stdout.write(text));
} else await import('./main.ts');
