import { nameOf } from '../core/connection.ts';
import { describePace, paceOf } from '../core/pace.ts';
import { formatAge, formatBytes, formatDuration } from '../core/units.ts';
import type { Target } from '../engines/engine.ts';
import type { Backup } from '../remote/catalog.ts';
import type { Found } from './catalogs.ts';
import type { Task } from './restoreTask.ts';
import { titleOf } from './tables.ts';

/** What a restore would do, as far as a look tells. */
export interface RestorePreview {
  readonly backup: Backup;
  readonly remote: string;
  readonly ageMs: number;
  readonly database: string;
  /** Only these; empty for all. */
  readonly tables: readonly string[];
  /** The target's server. */
  readonly server: string;
  /** What would become of what is there. */
  readonly effect: 'created' | 'filled' | 'emptied first' | 'changed';
  /** What would be lost, or changed; empty if nothing. */
  readonly holds: string;
  /** Roles that would be created, without login. */
  readonly roles: readonly string[];
  readonly lastDrill: LastDrill | undefined;
}

/** Of this backup, or else of the newest of its series that had one. */
export interface LastDrill {
  readonly path: string;
  readonly dumpBytes: number;
  readonly durationMs: number;
}

export function findLastDrill(found: readonly Found[], { manifest: { id, series } }: Backup): LastDrill | undefined {
  const drilled = found
    .flatMap(({ catalog }) => catalog.backups)
    .filter(({ manifest, verdict }) => verdict?.drill && manifest.series === series)
    .sort((a, b) => (a.manifest.startedAt < b.manifest.startedAt ? 1 : -1));
  const last = drilled.find(({ manifest }) => manifest.id === id) ?? drilled[0];
  const durationMs = last?.verdict?.drill?.durationMs;
  return last && durationMs !== undefined
    ? { path: last.path, dumpBytes: last.manifest.dumpBytes, durationMs }
    : undefined;
}

export const previewOf = (
  { session, options, backup, pick }: Task,
  target: Target,
  lastDrill: LastDrill | undefined,
): RestorePreview => ({
  backup,
  remote: session.remote.title,
  ageMs: session.host.clock.now().getTime() - Date.parse(backup.manifest.startedAt),
  database: nameOf(options.connection),
  tables: (pick?.tables ?? []).map(titleOf),
  server: target.title,
  effect: effectOn(target),
  holds: target.holds,
  roles: target.missingRoles,
  lastDrill,
});

function effectOn({ exists, holds, isAmended }: Target): RestorePreview['effect'] {
  if (isAmended) return 'changed';
  if (!exists) return 'created';
  return holds === '' ? 'filled' : 'emptied first';
}

/** A row for each thing that is worth knowing before. */
export function describePreview(preview: RestorePreview): readonly string[][] {
  const { backup, remote, ageMs, effect, holds, roles, tables, lastDrill } = preview;
  const { manifest, path } = backup;
  const stored = `${formatBytes(manifest.bytes)} of ${remote}, begun ${manifest.startedAt}, ${formatAge(ageMs)} ago`;
  return [
    ['would restore', `${path} (${stored})`],
    ...(tables.length === 0 ? [] : [['of it only', tables.join(', ')]]),
    ['into', describeTarget(preview)],
    ...(holds === '' ? [] : [[effect === 'changed' ? 'would change' : 'would lose', holds]]),
    ...(roles.length === 0 ? [] : [['would create', `the roles ${roles.join(', ')}, without login`]]),
    ...(lastDrill && tables.length === 0 ? [['takes about', describeTime(lastDrill, backup)]] : []),
  ];
}

function describeTarget({ database, server, effect, tables }: RestorePreview): string {
  // By way of a database, but into none.
  if (effect === 'changed') return `the roles of the server (${server}), none of which would be removed`;
  const isPart = tables.length > 0 && effect === 'emptied first';
  return `${database} (${server}), which would be ${isPart ? 'filled' : effect}`;
}

/** At the pace of the last drill, where that was of another backup. */
function describeTime(lastDrill: LastDrill, { path, manifest }: Backup): string {
  const { durationMs, dumpBytes } = lastDrill;
  const pace = describePace(lastDrill, dumpBytes);
  if (lastDrill.path === path) return `${formatDuration(durationMs)}, as its last drill did (${pace} of the dump)`;
  const ms = (manifest.dumpBytes * 1000) / paceOf(lastDrill, dumpBytes);
  return `${formatDuration(ms)}, by the last drill, of ${lastDrill.path}: ${formatDuration(durationMs)}, ${pace} of the dump`;
}
