import type { Connection } from '../core/connection.ts';
import { ConfigError, DbstashError, DumpError } from '../core/errors.ts';
import type { Manifest } from '../core/manifest.ts';
import { type Found, readCatalogs } from './catalogs.ts';
import { expectAgreed, type Stake, stakeOf } from './consent.ts';
import { previewRestore, type Restored, type RestoreOptions, restore } from './restore.ts';
import type { RestorePreview } from './restorePreview.ts';
import type { Session } from './session.ts';

export interface RunRestoreOptions extends Omit<RestoreOptions, 'name' | 'connection' | 'series' | 'at' | 'run'> {
  /** Where the database of this name goes; without one, what belongs to the whole server. */
  readonly target: (database: string | undefined) => Connection;
}

interface Listeners {
  /** Called for each, before the first is touched. */
  readonly onPreview?: (preview: RestorePreview) => void;
  /** Called after each; without it nothing is restored. */
  readonly onRestored?: (restored: Restored) => void;
}

/**
 * Restores all backups of a run, what belongs to the server first. Stops at the first that fails, and says which are done.
 */
export async function restoreRun(
  session: Session,
  run: string,
  { target, ...options }: RunRestoreOptions,
  { onPreview, onRestored }: Listeners,
): Promise<void> {
  const found = await readCatalogs(session, session.host.signal);
  const manifests = new Map(
    found.flatMap(({ catalog }) =>
      catalog.backups.flatMap(({ manifest }) => (manifest.run === run ? [[manifest.id, manifest] as const] : [])),
    ),
  );
  if (manifests.size === 0)
    throw new DbstashError(`there is no backup of the run ${run}: dbstash list --json shows them`);
  for (const missing of findMissing(manifests, found)) {
    session.host.logger.warn(
      `the run ${run} has no backup of ${missing.database}, which a run before it had: it failed then, or was not there; its last one before is ${missing.artifact}`,
      { backup_id: missing.id },
    );
  }
  const isGlobal = ({ target: facts }: Manifest) => facts.part === 'globals';
  const ordered = [...manifests.values()].sort(
    (a, b) => Number(isGlobal(b)) - Number(isGlobal(a)) || (a.database < b.database ? -1 : 1),
  );
  const plans = ordered.map((manifest) => ({
    artifact: manifest.artifact,
    options: { ...options, run, name: manifest.id, at: undefined, connection: target(databaseOf(session, manifest)) },
  }));
  const stakes = new Map<string, Stake>();
  const previews: RestorePreview[] = [];
  // All are looked at, and what is at stake is agreed to as a whole, before the first is touched.
  for (const { artifact, options: planned } of plans) {
    // Roles count as there: those of the same run come first.
    const anyway = { replace: true, createRoles: true, confirm: async () => true };
    const preview = await previewRestore(session, { ...planned, ...anyway });
    previews.push({ ...preview, roles: options.createRoles ? preview.roles : [] });
    const { holds, effect } = preview;
    if (holds === '') continue;
    stakes.set(artifact, stakeOf(planned.connection, session.engine, { holds, isAmended: effect === 'changed' }));
  }
  await expectAgreed([...stakes.values()], { ...options, run });
  for (const preview of previews) onPreview?.(preview);
  if (!onRestored) return;
  const done: string[] = [];
  for (const plan of plans) {
    try {
      // What has come there since then is asked for by itself.
      const agreed = stakes.has(plan.artifact) && { confirm: async () => true };
      onRestored(await restore(session, { ...plan.options, ...agreed }));
      done.push(plan.artifact);
    } catch (error) {
      throw explainHalf(error, plan.artifact, done, plans.length);
    }
  }
}

/**
 * The last backup of each database that an earlier run of the same databases had and this one has not: of what failed
 * nothing is left that would tell of it.
 */
function findMissing(run: ReadonlyMap<string, Manifest>, found: readonly Found[]): readonly Manifest[] {
  const present = new Set([...run.values()].map(({ series }) => series));
  const start = [...run.values()].map(({ startedAt }) => startedAt).sort()[0]!;
  const earlier = found
    .flatMap(({ catalog }) => catalog.backups.map(({ manifest }) => manifest))
    .filter(({ startedAt }) => startedAt < start)
    .sort((a, b) => (a.startedAt < b.startedAt ? -1 : 1));
  const runs = new Set(earlier.flatMap((manifest) => (present.has(manifest.series) ? [manifest.run] : [])));
  const absent = earlier.filter((manifest) => runs.has(manifest.run) && !present.has(manifest.series));
  return [...new Map(absent.map((manifest) => [manifest.series, manifest])).values()];
}

/** Undefined for what belongs to the whole server, or is all of it. */
function databaseOf({ engine }: Session, { database, target }: Manifest): string | undefined {
  if (target.part === 'globals' || engine.isWhole) return undefined;
  return engine.dumpsServer && database === 'all' ? undefined : database;
}

/** Once something was restored, "nothing was touched" is true no more. */
function explainHalf(error: unknown, artifact: string, done: readonly string[], count: number): unknown {
  if (!(error instanceof DbstashError)) return error;
  const message = `${artifact}: ${error.message} (restored before it: ${done.join(', ') || 'none'}; not tried: ${count - done.length - 1})`;
  if (error instanceof ConfigError && done.length > 0) return new DumpError(message, { cause: error });
  error.message = message;
  return error;
}
