import { createServer, type Server, type Socket } from 'node:net';
import type { Client, ClientChannel } from 'ssh2';
import type { SshConfig } from '../config/ssh.ts';
import type { Host } from '../core/connection.ts';
import { addressOf } from '../core/connection.ts';
import { type DbstashError, DumpError } from '../core/errors.ts';
import { isOwnPeer } from '../process/peer.ts';

export const LOCAL = '127.0.0.1';

export async function listen(onSocket: (socket: Socket) => void): Promise<Server> {
  // Nothing is read before it is known whose it is.
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true }, onSocket);
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, LOCAL, resolve));
  return server.on('error', () => {});
}

export const portOf = (server: Server): number => {
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
};

/** The way through a server that let us in, to each host of the database. */
export interface Forward {
  readonly client: Client;
  readonly ssh: SshConfig;
  readonly targets: readonly Host[];
  readonly sockets: Set<Socket>;
  /** By index, why a target could not be reached. */
  readonly unreachable: Map<number, string>;
  readonly lose: (error: DbstashError) => void;
}

/** One connection of a client, to the target of that index. */
export async function carry(forward: Forward, index: number, socket: Socket): Promise<void> {
  const { sockets } = forward;
  sockets.add(socket);
  socket.on('error', () => {}).once('close', () => sockets.delete(socket));
  if (!(await isOwnPeer(socket))) return void socket.resetAndDestroy();
  const channel = await openChannel(forward, index);
  if (channel) join(socket, channel);
  else socket.resetAndDestroy();
}

/** Of several hosts a client tries the next one only where the first takes no connection; our end of a tunnel always does. */
export async function probe(forward: Forward, over: AbortSignal): Promise<void> {
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
  const places = targets.map((target, index) => `${addressOf(target)} (${unreachable.get(index)})`);
  return new DumpError(`the SSH server ${addressOf(ssh)} cannot reach the database at ${places.join(', ')}`);
}

function join(socket: Socket, channel: ClientChannel): void {
  if (socket.destroyed) return void channel.close();
  channel.on('error', () => socket.resetAndDestroy()).once('close', () => socket.end());
  socket.once('close', () => channel.close());
  socket.pipe(channel).pipe(socket);
}

export function close(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  for (const socket of sockets) socket.destroy();
  return new Promise((resolve) => server.close(() => resolve()));
}
