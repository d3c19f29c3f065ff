import type { Command } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import { ConfigError, DbstashError, DumpError, describeError, RemoteError, VerifyError } from '../core/errors.ts';
import { VERDICT_SUFFIX, type Verdict } from '../core/manifest.ts';
import { formatBytes } from '../core/units.ts';
import type { Engine, RestorePlan, Target } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import { holdBackup } from '../lock.ts';
import { createDigest } from '../pipeline/digest.ts';
import { planDecoding } from '../pipeline/filters.ts';
import { type Producer, relay } from '../pipeline/relay.ts';
import { type Child, stopChild } from '../process/child.ts';
import { createScratch, type Scratch } from '../process/scratch.ts';
import type { Backup } from '../remote/catalog.ts';
import { type Choice, chooseBackup } from './choose.ts';
import { createProgress, type Progress } from './progress.ts';
import { ask, cleanupSignal, runTool, type Session, startTool } from './session.ts';
import { type StallWatch, watchStall } from './stall.ts';
import { followLink, removeUnfinished, swapFile, warnOfLeftovers } from './swap.ts';

export interface RestoreOptions extends Choice {
  readonly connection: Connection;
  /** Empty the target first; `confirm` must agree to it. */
  readonly replace: boolean;
  readonly createRoles: boolean;
  /** Asks the user whether the database `name`, which `title` says where it is, may be emptied. */
  readonly confirm: (name: string, title: string) => Promise<boolean>;
}

export interface Restored {
  readonly backup: Backup;
  readonly into: string;
  readonly durationMs: number;
}

/** What every step of one restore needs. */
interface Task {
  readonly session: Session;
  readonly scratch: Scratch;
  readonly options: RestoreOptions;
  readonly engine: Engine;
  readonly backup: Backup;
  /** As in the options, but for a symbolic link. */
  readonly connection: Connection;
}

/** Loads a backup into a database, checking its SHA-256 on the way: the target commits only what matched. */
export async function restore(session: Session, options: RestoreOptions): Promise<Restored> {
  const { host } = session;
  const now = host.clock.now();
  await using scratch = await createScratch(host.config.tempDir, `restore-${host.randomHex(4)}`);
  const backup = chooseBackup(await session.readCatalog(host.signal), session.series, now, options);
  const engine = engines[options.connection.engine];
  expectReadable(engine, backup);
  const task: Task = { session, scratch, options, engine, backup, connection: await followLink(options.connection) };
  if (backup.state !== 'good')
    host.logger.warn(`${backup.path} is marked as ${backup.state} (${backup.reason}): it is read once more`);
  const target = await inspectTarget(task);
  await expectReady(options, target);
  const lease = await holdBackup(host.config.tempDir, backup.manifest.id, host.randomHex(4));
  try {
    await load(task, target);
  } finally {
    await lease?.release();
  }
  return { backup, into: options.connection.database, durationMs: host.clock.now().getTime() - now.getTime() };
}

/** A manifest may come from a newer version, or from anybody who may write to the remote. */
function expectReadable({ name, title }: Engine, { path, manifest }: Backup): void {
  const { engine, mode, compression, encryption } = manifest;
  if (engine !== name) throw new ConfigError(`${path} is a backup of ${engine}, the target is ${title}`);
  const isKnown = planDecoding(compression) !== undefined;
  const obstacle = [
    ...(mode === 'stream' || mode === 'file' ? [] : [`made in the mode ${mode}`]),
    ...(isKnown ? [] : [`compressed with ${JSON.stringify(compression)}`]),
    ...(encryption === null ? [] : [`encrypted with ${JSON.stringify(encryption)}`]),
  ];
  if (obstacle.length > 0)
    throw new ConfigError(`${path} is ${obstacle.join(' and ')}, which this version cannot restore`);
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
  target: Target,
): Promise<void> {
  const { database, hosts } = connection;
  const place = hosts.map(({ host, port }) => `${host}:${port}`).join(',');
  const title = place === '' ? database : `${database} on ${place}`;
  if (target.missingRoles.length > 0 && !createRoles) {
    throw new ConfigError(
      `the backup names roles that ${target.title} lacks: ${target.missingRoles.join(', ')}; create them, or let --create-roles make them without login`,
    );
  }
  if (target.holds === '') return;
  if (!replace) {
    throw new ConfigError(
      `${title} holds ${target.holds}: restore into another database with --database NAME, or empty it first with --replace`,
    );
  }
  if (!(await confirm(database, title))) {
    throw new ConfigError(`--replace removes what ${title} holds (${target.holds}): confirm it with --yes ${database}`);
  }
}

async function load(task: Task, target: Target): Promise<void> {
  const { session, scratch, options } = task;
  const { host } = session;
  const { database } = options.connection;
  const plan = planRestore(task, target);
  await expectThere(task);
  if (plan.swap) await warnOfLeftovers(session, plan.swap);
  let outcome = target.exists ? `${database} is as it was` : `${database} was not created`;
  try {
    await runAll(task, plan.prepare);
    if (!plan.isAtomic) outcome = `${database} may be partly restored`;
    else if (!target.exists && !plan.swap) outcome = `${database} was created and is empty`;
    using progress = createProgress(host.clock, host.logger, host.showProgress, () => {});
    await stream(task, plan, progress);
    if (!plan.swap) outcome = `the data is in ${database}, but not all that belongs to it`;
    await runAll(task, plan.finish);
    if (plan.swap) await swapFile(session, scratch, plan.swap);
  } catch (error) {
    if (plan.swap) await removeUnfinished(plan.swap);
    throw explain(error, outcome);
  }
}

const planRestore = ({ session, options, engine, backup, connection }: Task, target: Target): RestorePlan =>
  understand(backup, () =>
    engine.planRestore({
      connection,
      target,
      facts: backup.manifest.target,
      format: backup.manifest.format,
      replace: options.replace,
      createRoles: options.createRoles,
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

/** Looked at first: reading a name that is not there gives nothing, and no error. */
async function expectThere({ session: { remote, host }, backup: { path, manifest } }: Task): Promise<void> {
  const bytes = await remote.stat(path, host.signal);
  if (bytes === manifest.bytes) return;
  throw new VerifyError(
    `${path} has ${bytes ?? 'no'} bytes, its manifest says ${manifest.bytes}; the target was not touched`,
  );
}

/** From the remote through what undoes the compression into the client, whose input ends only when all of it matched. */
async function stream(task: Task, plan: RestorePlan, progress: Progress): Promise<void> {
  const { session, scratch, backup } = task;
  const { host } = session;
  const { compression } = backup.manifest;
  const source = openSource(task, progress);
  await using started = new AsyncDisposableStack();
  started.defer(() => stopChild(source.child, 500));
  const start = async (command: Command) => {
    const child = await startTool(host, scratch, command);
    started.defer(() => stopChild(child, 500));
    return { child, fail: (message: string) => new DumpError(message) };
  };
  const stages = [source];
  for (const command of [...(planDecoding(compression) ?? []), ...plan.filters]) stages.push(await start(command));
  const last = stages.pop()!;
  const sink = await start(plan.load);
  sink.child.stdout.resume();
  using stall = watchSource(session, source.child, progress);
  try {
    await relay([...stages, { ...last, trailer: plan.commit }], sink, AbortSignal.any([host.signal, stall.signal]));
  } catch (error) {
    if (error instanceof DumpError) await expectSound(task);
    throw error;
  }
}

/** A remote that gives nothing more must not hold the target's locks for ever. A client that is busy with what it has may take its time. */
function watchSource({ host }: Session, { stdout }: Child, progress: Progress): StallWatch {
  const stall = watchStall(host.clock, host.config.stallTimeoutMs, async () => {
    if (stdout.isPaused() || stdout.readableEnded) stall.touch();
    return progress.bytes();
  });
  return stall;
}

/** What is read again to find out whether it is the cause. More would keep the operator waiting for an error that we know. */
const READ_AGAIN_BYTES = 1024 ** 3;

/** A damaged dump may fail in whatever reads it, before the end where its hash would tell. Throws `VerifyError`. */
async function expectSound(task: Task): Promise<void> {
  const { session, scratch, backup } = task;
  const { host } = session;
  if (backup.manifest.bytes > READ_AGAIN_BYTES) return;
  const child = await startTool(host, scratch, { file: 'cat', args: [] });
  child.stdout.resume();
  const reading = relay([openSource(task)], { child, fail: (message) => new DumpError(message) }, host.signal);
  await reading.catch((error: unknown) => {
    if (error instanceof VerifyError) throw error;
  });
}

function openSource(task: Task, progress?: Progress): Producer {
  const { session, backup } = task;
  const { remote } = session;
  const { manifest, path } = backup;
  const digest = createDigest();
  return {
    child: openArtifact(session, path),
    fail: (message) =>
      new RemoteError(`${message} (after ${formatBytes(digest.bytes)} of ${formatBytes(manifest.bytes)})`),
    tap: (chunk) => {
      digest.add(chunk);
      progress?.add(chunk.length);
    },
    approve: async () => {
      const found = { bytes: digest.bytes, sha256: digest.sha256() };
      const problem = compare(found, manifest);
      if (!problem) return;
      const again = await readAgain(task);
      if (!compare(again, manifest))
        throw new RemoteError(
          `${path} came changed from ${remote.title}, and whole when it was read again: restore once more`,
        );
      await recordDamage(session, backup, problem);
      throw new VerifyError(`${path} on ${remote.title} is damaged: ${problem}`);
    },
  };
}

/** One bad read is no proof against what is stored. */
async function readAgain({ session, scratch, backup }: Task): Promise<Stored> {
  const { host } = session;
  const digest = createDigest();
  const child = openArtifact(session, backup.path);
  const nowhere = await startTool(host, scratch, { file: 'cat', args: [] });
  nowhere.stdout.resume();
  const fail = (message: string) => new RemoteError(message);
  await relay([{ child, fail, tap: digest.add }], { child: nowhere, fail }, host.signal);
  return { bytes: digest.bytes, sha256: digest.sha256() };
}

interface Stored {
  readonly bytes: number;
  readonly sha256: string;
}

function openArtifact({ remote }: Session, path: string): Child {
  const child = remote.open(path);
  child.stdin.end();
  return child;
}

function compare({ bytes, sha256 }: Stored, expected: Stored): string | undefined {
  if (bytes !== expected.bytes) return `${bytes} bytes came, its manifest says ${expected.bytes}`;
  return sha256 === expected.sha256 ? undefined : 'its SHA-256 is not the one in its manifest';
}

/**
 * From now on the backup is not good: never latest, never counted by retention. One that was removed, or is being
 * replaced, while we read it says nothing.
 */
async function recordDamage({ remote, host }: Session, { path, manifest }: Backup, reason: string): Promise<void> {
  const verdict: Verdict = {
    dbstash: 1,
    id: manifest.id,
    at: host.clock.now().toISOString(),
    level: 'content',
    ok: false,
    reason,
  };
  try {
    if ((await remote.stat(path, cleanupSignal(host))) !== manifest.bytes) return;
    await remote.write(path + VERDICT_SUFFIX, `${JSON.stringify(verdict, null, 2)}\n`, cleanupSignal(host));
  } catch (error) {
    host.logger.warn(`that ${path} is damaged could not be written beside it: ${describeError(error)}`);
  }
}
