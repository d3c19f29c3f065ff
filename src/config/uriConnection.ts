import { normalize } from 'node:path';
import type { Connection, EngineName, Host } from '../core/connection.ts';
import { ConfigError } from '../core/errors.ts';
import { type DatabaseUri, isHost, parseDatabaseUri, readPort, type UriHost } from '../core/uri.ts';
import { engines, findEngineByScheme } from '../engines/index.ts';

/** What fills in a URI that does not say it. */
export interface UriDefaults {
  /** Of the engines whose scheme the URI has, the one that is meant. */
  readonly engine?: EngineName | undefined;
  readonly database?: string | undefined;
  readonly password?: string | undefined;
  readonly tls?: Connection['tls'];
  readonly tlsCa?: string | undefined;
}

/** The connection that a URI from the command line describes. Throws `ConfigError`. */
export const parseConnection = (uri: string, defaults: UriDefaults = {}): Connection =>
  connectionOfUri(parseDatabaseUri(uri), defaults);

/** The engine whose scheme a URI has; `wanted` where it has that one too. Throws `ConfigError`. */
export function engineOfUri({ scheme }: DatabaseUri, wanted?: EngineName): EngineName {
  if (wanted && engines[wanted].uriSchemes.includes(scheme)) return wanted;
  const engine = findEngineByScheme(scheme);
  if (engine) return engine.name;
  const schemes = new Set(Object.values(engines).flatMap(({ uriSchemes }) => uriSchemes.map((known) => `${known}://`)));
  throw new ConfigError(`the URI has an unknown scheme; known are ${[...schemes].join(', ')}`);
}

/** The engine that the variables mean, undefined where they mean none that there is. */
export function engineOf({
  ENGINE,
  DB_URI,
}: {
  ENGINE: EngineName | undefined;
  DB_URI: DatabaseUri | undefined;
}): EngineName | undefined {
  return ENGINE ?? (DB_URI && findEngineByScheme(DB_URI.scheme)?.name);
}

/** Throws `ConfigError`. */
export function connectionOfUri(uri: DatabaseUri, defaults: UriDefaults): Connection {
  const engine = engineOfUri(uri, defaults.engine);
  if (engine === 'sqlite') return fileOfUri(uri);
  const { tlsScheme, isWhole } = engines[engine];
  const { hosts, user, password, database: named, params } = liftParams(uri);
  const database = isWhole ? nameWhole(named, defaults.database) : (named ?? defaults.database ?? wholeServer(engine));
  if (database === undefined)
    throw new ConfigError('the URI names no database; right is .../NAME at its end, or DB_NAME');
  // A service file says what the URI does not.
  const isOpen = params.service !== undefined;
  const places = hosts.length === 0 && !isOpen ? [{ host: '', port: undefined }] : hosts;
  return {
    engine,
    hosts: places.map((place) => fillHost(place, engine)),
    user: user ?? (isOpen ? undefined : engines[engine].defaultUser),
    password: password ?? defaults.password,
    database,
    params: engine === 'mongo' ? withAuthSource(uri) : params,
    tls: defaults.tls ?? (uri.scheme === tlsScheme ? 'verify' : undefined),
    tlsCa: defaults.tlsCa,
    ...(uri.scheme.endsWith('+srv') && { isSrv: true }),
  };
}

/** What no database means: for mongo, all of them. */
export const wholeServer = (engine: EngineName): string | undefined => (engines[engine].dumpsServer ? '' : undefined);

/**
 * A mongo URI's database is also the one to log in at, unless it says another. That must stay so where another one is
 * restored to. Not for users that no database knows; and of an SRV name the DNS says it.
 */
function withAuthSource({ scheme, user, database, params }: DatabaseUri): DatabaseUri['params'] {
  const find = (wanted: string) => Object.entries(params).find(([name]) => name.toLowerCase() === wanted)?.[1];
  const isOurs = /^(SCRAM-.*|PLAIN|)$/i.test(find('authmechanism') ?? '') && !scheme.endsWith('+srv');
  if (!isOurs || user === undefined || database === undefined || find('authsource') !== undefined) return params;
  return { ...params, authSource: database };
}

/** A dump of the whole server is called as the user says, else by the number in the URI, which selects nothing. */
function nameWhole(number: string | undefined, label: string | undefined): string {
  if (number !== undefined && !/^\d+$/.test(number))
    throw new ConfigError('the URI names a database that is no number; right is .../0 at its end, or nothing');
  return label ?? number ?? WHOLE_LABEL;
}

/** The database that a client is in at first. */
export const WHOLE_LABEL = '0';

/** What is not said is the engine's own. */
export const fillHost = ({ host, port }: UriHost, engine: EngineName): Host => ({
  host: host === '' ? 'localhost' : host,
  port: port ?? engines[engine].defaultPort ?? 0,
});

function fileOfUri({ hosts, user, database, params }: DatabaseUri): Connection {
  if (hosts.length > 0 || user !== undefined)
    throw new ConfigError('the URI of a file has no host; right is sqlite:///path, with three slashes');
  if (database === undefined) throw new ConfigError('the URI names no file; right is sqlite:///path');
  return { ...fileAt(`/${database}`), params };
}

/** The connection to a database that is a file; `path` is absolute. */
export const fileAt = (path: string): Connection => ({
  engine: 'sqlite',
  hosts: [],
  user: undefined,
  password: undefined,
  database: normalize(path),
  params: {},
  tls: undefined,
  tlsCa: undefined,
});

/** libpq also takes these as parameters, `?host=/run/postgresql`, and there they win. */
export function liftParams(uri: DatabaseUri): DatabaseUri {
  const { host, port, user, password, dbname, ...params } = uri.params;
  return {
    ...uri,
    hosts: liftHosts(uri.hosts, host, port),
    user: user || uri.user,
    password: password || uri.password,
    database: dbname || uri.database,
    params,
  };
}

/** Of several hosts each has its port, or all have one. */
function liftHosts(
  hosts: readonly UriHost[],
  names: string | undefined,
  ports: string | undefined,
): readonly UriHost[] {
  const places = names ? names.split(',').map((host, index) => ({ host, port: hosts[index]?.port })) : hosts;
  if (places.some(({ host }) => host !== '' && !isHost(host)))
    throw new ConfigError('the URI has a parameter host that is no name, address or absolute path');
  if (!ports) return places;
  const digits = ports.split(',');
  const taking = places.length === 0 ? [{ host: '' }] : places;
  if (digits.length > 1 && digits.length !== taking.length)
    throw new ConfigError('the URI has another number of ports than of hosts in its parameters');
  return taking.map(({ host }, index) => {
    const port = readPort(digits[index] ?? digits[0] ?? '');
    if (port === undefined) throw new ConfigError('the URI has a parameter port that is no number from 1 to 65535');
    return { host, port };
  });
}
