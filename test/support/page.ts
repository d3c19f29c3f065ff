import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { COMPILE_CACHE } from './dbstash.ts';
import { fakeTools } from './fakeTool.ts';
import type { Scratch } from './scratch.ts';

const root = join(import.meta.dirname, '../..');

/** What a reader would type, and the heading under which it stands. */
export interface Block {
  readonly heading: string;
  readonly text: string;
}

/** The blocks of a page that are marked as sh, in their order. */
export function readBlocks(page: string): readonly Block[] {
  let heading = '';
  // What is fenced as something else, or has a # in it, is no heading.
  return [...page.matchAll(/^```(\w*)\n([\s\S]*?)^```$|^#+ (.*)$/gm)].flatMap(([, kind, text, title]) => {
    if (title !== undefined) heading = title;
    return kind === 'sh' && text !== undefined ? [{ heading, text }] : [];
  });
}

export const readPage = (path: string): string => readFileSync(join(root, path), 'utf8');

/**
 * A folder for PATH with `dbstash`, which is the real one, and with `docker` and `kubectl`, which do with it what those do:
 * `exec` runs it with the variables that there are, `run` with none but those that it is given. Files for the
 * container `redis` go into the folder that CONTAINER_DATA names.
 */
export function pageTools(scratch: Pick<Scratch, 'path'>): string {
  const dbstash = `NODE_COMPILE_CACHE='${COMPILE_CACHE}' exec '${process.execPath}' '${root}/src/main.ts' "$@"`;
  const script = (source: string) => `#!${process.execPath}\n${source}`;
  return fakeTools(scratch, { dbstash, docker: script(DOCKER), kubectl: script(KUBECTL) });
}

const COMMON = `
const { spawnSync } = require('node:child_process');
const { copyFileSync, readFileSync } = require('node:fs');
const fail = (text) => { console.error('fake: ' + text); process.exit(64); };
const keep = (names) => Object.fromEntries(names.flatMap((name) => name in process.env ? [[name, process.env[name]]] : []));
const dbstash = (args, env) => process.exit(spawnSync('dbstash', args, { env, stdio: 'inherit' }).status ?? 1);
`;

const DOCKER = `${COMMON}
const [verb, ...rest] = process.argv.slice(2);
const env = {};
const take = () => {
  while (rest[0]?.startsWith('-')) {
    const flag = rest.shift();
    if (['-it', '--rm'].includes(flag)) continue;
    const value = rest.shift();
    if (flag === '-e') Object.assign(env, value.includes('=') ? { [value.split('=')[0]]: value.slice(value.indexOf('=') + 1) } : keep([value]));
    else if (flag === '--env-file')
      for (const line of readFileSync(value, 'utf8').split('\\n').filter(Boolean)) env[line.split('=')[0]] = line.slice(line.indexOf('=') + 1);
    else if (!['--network', '-v'].includes(flag)) fail('docker ' + verb + ' ' + flag);
  }
  return rest.shift();
};
if (verb === 'exec') {
  if (take() !== 'backup' || rest.shift() !== 'dbstash') fail('docker exec of what?');
  dbstash(rest, { ...process.env, ...env });
} else if (verb === 'run') {
  if (!/^dbstash:[a-z]+-\\d+$/.test(take())) fail('docker run of what?');
  dbstash(rest, { ...keep(['PATH', 'HOME', 'TMPDIR']), ...env });
} else if (verb === 'cp') {
  const [, path] = /^redis:\\/data\\/(.+)$/.exec(rest[1]) ?? fail('docker cp to where?');
  copyFileSync(rest[0], process.env.CONTAINER_DATA + '/' + path);
} else if (!['stop', 'start'].includes(verb) || rest[0] !== 'redis') fail('docker ' + verb);
`;

const KUBECTL = `${COMMON}
const [verb, ...rest] = process.argv.slice(2);
if (verb === 'exec') {
  if (rest.splice(0, 3).join(' ') !== 'deploy/backup -- dbstash') fail('kubectl exec of what?');
  dbstash(rest, process.env);
} else if (verb === 'apply') {
  const text = readFileSync(0, 'utf8');
  if (!/^kind: Job$/m.test(text) || !/image: dbstash:[a-z]+-\\d+$/m.test(text)) fail('no job of dbstash');
  dbstash(JSON.parse(/^ +args: (\\[.*\\])$/m.exec(text)[1]), process.env);
} else if (!['wait', 'logs'].includes(verb) || !rest.includes('job/restore-orders')) fail('kubectl ' + verb);
`;

/** Runs a script as bash does that stops at the first error; all that it said. */
export async function runScript(script: string, env: Readonly<Record<string, string>>, cwd: string): Promise<string> {
  const options = { env, cwd, encoding: 'utf8', maxBuffer: 1024 ** 3 } as const;
  try {
    return (await promisify(execFile)('bash', ['--norc', '-euo', 'pipefail', '-c', `exec 2>&1\n${script}`], options))
      .stdout;
  } catch (error) {
    throw new Error(`${script}\n${(error as { stdout?: string }).stdout}`, { cause: error });
  }
}
