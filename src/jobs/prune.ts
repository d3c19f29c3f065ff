import { describeError, RemoteError } from '../core/errors.ts';
import { asWritten, MANIFEST_SUFFIX, type Manifest, type Pending, pendingPath } from '../core/manifest.ts';
import { isRetentionOff, planRetention, type RetentionPlan } from '../core/retention.ts';
import { lockSeries, readHeldBackups } from '../lock.ts';
import { type Backup, type Catalog, type Orphan, objectsOf, storedObjects } from '../remote/catalog.ts';
import { isLeftOut, keepIndex, readCatalogs, readInTime } from './catalogs.ts';
import { findDead, removeLeft, sweepOrphans } from './orphans.ts';
import type { Run } from './run.ts';
import type { Place, Session } from './session.ts';
import { ownsBackup } from './sources.ts';

/** What retention says of one backup of the series, newest first. */
interface Verdicts {
  readonly keep: RetentionPlan<DatedBackup>['keep'];
  readonly remove: RetentionPlan<DatedBackup>['remove'];
}

type DatedBackup = Backup & { readonly id: string; readonly startedAt: string };

/**
 * What stays of the session's series and what goes: only good backups of the newest one's server are looked at, and a copy
 * that somebody put elsewhere is theirs. Pure.
 */
function planPrune(session: Session, catalog: Catalog): Verdicts {
  const good = catalog.backups
    .filter(({ manifest, state }) => manifest.series === session.series && state === 'good')
    .map((backup) => ({ ...backup, id: backup.manifest.id, startedAt: backup.manifest.startedAt }));
  const [serverId] = serverIds(session.series, good);
  const findObstacle = ({ manifest, path }: Backup): string | undefined => {
    if (manifest.artifact !== path) return 'not where it was written: not counted, never removed';
    const isOther = manifest.serverId !== null && manifest.serverId !== serverId;
    return isOther ? 'of another server than the newest: not counted, never removed' : undefined;
  };
  const { retention } = session.host.config;
  const counted = good.filter((backup) => findObstacle(backup) === undefined);
  const plan = planRetention(counted, retention, session.host.clock.now());
  const { keep, remove } = spareProven(plan, counted);
  const spared = good.flatMap((backup) => {
    const reason = findObstacle(backup);
    return reason === undefined ? [] : [{ backup, reasons: [reason] }];
  });
  return { keep: [...keep, ...spared], remove };
}

/** While newer ones fail their drills, the newest that did not may be the last that can be restored. `counted` is newest first. */
function spareProven({ keep, remove }: Verdicts, counted: readonly DatedBackup[]): Verdicts {
  const drilled = counted.filter(({ verdict }) => verdict?.drill ?? verdict?.failedDrill);
  const proven = drilled.find(({ verdict }) => !verdict?.failedDrill);
  if (drilled[0] === proven || !remove.some(({ backup }) => backup.id === proven?.id)) return { keep, remove };
  const reasons = ['the newest one that a drill restored: newer ones failed theirs'];
  return {
    keep: [...keep, { backup: proven!, reasons }],
    remove: remove.filter(({ backup }) => backup.id !== proven?.id),
  };
}

/** What the `prune` command did, or would do. */
export interface Pruned extends Verdicts {
  /** What dead runs left, by path. */
  readonly sweep: readonly string[];
  /** Paths of the artifacts, and of what was swept. */
  readonly removed: readonly string[];
}

/** A series on a remote, and the catalog that it was found in, if one was read for that. */
interface Prunable {
  readonly place: Place;
  readonly series: string;
  readonly found: Catalog | undefined;
}

/** Each series of the configuration on each remote: that of the one database, or all that are there. */
export async function listPrunable(
  session: Session,
  signal: AbortSignal,
): Promise<{ readonly prunable: readonly Prunable[]; readonly isComplete: boolean }> {
  const { config } = session.host;
  if (config.selection.kind === 'one') {
    const prunable = session.places.map((place) => ({ place, series: session.series, found: undefined }));
    return { prunable, isComplete: !isLeftOut(session, prunable) };
  }
  const found = await readCatalogs(session, signal);
  const prunable = found.flatMap(({ place, catalog }) => {
    const groups = Map.groupBy(catalog.backups, ({ manifest }) => manifest.series);
    const ours = [...groups].filter(([, backups]) => backups.some(({ manifest }) => ownsBackup(config, manifest)));
    return ours.map(([series, backups]) => ({ place, series, found: { ...catalog, backups } }));
  });
  return { prunable, isComplete: !isLeftOut(session, found) };
}

/**
 * The `prune` command: under the lock of the series, from a fresh listing. `found` is an earlier one, in which nothing may be
 * found to do. Returns what was removed, or would be.
 */
export async function prune(
  session: Session,
  isDryRun: boolean,
  signal: AbortSignal,
  found?: Catalog,
): Promise<Pruned> {
  const { config } = session.host;
  const early = found && planAll(session, found);
  if (early && (isDryRun || isIdle(early))) return { ...early, removed: [] };
  const lost = new AbortController();
  const lease = config.useLock
    ? await lockSeries(config.tempDir, session.series, (error) => lost.abort(error))
    : undefined;
  try {
    const stop = AbortSignal.any([signal, lost.signal]);
    const catalog = await readInTime(session, session, stop);
    const plan = planAll(session, catalog);
    if (isDryRun || isIdle(plan)) {
      if (!isDryRun) await keepIndex(session, catalog, session.scratch, stop);
      stop.throwIfAborted();
      return { ...plan, removed: [] };
    }
    const removed = await removeBackups(session, catalog, plan, stop);
    const swept = await sweepOrphans(session, catalog, stop);
    return { ...plan, sweep: swept, removed: [...removed, ...swept] };
  } finally {
    await lease?.release();
  }
}

/** Throws `RemoteError` where records could not be read. */
function planAll(session: Session, catalog: Catalog): Omit<Pruned, 'removed'> {
  expectReadable(catalog);
  const other = describeChange(session.series, catalog.backups);
  const plan = planPrune(session, catalog);
  if (other === undefined) return { ...plan, sweep: findDead(session, catalog).flatMap(pathsOf) };
  session.host.logger.warn(`nothing is pruned: ${other}`);
  return { keep: [...plan.keep, ...plan.remove], remove: [], sweep: [] };
}

const isIdle = ({ remove, sweep }: Omit<Pruned, 'removed'>): boolean => remove.length === 0 && sweep.length === 0;

/** What would follow on a backup that is not made yet. */
export interface Preview extends Verdicts {
  readonly sweep: readonly string[];
  /** Why nothing would go. */
  readonly obstacle: string | undefined;
}

/** What `pruneAfterBackup` would do behind a backup of that manifest. Pure. */
export function previewPrune(session: Session, catalog: Catalog, manifest: Manifest): Preview {
  const backups: readonly Backup[] = [asWritten(manifest), ...catalog.backups];
  const obstacle = catalog.unreadable?.failure.message ?? describeChange(session.series, backups);
  const plan = planPrune(session, { ...catalog, backups });
  const isOff = obstacle !== undefined || isRetentionOff(session.host.config.retention);
  const sweep = catalog.unreadable ? [] : findDead(session, catalog).flatMap(pathsOf);
  return {
    keep: isOff ? [...plan.keep, ...plan.remove] : plan.keep,
    remove: isOff ? [] : plan.remove,
    sweep,
    obstacle,
  };
}

const pathsOf = ({ objects, recordPath }: Orphan): readonly string[] => [...objects, recordPath];

/**
 * After a commit: prunes the series and sweeps what dead runs of it left. What fails here is a warning, the backup stays
 * good. `before` is the catalog from before the backup. Returns the artifacts that were removed.
 */
export async function pruneAfterBackup(run: Run, manifest: Manifest, before: Catalog): Promise<readonly string[]> {
  const { session } = run;
  try {
    const other = describeChange(session.series, [{ manifest }, ...before.backups]);
    if (other !== undefined) run.warn(`nothing is pruned: ${other}`);
    const isOff = other !== undefined || isRetentionOff(session.host.config.retention);
    if (isOff && findDead(session, before, run.id).every(({ record }) => record.id === manifest.id)) return [];
    const catalog = await session.readCatalog(run.signal);
    expectCommitted(catalog, manifest);
    expectReadable(catalog);
    const swept = await sweepOrphans(session, catalog, run.signal, run.id);
    if (swept.length > 0) run.logger.info(`swept what dead runs left: ${swept.join(', ')}`);
    if (isOff || describeChange(session.series, catalog.backups) !== undefined) return [];
    const plan = planPrune(session, catalog);
    if (plan.remove.length > 0) await session.remote.sync(committedObjects(manifest));
    const removed = await removeBackups(session, catalog, plan, run.signal);
    const gone = new Set(removed);
    for (const { backup, reasons } of plan.remove.filter(({ backup: { path } }) => gone.has(path))) {
      run.logger.info(`pruned ${backup.path}: ${reasons.join(', ')}`, { backup_id: backup.manifest.id });
    }
    return removed;
  } catch (error) {
    run.warn(`retention failed, the backup is good: ${describeError(error)}`);
    return [];
  }
}

const committedObjects = (manifest: Manifest): readonly string[] => [
  manifest.artifact + MANIFEST_SUFFIX,
  ...storedObjects(manifest, manifest.artifact).map(({ path }) => path),
];

/** A record that could not be read may be of the very backup that has to stay. */
function expectReadable({ unreadable }: Catalog): void {
  if (unreadable) throw unreadable.failure;
}

/** A listing that does not hold what was just written is cut short, or of another place: nothing may be concluded from it. */
function expectCommitted(catalog: Catalog, manifest: Manifest): void {
  const found = catalog.backups.find(({ manifest: { id } }) => id === manifest.id);
  if (found?.state !== 'good') {
    throw new RemoteError(`the listing does not hold ${manifest.artifact}, which was just written: nothing is pruned`);
  }
}

/**
 * Why nothing may be pruned: two stacks may both say `db:5432/app`, and their backups must not replace each other.
 * `backups` are newest first.
 */
function describeChange(series: string, backups: readonly Pick<Backup, 'manifest'>[]): string | undefined {
  const [newest, before] = serverIds(series, backups);
  if (newest === undefined || before === undefined || newest === before) return undefined;
  return describeServers(series, [newest, before]);
}

/** Why `latest` is not clear: the series has good backups of several servers. */
export function findOtherServer(series: string, backups: readonly Backup[]): string | undefined {
  const ids = [
    ...new Set(
      serverIds(
        series,
        backups.filter(({ state }) => state === 'good'),
      ),
    ),
  ];
  return ids.length < 2 ? undefined : describeServers(series, ids);
}

const serverIds = (series: string, backups: readonly Pick<Backup, 'manifest'>[]): readonly string[] =>
  backups.flatMap(({ manifest }) => (manifest.series === series ? (manifest.serverId ?? []) : []));

const describeServers = (series: string, ids: readonly string[]): string =>
  `the series ${series} has backups of several servers (${ids.join(', ')}): name each with BACKUP_SERIES`;

/**
 * Removes backups by exact path: all manifests first, then what they vouched for. A pending record, the tombstone, names it
 * all before, so that a crash in between leaves orphans and not strangers. Spares what is being read. Returns the
 * artifacts' paths.
 */
async function removeBackups(
  session: Session,
  catalog: Catalog,
  { remove }: Verdicts,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { remote, scratch, host } = session;
  const held = await readHeldBackups(host.config.tempDir);
  const backups = remove.flatMap(({ backup }) => (held.has(backup.id) ? [] : [backup]));
  if (backups.length === 0) return [];
  const tombstone = await writeTombstone(session, catalog, backups, signal);
  const [manifests, rest] = [backups.map((backup) => objectsOf(backup)[0]), backups.flatMap(restOf)];
  for (const paths of [manifests, rest]) await remote.remove(paths, scratch.path, signal);
  for (const { path, manifest } of backups) if (manifest.files) await remote.removeFolder(path, signal);
  await remote.remove([tombstone], scratch.path, signal);
  return backups.map(({ path }) => path);
}

const restOf = (backup: Backup): readonly string[] => objectsOf(backup).slice(1);

/** A folder stands before what is in it, as in the record of an upload: by its name the record is known to be in its place. */
const recordedObjects = (backup: Backup): readonly string[] => [
  ...(backup.manifest.files ? [backup.path] : []),
  ...objectsOf(backup),
];

/**
 * Named after the oldest, so that where nothing can be removed the same record is written again and again, not another.
 * What an earlier one of that name still has to remove goes before it is written over. Returns its path.
 */
async function writeTombstone(
  session: Session,
  catalog: Catalog,
  backups: readonly Backup[],
  signal: AbortSignal,
): Promise<string> {
  const { manifest, path } = backups.at(-1)!;
  const recordPath = pendingPath(path, manifest.id);
  const earlier = catalog.orphans.find((orphan) => orphan.recordPath === recordPath);
  if (earlier) await removeLeft(session, earlier, signal);
  const now = session.host.clock.now().toISOString();
  const [first, ...rest] = backups.flatMap(recordedObjects);
  const record: Pending = {
    dbstash: 1,
    id: manifest.id,
    run: manifest.run,
    series: session.series,
    startedAt: now,
    refreshedAt: now,
    objects: [first!, ...rest],
  };
  const write = () => session.remote.write(recordPath, `${JSON.stringify(record, null, 2)}\n`, signal);
  // Where another instance writes the same one at this moment, rclone may take what it finds for a broken upload.
  await write().catch(write);
  return recordPath;
}
