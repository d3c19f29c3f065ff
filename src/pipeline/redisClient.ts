import { readFileSync } from 'node:fs';
import { ConfigError, DumpError, describeError } from '../core/errors.ts';
import type { RedisEndpoint, RedisTls } from '../engines/engine.ts';

/** A connection to a server. Commands that are sent in one go travel in one go, and are answered in their order. */
export interface RedisClient {
  /** Strings of the answer come as bytes. Rejects with what the server says. */
  send<T>(...args: readonly (string | Buffer)[]): Promise<T>;
  /** Rejects whatever waits for an answer. */
  destroy(): void;
}

const CONNECT_MS = 15_000;

/** Throws `DumpError` where there is no way in. A connection that is lost stays lost. */
export async function connectRedis({ place, user, password, tls }: RedisEndpoint): Promise<RedisClient> {
  // Large, and of use to nobody else. Of a CommonJS package the bundle knows this name only.
  const { default: redis } = await import('@redis/client');
  const common = { reconnectStrategy: false, connectTimeout: CONNECT_MS } as const;
  const address = 'path' in place ? { path: place.path, tls: false as const } : place;
  const client = redis.createClient({
    RESP: 2,
    socket: { ...common, ...address, ...(tls && tlsOptions(tls)) },
    ...(user !== undefined && { username: user }),
    ...(password !== undefined && { password }),
    disableOfflineQueue: true,
    disableClientInfo: true,
  });
  // Whoever waits for an answer sees it.
  client.on('error', () => {});
  const title = 'path' in place ? place.path : `${place.host}:${place.port}`;
  try {
    await client.connect();
  } catch (cause) {
    throw new DumpError(`no connection to ${title}: ${describeError(cause)}`, { cause });
  }
  const binary = client.withTypeMapping({ [redis.RESP_TYPES.BLOB_STRING]: Buffer });
  return {
    send: <T>(...args: readonly (string | Buffer)[]) => binary.sendCommand<never>(args) as Promise<T>,
    destroy: () => {
      if (client.isOpen) client.destroy();
    },
  };
}

const tlsOptions = ({ verify, ca, caFile, certFile, keyFile, serverName }: RedisTls) => ({
  tls: true as const,
  rejectUnauthorized: verify,
  ca: ca ?? readPem(caFile),
  cert: readPem(certFile),
  key: readPem(keyFile),
  ...(serverName !== undefined && { servername: serverName }),
});

function readPem(path: string | undefined): string | undefined {
  try {
    return path === undefined ? undefined : readFileSync(path, 'utf8');
  } catch (cause) {
    throw new ConfigError(`DB_URI: ${path} cannot be read`, { cause });
  }
}
