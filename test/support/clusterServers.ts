import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { join } from 'node:path';
import { freePort } from './scratch.ts';
import { startServer } from './server.ts';
import { requireTool } from './tools.ts';

/** Whoever has it may do everything. */
export const API_TOKEN = 'token-of-the-tests';

export async function startEtcd(folder: string) {
  const [url, peerUrl] = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`];
  const { stop } = await startServer({
    file: requireTool('etcd'),
    args: [
      `--data-dir=${join(folder, 'etcd')}`,
      '--unsafe-no-fsync',
      `--listen-client-urls=${url}`,
      `--advertise-client-urls=${url}`,
      `--listen-peer-urls=${peerUrl}`,
      `--initial-advertise-peer-urls=${peerUrl}`,
      `--initial-cluster=default=${peerUrl}`,
    ],
    env: {},
    isReady: async () => (await fetch(`${url}/health`).catch(() => undefined))?.ok === true,
  });
  return { url, stop };
}

export async function startApi(folder: string, etcdUrl: string) {
  const port = await freePort();
  const url = `https://127.0.0.1:${port}`;
  const [key, tokens] = [join(folder, 'accounts.pem'), join(folder, 'tokens.csv')];
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  writeFileSync(key, privateKey.export({ type: 'pkcs1', format: 'pem' }), { mode: 0o600 });
  writeFileSync(tokens, `${API_TOKEN},tests,tests,system:masters\n`, { mode: 0o600 });
  const { stop } = await startServer({
    file: requireTool('kube-apiserver'),
    args: [
      `--etcd-servers=${etcdUrl}`,
      `--secure-port=${port}`,
      '--bind-address=127.0.0.1',
      // Else it looks for the machine's own address, and a machine without a way out has none.
      '--advertise-address=127.0.0.1',
      `--cert-dir=${join(folder, 'api')}`,
      `--service-account-key-file=${key}`,
      `--service-account-signing-key-file=${key}`,
      '--service-account-issuer=https://kubernetes.default.svc',
      '--service-cluster-ip-range=10.99.0.0/24',
      `--token-auth-file=${tokens}`,
      '--authorization-mode=RBAC',
      '--endpoint-reconciler-type=none',
    ],
    env: {},
    isReady: () => isAnswering(`${url}/version`),
  });
  return { url, stop };
}

export async function startControllers(folder: string, config: string) {
  const port = await freePort();
  return startServer({
    file: requireTool('kube-controller-manager'),
    args: [
      `--kubeconfig=${config}`,
      '--controllers=cronjob-controller,job-controller,serviceaccount-controller,resourcequota-controller',
      '--leader-elect=false',
      '--bind-address=127.0.0.1',
      `--secure-port=${port}`,
      `--cert-dir=${join(folder, 'controllers')}`,
    ],
    env: {},
    isReady: () => isAnswering(`https://127.0.0.1:${port}/healthz`),
  });
}

/** Whether it is ours that answers there with 200. Their certificates are their own. */
function isAnswering(url: string): Promise<boolean> {
  const options = { headers: { Authorization: `Bearer ${API_TOKEN}` }, rejectUnauthorized: false, timeout: 5000 };
  return new Promise((resolve) => {
    const request = get(url, options, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
  });
}
