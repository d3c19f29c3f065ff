import { type Command, SCRATCH } from '../core/command.ts';
import type { Connection, Host, TlsMode } from '../core/connection.ts';
import { ConfigError } from '../core/errors.ts';
import { type Flavor, MARIADB } from './mysqlFlavor.ts';

/** How a client of MySQL or MariaDB is told where to connect and how to log in, with no secret in its arguments. */
export interface MysqlLogin {
  /** Come first: a client looks for the file nowhere else. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly files: Readonly<Record<string, string>>;
}

export const OPTION_FILE = `${SCRATCH}/my.cnf`;

/** The URI's parameters that mean something to the clients, under the names that drivers give them. */
const PARAMS: Readonly<Record<string, 'socket' | 'mode' | 'ca' | 'cert' | 'key'>> = {
  socket: 'socket',
  unixsocket: 'socket',
  sslmode: 'mode',
  ssl: 'mode',
  tls: 'mode',
  sslca: 'ca',
  sslcert: 'cert',
  sslkey: 'key',
};

/** What drivers write for how TLS is to be used. */
const TLS_WORDS: Readonly<Record<string, TlsMode>> = {
  disabled: 'disable',
  disable: 'disable',
  false: 'disable',
  preferred: 'prefer',
  prefer: 'prefer',
  'skip-verify': 'require',
  required: 'require',
  require: 'require',
  true: 'require',
  verify_ca: 'verify',
  'verify-ca': 'verify',
  verify_identity: 'verify',
  'verify-full': 'verify',
};

/** A URI's parameters sorted: `?ssl-mode=`, `?sslMode=` and `?ssl_mode=` are one. What is left over is `ignored`. */
export function readParams({ params }: Connection): {
  readonly known: Partial<Record<(typeof PARAMS)[string], string>>;
  readonly ignored: readonly string[];
} {
  const rows = Object.entries(params).map(([name, value]) => ({
    name,
    value,
    key: PARAMS[name.toLowerCase().replaceAll(/[-_]/g, '')],
  }));
  return {
    known: Object.fromEntries(rows.flatMap(({ key, value }) => (key === undefined ? [] : [[key, value]]))),
    ignored: rows.filter(({ key }) => key === undefined).map(({ name }) => name),
  };
}

/**
 * All but the paths of certificates stands in one private file. HOME is the private folder, since ~/.my.cnf is read after
 * the file and would win: another password, a dump without triggers.
 */
export function mysqlLogin(flavor: Flavor, connection: Connection): MysqlLogin {
  const { tlsCa, user, password } = connection;
  const { known } = readParams(connection);
  const tls = tlsOf(connection);
  const ca = tlsCa === undefined ? known.ca : `${SCRATCH}/ca.pem`;
  const certificates = { ca, cert: known.cert, key: known.key };
  const groups: Record<string, Record<string, string | undefined>> = {
    client: { ...placeOf(connection), user, password, 'default-character-set': 'utf8mb4' },
    mysql: { 'connect-timeout': '15' },
  };
  if (tls !== undefined) {
    Object.assign(groups.client!, flavor === MARIADB ? {} : MYSQL_TLS[tls]);
    groups['client-mariadb'] = MARIADB_TLS[tls];
  }
  return {
    args: [
      `--defaults-extra-file=${OPTION_FILE}`,
      ...Object.entries(certificates).flatMap(([name, path]) => (path === undefined ? [] : [`--ssl-${name}=${path}`])),
      // MySQL's clients refuse to verify without one; the system's is where Debian has it.
      ...(flavor !== MARIADB && tls === 'verify' && ca === undefined ? ['--ssl-capath=/etc/ssl/certs'] : []),
    ],
    env: { HOME: SCRATCH },
    files: { 'my.cnf': optionFile(groups), ...(tlsCa !== undefined && { 'ca.pem': tlsCa }) },
  };
}

/** DB_TLS wins over the URI; a CA alone means verify. */
export function tlsOf(connection: Connection): TlsMode | undefined {
  const { mode, ca } = readParams(connection).known;
  const said = mode === undefined ? undefined : TLS_WORDS[mode.toLowerCase()];
  if (mode !== undefined && said === undefined)
    throw new ConfigError('the URI has a TLS mode that is none; right is one like ?ssl-mode=REQUIRED, or DB_TLS');
  return connection.tls ?? said ?? (connection.tlsCa !== undefined || ca !== undefined ? 'verify' : undefined);
}

/** `loose-`: Debian's mysql is MariaDB's client, which takes its options from a group that MySQL's does not read. */
const MYSQL_TLS: Readonly<Record<TlsMode, Record<string, string>>> = {
  // Without TLS the password goes encrypted with the server's key, which must be asked for.
  disable: { 'loose-ssl-mode': 'DISABLED', 'loose-get-server-public-key': '1' },
  prefer: { 'loose-ssl-mode': 'PREFERRED' },
  require: { 'loose-ssl-mode': 'REQUIRED' },
  verify: { 'loose-ssl-mode': 'VERIFY_IDENTITY' },
};

/** Older clients have no word for TLS that is only preferred: it is then their own default, without a look at the certificate. */
const MARIADB_TLS: Readonly<Record<TlsMode, Record<string, string>>> = {
  disable: { ssl: '0' },
  prefer: { 'ssl-verify-server-cert': '0' },
  require: { ssl: '1', 'ssl-verify-server-cert': '0' },
  verify: { ssl: '1', 'ssl-verify-server-cert': '1' },
};

/** Always by TCP where a host is named: for "localhost" clients would take a socket, and another server than its port says. */
function placeOf(connection: Connection): Record<string, string> {
  const { host, port } = hostOf(connection);
  const socket = socketOf(connection);
  return socket === undefined ? { host, port: String(port), protocol: 'tcp' } : { socket, protocol: 'socket' };
}

export function hostOf({ hosts }: Connection): Host {
  if (hosts.length > 1) throw new ConfigError('the URI names several hosts; clients of MySQL and MariaDB take one');
  return hosts[0] ?? { host: 'localhost', port: 3306 };
}

/** A path that ends in .sock is the socket, any other the folder that holds `mysqld.sock`. */
export function socketOf(connection: Connection): string | undefined {
  const { host } = hostOf(connection);
  const path = readParams(connection).known.socket ?? (host.startsWith('/') ? host : undefined);
  if (path === undefined || /\.sock(et)?$/.test(path)) return path;
  return `${path.replace(/\/+$/, '')}/mysqld.sock`;
}

const ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\b': '\\b' };

/** In quotes a # begins no comment and blanks stay; every quote in them is escaped, as all the parsers there are take it. */
const quoteOption = (value: string): string =>
  `"${value.replaceAll(/[\\"']/g, '\\$&').replaceAll(/[\n\r\t\b]/g, (character) => ESCAPES[character]!)}"`;

function optionFile(groups: Readonly<Record<string, Readonly<Record<string, string | undefined>>>>): string {
  const lines = Object.entries(groups).flatMap(([group, options]) => [
    `[${group}]`,
    ...Object.entries(options).flatMap(([name, value]) =>
      value === undefined
        ? []
        : [`${name}=${/^[\w-]+$/.test(value) && name !== 'password' ? value : quoteOption(value)}`],
    ),
  ]);
  return `${lines.join('\n')}\n`;
}

/** A client that prints bare values, parted by tabs, and stops at the first error. `extra` are further arguments. */
export function mysqlClient(flavor: Flavor, connection: Connection, extra: readonly string[] = []): Command {
  const { args, env, files } = mysqlLogin(flavor, connection);
  return {
    file: flavor.client,
    args: [...args, '--batch', '--skip-column-names', '--no-auto-rehash', ...extra],
    env,
    files,
  };
}

/** A literal; where sql_mode is empty it means itself. */
export const mysqlText = (value: string): string =>
  `'${value.replaceAll(/[\\']/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\r', '\\r')}'`;

export const mysqlName = (name: string): string => `\`${name.replaceAll('`', '``')}\``;

/** 'user'@'host' from user@host, whose user may hold an @ as well. */
export function mysqlAccount(account: string): string {
  const at = account.lastIndexOf('@');
  if (at < 0) return mysqlText(account);
  return `${mysqlText(account.slice(0, at))}@${mysqlText(account.slice(at + 1))}`;
}
