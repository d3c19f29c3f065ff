import { type Command, type DriverLogin, SCRATCH } from '../core/command.ts';
import type { Connection, TlsMode } from '../core/connection.ts';
import { ConfigError } from '../core/errors.ts';

/** Mechanisms whose users no database of the server knows. */
const EXTERNAL = new Set(['MONGODB-X509', 'GSSAPI', 'MONGODB-AWS', 'MONGODB-OIDC']);
/** Of those, and of no others, a user needs no password. */
const WITHOUT_PASSWORD = new Set(['MONGODB-X509', 'GSSAPI', 'MONGODB-OIDC']);

/** What the driver knows of a URI's parameters and a question needs: of one that it does not know it makes an error. */
const DRIVER_PARAMS = new Set(
  (
    'authMechanism authMechanismProperties authSource replicaSet directConnection loadBalanced readPreference ' +
    'maxStalenessSeconds tls tlsInsecure tlsAllowInvalidCertificates tlsAllowInvalidHostnames tlsCAFile ' +
    'tlsCertificateKeyFile tlsCertificateKeyFilePassword srvServiceName srvMaxHosts'
  )
    .toLowerCase()
    .split(' '),
);

/** Older names of parameters, which mongodump still takes. */
const ALIASES: Readonly<Record<string, string>> = {
  ssl: 'tls',
  sslinsecure: 'tlsinsecure',
  sslcertificateauthorityfile: 'tlscafile',
  sslclientcertificatekeyfile: 'tlscertificatekeyfile',
  sslclientcertificatekeypassword: 'tlscertificatekeyfilepassword',
};

/** Names in lower case, since a URI may write them in any. */
type Params = ReadonlyMap<string, string>;

/** DB_TLS wins over the URI, a CA alone means verify. */
const TLS_PARAMS: Readonly<Record<Exclude<TlsMode, 'prefer'>, Readonly<Record<string, string>>>> = {
  disable: { tls: 'false' },
  require: { tls: 'true', tlsinsecure: 'true' },
  verify: { tls: 'true' },
};

/** The URI's parameters with what the connection says besides. */
function readParams(connection: Connection): Params {
  const { params, user, isSrv } = connection;
  const said = Object.entries(params).map(([name, value]) => [
    ALIASES[name.toLowerCase()] ?? name.toLowerCase(),
    value,
  ]);
  const all = new Map<string, string>([...(said as [string, string][]), ...tlsParams(connection)]);
  if (connection.tls === 'verify') for (const name of LAX) all.delete(name);
  if (connection.tlsCa !== undefined) all.delete('tlscafile');
  const isExternal = EXTERNAL.has(all.get('authmechanism')?.toUpperCase() ?? '');
  // mongodump would else take the database to dump. Of an SRV name the DNS may say it: see `authSource` below.
  if (user !== undefined && !isExternal && !isSrv && !all.has('authsource')) all.set('authsource', 'admin');
  // Without a user mongodump would log in nevertheless.
  if (user === undefined && !isExternal) all.delete('authsource');
  return all;
}

const LAX = ['tlsinsecure', 'tlsallowinvalidcertificates', 'tlsallowinvalidhostnames'];

function tlsParams({ tls, tlsCa }: Connection): [string, string][] {
  if (tls === 'prefer') throw new ConfigError('DB_TLS: mongo knows no "prefer"; right is disable, require or verify');
  const mode = tls ?? (tlsCa === undefined ? undefined : 'verify');
  return mode === undefined ? [] : Object.entries(TLS_PARAMS[mode]);
}

/** Without a database, which both the driver and the tools would also take for the one to log in at. */
function renderUri({ hosts, user, password, isSrv }: Connection, params: Params): string {
  const places = hosts.map(({ host, port }) => {
    if (host.startsWith('/')) return encodeURIComponent(host);
    const name = host.includes(':') ? `[${host.replaceAll('%', '%25')}]` : host;
    return isSrv ? name : `${name}:${port}`;
  });
  const login = [user, password].filter((part) => part !== undefined).map(encodeURIComponent);
  const query = [...params].map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
  return `mongodb${isSrv ? '+srv' : ''}://${login.length > 0 ? `${login.join(':')}@` : ''}${places.join(',')}/?${query}`;
}

/** Throws `ConfigError`: without a password the tools would read one from the terminal, or the beginning of the dump for it. */
function requirePassword({ user, password }: Connection, params: Params): void {
  const mechanism = params.get('authmechanism')?.toUpperCase() ?? '';
  if (user === undefined || password !== undefined || WITHOUT_PASSWORD.has(mechanism)) return;
  throw new ConfigError(`the user ${JSON.stringify(user)} has no password; right is DB_PASSWORD, or one in the URI`);
}

/**
 * mongodump or mongorestore. The URI goes by a private file, and nothing of it by an argument. `authSource` is what the
 * driver found out: unlike it the tools log in at the database of `--db` where neither URI nor DNS says another.
 */
export function mongoTool(
  file: 'mongodump' | 'mongorestore',
  connection: Connection,
  args: readonly string[],
  authSource: string | undefined,
): Command {
  const params = new Map(readParams(connection));
  requirePassword(connection, params);
  if (authSource !== undefined && !params.has('authsource')) params.set('authsource', authSource);
  // Of these two the tools know only the word for both.
  const lax = LAX.some((name) => params.get(name) === 'true');
  for (const name of LAX) params.delete(name);
  if (lax) params.set('tlsinsecure', 'true');
  return {
    file,
    args: [
      `--config=${SCRATCH}/${file}.yaml`,
      ...(connection.tlsCa === undefined ? [] : [`--sslCAFile=${SCRATCH}/ca.pem`]),
      ...args,
    ],
    files: {
      // A string of JSON is one of YAML.
      [`${file}.yaml`]: `uri: ${JSON.stringify(renderUri(connection, params))}\n`,
      ...(connection.tlsCa !== undefined && { 'ca.pem': connection.tlsCa }),
    },
  };
}

/**
 * The same for the driver. A single host is asked itself, as by the tools, and not the members of its replica set under the
 * names that they have among themselves.
 */
export function driverLogin(connection: Connection): DriverLogin {
  const all = readParams(connection);
  requirePassword(connection, all);
  const params = new Map([...all].filter(([name]) => DRIVER_PARAMS.has(name)));
  const isAlone = connection.hosts.length === 1 && !connection.isSrv;
  const isTold = ['replicaset', 'directconnection', 'loadbalanced'].some((name) => params.has(name));
  if (isAlone && !isTold) params.set('directconnection', 'true');
  const [first, ...rest] = connection.hosts;
  const place = `${first?.host}${connection.isSrv ? '' : `:${first?.port}`}${rest.length > 0 ? ' and its fellows' : ''}`;
  return { uri: renderUri(connection, params), tlsCa: connection.tlsCa, place };
}
