import { parse, resolve } from 'node:path';
import { type Connection, type EngineName, nameOf } from '../core/connection.ts';
import { ConfigError } from '../core/errors.ts';
import { defaultSeries } from '../core/series.ts';
import type { DatabaseUri } from '../core/uri.ts';
import { engines } from '../engines/index.ts';
import { fallbacksOf, readFallback } from './fallbacks.ts';
import { attempt, type Notes } from './notes.ts';
import type { Setting, Settings } from './settings.ts';
import {
  connectionOfUri,
  engineOfUri,
  fileAt,
  fillHost,
  liftParams,
  WHOLE_LABEL,
  wholeServer,
} from './uriConnection.ts';
import type { Values, VariableName } from './variables.ts';

/** The database that all variables together describe; undefined where they do not, and `notes` say why. */
export function resolveConnection(
  values: Values,
  settings: Settings,
  cwd: string,
  notes: Notes,
): Connection | undefined {
  return attempt('', notes, () => {
    if (values.DB_URI) return resolveUri(values, values.DB_URI, settings, cwd, notes);
    if (settings.DB_URI.text !== undefined) return undefined;
    return values.ENGINE === 'sqlite' ? resolveFile(values, settings, cwd, notes) : resolveFields(values, settings);
  });
}

const named = (name: VariableName, text: string): ConfigError => new ConfigError(`${name}: ${text}`);

/** The URI wins: over `DB_NAME` where both name a database, and over the single fields in any case. */
function resolveUri(values: Values, uri: DatabaseUri, settings: Settings, cwd: string, notes: Notes): Connection {
  const connection = inVariable('DB_URI', () => {
    const name = nameIn(values, engineOfUri(uri, values.ENGINE));
    const found = connectionOfUri(uri, {
      engine: values.ENGINE,
      database: name,
      password: values.DB_PASSWORD,
      tls: values.DB_TLS,
      tlsCa: values.DB_TLS_CA,
    });
    // All databases: that of the URI is only the one to log in at.
    return name === '' ? { ...found, database: name } : found;
  });
  const { engine, database } = connection;
  if (values.ENGINE !== undefined && values.ENGINE !== engine)
    throw named(
      'ENGINE',
      `"${values.ENGINE}" contradicts DB_URI, which is of ${engine}; leave ENGINE out, or give it such a URI`,
    );
  if (engine === 'sqlite' && Object.keys(connection.params).length > 0)
    notes.warnings.push('the parameters of DB_URI are ignored: sqlite is always opened read-only, as it is');
  const name =
    engine === 'sqlite' && values.DB_NAME !== undefined ? resolve(cwd, values.DB_NAME) : nameIn(values, engine);
  if (name !== undefined && name !== database)
    notes.warnings.push(
      `DB_NAME is ignored: DB_URI names another database, ${JSON.stringify(database)}, which is backed up`,
    );
  warnOfIgnored(settings, engine, connection.password === values.DB_PASSWORD, notes);
  return connection;
}

function warnOfIgnored(settings: Settings, engine: EngineName, usesPassword: boolean, notes: Notes): void {
  const fields = ['DB_HOST', 'DB_PORT', 'DB_USER', 'DB_PASSWORD', 'DB_AUTH_SOURCE'] as const;
  const isIgnored = (name: VariableName) =>
    settings[name].source !== 'default' && !(name === 'DB_PASSWORD' && usesPassword);
  const ignored = fields.filter(isIgnored);
  const why = engine === 'sqlite' ? 'sqlite is a file' : 'DB_URI is set';
  if (ignored.length > 0)
    notes.warnings.push(`${ignored.join(', ')} ${ignored.length > 1 ? 'are' : 'is'} ignored: ${why}`);
}

function resolveFile({ DB_NAME: name }: Values, settings: Settings, cwd: string, notes: Notes): Connection {
  if (name === undefined) throw named('DB_NAME', 'is not set; right is the path of the database file');
  if (name === ':memory:') throw named('DB_NAME', '":memory:" is no file; only a file can be backed up');
  warnOfIgnored(settings, 'sqlite', false, notes);
  return fileAt(resolve(cwd, name));
}

function resolveFields(values: Values, settings: Settings): Connection | undefined {
  const { ENGINE: engine } = values;
  if (engine === undefined && settings.ENGINE.text === undefined)
    throw named('DB_URI', 'is not set; right is a URI, or ENGINE with DB_HOST, DB_NAME and so on');
  const whole = engine && (engines[engine].isWhole ? WHOLE_LABEL : wholeServer(engine));
  const database = nameIn({ DB_NAME: values.DB_NAME ?? readFallback(values, engine, 'DB_NAME') }, engine) ?? whole;
  if (database === undefined) throw named('DB_NAME', 'is not set; right is the name of the database');
  if (engine === undefined) return undefined;
  const user = values.DB_USER ?? readFallback(values, engine, 'DB_USER') ?? engines[engine].defaultUser;
  return {
    engine,
    hosts: [fillHost({ host: values.DB_HOST ?? '', port: values.DB_PORT }, engine)],
    user,
    password: values.DB_PASSWORD ?? readFallback(values, engine, 'DB_PASSWORD', user),
    database,
    params: engine === 'mongo' && user !== undefined ? { authSource: values.DB_AUTH_SOURCE } : {},
    tls: values.DB_TLS,
    tlsCa: values.DB_TLS_CA,
  };
}

/** DB_NAME. A `*` is what mongo dumps as a whole. */
const nameIn = ({ DB_NAME: name }: Pick<Values, 'DB_NAME'>, engine: EngineName | undefined): string | undefined =>
  engine !== undefined && engines[engine].dumpsServer && name?.trim() === '*' ? '' : name;

function inVariable<T>(name: VariableName, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof ConfigError ? named(name, error.message) : error;
  }
}

/** How the database is called in names and logs: of a file its stem, of a whole server `all`. */
export const labelOf = (connection: Connection): string =>
  connection.engine === 'sqlite' ? parse(connection.database).name : nameOf(connection);

export const seriesOf = (connection: Connection, values: Values): string =>
  values.BACKUP_SERIES ??
  defaultSeries(
    connection,
    values.SSH_HOST === undefined ? undefined : { host: values.SSH_HOST, port: values.SSH_PORT },
  );

/** What a URI leaves open and a variable may say. */
const FILLS_URI: readonly VariableName[] = ['ENGINE', 'DB_PASSWORD', 'DB_NAME'];

/** ENGINE, the single fields and the series as they are in force, and through which variable. */
export function effectiveSettings(connection: Connection, values: Values, settings: Settings): Partial<Settings> {
  const { engine, hosts, user, password, database } = connection;
  const uri = values.DB_URI && liftParams(values.DB_URI);
  const isLabel = engines[engine].isWhole && values.DB_NAME !== undefined;
  const row = (name: VariableName, text: string | undefined, said: unknown): Setting => ({
    text,
    source: text === undefined ? 'default' : sourceOf(name, uri && said !== undefined, settings, connection),
  });
  return {
    ENGINE: row('ENGINE', engine, values.ENGINE === undefined ? uri : undefined),
    DB_HOST: row('DB_HOST', hosts.map(({ host }) => host).join(',') || undefined, uri?.hosts[0]),
    DB_PORT: row(
      'DB_PORT',
      hosts.map(({ port }) => port).join(',') || undefined,
      uri?.hosts.find(({ port }) => port),
    ),
    DB_USER: row('DB_USER', user, uri?.user),
    DB_PASSWORD: row('DB_PASSWORD', password, uri?.password),
    DB_NAME: row('DB_NAME', database === '' ? '*' : database, isLabel ? undefined : uri?.database),
    BACKUP_SERIES: { ...settings.BACKUP_SERIES, text: seriesOf(connection, values) },
  };
}

/** `isInUri` is undefined where there is no URI. */
function sourceOf(
  name: VariableName,
  isInUri: boolean | undefined,
  settings: Settings,
  { engine, user }: Connection,
): string {
  if (isInUri) return 'DB_URI';
  if (isInUri === false && !FILLS_URI.includes(name)) return 'default';
  if (settings[name].text !== undefined) return settings[name].source;
  const fallbacks = isInUri === undefined ? fallbacksOf(engine, name, user) : [];
  return fallbacks.find((fallback) => settings[fallback].text !== undefined) ?? 'default';
}
