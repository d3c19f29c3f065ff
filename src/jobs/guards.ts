import { DumpError } from '../core/errors.ts';
import { formatBytes } from '../core/units.ts';
import type { DumpPlan } from '../engines/engine.ts';
import type { Catalog } from '../remote/catalog.ts';
import type { Run } from './run.ts';

/**
 * BACKUP_MAX_SHRINK: compares the dump with the series' last good one of the same format, before compression by a filter.
 * Warns, or throws `DumpError` where the variable says `fail:`.
 */
export function checkShrink(run: Run, plan: DumpPlan, dumpBytes: number, catalogs: readonly Catalog[]): void {
  const limit = run.session.host.config.maxShrink;
  if (!limit) return;
  const good = catalogs.flatMap(({ backups }) =>
    backups.filter(
      ({ manifest, state }) =>
        state === 'good' && manifest.series === run.session.series && manifest.format === plan.format,
    ),
  );
  const [last] = good.sort((a, b) => (a.manifest.startedAt < b.manifest.startedAt ? 1 : -1));
  const before = last?.manifest.dumpBytes ?? 0;
  if (before === 0 || dumpBytes >= before * (1 - limit.fraction)) return;
  const percent = Math.round((1 - dumpBytes / before) * 100);
  const message =
    `the dump has ${formatBytes(dumpBytes)}, ${percent} % less than the ${formatBytes(before)} of ${last?.path}: ` +
    'look whether data is gone (BACKUP_MAX_SHRINK)';
  if (limit.isFatal) throw new DumpError(message);
  run.warn(message);
}
