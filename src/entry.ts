/** Where the program begins. The health check of a container runs twice a minute: it loads little. */
const [name, ...rest] = process.argv.slice(2);
if (name === 'health' && rest.every((word) => word === '--ready')) {
  const { runHealth } = await import('./commands/health.ts');
  const source = { env: process.env, flags: {}, cwd: process.cwd() };
  process.exitCode = await runHealth(source, rest.length > 0, (text) => void process.stdout.write(text));
} else await import('./main.ts');
