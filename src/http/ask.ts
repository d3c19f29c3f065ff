import { connect } from 'node:net';
import { describeError } from '../core/errors.ts';

/** What an endpoint of a daemon's server says. */
export interface Told {
  readonly isWell: boolean;
  readonly reasons: readonly string[];
}

const LONGEST_MS = 5000;
const MAX_CHARACTERS = 1024 * 1024;

/** Asks the server of this machine or container that listens on `host` and `port`. Never rejects. */
export async function askServer(host: string | undefined, port: number, path: string): Promise<Told> {
  let fault: unknown;
  for (const address of addressesOf(host)) {
    try {
      return await ask(address, port, path);
    } catch (error) {
      fault ??= error;
    }
  }
  return { isWell: false, reasons: [`port ${port} does not answer: ${describeError(fault)}`] };
}

/** Who listens on all addresses is asked on the loopback. */
function addressesOf(host: string | undefined): readonly string[] {
  if (host === undefined || host === '::') return ['127.0.0.1', '::1'];
  return [host === '0.0.0.0' ? '127.0.0.1' : host];
}

/** By hand, since loading an HTTP client takes half of the time of all this; our server ends the connection with its answer. */
function ask(host: string, port: number, path: string): Promise<Told> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect({ host, port }, () => socket.write(`GET ${path} HTTP/1.1\r\nHost: dbstash\r\n\r\n`));
    const expire = () => socket.destroy(new Error(`nothing came within ${LONGEST_MS / 1000} s`));
    const timer = setTimeout(expire, LONGEST_MS);
    socket.setEncoding('utf8').on('data', (part) => {
      text += part;
      if (text.length > MAX_CHARACTERS) socket.destroy(new Error('its answer is too long to be ours'));
    });
    socket.on('error', reject).on('close', () => {
      clearTimeout(timer);
      resolve(read(text));
    });
  });
}

function read(text: string): Told {
  const [, status, body = ''] = /^HTTP\/1\.1 (\d{3}) .*?\r\n\r\n(.*)$/s.exec(text) ?? [];
  try {
    const { reasons } = JSON.parse(body);
    if (Array.isArray(reasons)) return { isWell: status === '200', reasons: reasons.map(String) };
  } catch {
    // Said below.
  }
  return { isWell: false, reasons: [`the answer, with status ${status ?? 'none'}, is not one of dbstash`] };
}
