import { execFile, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Answer, containerEngine, docker, findContainerEngine } from './containers.ts';
import { findTool } from './tools.ts';

interface ProjectOptions {
  /** The file of the users. */
  readonly file: string;
  /** What differs on this machine, as JSON: Compose lays it over the file. */
  readonly override: unknown;
  /** Where relative paths begin, and the override is put. */
  readonly folder: string;
}

export interface Project extends AsyncDisposable {
  /** Throws where Compose does not exit 0. */
  up(timeoutMs: number): Promise<void>;
  exec(service: string, args: readonly string[]): Promise<Answer>;
  logs(service: string): Promise<string>;
}

/** The program and its first arguments; undefined where there is none. */
export function findCompose(): readonly [string, ...string[]] | undefined {
  const own = findTool('docker-compose');
  if (own) return [own];
  const isPlugin =
    findContainerEngine()?.program === 'docker' && spawnSync('docker', ['compose', 'version']).status === 0;
  return isPlugin ? ['docker', 'compose'] : undefined;
}

/** A Compose project of a name of its own. Disposing of it removes all that it made, volumes included. */
export function openProject({ file, override, folder }: ProjectOptions): Project {
  const name = `dbstash-test-${process.pid}-${Math.random().toString(16).slice(2, 8)}`;
  const overrides = join(folder, 'override.json');
  writeFileSync(overrides, JSON.stringify(override));
  const [program, ...first] = findCompose()!;
  const call = async (args: readonly string[], timeoutMs = 120_000): Promise<Answer> => {
    const all = [
      ...first,
      `--project-name=${name}`,
      `--project-directory=${folder}`,
      `--file=${file}`,
      `--file=${overrides}`,
      ...args,
    ];
    const { stdout, stderr } = await promisify(execFile)(program, all, {
      env: containerEngine().env,
      timeout: timeoutMs,
      maxBuffer: 2 ** 26,
    });
    return { exitCode: 0, stdout, stderr };
  };
  return {
    up: async (timeoutMs) => {
      using _ = askHealth(name);
      await call(['up', '--detach', '--no-build', '--pull=never', '--quiet-pull'], timeoutMs);
    },
    exec: async (service, args) => await call(['exec', '--no-TTY', service, ...args]),
    logs: async (service) => (await call(['logs', '--no-color', '--no-log-prefix', service])).stdout,
    [Symbol.asyncDispose]: async () => void (await call(['down', '--volumes', '--remove-orphans', '--timeout=1'])),
  };
}

/** Podman leaves it to systemd to call health checks; where that does not run, somebody else has to. */
function askHealth(project: string): Disposable {
  const controller = new AbortController();
  const go = async () => {
    while (!controller.signal.aborted) {
      const { stdout } = await docker(['ps', '--quiet', `--filter=label=com.docker.compose.project=${project}`]);
      for (const id of stdout.split('\n').filter(Boolean)) await docker(['healthcheck', 'run', id]);
      await sleep(500, undefined, { signal: controller.signal });
    }
  };
  if (containerEngine().program === 'podman') go().catch(() => {});
  return { [Symbol.dispose]: () => controller.abort() };
}
