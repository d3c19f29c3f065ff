import { accessSync, constants, statSync } from 'node:fs';
import { join } from 'node:path';

/** Where the system looks when PATH is not set. */
const DEFAULT_PATH = '/bin:/usr/bin';

/** The first of `names` that is a program on PATH; undefined where none is. Starts no process. */
export function findProgram(names: readonly string[], path: string = DEFAULT_PATH): string | undefined {
  const folders = path.split(':').filter((folder) => folder !== '');
  return names.find((name) => folders.some((folder) => isProgram(join(folder, name))));
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
