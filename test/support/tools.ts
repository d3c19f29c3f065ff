import { accessSync, constants, existsSync, globSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const cacheHome = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
/** Where `.ci/prepare` puts what it fetches. */
export const cachedFolder = (name: string): string =>
  join(process.env.DBSTASH_TEST_CACHE ?? join(cacheHome, 'dbstash-test'), name);
const CACHE_BIN = cachedFolder('bin');
const MONGO_JAVA_SERVER = cachedFolder('mongo-java-server-1.47.0');

/** Programs of one name in several versions: the name that tests ask for, and the file it means. */
const FILES: Readonly<Record<string, string>> = {
  'rclone-current': join(CACHE_BIN, 'rclone'),
  'mariadbd-11.8': cachedFolder('mariadb-11.8/bin/mariadbd'),
  // The machine's own may be older than the API server of the tests.
  kubectl: join(CACHE_BIN, 'kubectl'),
  helm: join(CACHE_BIN, 'helm'),
  'mariadb-10.2': cachedFolder('mariadb-10.2.11/bin/mariadb'),
};

/** The folder of its jars; undefined where `.ci/prepare` could not fetch them. */
export const mongoJavaServer = (): string | undefined =>
  existsSync(MONGO_JAVA_SERVER) ? MONGO_JAVA_SERVER : undefined;

/**
 * The absolute path of a program, looked for on PATH, in the tests' cache, and among PostgreSQL's server programs, newest
 * first. `rclone` is what the machine has (1.60 on Debian 12), `rclone-current` the one that `.ci/prepare` fetches.
 */
export function findTool(name: string): string | undefined {
  if (name === 'mongo-java-server') return mongoJavaServer();
  const fixed = FILES[name];
  return (fixed ? [fixed] : folders().map((folder) => join(folder, name))).find(isExecutable);
}

/** As findTool; throws where there is none. */
export function requireTool(name: string): string {
  const tool = findTool(name);
  if (!tool) throw new Error(`${name} is missing (sh .ci/prepare test gets it)`);
  return tool;
}

function folders(): string[] {
  const postgres = globSync('/usr/lib/postgresql/*/bin').sort((a, b) => b.localeCompare(a, 'en', { numeric: true }));
  return [...(process.env.PATH ?? '').split(':').filter(Boolean), CACHE_BIN, ...postgres, '/usr/sbin', '/sbin'];
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
