import type { Command } from '../core/command.ts';
import { nameOf } from '../core/connection.ts';
import { DbstashError, DumpError, describeError } from '../core/errors.ts';
import type { RestorePlan, Target } from '../engines/engine.ts';
import { planDecoding } from '../pipeline/filters.ts';
import { type Producer, relay, type Stage } from '../pipeline/relay.ts';
import { type Child, stopChild } from '../process/child.ts';
import { expectSound, expectThere, expectWhole, pass } from './artifact.ts';
import { fetchFile, fetchFolder } from './fetch.ts';
import { expectOpen } from './identity.ts';
import { copyKeys, expectRoomToCopy } from './keyCopy.ts';
import { followReading, type Progress } from './progress.ts';
import { type Task, understand } from './restoreTask.ts';
import { ask, cleanupSignal, runTool, startSource, startTool } from './session.ts';
import { removeUnfinished, swapFile, warnOfLeftovers } from './swap.ts';

/** The backup into its target, which is ready. The error of one that fails says what became of the target. */
export async function load(task: Task, target: Target): Promise<void> {
  const { session, scratch, options } = task;
  const { host } = session;
  const database = nameOf(options.connection);
  const plan = planRestore(task, target);
  await expectThere(task);
  // A wrong identity is found out before the target is touched.
  await expectOpen(task, '; the target was not touched');
  for (const warning of plan.warnings ?? []) host.logger.warn(warning);
  if (plan.swap) await warnOfLeftovers(session, plan.swap);
  if (plan.copy) await expectRoomToCopy(scratch, task.backup);
  let isPrepared = false;
  let isEmptied = false;
  let isHalf = false;
  let hasBegun = false;
  let outcome = target.exists ? `${database} is as it was` : `${database} was not created`;
  try {
    const isFolder = task.isFetched || (await fetchFolder(task)) || (plan.needsFile && (await fetchFile(task)));
    const touch = () => {
      task.state.isTouched = true;
      isHalf = true;
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
      isEmptied = true;
    }
    if (isPiecemeal) touch();
    await runAll(task, plan.prepare);
    isPrepared = true;
    if (!isPiecemeal && !target.exists && !plan.swap) outcome = `${database} was created and is empty`;
    using progress = followReading(host, task.backup.manifest);
    task.state.isLoading = true;
    // What prepares has emptied it for a folder.
    if (isFolder) isEmptied = true;
    if (isFolder) await loadFolder(task, plan);
    else await stream(task, plan, progress, () => (hasBegun = true));
    if (plan.copy) await copyKeys(host, scratch, plan.copy, touch);
    isPrepared = false;
    isHalf = false;
    if (!plan.swap) outcome = `the data is in ${database}, but not all that belongs to it`;
    await runAll(task, plan.finish);
    if (plan.swap) await swapFile(session, scratch, plan.swap);
  } catch (error) {
    if (plan.swap) await removeUnfinished(plan.swap);
    const isSure = isEmptied || (hasBegun && !(error instanceof DumpError));
    if (isHalf) outcome = describeHalf(task, target, isSure);
    if (isPrepared && plan.undo && (await undo(task, plan.undo))) outcome = `${database} was not created`;
    // What a drill was loading into goes with it.
    throw explain(error, options.isDrill ? '' : ` (${outcome})`);
  }
}

/** Of what empties at the head of the load its tool may have failed at just that: then it is not sure. */
function describeHalf({ options, pick }: Task, { holds }: Target, isSure: boolean): string {
  const database = nameOf(options.connection);
  if (!options.replace || holds === '' || pick) return `${database} may be partly restored`;
  const happened = isSure ? 'was emptied, and holds' : 'may have been emptied, and hold';
  return `${database} ${happened} a part of the backup or nothing: run the same command again`;
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

const planRestore = ({ session, options, engine, backup, connection, pick }: Task, target: Target): RestorePlan =>
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
      ...(pick && { pick }),
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
  if (!(error instanceof DbstashError)) return new DumpError(describeError(error) + outcome, { cause: error });
  error.message += outcome;
  return error;
}

/** From the remote through what undoes the compression into the client, whose input ends only when all of it matched. */
async function stream(task: Task, plan: RestorePlan, progress: Progress, sent: () => void): Promise<void> {
  const decoders = planDecoding(task.backup.manifest, task.session.host.config.identity);
  try {
    await pass(task, [...decoders, ...plan.filters, plan.load], { progress, trailer: plan.commit, watch: { sent } });
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
  const others: Producer[] = [];
  for (const command of rest) others.push(keep(await startTool(host, scratch, command)));
  const sink = keep(await startTool(host, scratch, load));
  sink.child.stdout.resume();
  // Last: what it wrote is lost if it is done before anybody reads.
  const stages = [keep(await startSource(host, scratch, first)), ...others];
  const last = stages.pop()!;
  await relay([...stages, { ...last, trailer: commit }], sink, host.signal);
}
