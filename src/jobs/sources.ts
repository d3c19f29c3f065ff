import { type Config, labelOf } from '../config/config.ts';
import type { Connection } from '../core/connection.ts';
import { drillDay } from '../core/drillName.ts';
import { ConfigError } from '../core/errors.ts';
import type { Manifest } from '../core/manifest.ts';
import { matchesAny } from '../core/pattern.ts';
import { decodeSegment, encodeSegment } from '../core/segment.ts';
import { defaultSeries } from '../core/series.ts';
import type { Scratch } from '../process/scratch.ts';
import { ask, type Session } from './session.ts';

/** What one backup is of. */
export interface Source {
  readonly connection: Connection;
  /** For names and logs. */
  readonly database: string;
  readonly series: string;
  /** `globals`: what belongs to the server and to none of its databases. */
  readonly part: 'database' | 'globals';
}

/** The databases of a run: the one, those of the list, or all that the server has. Throws `DumpError` or `ConfigError`. */
export async function findSources(session: Session, scratch: Scratch, signal: AbortSignal): Promise<readonly Source[]> {
  const { config } = session.host;
  const { selection } = config;
  if (selection.kind === 'one') return [ownSource(config)];
  const names =
    selection.kind === 'list' ? selection.names : await discover(session, scratch, selection.exclude, signal);
  const globals: readonly Source[] = session.engine.planGlobals ? [globalsOf(config)] : [];
  return [...globals, ...names.map((name) => sourceOf(config, name))];
}

async function discover(
  session: Session,
  scratch: Scratch,
  exclude: readonly string[],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { host, engine } = session;
  const question = engine.discover?.(session.reach(host.config.connection));
  if (!question)
    throw new ConfigError(`DB_NAME: * does not go with ${engine.title}, of which one process backs up one`);
  const found = await ask(host, scratch, question, signal);
  // Those of drills come and go, and are copies.
  const names = found.filter((name) => !matchesAny(name, exclude) && drillDay(name) === undefined);
  if (names.length > 0) return names;
  throw new ConfigError(
    `DB_NAME: * finds no database${found.length > 0 ? ` that DB_EXCLUDE does not leave out (of ${found.join(', ')})` : ' that the login may see'}`,
  );
}

const ownSource = ({ connection, database, series }: Config): Source => ({
  connection,
  database,
  series,
  part: 'database',
});

/** The source of one of several databases. */
export function sourceOf(config: Config, name: string): Source {
  const connection = { ...config.connection, database: name };
  return { connection, database: labelOf(connection), series: seriesOf(config, connection), part: 'database' };
}

/** The source that bears this name in the names of its backups; undefined where the configuration has none. */
export function findSource(config: Config, label: string): Source | undefined {
  const { selection } = config;
  if (selection.kind === 'one') return label === config.database ? ownSource(config) : undefined;
  if (selection.kind === 'all') return matchesAny(label, selection.exclude) ? undefined : sourceOf(config, label);
  return selection.names.map((name) => sourceOf(config, name)).find(({ database }) => database === label);
}

/** Where there is but one. */
export const findOnlySource = (config: Config): Source | undefined =>
  config.selection.kind === 'one' ? ownSource(config) : undefined;

function globalsOf(config: Config): Source {
  const series = seriesOf(config, { ...config.connection, database: '' });
  return { connection: config.connection, database: 'all', series, part: 'globals' };
}

function seriesOf({ namedSeries, ssh }: Config, connection: Connection): string {
  if (namedSeries === undefined) return defaultSeries(connection, ssh);
  return `${namedSeries}/${connection.database === '' ? '' : encodeSegment(connection.database)}`;
}

/** Whether the backups of a series are this configuration's, also where the database is there no more. */
export function ownsSeries(config: Config, series: string): boolean {
  const { selection } = config;
  if (selection.kind === 'one') return series === config.series;
  if (selection.kind === 'list')
    return (
      series === globalsOf(config).series || selection.names.some((name) => sourceOf(config, name).series === series)
    );
  const prefix = globalsOf(config).series;
  const name = decodeSegment(series.slice(prefix.length));
  return (
    series === prefix ||
    (series.startsWith(prefix) && sourceOf(config, name).series === series && !matchesAny(name, selection.exclude))
  );
}

/** The same of a backup, which tells its database: a series of somebody else may begin like ours. */
export function ownsBackup(config: Config, { series, database, target }: Manifest): boolean {
  if (!ownsSeries(config, series) || config.selection.kind === 'one') return series === config.series;
  return series === (target.part === 'globals' ? globalsOf(config) : sourceOf(config, database)).series;
}

/** The session as it is for one source: its connection, its series, its lines in the log. */
export function forSource(session: Session, source: Source): Session {
  const { host } = session;
  if (host.config.selection.kind === 'one') return session;
  const { connection, database, series, part } = source;
  const logger = host.logger.child({ database, series });
  const config = { ...host.config, connection, database, ...(part === 'globals' && GLOBALS_CONFIG) };
  return forSeries({ ...session, host: { ...host, logger, config } }, series);
}

/** What the variables say of dumps is said of those of databases: this one is small, and of another tool. */
const GLOBALS_CONFIG = { mode: 'stream', jobs: 1, extraArgs: [], minBytes: 1, maxShrink: undefined } as const;

/** The session as it is for one series: nothing of another is looked at, pruned or swept. */
export const forSeries = (session: Session, series: string): Session => ({
  ...session,
  series,
  host: { ...session.host, config: { ...session.host.config, selection: { kind: 'one' }, series } },
});
