import { ConfigError, DbstashError, VerifyError } from '../core/errors.ts';
import { type Backup, type Catalog, storedObjects } from '../remote/catalog.ts';
import type { Found } from './catalogs.ts';
import { findOtherServer } from './prune.ts';
import type { Place } from './session.ts';

export interface Choice {
  /** An artifact's path, a backup's id, or `latest`. */
  readonly name: string;
  /** Only backups begun at or before this time, for `latest`. */
  readonly at: Date | undefined;
}

/** A clock may be so much ahead of ours; what is dated later than that is not the latest, whatever it is. */
export const FUTURE_MS = 600_000;

/** A backup on one of the remotes that have it. */
export interface Candidate {
  readonly place: Place;
  readonly backup: Backup;
}

/**
 * The backup that a user means, on each remote that has it, in their order. Of what each calls latest the newest is meant.
 * Throws, naming what there is, before anything is touched.
 */
export function chooseBackups(
  found: readonly Found[],
  series: string,
  now: Date,
  choice: Choice,
): readonly Candidate[] {
  const errors: unknown[] = [];
  const candidates = found.flatMap(({ place, catalog }): Candidate[] => {
    try {
      return [{ place, backup: chooseBackup(catalog, series, now, choice) }];
    } catch (error) {
      errors.push(error);
      return [];
    }
  });
  const newest = candidates.reduce<Candidate | undefined>(
    (best, one) => (best && best.backup.manifest.startedAt >= one.backup.manifest.startedAt ? best : one),
    undefined,
  );
  if (!newest || errors.some((error) => error instanceof ConfigError)) throw errors[0];
  const id = newest.backup.manifest.id;
  if (choice.name !== 'latest' && candidates.some(({ backup }) => backup.manifest.id !== id)) {
    const ids = candidates.map(({ backup }) => backup.manifest.id).join(', ');
    throw new ConfigError(`${choice.name} is another backup on each remote: give one of their ids, ${ids}`);
  }
  return candidates.filter(({ backup }) => backup.manifest.id === id);
}

/** Finds the backup that a user means on one remote. Throws, naming what there is, before anything is touched. */
function chooseBackup(catalog: Catalog, series: string, now: Date, { name, at }: Choice): Backup {
  if (name === 'latest') return chooseLatest(catalog, series, now, at);
  if (at) throw new ConfigError(`--at chooses among backups, and ${name} names one: give one of the two`);
  return chooseNamed(catalog, name);
}

function chooseLatest(catalog: Catalog, series: string, now: Date, at: Date | undefined): Backup {
  const ours = catalog.backups.filter(({ manifest }) => manifest.series === series);
  const other = findOtherServer(series, ours);
  if (other !== undefined) throw new ConfigError(`latest is not clear: ${other}, or give the backup's name`);
  const newest = Math.min(at?.getTime() ?? Number.POSITIVE_INFINITY, now.getTime() + FUTURE_MS);
  const latest = ours.find(({ manifest, state }) => state === 'good' && Date.parse(manifest.startedAt) <= newest);
  if (latest) return latest;
  const when = at ? ` of ${at.toISOString()} or before` : '';
  const there = ours.length > 0 ? `: ${describeOurs(ours)}` : describeSeries(catalog);
  throw new DbstashError(`there is no good backup${when} of the series ${series}${there}`);
}

/** Newest first: what is wrong with the newest one, or, where a time was asked for, from when on there are good ones. */
function describeOurs(ours: readonly Backup[]): string {
  const oldest = ours.findLast(({ state }) => state === 'good');
  if (oldest) return `the oldest one is ${oldest.path}, of ${oldest.manifest.startedAt}`;
  const { path, state, reason } = ours[0]!;
  return `the newest one, ${path}, is ${state}: ${reason}`;
}

function describeSeries(catalog: Catalog): string {
  const series = [...new Set(catalog.backups.map(({ manifest }) => manifest.series))];
  return series.length === 0 ? ': the remote holds no backup at all' : `; the remote holds ${series.join(', ')}`;
}

function chooseNamed(catalog: Catalog, name: string): Backup {
  const found = catalog.backups.filter(({ path, manifest }) => path === name || manifest.id === name);
  const [backup] = found;
  if (!backup) throw new DbstashError(`there is no backup ${name}: dbstash list shows what there is`);
  if (found.length > 1)
    throw new ConfigError(
      `${name} is the id of several artifacts: give one of ${found.map(({ path }) => path).join(', ')}`,
    );
  // What an earlier look at its content found may be tried again: a restore commits only what matches.
  const isOnlyDoubted = storedObjects(backup.manifest, backup.path).every(
    ({ path, bytes }) => catalog.listing.get(path) === bytes,
  );
  if (backup.state !== 'good' && !isOnlyDoubted)
    throw new VerifyError(`${backup.path} is ${backup.state}: ${backup.reason}`);
  return backup;
}
