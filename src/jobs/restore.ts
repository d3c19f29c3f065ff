import { type Connection, nameOf } from '../core/connection.ts';
import { describeError, RemoteError, TimeoutError, VerifyError } from '../core/errors.ts';
import { engines } from '../engines/index.ts';
import { holdBackup } from '../lock.ts';
import { createScratch } from '../process/scratch.ts';
import type { Backup } from '../remote/catalog.ts';
import { openTunnel, type Tunnel } from '../ssh.ts';
import { type Found, readCatalogs } from './catalogs.ts';
import { type Candidate, chooseBackups } from './choose.ts';
import { expectReady } from './consent.ts';
import { load } from './load.ts';
import { findLastDrill, previewOf, type RestorePreview } from './restorePreview.ts';
import { createTask, inspectTarget, type RestoreOptions, type Task } from './restoreTask.ts';
import { at, type Session } from './session.ts';
import { pickTables } from './tables.ts';

export type { RestoreOptions } from './restoreTask.ts';

export interface Restored {
  readonly backup: Backup;
  readonly into: string;
  readonly tables: readonly string[];
  readonly durationMs: number;
}

/**
 * Loads a backup into a database, checking its SHA-256 on the way: the target commits only what matched. Where a remote fails
 * before the target was touched, the next one that has the backup is read.
 */
export async function restore(session: Session, given: RestoreOptions): Promise<Restored> {
  const { host } = session;
  const now = host.clock.now();
  await using tunnel = await openTunnelTo(session, given.connection);
  const reached = {
    ...session,
    host: { ...host, signal: AbortSignal.any([host.signal, tunnel.lost]) },
    reach: tunnel.reach,
  };
  const { candidates } = await findCandidates(reached, given, now);
  const options = given.isOwn ? { ...given, connection: toOwn(given.connection, candidates[0]!.backup) } : given;
  for (const [index, { place, backup }] of candidates.entries()) {
    const state = { isTouched: false, isLoading: false };
    try {
      await restoreFrom(at(reached, place), options, backup, state);
      const into = nameOf(options.connection);
      return { backup, into, tables: options.tables ?? [], durationMs: host.clock.now().getTime() - now.getTime() };
    } catch (error) {
      const isOurs = [RemoteError, VerifyError, TimeoutError].some((kind) => error instanceof kind);
      if (!isOurs || host.signal.aborted || state.isTouched || index === candidates.length - 1) throw error;
      host.logger.warn(`${describeError(error)}; ${candidates[index + 1]?.place.remote.title} has it too and is read`);
    }
  }
  throw new Error('there is always a candidate');
}

/** What belongs to the whole server goes where the login is. */
const toOwn = (connection: Connection, { manifest }: Backup): Connection =>
  manifest.target.part === 'globals' || engines[connection.engine].isWhole
    ? connection
    : { ...connection, database: manifest.database };

/**
 * Looks whether a restore could begin: whether there is such a backup, and the target is ready, or may be emptied. Throws as
 * `restore` would.
 */
export async function previewRestore(session: Session, given: RestoreOptions): Promise<RestorePreview> {
  const { host } = session;
  await using tunnel = await openTunnelTo(session, given.connection);
  const reached = { ...session, reach: tunnel.reach };
  const { candidates, found } = await findCandidates(reached, given, host.clock.now());
  const { backup, place } = candidates[0]!;
  const options = given.isOwn ? { ...given, connection: toOwn(given.connection, backup) } : given;
  await using scratch = await createScratch(host.config.tempDir, `restore-${host.randomHex(4)}`);
  const task = await pickTables(await createTask(at(reached, place), scratch, options, backup));
  const target = await inspectTarget(task);
  await expectReady(options, task.engine, target);
  return previewOf(task, target, findLastDrill(found, backup));
}

/** A tunnel leads to the configured server, also for another database there; what --to names is reached straight. */
function openTunnelTo({ host }: Session, { hosts }: Connection): Promise<Tunnel> {
  const { ssh, connection } = host.config;
  return openTunnel(hosts === connection.hosts ? ssh : undefined, connection, host.signal);
}

interface Candidates {
  /** The backup that is meant, on each remote that has it. */
  readonly candidates: readonly Candidate[];
  readonly found: readonly Found[];
}

async function findCandidates(session: Session, options: RestoreOptions, now: Date): Promise<Candidates> {
  const found = await readCatalogs(session, session.host.signal);
  const series = options.series ?? session.series;
  const candidates = chooseBackups(found, series, now, options);
  if (options.name === 'latest' && options.at === undefined)
    warnOfSkipped(session, found, series, candidates[0]!.backup);
  warnOfDrill(session, candidates);
  return { candidates, found };
}

/** It is what was backed up all the same, and the best there is. */
function warnOfDrill({ host }: Session, candidates: readonly Candidate[]): void {
  const failed = candidates.find(({ backup }) => backup.verdict?.failedDrill);
  if (!failed) return;
  const { at = '', reason } = failed.backup.verdict?.failedDrill ?? {};
  host.logger.warn(`the last drill of ${failed.backup.path}, of ${at}, failed: ${reason}`);
}

/** Who asks for the newest must know that there is a newer one, which is not good. */
function warnOfSkipped({ host }: Session, found: readonly Found[], series: string, chosen: Backup): void {
  const newer = found
    .flatMap(({ catalog }) => catalog.backups)
    .filter(({ manifest, state }) => {
      return manifest.series === series && state !== 'good' && manifest.startedAt > chosen.manifest.startedAt;
    });
  for (const { path, state, reason } of newer)
    host.logger.warn(`${path} is newer than ${chosen.path}, and left out: it is ${state} (${reason})`);
}

/** Restores one backup. `state` tells, also where it throws, whether the target was touched. */
export async function restoreFrom(
  session: Session,
  options: RestoreOptions,
  backup: Backup,
  state: Task['state'],
): Promise<void> {
  const { host } = session;
  await using scratch = await createScratch(host.config.tempDir, `restore-${host.randomHex(4)}`);
  const created = await createTask(session, scratch, options, backup, state);
  if (backup.state !== 'good')
    host.logger.warn(`${backup.path} is marked as ${backup.state} (${backup.reason}): it is read once more`);
  const task = await pickTables(created);
  const target = await inspectTarget(task);
  await expectReady(options, task.engine, target);
  const lease = await holdBackup(host.config.tempDir, backup.manifest.id, host.randomHex(4));
  try {
    await load(task, target);
  } finally {
    await lease?.release();
  }
}
