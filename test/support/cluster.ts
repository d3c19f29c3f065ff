import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { API_TOKEN, startApi, startControllers, startEtcd } from './clusterServers.ts';
import { scratchFolder, waitFor } from './scratch.ts';
import { requireTool } from './tools.ts';

export const CLUSTER_TOOLS = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kubectl'];

interface Output {
  readonly exitCode: number | null;
  readonly stdout: string;
  /** What both said. */
  readonly text: string;
}

/**
 * Kubernetes without nodes: a real API server and its controllers, with our namespace and the kinds of the Prometheus operator. What
 * it takes is right, a CronJob makes its Jobs and they their Pods, and no Pod ever runs.
 */
export interface Cluster extends AsyncDisposable {
  kubectl(args: readonly string[], input?: string): Output;
  helm(args: readonly string[]): Output;
  /** What a user would type, in a folder, with our kubectl and helm first on PATH. It ends where something fails. */
  shell(commands: string, cwd?: string): Output;
  /** An object as it is there. Throws where it is not. */
  get<T>(...args: readonly string[]): T;
}

const CRDS = join(import.meta.dirname, 'crds.yaml');
const NAMESPACE = join(import.meta.dirname, '../../docs/kubernetes/namespace.yaml');

export async function startCluster(): Promise<Cluster> {
  await using starting = new AsyncDisposableStack();
  const { path } = starting.use(scratchFolder());
  const etcd = await startEtcd(path);
  starting.defer(etcd.stop);
  const api = await startApi(path, etcd.url);
  starting.defer(api.stop);
  const config = join(path, 'kubeconfig');
  writeFileSync(config, kubeconfig(api.url), { mode: 0o600 });
  const controllers = await startControllers(path, config);
  starting.defer(controllers.stop);
  const cluster = createCluster({ PATH: process.env.PATH, HOME: path, KUBECONFIG: config });
  await prepareCluster(cluster);
  const running = starting.move();
  return { ...cluster, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

function createCluster(env: NodeJS.ProcessEnv): Omit<Cluster, keyof AsyncDisposable> {
  const run = (
    tool: string,
    args: readonly string[],
    more: { input?: string | undefined; cwd?: string | undefined } = {},
  ): Output => {
    const options = { env, encoding: 'utf8', maxBuffer: 1e9, ...more } as const;
    const { status, stdout, stderr } = spawnSync(requireTool(tool), args, options);
    return { exitCode: status, stdout, text: stdout + stderr };
  };
  return {
    kubectl: (args, input) => run('kubectl', args, { input }),
    helm: (args) => run('helm', args),
    shell: (commands, cwd) =>
      run('bash', ['-eo', 'pipefail', '-c', `PATH=${dirname(requireTool('kubectl'))}:$PATH\n${commands}`], { cwd }),
    get: (...args) => {
      const { exitCode, stdout, text } = run('kubectl', ['get', ...args, '-o', 'json']);
      if (exitCode !== 0) throw new Error(text);
      return JSON.parse(stdout);
    },
  };
}

/** What takes the server a while is tried until it works. */
async function prepareCluster({ kubectl }: Pick<Cluster, 'kubectl'>): Promise<void> {
  const commands = [
    ['get', '--raw=/readyz'],
    ...[CRDS, NAMESPACE].map((file) => ['apply', '-f', file]),
    ['get', 'prometheusrules,servicemonitors', '--all-namespaces'],
    // Without it no Pod is let in: a controller makes it.
    ['get', 'serviceaccount', 'default', '--namespace', 'backups'],
  ];
  for (const command of commands) {
    let last = '';
    const isDone = () => {
      const { exitCode, text } = kubectl(command);
      last = text;
      return exitCode === 0;
    };
    await waitFor(isDone, { timeoutMs: 120_000, title: () => `kubectl ${command.join(' ')}: ${last}` });
  }
}

const kubeconfig = (url: string): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'tests', cluster: { server: url, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'tests', user: { token: API_TOKEN } }],
    contexts: [{ name: 'tests', context: { cluster: 'tests', user: 'tests' } }],
    'current-context': 'tests',
  });
