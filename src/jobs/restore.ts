import type { Config } from '../config/config.ts';
import type { Command } from '../core/command.ts';
import { type Connection, nameOf } from '../core/connection.ts';
import {
  ConfigError,
  DbstashError,
  DumpError,
  describeError,
  RemoteError,
  TimeoutError,
  VerifyError,
} from '../core/errors.ts';
import type { Engine, RestorePlan, Target } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import { holdBackup } from '../lock.ts';
import { planDecoding } from '../pipeline/filters.ts';
import { type Producer, relay, type Stage } from '../pipeline/relay.ts';
import { type Child, stopChild } from '../process/child.ts';
import { createScratch, type Scratch } from '../process/scratch.ts';
import type { Backup } from '../remote/catalog.ts';
import { openTunnel, type Tunnel } from '../ssh.ts';
import { expectSound, expectThere, expectWhole, pass, type Reading } from './artifact.ts';
import { readCatalogs } from './catalogs.ts';
import { type Candidate, type Choice, chooseBackups } from './choose.ts';
import { fetchFolder } from './fetch.ts';
import { tryIdentity } from './identity.ts';
import { copyKeys, expectRoomToCopy } from './keyCopy.ts';
import { createProgress, type Progress } from './progress.ts';
import { ask, at, cleanupSignal, runTool, type Session, startSource, startTool } from './session.ts';
import { followLink, removeUnfinished, swapFile, warnOfLeftovers } from './swap.ts';

export interface RestoreOptions extends Choice {
  readonly connection: Connection;
  /** Of the backups that `latest` chooses from; the session's own unless given. */
  readonly series?: string | undefined;
  /** Into the database that the backup is of, on the server of `connection`. */
  readonly isOwn?: boolean;
  /** Empty the target first; `confirm` must agree to it. */
  readonly replace: boolean;
  readonly createRoles: boolean;
  /** What would act by itself, as events do, is to stay asleep. */
  readonly isDrill?: true;
  /** Asks the user whether the database `name`, which `title` says where it is, may be emptied. */
  readonly confirm: (name: string, title: string) => Promise<boolean>;
}

export interface Restored {
  readonly backup: Backup;
  readonly into: string;
  readonly durationMs: number;
}

/** How far a restore came. */
export interface RestoreState {
  /** What the target may be left as. */
  isTouched: boolean;
  /** What fails from now on has to do with the backup. */
  isLoading: boolean;
}

/** What every step of one restore needs. */
interface Task extends Reading {
  readonly options: RestoreOptions;
  readonly engine: Engine;
  /** As in the options, but for a symbolic link. */
  readonly connection: Connection;
  readonly state: RestoreState;
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
  const candidates = await findCandidates(reached, given, now);
  const options = given.isOwn ? { ...given, connection: toOwn(given.connection, candidates[0]!.backup) } : given;
  for (const [index, { place, backup }] of candidates.entries()) {
    const state = { isTouched: false, isLoading: false };
    try {
      await restoreFrom(at(reached, place), options, backup, state);
      const into = nameOf(options.connection);
      return { backup, into, durationMs: host.clock.now().getTime() - now.getTime() };
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
 * `restore` would. Roles count as there: those of the same run come first.
 */
export async function expectRestorable(session: Session, given: RestoreOptions): Promise<void> {
  const { host } = session;
  await using tunnel = await openTunnelTo(session, given.connection);
  const reached = { ...session, reach: tunnel.reach };
  const [candidate] = await findCandidates(reached, given, host.clock.now());
  const { backup, place } = candidate!;
  const options = given.isOwn ? { ...given, connection: toOwn(given.connection, backup) } : given;
  await using scratch = await createScratch(host.config.tempDir, `restore-${host.randomHex(4)}`);
  const task = await createTask(at(reached, place), scratch, options, backup);
  await expectReady({ ...options, createRoles: true }, task.engine, await inspectTarget(task));
}

/** A tunnel leads to the configured server, also for another database there; what --to names is reached straight. */
function openTunnelTo({ host }: Session, { hosts }: Connection): Promise<Tunnel> {
  const { ssh, connection } = host.config;
  return openTunnel(hosts === connection.hosts ? ssh : undefined, connection, host.signal);
}

/** The backup that is meant, on each remote that has it. */
async function findCandidates(session: Session, options: RestoreOptions, now: Date): Promise<readonly Candidate[]> {
  const found = await readCatalogs(session, session.host.signal);
  return chooseBackups(found, options.series ?? session.series, now, options);
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
  const task = await createTask(session, scratch, options, backup, state);
  if (backup.state !== 'good')
    host.logger.warn(`${backup.path} is marked as ${backup.state} (${backup.reason}): it is read once more`);
  const target = await inspectTarget(task);
  await expectReady(options, task.engine, target);
  const lease = await holdBackup(host.config.tempDir, backup.manifest.id, host.randomHex(4));
  try {
    await load(task, target);
  } finally {
    await lease?.release();
  }
}

/** Throws `ConfigError` for a backup that cannot be read. */
async function createTask(
  session: Session,
  scratch: Scratch,
  options: RestoreOptions,
  backup: Backup,
  state: Task['state'] = { isTouched: false, isLoading: false },
): Promise<Task> {
  const engine = engines[options.connection.engine];
  expectReadable(engine, backup, session.host.config.identity);
  const connection = session.reach(await followLink(options.connection));
  return { session, scratch, options, engine, backup, connection, state };
}

/** A manifest may come from a newer version, or from anybody who may write to the remote. */
function expectReadable(
  { name, title, modes }: Engine,
  { path, manifest }: Backup,
  identity: Config['identity'],
): void {
  if (manifest.engine !== name)
    throw new ConfigError(`${path} is a backup of ${manifest.engine}, the target is ${title}`);
  if (!modes.includes(manifest.mode))
    throw new ConfigError(`${path} was made in the mode ${manifest.mode}, which ${title} does not know`);
  try {
    planDecoding(manifest, identity);
  } catch (error) {
    throw new ConfigError(`${path} ${describeError(error)}`);
  }
}

/** What an engine makes of a manifest's facts, which may be nonsense. */
function understand<T>({ path }: Backup, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof DbstashError) throw error;
    throw new VerifyError(`the manifest of ${path} makes no sense: ${describeError(error)}`, { cause: error });
  }
}

async function inspectTarget({ session, scratch, engine, backup, connection }: Task): Promise<Target> {
  const question = understand(backup, () => engine.inspectTarget(connection, backup.manifest.target));
  return await ask(session.host, scratch, question, session.host.signal);
}

/** Throws, naming the ways on, where the target is not ready for the first byte. */
async function expectReady(
  { connection, replace, createRoles, confirm }: RestoreOptions,
  { isWhole }: Engine,
  target: Target,
): Promise<void> {
  const { hosts } = connection;
  const database = nameOf(connection);
  const place = hosts.map(({ host, port }) => `${host}:${port}`).join(',');
  // Of a whole server the label says nothing of what is at stake.
  const name = isWhole ? place || database : database;
  const title = isWhole ? `the whole server ${place || database}` : place === '' ? database : `${database} on ${place}`;
  if (target.missingRoles.length > 0 && !createRoles) {
    throw new ConfigError(
      `the backup names roles that ${target.title} lacks: ${target.missingRoles.join(', ')}; create them, or let --create-roles make them without login`,
    );
  }
  if (target.holds === '') return;
  if (!replace) {
    const elsewhere = isWhole ? 'another server with --to URI' : 'another database with --database NAME';
    throw new ConfigError(
      `${title} holds ${target.holds}: restore into ${elsewhere}, or empty it first with --replace`,
    );
  }
  if (!(await confirm(name, title))) {
    throw new ConfigError(`--replace removes what ${title} holds (${target.holds}): confirm it with --yes ${name}`);
  }
}

async function load(task: Task, target: Target): Promise<void> {
  const { session, scratch, options } = task;
  const { host } = session;
  const database = nameOf(options.connection);
  const plan = planRestore(task, target);
  await expectThere(task);
  await expectOpen(task);
  for (const warning of plan.warnings ?? []) host.logger.warn(warning);
  if (plan.swap) await warnOfLeftovers(session, plan.swap);
  if (plan.copy) await expectRoomToCopy(scratch, task.backup);
  let isPrepared = false;
  let outcome = target.exists ? `${database} is as it was` : `${database} was not created`;
  try {
    const isFolder = await fetchFolder(task);
    const touch = () => {
      task.state.isTouched = true;
      outcome = `${database} may be partly restored`;
    };
    // What prepares may already empty.
    const isPiecemeal = !plan.isAtomic && !plan.copy;
    // What is emptied cannot be brought back: first all of the backup is read once.
    if (isPiecemeal && target.holds !== '' && !isFolder) await expectWhole(task);
    if (plan.empty) {
      task.state.isTouched = true;
      outcome = `${database} may be partly emptied`;
      await ask(host, scratch, plan.empty, host.signal);
      outcome = `${database} was emptied`;
    }
    if (isPiecemeal) touch();
    await runAll(task, plan.prepare);
    isPrepared = true;
    if (!isPiecemeal && !target.exists && !plan.swap) outcome = `${database} was created and is empty`;
    using progress = createProgress(host.clock, host.logger, host.showProgress, () => {});
    task.state.isLoading = true;
    if (isFolder) await loadFolder(task, plan);
    else await stream(task, plan, progress);
    if (plan.copy) await copyKeys(host, scratch, plan.copy, touch);
    isPrepared = false;
    if (!plan.swap) outcome = `the data is in ${database}, but not all that belongs to it`;
    await runAll(task, plan.finish);
    if (plan.swap) await swapFile(session, scratch, plan.swap);
  } catch (error) {
    if (plan.swap) await removeUnfinished(plan.swap);
    if (isPrepared && plan.undo && (await undo(task, plan.undo))) outcome = `${database} was not created`;
    throw explain(error, outcome);
  }
}

/** True if it worked, on a fresh deadline. */
async function undo({ session, scratch }: Task, commands: readonly Command[]): Promise<boolean> {
  const { host } = session;
  try {
    for (const command of commands) await runTool(host, scratch, command, cleanupSignal(host));
    return true;
  } catch {
    return false;
  }
}

const planRestore = ({ session, options, engine, backup, connection }: Task, target: Target): RestorePlan =>
  understand(backup, () =>
    engine.planRestore({
      connection,
      target,
      facts: backup.manifest.target,
      mode: backup.manifest.mode,
      format: backup.manifest.format,
      replace: options.replace,
      createRoles: options.createRoles,
      ...(options.isDrill && { isDrill: true }),
      id: session.host.randomHex(6),
    }),
  );

async function runAll({ session, scratch }: Task, commands: readonly Command[]): Promise<void> {
  const { host } = session;
  for (const command of commands) {
    const said = await runTool(host, scratch, command, host.signal);
    if (said !== '') host.logger.warn(said);
  }
}

/** Says of a failed restore what became of the target. */
function explain(error: unknown, outcome: string): DbstashError {
  if (!(error instanceof DbstashError)) return new DumpError(`${describeError(error)} (${outcome})`, { cause: error });
  error.message = `${error.message} (${outcome})`;
  return error;
}

/** A wrong identity is found out before the target is touched; so is a backup whose damage looks like one. */
async function expectOpen(task: Task): Promise<void> {
  const { session, scratch, backup } = task;
  const problem = await tryIdentity(session, scratch, backup);
  if (problem === undefined) return;
  await expectSound(task);
  throw new ConfigError(`${backup.path} cannot be decrypted: ${problem}; the target was not touched`);
}

/** From the remote through what undoes the compression into the client, whose input ends only when all of it matched. */
async function stream(task: Task, plan: RestorePlan, progress: Progress): Promise<void> {
  const decoders = planDecoding(task.backup.manifest, task.session.host.config.identity);
  try {
    await pass(task, [...decoders, ...plan.filters, plan.load], { progress, trailer: plan.commit });
  } catch (error) {
    if (error instanceof DumpError) await expectSound(task);
    throw error;
  }
}

/** A folder that lies in the scratch folder, checked, through the plan's filters into the client. */
async function loadFolder({ session, scratch }: Task, { filters, load, commit }: RestorePlan): Promise<void> {
  const { host } = session;
  const [first, ...rest] = filters;
  if (!first) return void (await runTool(host, scratch, load, host.signal));
  await using started = new AsyncDisposableStack();
  const keep = (child: Child): Stage => {
    started.defer(() => stopChild(child, 500));
    return { child, fail: (message) => new DumpError(message) };
  };
  const stages: Producer[] = [keep(await startSource(host, scratch, first))];
  for (const command of rest) stages.push(keep(await startTool(host, scratch, command)));
  const sink = keep(await startTool(host, scratch, load));
  sink.child.stdout.resume();
  const last = stages.pop()!;
  await relay([...stages, { ...last, trailer: commit }], sink, host.signal);
}
