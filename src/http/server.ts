import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { ConfigError, describeError } from '../core/errors.ts';
import type { Logger } from '../logger.ts';
import { type Answer, createAnswers, type Knowledge } from './answers.ts';

interface ServerOptions {
  readonly port: number;
  /** `::` if undefined, and `0.0.0.0` where there is no IPv6. */
  readonly host: string | undefined;
  readonly logger: Logger;
  /** Ends it at once. */
  readonly signal: AbortSignal;
  readonly read: () => Knowledge;
}

/** Whoever is slower, or sends more, is cut off: nobody who asks us anything needs so much. */
const LIMITS = {
  headersTimeout: 5000,
  requestTimeout: 5000,
  connectionsCheckingInterval: 1000,
  maxHeaderSize: 8 * 1024,
  /** One request a connection: with more in one packet a flood could hold us for seconds. */
  maxRequestsPerSocket: 1,
};
const IDLE_MS = 5000;
const LIFE_MS = 30_000;
const MAX_CONNECTIONS = 100;

/** Listens until disposed. Throws `ConfigError` where it cannot. */
export async function startServer(options: ServerOptions): Promise<AsyncDisposable> {
  const find = createAnswers(options.read, options.logger);
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    response.on('error', () => {});
    send(response, await find(request.method ?? '', request.url ?? ''));
  };
  const server = createServer(LIMITS, handle).on('checkContinue', handle);
  server.maxRequestsPerSocket = LIMITS.maxRequestsPerSocket;
  server.timeout = IDLE_MS;
  const sockets = limitConnections(server);
  const { address, port } = await listen(server, options);
  server.on('error', (error) => options.logger.error(`the HTTP server: ${describeError(error)}`));
  options.logger.debug(`HTTP on ${address}, port ${port}`);
  const stop = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  options.signal.addEventListener('abort', stop, { once: true });
  return { [Symbol.asyncDispose]: stop };
}

/** The body of a request is not read: the connection ends with the answer. */
function send(response: ServerResponse, { status, headers, body }: Answer): void {
  response.writeHead(status, {
    'Content-Length': body.length,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    Connection: 'close',
    ...headers,
  });
  response.end(body);
}

/** Where there are too many the oldest goes, so that those who hold on to theirs keep nobody out. */
function limitConnections(server: Server): ReadonlySet<Socket> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    const [oldest] = sockets;
    if (sockets.size >= MAX_CONNECTIONS) oldest?.destroy();
    sockets.add(socket);
    const timer = setTimeout(() => socket.destroy(), LIFE_MS).unref();
    socket.once('close', () => {
      clearTimeout(timer);
      sockets.delete(socket);
    });
  });
  return sockets;
}

/** What a machine without IPv6 says. */
const NO_IPV6 = ['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL'];

async function listen(server: Server, { port, host }: ServerOptions): Promise<AddressInfo> {
  try {
    return await listenOn(server, port, host ?? '::').catch((error: unknown) => {
      if (host === undefined && NO_IPV6.includes(codeOf(error))) return listenOn(server, port, '0.0.0.0');
      throw error;
    });
  } catch (error) {
    throw new ConfigError(explain(codeOf(error), port, host) ?? `HEALTH_PORT: ${describeError(error)}`);
  }
}

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '');

function explain(code: string, port: number, host: string | undefined): string | undefined {
  if (code === 'EADDRINUSE')
    return `HEALTH_PORT: port ${port} is taken by another program; right is a free one, or 0 for no server`;
  if (code === 'EACCES')
    return `HEALTH_PORT: uid ${process.getuid?.()} may not listen on port ${port}; right is one from 1024 up, or 0 for no server`;
  if (host !== undefined && [...NO_IPV6, 'ENOTFOUND', 'EAI_AGAIN'].includes(code))
    return `HEALTH_HOST: ${host} is no address of this machine; right is one that it has, 0.0.0.0 or ::`;
  return undefined;
}

function listenOn(server: Server, port: number, host: string): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host }, () => {
      server.off('error', reject);
      resolve(server.address() as AddressInfo);
    });
  });
}
