import { get } from 'node:http';
import { describeError } from '../core/errors.ts';

/** What an endpoint of a daemon's server says. */
export interface Told {
  readonly isWell: boolean;
  readonly reasons: readonly string[];
}

const LONGEST_MS = 5000;
const MAX_BYTES = 1024 * 1024;

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

function ask(host: string, port: number, path: string): Promise<Told> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(LONGEST_MS);
    const request = get({ host, port, path, agent: false, signal }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
        if (text.length > MAX_BYTES) response.destroy(new Error('its answer is too long to be ours'));
      });
      response.on('end', () => resolve(read(response.statusCode ?? 0, text))).on('error', reject);
    });
    request.on('error', (error) =>
      reject(signal.aborted ? new Error(`nothing came within ${LONGEST_MS / 1000} s`) : error),
    );
  });
}

function read(status: number, text: string): Told {
  try {
    const { reasons } = JSON.parse(text);
    if (Array.isArray(reasons)) return { isWell: status === 200, reasons: reasons.map(String) };
  } catch {
    // Said below.
  }
  return { isWell: false, reasons: [`the answer, with status ${status}, is not one of dbstash`] };
}
