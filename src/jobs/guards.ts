import { DumpError } from '../core/errors.ts';
import { describeVanished, type Tables } from '../core/tables.ts';
import { formatBytes } from '../core/units.ts';
import type { DumpPlan } from '../engines/engine.ts';
import type { Backup, Catalog } from '../remote/catalog.ts';
import type { Run } from './run.ts';

/** A table that was dropped is no failure; one that nobody dropped is worth a look while older backups still hold it. Told once. */
export function warnOfVanished(run: Run, tables: Tables | undefined, catalogs: readonly Catalog[]): void {
  const last = findLast(run, catalogs);
  if (!tables || !last?.manifest.tables) return;
  const { manifest, path } = last;
  const sentence = describeVanished(manifest.tables!, { id: manifest.id, path }, tables);
  if (sentence !== undefined) run.warn(sentence);
}

/** The newest good backup of the series, on whichever remote. */
function findLast(
  { session: { series } }: Run,
  catalogs: readonly Catalog[],
  isMeant: (backup: Backup) => boolean = () => true,
): Backup | undefined {
  const good = catalogs.flatMap(({ backups }) =>
    backups.filter((one) => one.state === 'good' && one.manifest.series === series && isMeant(one)),
  );
  return good.sort((a, b) => (a.manifest.startedAt < b.manifest.startedAt ? 1 : -1))[0];
}

/**
 * BACKUP_MAX_SHRINK: compares the dump with the series' last good one of the same format, before compression by a filter.
 * Warns, or throws `DumpError` where the variable says `fail:`.
 */
export function checkShrink(run: Run, plan: DumpPlan, dumpBytes: number, catalogs: readonly Catalog[]): void {
  const limit = run.session.host.config.maxShrink;
  if (!limit) return;
  const last = findLast(run, catalogs, ({ manifest }) => manifest.format === plan.format);
  const before = last?.manifest.dumpBytes ?? 0;
  if (before === 0 || dumpBytes >= before * (1 - limit.fraction)) return;
  const percent = Math.round((1 - dumpBytes / before) * 100);
  const message =
    `the dump has ${formatBytes(dumpBytes)}, ${percent} % less than the ${formatBytes(before)} of ${last?.path}: ` +
    'look whether data is gone (BACKUP_MAX_SHRINK)';
  if (limit.isFatal) throw new DumpError(`${message}; if it is meant to be gone, run once with BACKUP_MAX_SHRINK=0`);
  run.warn(message);
}
