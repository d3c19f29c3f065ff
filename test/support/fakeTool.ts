import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Scratch } from './scratch.ts';

/**
 * A folder of executables to put first on PATH: each is a shell script of the given text, or, where the text begins
 * with `#!`, that text as it is.
 */
export function fakeTools(scratch: Pick<Scratch, 'path'>, scripts: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(scratch.path, 'tools-'));
  for (const [name, script] of Object.entries(scripts)) {
    const text = script.startsWith('#!') ? script : `#!/bin/sh\n${script}\n`;
    writeFileSync(join(folder, name), text, { mode: 0o755 });
  }
  return folder;
}
