import { STATUS_CODES } from 'node:http';
import { type Dispatcher, EnvHttpProxyAgent, request } from 'undici';
import { DbstashError } from '../core/errors.ts';
import type { Redactor } from '../core/redact.ts';
import { cut, plainLine } from './text.ts';
import { readTrust } from './trust.ts';

type Environment = Readonly<Record<string, string | undefined>>;

interface WebOptions {
  readonly env: Environment;
  readonly redact: Redactor;
  readonly version: string;
}

interface WebCall {
  readonly url: string;
  /** Posted; without one it is a GET. */
  readonly body?: { readonly type: string; readonly text: string };
}

/** Of an answer, what may hold the reason of a refusal. */
const MAX_ANSWER_BYTES = 4096;
const MAX_REASON_LENGTH = 200;

/**
 * Asks for a web address, by a proxy where the environment names one; any 2xx is well. No redirect is followed: who knows
 * where it leads. Throws `DbstashError` with what the other said, and never the address.
 */
export async function callWeb({ url, body }: WebCall, around: WebOptions, signal: AbortSignal): Promise<void> {
  const address = new URL(url);
  const options = { ...around, redact: (text: string) => hidePath(around.redact(text), address) };
  const dispatcher = createAgent(address, options.env);
  try {
    const headers = {
      'user-agent': `dbstash/${options.version}`,
      ...authorize(address),
      ...(body && { 'content-type': body.type }),
    };
    const method = body ? 'POST' : 'GET';
    const target = address.origin + address.pathname + address.search;
    const waiting = { headersTimeout: 0, bodyTimeout: 0, signal, dispatcher };
    const answer = await request(target, { ...waiting, method, headers, body: body?.text ?? null });
    answer.body.on('error', () => {});
    if (answer.statusCode < 200 || answer.statusCode > 299) throw new DbstashError(await describe(answer, options));
  } catch (error) {
    throw signal.aborted ? signal.reason : explain(error, options);
  } finally {
    // What of the answer is still under way is not waited for.
    await dispatcher.destroy().catch(() => {});
  }
}

/** Also one too short for the redactor, which masks it everywhere; servers like to repeat it. */
const hidePath = (text: string, { pathname, search }: URL): string =>
  [pathname + search, pathname].reduce(
    (shown, path) => (path.length > 1 ? shown.replaceAll(path, '***') : shown),
    text,
  );

/** A login in the address is for us to send. */
function authorize({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { authorization: `Basic ${Buffer.from(login).toString('base64')}` };
}

/** A proxy for HTTP is none for HTTPS, as curl and rclone have it. One is named without `http://` often enough. */
function createAgent({ protocol }: URL, env: Environment): Dispatcher {
  const name = protocol === 'https:' ? 'https_proxy' : 'http_proxy';
  const named = env[name] || env[name.toUpperCase()] || '';
  const proxy = named === '' || named.includes('://') ? named : `http://${named}`;
  const ca = readTrust(env);
  try {
    return new EnvHttpProxyAgent({
      httpProxy: proxy,
      httpsProxy: proxy,
      noProxy: env.no_proxy || env.NO_PROXY || '',
      // Many proxies open tunnels to port 443 alone.
      proxyTunnel: false,
      ...(ca && { connect: { ca }, requestTls: { ca }, proxyTls: { ca } }),
    });
  } catch {
    throw new DbstashError(`${name.toUpperCase()} is no address of a proxy; right is http://host:port`);
  }
}

async function describe({ statusCode, headers, body }: Dispatcher.ResponseData, { redact }: WebOptions) {
  const status = `answered ${statusCode} ${STATUS_CODES[statusCode] ?? ''}`.trim();
  const { location } = headers;
  if (statusCode >= 300 && statusCode < 400 && typeof location === 'string') {
    const to = URL.canParse(location) ? ` to ${new URL(location).origin}` : '';
    return `${status}, a redirect${to}, which is not followed: give the address that it leads to`;
  }
  const reason = cut(plainLine(redact(await readStart(body))), MAX_REASON_LENGTH);
  return reason === '' ? status : `${status}: ${reason}`;
}

async function readStart(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= MAX_ANSWER_BYTES) break;
  }
  return Buffer.concat(chunks).subarray(0, MAX_ANSWER_BYTES).toString('utf8');
}

function explain(error: unknown, { redact }: WebOptions): DbstashError {
  if (error instanceof DbstashError) return error;
  // Of a name with several addresses each has failed.
  const [first = error] = error instanceof AggregateError ? error.errors : [error];
  const message = first instanceof Error ? first.message || first.name : String(first);
  return new DbstashError(cut(plainLine(redact(message)), MAX_REASON_LENGTH));
}
