import { createServer, request } from 'node:http';
import { type AddressInfo, createConnection } from 'node:net';

/** A web proxy that keeps what it is asked for: `CONNECT host:port`, `POST http://host/path`. */
export interface Proxy extends AsyncDisposable {
  readonly origin: string;
  readonly asked: readonly string[];
  /** What `proxy-authorization` said, the last time. */
  authorization(): string | undefined;
}

export async function startProxy(): Promise<Proxy> {
  const asked: string[] = [];
  let authorization: string | undefined;
  const server = createServer((incoming, response) => {
    asked.push(`${incoming.method} ${incoming.url}`);
    const { 'proxy-authorization': login, 'proxy-connection': _, ...headers } = incoming.headers;
    authorization = login;
    const outgoing = request(incoming.url ?? '', { method: incoming.method ?? 'GET', headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    incoming.pipe(outgoing);
  });
  server.on('connect', (incoming, socket) => {
    asked.push(`CONNECT ${incoming.url}`);
    authorization = incoming.headers['proxy-authorization'];
    const [host = '', port = ''] = (incoming.url ?? '').split(':');
    const inner = createConnection(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      inner.pipe(socket).pipe(inner);
    });
    inner.on('error', () => socket.destroy());
    socket.on('error', () => inner.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    authorization: () => authorization,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
