import { execFile, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { waitFor } from './scratch.ts';
import { cachedFolder } from './tools.ts';

/** `podman` or `docker`, with what `.ci/prepare` found that its clients need. */
interface ContainerEngine {
  readonly program: 'podman' | 'docker';
  readonly env: NodeJS.ProcessEnv;
}

/** Nobody whom an image knows. */
export const UID = 4242;
/** As little as a container can have. */
export const HARDENED: readonly string[] = [
  `--user=${UID}:${UID}`,
  '--read-only',
  '--tmpfs=/tmp',
  '--cap-drop=ALL',
  '--security-opt=no-new-privileges',
];

export interface Answer {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface ContainerOptions {
  readonly image: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Further flags of `docker run`. */
  readonly flags?: readonly string[];
  readonly args?: readonly string[];
}

export interface Container extends AsyncDisposable {
  readonly id: string;
  /** What it wrote to standard output and standard error. */
  logs(): Promise<string>;
  /** Until its logs fit. */
  waitForLog(pattern: RegExp, timeoutMs?: number): Promise<string>;
  exec(args: readonly string[], flags?: readonly string[]): Promise<Answer>;
  /** What the image's HEALTHCHECK finds now: does not wait for its interval. */
  checkHealth(): Promise<Answer>;
  /** As `docker stop`: SIGKILL after ten seconds. */
  stop(): Promise<{ readonly exitCode: number; readonly durationMs: number }>;
  /** A field of `docker inspect`, `.State.ExitCode`. */
  inspect(field: string): Promise<string>;
  waitForEnd(timeoutMs?: number): Promise<number>;
}

/** On everything that these tests start, so that it can be found and removed. */
const LABEL = `dbstash-test=${process.pid}`;

let found: ContainerEngine | null | undefined;

/** Undefined where neither answers. */
export function findContainerEngine(): ContainerEngine | undefined {
  found ??= look() ?? null;
  return found ?? undefined;
}

function look(): ContainerEngine | undefined {
  const env = { ...process.env, ...readEnv(cachedFolder('container-engine.env')) };
  for (const program of ['podman', 'docker'] as const) {
    if (spawnSync(program, ['info'], { env, stdio: 'ignore', timeout: 60_000 }).status === 0) return { program, env };
  }
  return undefined;
}

/** Lines of NAME=VALUE. */
function readEnv(file: string): Record<string, string> {
  if (!existsSync(file)) return {};
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);
  return Object.fromEntries(lines.map((line) => [line.split('=')[0] ?? '', line.slice(line.indexOf('=') + 1)]));
}

export function containerEngine(): ContainerEngine {
  const engine = findContainerEngine();
  if (!engine) throw new Error('neither podman nor docker answers');
  return engine;
}

/** Runs `docker ARGS` to its end. */
export async function docker(args: readonly string[], timeoutMs = 120_000): Promise<Answer> {
  const { program, env } = containerEngine();
  const options = { env, timeout: timeoutMs, killSignal: 'SIGKILL' as const, maxBuffer: 2 ** 26 };
  try {
    const { stdout, stderr } = await promisify(execFile)(program, [...args], options);
    return { exitCode: 0, stdout, stderr: withoutNoise(stderr) };
  } catch (error) {
    const { code, stdout = '', stderr = '', killed } = error as Answer & { code?: unknown; killed?: boolean };
    if (typeof code !== 'number' || killed) throw new Error(`${program} ${args.join(' ')}: ${error}`, { cause: error });
    return { exitCode: code, stdout, stderr: withoutNoise(stderr) };
  }
}

/** Podman says with each start that no systemd is there to call health checks. */
const withoutNoise = (text: string): string => text.replaceAll(/^time="[^"]*" level=\w+ msg=".*healthcheck.*\n/gm, '');

/** As docker; throws where it does not exit 0. Returns standard output without its last line break. */
export async function dockerOut(args: readonly string[], timeoutMs?: number): Promise<string> {
  const { exitCode, stdout, stderr } = await docker(args, timeoutMs);
  if (exitCode !== 0) throw new Error(`docker ${args.join(' ')} exited with ${exitCode}: ${stderr}`);
  return stdout.trimEnd();
}

export const isImageThere = (image: string): boolean => {
  const engine = findContainerEngine();
  return (
    !!engine &&
    spawnSync(engine.program, ['image', 'inspect', image], { env: engine.env, stdio: 'ignore' }).status === 0
  );
};

function runArgs({ image, env = {}, flags = [], args = [] }: ContainerOptions): string[] {
  const variables = Object.entries(env).map(([name, value]) => `--env=${name}=${value}`);
  return [`--label=${LABEL}`, ...variables, ...flags, image, ...args];
}

/** `docker run --rm`, to its end. */
export const runContainer = (options: ContainerOptions, timeoutMs?: number): Promise<Answer> =>
  docker(['run', '--rm', ...runArgs(options)], timeoutMs);

/** `docker run --detach`. Disposing of it removes it. */
export async function startContainer(options: ContainerOptions): Promise<Container> {
  const id = await dockerOut(['run', '--detach', ...runArgs(options)]);
  const inspect = (field: string) => dockerOut(['inspect', `--format={{${field}}}`, id]);
  const logs = async () => {
    const { stdout, stderr } = await docker(['logs', id]);
    return stdout + stderr;
  };
  return {
    id,
    logs,
    inspect,
    waitForLog: async (pattern, timeoutMs = 60_000) => {
      let last = '';
      const look = async () => {
        last = await logs();
        return pattern.test(last) && last;
      };
      return await waitFor(look, { timeoutMs, title: () => `${options.image} says ${pattern}: ${last}` });
    },
    exec: (args, flags = []) => docker(['exec', ...flags, id, ...args]),
    checkHealth: () =>
      containerEngine().program === 'podman'
        ? docker(['healthcheck', 'run', id])
        : docker(['exec', id, 'dbstash', 'health']),
    stop: async () => {
      const startedAt = performance.now();
      await dockerOut(['stop', '--time=10', id]);
      return { exitCode: Number(await inspect('.State.ExitCode')), durationMs: performance.now() - startedAt };
    },
    waitForEnd: async (timeoutMs = 120_000) => Number(await dockerOut(['wait', id], timeoutMs)),
    [Symbol.asyncDispose]: async () => {
      await docker(['rm', '--force', '--volumes', id]);
    },
  };
}

/** A network in which containers find each other by their names. */
export async function createNetwork(): Promise<AsyncDisposable & { readonly name: string }> {
  const name = `dbstash-test-${process.pid}-${Math.random().toString(16).slice(2, 8)}`;
  await dockerOut(['network', 'create', `--label=${LABEL}`, name]);
  return { name, [Symbol.asyncDispose]: async () => void (await docker(['network', 'rm', name])) };
}
