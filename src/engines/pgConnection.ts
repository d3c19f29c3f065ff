import { type Command, SCRATCH } from '../core/command.ts';
import type { Connection, TlsMode } from '../core/connection.ts';
import { ConfigError } from '../core/errors.ts';

/** How a client of PostgreSQL is told where to connect and how to log in, with no secret in its arguments. */
export interface PgLogin {
  /** `--dbname=` and `--no-password`. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly files: Readonly<Record<string, string>>;
}

const SSL_MODES: Readonly<Record<TlsMode, string>> = {
  disable: 'disable',
  prefer: 'prefer',
  require: 'require',
  verify: 'verify-full',
};

/** Parameters of a URI that we set from the connection itself. */
const OWN_PARAMS = new Set(['host', 'port', 'user', 'dbname', 'password', 'ssl']);
/** Parameters that no argument may hold; unlike the password they have no variable of their own. */
const SECRET_PARAMS = new Set(['sslpassword', 'oauth_client_secret', 'scram_client_key', 'scram_server_key']);

/**
 * Everything goes as one keyword/value string, whose quoting makes any database name a name: `postgres://x`, `a=b` and
 * `-x` too. The password goes by PGPASSWORD, other secrets by a private service file. `database` replaces the connection's.
 */
export function pgLogin(connection: Connection, database: string = connection.database): PgLogin {
  const params = openParams(connection);
  const { hosts, user, tlsCa } = connection;
  const words = {
    connect_timeout: '15',
    // Inherited by PGHOSTADDR, it would lead elsewhere than to the hosts that name and series speak of.
    ...(hosts.length > 0 && { hostaddr: '' }),
    ...params,
    ...(hosts.length > 0 && {
      host: hosts.map(({ host }) => host).join(','),
      port: hosts.map(({ port }) => port).join(','),
    }),
    ...(user !== undefined && { user }),
    dbname: database,
  };
  const password = connection.password ?? connection.params.password;
  const service = serviceFile(connection);
  return {
    args: [`--dbname=${joinWords(words)}`, '--no-password'],
    env: {
      ...(password !== undefined && { PGPASSWORD: password }),
      ...(tlsCa !== undefined && { PGSSLROOTCERT: `${SCRATCH}/ca.pem` }),
      ...(service !== undefined && { PGSERVICEFILE: `${SCRATCH}/pg_service.conf`, PGSERVICE: 'dbstash' }),
    },
    files: {
      ...(tlsCa !== undefined && { 'ca.pem': tlsCa }),
      ...(service !== undefined && { 'pg_service.conf': service }),
    },
  };
}

/** The URI's parameters that may be seen, and how TLS is to be used. DB_TLS wins over the URI; a CA alone means verify. */
function openParams({ params, tls, tlsCa }: Connection): Record<string, string> {
  const open = Object.entries(params).filter(([key]) => !OWN_PARAMS.has(key) && !SECRET_PARAMS.has(key));
  const words = Object.fromEntries(open.filter(([key]) => key !== 'sslrootcert' || tlsCa === undefined));
  const fallback = tlsCa !== undefined ? 'verify-full' : params.ssl === 'true' ? 'require' : undefined;
  const sslmode = (tls && SSL_MODES[tls]) ?? words.sslmode ?? fallback;
  return { ...words, ...(sslmode !== undefined && { sslmode }) };
}

/** Lines of a service file know no quoting: what would be changed on the way is refused. */
function serviceFile({ params }: Connection): string | undefined {
  const secrets = Object.entries(params).filter(([key]) => SECRET_PARAMS.has(key));
  if (secrets.length === 0) return undefined;
  if (params.service !== undefined)
    throw new ConfigError(`${secrets[0]![0]} belongs into the service file that the URI names`);
  for (const [key, value] of secrets) {
    if (/^\s|\s$|[\r\n]/.test(value))
      throw new ConfigError(`${key} must not begin or end with a blank, nor hold a line break`);
  }
  return ['[dbstash]', ...secrets.map(([key, value]) => `${key}=${value}`), ''].join('\n');
}

const joinWords = (words: Readonly<Record<string, string>>): string =>
  Object.entries(words)
    .map(([key, value]) => `${key}='${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`)
    .join(' ');

/** psql that prints bare values and stops at the first error. `extra` are further arguments. */
export function psql(connection: Connection, database: string, extra: readonly string[] = []): Command {
  const login = pgLogin(connection, database);
  return {
    file: 'psql',
    args: ['--no-psqlrc', '--quiet', '--no-align', '--tuples-only', '--set=ON_ERROR_STOP=1', ...extra, ...login.args],
    env: { ...login.env, PGCLIENTENCODING: 'UTF8' },
    files: login.files,
  };
}

/** A literal, whatever standard_conforming_strings says. */
export const pgText = (value: string): string => `E'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

export const pgName = (name: string): string => `"${name.replaceAll('"', '""')}"`;
