import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';

// Packages in CommonJS call `require` for node's own modules; an ES module has to make one.
const banner = `#!/usr/bin/env node
import { createRequire as _createRequire } from 'node:module';
const require = _createRequire(import.meta.url);`;

const root = join(import.meta.dirname, '..');
const outfile = join(root, 'dist/dbstash.js');

await build({
  absWorkingDir: root,
  entryPoints: ['src/main.ts'],
  outfile,
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  minifySyntax: true,
  banner: { js: banner },
  logLevel: 'warning',
});
await chmod(outfile, 0o755);
