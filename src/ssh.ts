import { createServer, type Server, type Socket } from 'node:net';
import type { Client, ClientChannel } from 'ssh2';
import type { SshConfig } from './config/ssh.ts';
import type { Connection, Host } from './core/connection.ts';
import { ConfigError, type DbstashError, DumpError } from './core/errors.ts';
import { describeHostKey, judgeHostKey, type KeyVerdict, knownName, knownTypes } from './core/knownHosts.ts';
import { throughTunnel, tunnelTargets } from './core/tunnel.ts';
import { isOwnPeer } from './process/peer.ts';

/** The way to the database for one run; closed when disposed. */
export interface Tunnel extends AsyncDisposable {
  /** How a client reaches a database on the hosts that the tunnel was opened for. */
  readonly reach: (connection: Connection) => Connection;
  /** Fires with a `DumpError` when the tunnel broke, or leads nowhere. */
  readonly lost: AbortSignal;
}

const READY_MS = 20_000;
/** A connection that is dead without a word is noticed after three of them. */
const KEEPALIVE_MS = 15_000;
const LOCAL = '127.0.0.1';

/**
 * Logs in to the SSH server and listens on a free port of 127.0.0.1 for each host of `connection`; without `ssh` it leads
 * straight there. TCP, and not a Unix socket, since there libpq would leave TLS out; other users of this machine are kept
 * out by asking the kernel whose each connection is. Throws `ConfigError` for host keys and keys, else `DumpError`.
 */
export async function openTunnel(
  ssh: SshConfig | undefined,
  connection: Connection,
  signal: AbortSignal,
): Promise<Tunnel> {
  const lost = new AbortController();
  if (!ssh) return { reach: (given) => given, lost: lost.signal, [Symbol.asyncDispose]: async () => {} };
  await using opened = new AsyncDisposableStack();
  const client = await connect(ssh, signal);
  opened.defer(() => disconnect(client));
  const sockets = new Set<Socket>();
  const lose = (error: DbstashError) => {
    lost.abort(error);
    for (const socket of sockets) socket.resetAndDestroy();
  };
  const onBroken = (error?: Error) =>
    lose(new DumpError(`the SSH tunnel through ${titleOf(ssh)} broke${error ? `: ${error.message}` : ''}`));
  client
    .on('error', onBroken)
    .on('end', () => onBroken())
    .on('close', () => onBroken());
  const local: (Host | undefined)[] = [];
  const forward: Forward = { client, sockets, unreachable: new Map(), targets: tunnelTargets(connection), ssh, lose };
  await probe(forward, AbortSignal.any([signal, lost.signal, AbortSignal.timeout(READY_MS)]));
  signal.throwIfAborted();
  lost.signal.throwIfAborted();
  for (const index of forward.targets.keys()) {
    if (forward.unreachable.has(index)) {
      local.push(undefined);
      continue;
    }
    const server = await listen((socket) => void carry(forward, index, socket));
    opened.defer(() => close(server, sockets));
    local.push({ host: LOCAL, port: portOf(server) });
  }
  signal.throwIfAborted();
  const all = opened.move();
  return {
    reach: (given) => throughTunnel(given, local),
    lost: lost.signal,
    [Symbol.asyncDispose]: () => {
      client
        .off('error', onBroken)
        .removeAllListeners('end')
        .removeAllListeners('close')
        .on('error', () => {});
      return all.disposeAsync();
    },
  };
}

const titleOf = ({ host, port }: Host): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;

async function connect(ssh: SshConfig, signal: AbortSignal): Promise<Client> {
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
  client.once('close', () => reject(refusal ?? new DumpError(`the SSH server ${titleOf(ssh)} closed the connection`)));
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
  const title = titleOf(ssh);
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

async function listen(onSocket: (socket: Socket) => void): Promise<Server> {
  // Nothing is read before it is known whose it is.
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true }, onSocket);
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, LOCAL, resolve));
  return server.on('error', () => {});
}

const portOf = (server: Server): number => {
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
};

interface Forward {
  readonly client: Client;
  readonly ssh: SshConfig;
  readonly targets: readonly Host[];
  readonly sockets: Set<Socket>;
  /** By index, why a target could not be reached. */
  readonly unreachable: Map<number, string>;
  readonly lose: (error: DbstashError) => void;
}

/** One connection of a client, to the target of that index. */
async function carry(forward: Forward, index: number, socket: Socket): Promise<void> {
  const { sockets } = forward;
  sockets.add(socket);
  socket.on('error', () => {}).once('close', () => sockets.delete(socket));
  if (!(await isOwnPeer(socket))) return void socket.resetAndDestroy();
  const channel = await openChannel(forward, index);
  if (channel) join(socket, channel);
  else socket.resetAndDestroy();
}

/** Of several hosts a client tries the next one only where the first takes no connection; our end of a tunnel always does. */
async function probe(forward: Forward, over: AbortSignal): Promise<void> {
  if (forward.targets.length < 2) return;
  const { promise: isOver, resolve } = Promise.withResolvers<undefined>();
  over.addEventListener('abort', () => resolve(undefined), { once: true });
  const asked = [...forward.targets.keys()].map(async (index) => {
    const opening = openChannel(forward, index);
    void opening.then((channel) => channel?.on('error', () => {}).close());
    const channel = await Promise.race([opening, isOver]);
    // One that does not answer is as good as one that refuses.
    if (!channel && !forward.unreachable.has(index)) forward.unreachable.set(index, 'it does not answer');
  });
  await Promise.all(asked);
  if (forward.unreachable.size === forward.targets.length) forward.lose(explainUnreachable(forward));
}

/** Undefined where the target cannot be reached; where none can, the tunnel is lost. */
function openChannel(forward: Forward, index: number): Promise<ClientChannel | undefined> {
  const { client, targets, unreachable, lose } = forward;
  const { host, port } = targets[index]!;
  return new Promise((resolve) => {
    try {
      client.forwardOut(LOCAL, 0, host, port, (error, channel) => {
        if (!error) unreachable.delete(index);
        else unreachable.set(index, error.message.replace('(SSH) Channel open failure: ', ''));
        if (unreachable.size === targets.length) lose(explainUnreachable(forward));
        resolve(error ? undefined : channel);
      });
    } catch {
      // The connection to the server is gone, which its own events tell.
      resolve(undefined);
    }
  });
}

function explainUnreachable({ ssh, targets, unreachable }: Forward): DumpError {
  const places = targets.map((target, index) => `${titleOf(target)} (${unreachable.get(index)})`);
  return new DumpError(`the SSH server ${titleOf(ssh)} cannot reach the database at ${places.join(', ')}`);
}

function join(socket: Socket, channel: ClientChannel): void {
  if (socket.destroyed) return void channel.close();
  channel.on('error', () => socket.resetAndDestroy()).once('close', () => socket.end());
  socket.once('close', () => channel.close());
  socket.pipe(channel).pipe(socket);
}

function close(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  for (const socket of sockets) socket.destroy();
  return new Promise((resolve) => server.close(() => resolve()));
}

const DISCONNECT_MS = 500;

function disconnect(client: Client): Promise<void> {
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
