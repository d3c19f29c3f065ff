import type { Socket } from 'node:net';
import type { SshConfig } from './config/ssh.ts';
import type { Connection, Host } from './core/connection.ts';
import { addressOf } from './core/connection.ts';
import { type DbstashError, DumpError } from './core/errors.ts';
import { throughTunnel, tunnelTargets } from './core/tunnel.ts';
import { carry, close, type Forward, LOCAL, listen, portOf, probe } from './ssh/forward.ts';
import { connect, disconnect, READY_MS } from './ssh/login.ts';

/** The way to the database for one run; closed when disposed. */
export interface Tunnel extends AsyncDisposable {
  /** How a client reaches a database on the hosts that the tunnel was opened for. */
  readonly reach: (connection: Connection) => Connection;
  /** Fires with a `DumpError` when the tunnel broke, or leads nowhere. */
  readonly lost: AbortSignal;
}

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
    lose(new DumpError(`the SSH tunnel through ${addressOf(ssh)} broke${error ? `: ${error.message}` : ''}`));
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
