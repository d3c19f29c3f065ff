import type { Client } from 'ssh2';
import type { SshConfig } from '../config/ssh.ts';
import { addressOf } from '../core/connection.ts';
import { ConfigError, type DbstashError, DumpError } from '../core/errors.ts';
import { describeHostKey, judgeHostKey, type KeyVerdict, knownName, knownTypes } from '../core/knownHosts.ts';

export const READY_MS = 20_000;
/** A connection that is dead without a word is noticed after three of them. */
const KEEPALIVE_MS = 15_000;

/** Logs in to a server that shows a known key. Throws `ConfigError` for that and for our own key, else `DumpError`. */
export async function connect(ssh: SshConfig, signal: AbortSignal): Promise<Client> {
  signal.throwIfAborted();
  // Loaded where it is needed: it would double the time that a short command takes to start.
  const { default: ssh2 } = await import('ssh2');
  const client = new ssh2.Client();
  let refusal: ConfigError | undefined;
  const hostVerifier = (key: Buffer): boolean => {
    refusal = judge(ssh, key);
    return refusal === undefined;
  };
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  client.once('ready', resolve).on('error', (error) => reject(refusal ?? explain(ssh, error)));
  client.once('close', () =>
    reject(refusal ?? new DumpError(`the SSH server ${addressOf(ssh)} closed the connection`)),
  );
  try {
    client.connect({
      host: ssh.host,
      port: ssh.port,
      username: ssh.user,
      privateKey: ssh.key,
      ...(ssh.passphrase !== undefined && { passphrase: ssh.passphrase }),
      hostVerifier,
      algorithms: { serverHostKey: orderAlgorithms(ssh) },
      readyTimeout: READY_MS,
      keepaliveInterval: KEEPALIVE_MS,
      keepaliveCountMax: 3,
    });
    await promise;
    client.removeAllListeners();
    // A dump begins with hundreds of small questions, each of which would wait for more to send.
    client.setNoDelay(true);
    return client;
  } catch (error) {
    client.destroy();
    throw error instanceof Error && /privateKey/.test(error.message) ? explainKey(error) : error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

type Algorithm = NonNullable<NonNullable<Parameters<Client['connect']>[0]['algorithms']>['serverHostKey']>;

/** By the type of a key, what a server signs with it. SHA-1 is left out. */
const ALGORITHMS = {
  'ssh-ed25519': ['ssh-ed25519'],
  'ecdsa-sha2-nistp256': ['ecdsa-sha2-nistp256'],
  'ecdsa-sha2-nistp384': ['ecdsa-sha2-nistp384'],
  'ecdsa-sha2-nistp521': ['ecdsa-sha2-nistp521'],
  'ssh-rsa': ['rsa-sha2-512', 'rsa-sha2-256'],
} as const;

/** A server shows one of its keys, by our choice: of the types that we know first, so that it can be the one we know. */
function orderAlgorithms({ knownHosts, ...host }: SshConfig): Algorithm {
  const known = new Set(knownTypes(knownHosts, host));
  const types = Object.entries(ALGORITHMS);
  return [...types.filter(([type]) => known.has(type)), ...types.filter(([type]) => !known.has(type))].flatMap(
    ([, algorithms]) => algorithms,
  ) as Algorithm;
}

const VERDICTS: Readonly<Record<Exclude<KeyVerdict, 'known'>, string>> = {
  unknown: 'SSH_KNOWN_HOSTS has no key of',
  other: 'SSH_KNOWN_HOSTS has another key (the server was made anew, or somebody stands between) than the one shown by',
  revoked: 'SSH_KNOWN_HOSTS marks as revoked the key of',
};

function judge(ssh: SshConfig, key: Buffer): ConfigError | undefined {
  const verdict = judgeHostKey(ssh.knownHosts, ssh, key);
  if (verdict === 'known') return undefined;
  const port = ssh.port === 22 ? '' : `-p ${ssh.port} `;
  return new ConfigError(
    `${VERDICTS[verdict]} ${knownName(ssh)}: ${describeHostKey(key)}; compare that with what ssh-keygen -l -f /etc/ssh/ssh_host_..._key.pub ` +
      `says on the server, and only if it is the same take the line from: ssh-keyscan ${port}${ssh.host}`,
  );
}

function explain(ssh: SshConfig, error: Error & { level?: string }): DbstashError {
  const title = addressOf(ssh);
  if (error.level === 'client-authentication')
    return new DumpError(
      `the SSH server ${title} does not let ${ssh.user} in with SSH_KEY: is its public key in authorized_keys there?`,
    );
  return new DumpError(`the SSH server ${title} cannot be used: ${error.message}`, { cause: error });
}

function explainKey(error: Error): ConfigError {
  const text = /passphrase/i.test(error.message)
    ? 'SSH_KEY_PASSPHRASE: it does not open SSH_KEY'
    : 'SSH_KEY: it cannot be read; right is a private key of the type ed25519, ecdsa or rsa';
  return new ConfigError(text, { cause: error });
}

const DISCONNECT_MS = 500;

export function disconnect(client: Client): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      client.destroy();
      resolve();
    }, DISCONNECT_MS);
    client.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    client.end();
  });
}
