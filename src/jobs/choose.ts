import { ConfigError, DbstashError, VerifyError } from '../core/errors.ts';
import type { Backup, Catalog } from '../remote/catalog.ts';
import { findOtherServer } from './prune.ts';

export interface Choice {
  /** An artifact's path, a backup's id, or `latest`. */
  readonly name: string;
  /** Only backups begun at or before this time, for `latest`. */
  readonly at: Date | undefined;
}

/** A clock may be so much ahead of ours; what is dated later than that is not the latest, whatever it is. */
const FUTURE_MS = 600_000;

/** Finds the backup that a user means. Throws, naming what there is, before anything is touched. */
export function chooseBackup(catalog: Catalog, series: string, now: Date, { name, at }: Choice): Backup {
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
  throw new DbstashError(`there is no good backup${when} of the series ${series}${describeSeries(catalog)}`);
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
  const isOnlyDoubted = catalog.listing.get(backup.path) === backup.manifest.bytes;
  if (backup.state !== 'good' && !isOnlyDoubted)
    throw new VerifyError(`${backup.path} is ${backup.state}: ${backup.reason}`);
  return backup;
}
