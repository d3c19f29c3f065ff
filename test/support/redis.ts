import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, scratchFolder } from './scratch.ts';
import { isListening, startServer } from './server.ts';
import { requireTool } from './tools.ts';

export interface RedisOptions {
  /** Of the default user; none if absent. */
  readonly password?: string;
  /** For redis.conf; one of several lines as `{ user: ['a ...', 'b ...'] }`. */
  readonly settings?: Readonly<Record<string, string | readonly string[]>>;
  /** Speaks TLS only, with a certificate for 127.0.0.1 and localhost. */
  readonly tls?: boolean;
  /** Clients must show a certificate, too. */
  readonly asksForCertificate?: boolean;
  /** redis-server, unless it is valkey-server. */
  readonly program?: string;
}

/** A server of its own, on TCP and on a socket. Full copies begin at once, and not after five seconds. */
export interface RedisServer extends AsyncDisposable {
  readonly port: number;
  readonly socket: string;
  readonly folder: string;
  /** PEM of whoever signed the server's certificate; of a server without TLS empty. */
  readonly ca: string;
  /** What redis-cli prints of a command, quoted. Throws what the server says. */
  run(...args: readonly string[]): string;
  /** The answers to commands from standard input, one line each. */
  runAll(lines: string): string;
  uri(login?: { user?: string; password?: string; scheme?: string; path?: string }): string;
  stop(): Promise<void>;
}

const SETTINGS = { 'repl-diskless-sync-delay': '0', save: '""', appendonly: 'no', bind: '127.0.0.1', databases: '16' };

export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  await using starting = new AsyncDisposableStack();
  const { path: folder } = starting.use(scratchFolder());
  const port = await freePort();
  const socket = join(folder, 's');
  const { password, tls = false } = options;
  const ca = tls ? makeCertificates(folder) : '';
  const all = {
    ...SETTINGS,
    dir: folder,
    unixsocket: socket,
    ...(tls ? { port: '0', 'tls-port': String(port), ...tlsSettings(folder, options) } : { port: String(port) }),
    ...(password !== undefined && { requirepass: quote(password) }),
    ...options.settings,
  };
  const lines = Object.entries(all).flatMap(([name, value]) => [value].flat().map((each) => `${name} ${each}\n`));
  const conf = join(folder, 'redis.conf');
  writeFileSync(conf, lines.join(''), { mode: 0o600 });
  const file = requireTool(options.program ?? 'redis-server');
  const server = await startServer({ file, args: [conf], env: {}, isReady: () => isListening(port) });
  starting.defer(server.stop);
  return describeServer({ port, socket, folder, ca }, options, starting.move());
}

type Place = Pick<RedisServer, 'port' | 'socket' | 'folder' | 'ca'>;

function describeServer(place: Place, { password, tls }: RedisOptions, running: AsyncDisposableStack): RedisServer {
  const call = (args: readonly string[], input?: string) =>
    execFileSync(requireTool('redis-cli'), ['-s', place.socket, '--no-raw', ...args], {
      env: { PATH: process.env.PATH, ...(password !== undefined && { REDISCLI_AUTH: password }) },
      maxBuffer: 1024 ** 3,
      input,
    })
      .toString()
      .trimEnd();
  const stop = () => running.disposeAsync();
  return {
    ...place,
    run: (...args) => {
      const said = call(args);
      if (/^\(error\)/.test(said)) throw new Error(`${args.join(' ')}: ${said}`);
      return said;
    },
    runAll: (lines) => call([], lines),
    uri: ({ user = '', password: secret = password ?? '', scheme = tls ? 'rediss' : 'redis', path = '' } = {}) => {
      const login = `${encodeURIComponent(user)}:${encodeURIComponent(secret)}@`;
      return `${scheme}://${login === ':@' ? '' : login}127.0.0.1:${place.port}${path}`;
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

const tlsSettings = (folder: string, { asksForCertificate }: RedisOptions) => ({
  'tls-cert-file': join(folder, 'server.crt'),
  'tls-key-file': join(folder, 'server.key'),
  'tls-ca-cert-file': join(folder, 'ca.crt'),
  'tls-auth-clients': asksForCertificate ? 'yes' : 'no',
});

/** ca.crt, and server.crt with server.key signed by it; returns the CA as PEM. */
function makeCertificates(folder: string): string {
  mkdirSync(folder, { recursive: true });
  const openssl = (...args: string[]) =>
    execFileSync(requireTool('openssl'), args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const subject = (name: string) => ['-subj', `/CN=${name}`];
  openssl('req', '-x509', ...key, '-days', '2', '-keyout', 'ca.key', '-out', 'ca.crt', ...subject('test CA'));
  openssl('req', ...key, '-keyout', 'server.key', '-out', 'server.csr', ...subject('server'));
  writeFileSync(join(folder, 'names'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  const sign = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names'];
  openssl('x509', '-req', '-in', 'server.csr', ...sign, '-out', 'server.crt');
  return openssl('x509', '-in', 'ca.crt').toString();
}

/** A word in redis.conf. */
export const quote = (text: string): string =>
  `"${[...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}"`;

/** Everything that a server holds, but for the order of what has none: each key with its number, time to go, and value. */
export function contentOf(server: RedisServer): readonly string[] {
  const script = `
    local out = {}
    for _, key in ipairs(redis.call('KEYS', '*')) do
      local at = redis.call('PEXPIRETIME', key)
      local kind = redis.call('TYPE', key).ok
      local value
      if kind == 'string' then value = redis.call('GET', key)
      elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
      elseif kind == 'set' then value = redis.call('SMEMBERS', key); table.sort(value)
      elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
      elseif kind == 'hash' then
        local all, names = {}, redis.call('HKEYS', key); table.sort(names)
        for _, name in ipairs(names) do all[#all + 1] = name; all[#all + 1] = redis.call('HGET', key, name) end
        value = all
      elseif kind == 'stream' then
        value = {redis.call('XRANGE', key, '-', '+'), redis.call('XINFO', 'STREAM', key, 'FULL')}
      end
      out[#out + 1] = cmsgpack.pack({key, at, kind, value})
    end
    table.sort(out)
    local sums = {}
    for i, each in ipairs(out) do sums[i] = redis.sha1hex(each) .. ' ' .. cmsgpack.unpack(each)[1] end
    return sums`;
  const functions = server.run('FUNCTION', 'DUMP');
  const databases = [...server.run('INFO', 'keyspace').matchAll(/^db(\d+):/gm)].map(([, number]) => number ?? '');
  return [
    `functions ${functions}`,
    ...databases.flatMap((number) =>
      server
        .run('-n', number, 'EVAL', script, '0')
        .split('\n')
        .map((line) => `${number} ${line}`),
    ),
  ];
}
