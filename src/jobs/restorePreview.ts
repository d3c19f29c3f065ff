import { nameOf } from '../core/connection.ts';
import { formatAge, formatBytes, formatDuration } from '../core/units.ts';
import type { Target } from '../engines/engine.ts';
import type { Backup } from '../remote/catalog.ts';
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
  readonly effect: 'created' | 'filled' | 'emptied first';
  /** What would be lost; empty if nothing. */
  readonly holds: string;
  /** Roles that would be created, without login. */
  readonly roles: readonly string[];
}

export const previewOf = ({ session, options, backup, pick }: Task, target: Target): RestorePreview => ({
  backup,
  remote: session.remote.title,
  ageMs: session.host.clock.now().getTime() - Date.parse(backup.manifest.startedAt),
  database: nameOf(options.connection),
  tables: (pick?.tables ?? []).map(titleOf),
  server: target.title,
  effect: !target.exists ? 'created' : target.holds === '' ? 'filled' : 'emptied first',
  holds: target.holds,
  roles: target.missingRoles,
});

/** A row for each thing that is worth knowing before. */
export function describePreview(preview: RestorePreview): readonly string[][] {
  const { backup, remote, ageMs, database, server, effect, holds, roles, tables } = preview;
  const { manifest, path, verdict } = backup;
  const stored = `${formatBytes(manifest.bytes)} of ${remote}, begun ${manifest.startedAt}, ${formatAge(ageMs)} ago`;
  return [
    ['would restore', `${path} (${stored})`],
    ...(tables.length === 0 ? [] : [['of it only', tables.join(', ')]]),
    [
      'into',
      `${database} (${server}), which would be ${tables.length > 0 && effect === 'emptied first' ? 'filled' : effect}`,
    ],
    ...(holds === '' ? [] : [['would lose', holds]]),
    ...(roles.length === 0 ? [] : [['would create', `the roles ${roles.join(', ')}, without login`]]),
    ...(verdict?.drill ? [['takes about', `${formatDuration(verdict.drill.durationMs)}, as the last drill did`]] : []),
  ];
}
