import { chmod, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';

// Packages in CommonJS call `require` for node's own modules and know their folder; an ES module has to make both.
const banner = `#!/usr/bin/env node
import { createRequire as _createRequire } from 'node:module';
const require = _createRequire(import.meta.url);
const __dirname = import.meta.dirname;`;

const root = join(import.meta.dirname, '..');
const outdir = join(root, 'dist');

await rm(outdir, { recursive: true, force: true });

await build({
  absWorkingDir: root,
  entryPoints: { dbstash: 'src/entry.ts' },
  outdir,
  // The clients of MongoDB, Redis and SSH are larger than all the rest, and are read only where they are needed.
  splitting: true,
  chunkNames: 'dbstash-[hash]',
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  minifySyntax: true,
  minifyWhitespace: true,
  // Native parts of ssh2, which does without them.
  external: ['cpu-features', '*.node'],
  banner: { js: banner },
  logLevel: 'warning',
});
await chmod(join(outdir, 'dbstash.js'), 0o755);
