import { describeError, EXIT } from '../core/errors.ts';
import { formatRows } from '../jobs/list.ts';
import { listPrunable, type Pruned, prune } from '../jobs/prune.ts';
import { exitCodeOf } from '../jobs/report.ts';
import { at, type Session } from '../jobs/session.ts';
import { forSeries } from '../jobs/sources.ts';
import { type Call, toJson } from './call.ts';

export async function runPrune(session: Session, { edge, options }: Call): Promise<number> {
  // The flag is that of DRY_RUN, too.
  const isDryRun = session.host.config.dryRun;
  const parts: Pruned[] = [];
  const failures: unknown[] = [];
  const { prunable, isComplete } = await listPrunable(session, session.host.signal);
  for (const { place, series, found } of prunable) {
    const pruning = prune(forSeries(at(session, place), series), isDryRun, session.host.signal, found);
    await pruning.then((part) => parts.push(part)).catch((error: unknown) => failures.push(error));
  }
  if (parts.length === 0 && failures.length > 0) throw failures[0];
  for (const failure of failures) session.host.logger.error(describeError(failure));
  const code = failures.length > 0 ? exitCodeOf(failures[0]) : isComplete ? EXIT.ok : EXIT.remote;
  const keep = parts.flatMap((part) => part.keep);
  const remove = parts.flatMap((part) => part.remove);
  const sweep = parts.flatMap((part) => part.sweep);
  const removed = parts.flatMap((part) => part.removed);
  const describe = ({ backup, reasons }: (typeof keep)[number]) => ({ artifact: backup.path, id: backup.id, reasons });
  if (options.json) {
    edge.print(toJson({ keep: keep.map(describe), remove: remove.map(describe), sweep, removed }));
    return code;
  }
  const rows = parts.flatMap((part) => describePruned(part, isDryRun));
  edge.print(`${rows.length === 0 ? `no good backup of ${session.series}` : formatRows(rows)}\n`);
  return code;
}

function describePruned({ keep, remove, sweep, removed }: Pruned, isDryRun: boolean): readonly string[][] {
  const gone = new Set(removed);
  const fate = (path: string) => (isDryRun ? 'would go' : gone.has(path) ? 'removed' : 'in use');
  return [
    ...keep.map((row) => ['keep', row.backup.path, row.reasons.join(', ')]),
    ...remove.map((row) => [fate(row.backup.path), row.backup.path, row.reasons.join(', ')]),
    ...sweep.map((path) => [isDryRun ? 'would go' : 'removed', path, 'left by a run that died over a day ago']),
  ];
}
