import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { waitFor } from './scratch.ts';

export interface Received {
  readonly method: string;
  /** With its parameters. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** A web server that keeps what it is sent. */
export interface Receiver extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  readonly origin: string;
  readonly port: number;
  readonly received: readonly Received[];
  /** As soon as there are so many. */
  waitForRequests(count: number): Promise<readonly Received[]>;
}

interface ReceiverOptions {
  /** Answers once the body has come; 200 with an empty one unless given. */
  readonly answer?: Answer;
  readonly tls?: { readonly key: string; readonly cert: string };
}

export async function startReceiver({ answer = (_, response) => void response.end(), tls }: ReceiverOptions = {}) {
  const received: Received[] = [];
  const listen = (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('error', () => {});
    response.on('error', () => {});
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request;
      received.push({ method, path, headers, body: Buffer.concat(chunks).toString() });
      answer(request, response);
    });
  };
  const server = tls ? createTlsServer(tls, listen) : createServer(listen);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const receiver: Receiver = {
    origin: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    port,
    received,
    waitForRequests: async (count) => {
      const title = () => `${count} requests, of which came ${JSON.stringify(received)}`;
      await waitFor(() => received.length >= count, { timeoutMs: 30_000, title });
      return received;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return receiver;
}
