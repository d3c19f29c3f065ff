import { type Command, SCRATCH } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import { ConfigError } from '../core/errors.ts';
import type { RedisEndpoint, RedisTls } from './engine.ts';

/** Parameters of a URI that say more of TLS: paths of files, and the name that the server is asked for. */
const TLS_PARAMS = { sslrootcert: '--cacert', sslcert: '--cert', sslkey: '--key', sni: '--sni' } as const;

/** Where and how to log in. Throws `ConfigError` for what no client of Redis can do. */
export function redisEndpoint(connection: Connection): RedisEndpoint {
  const { hosts, user, password } = connection;
  const [place, ...others] = hosts;
  if (!place || others.length > 0)
    throw new ConfigError('redis: several hosts are named; right is one, each primary is a job of its own');
  if (user !== undefined && password === undefined)
    throw new ConfigError(
      'redis: a user is named and no password; right is redis://user:password@host, or redis://:password@host where there are no users',
    );
  const isSocket = place.host.startsWith('/');
  return {
    place: isSocket ? { path: place.host } : place,
    user,
    password,
    tls: isSocket ? undefined : redisTls(connection),
  };
}

/** A CA alone, or a certificate to log in with, means that there is TLS. */
function redisTls({ tls, tlsCa, params }: Connection): RedisTls | undefined {
  if (tls === 'prefer')
    throw new ConfigError('DB_TLS: prefer is not possible with redis; right is disable, require or verify');
  const isMeant = tls !== undefined || tlsCa !== undefined || Object.keys(TLS_PARAMS).some((name) => name in params);
  if (tls === 'disable' || !isMeant) return undefined;
  return {
    verify: tls !== 'require',
    ca: tlsCa,
    caFile: tlsCa === undefined ? params.sslrootcert : undefined,
    certFile: params.sslcert,
    keyFile: params.sslkey,
    serverName: params.sni,
  };
}

/** The URI's parameters that say nothing to us. */
export const ignoredParams = ({ params }: Connection): readonly string[] =>
  Object.keys(params).filter((name) => !(name in TLS_PARAMS));

/** redis-cli, logged in; the password goes by its environment. */
export function redisCli(connection: Connection, args: readonly string[]): Command {
  const { place, user, password, tls } = redisEndpoint(connection);
  const where = 'path' in place ? ['-s', place.path] : ['-h', place.host, '-p', String(place.port)];
  return {
    file: 'redis-cli',
    args: [...where, ...(user === undefined ? [] : ['--user', user]), ...(tls ? tlsArgs(tls) : []), ...args],
    // An empty password is none to redis-cli: it does not log in.
    ...(password !== undefined && { env: { REDISCLI_AUTH: password } }),
    ...(tls?.ca !== undefined && { files: { 'ca.pem': tls.ca } }),
  };
}

const tlsArgs = ({ verify, ca, caFile, certFile, keyFile, serverName }: RedisTls): readonly string[] => [
  '--tls',
  ...(verify ? [] : ['--insecure']),
  ...pair(TLS_PARAMS.sslrootcert, ca === undefined ? caFile : `${SCRATCH}/ca.pem`),
  ...pair(TLS_PARAMS.sslcert, certFile),
  ...pair(TLS_PARAMS.sslkey, keyFile),
  ...pair(TLS_PARAMS.sni, serverName),
];

const pair = (flag: string, value: string | undefined): readonly string[] => (value === undefined ? [] : [flag, value]);
