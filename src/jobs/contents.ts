import { setTimeout as sleep } from 'node:timers/promises';
import type { Question } from '../core/command.ts';
import { DumpError, RemoteError } from '../core/errors.ts';
import { planDecoding } from '../pipeline/filters.ts';
import { type Child, describeExit, hasSucceeded, stopChild } from '../process/child.ts';
import { expectSound, type Reading } from './artifact.ts';
import { giveUp, limitOf } from './patience.ts';
import { ask, startTool } from './session.ts';

/** Asks a dump that lies in the scratch folder, or on the remote. There only its beginning is read, and nothing is checked. */
export async function askDump<T>(reading: Reading, question: Question<T>, isFetched: boolean): Promise<T> {
  const { session, scratch } = reading;
  const { host, remote } = session;
  if (isFetched) return await ask(host, scratch, question, host.signal);
  try {
    return await giveUp(remote.title, limitOf(host), (signal) => readBeginning(reading, question, signal));
  } catch (error) {
    if (error instanceof DumpError) await expectSound(reading);
    throw error;
  }
}

/** Ends when the last command has what it wants. The ones before it then die of that, as they should. */
async function readBeginning<T>(
  { session: { host, remote }, scratch, backup: { path, manifest } }: Reading,
  { command, parse }: Question<T>,
  signal: AbortSignal,
): Promise<T> {
  await using started = new AsyncDisposableStack();
  const keep = (child: Child): Child => {
    started.defer(() => stopChild(child, 500));
    return child;
  };
  const chain: Child[] = [];
  for (const decoder of planDecoding(manifest, host.config.identity))
    chain.push(keep(await startTool(host, scratch, decoder)));
  const last = keep(await startTool(host, scratch, command));
  const stop = () => void started.disposeAsync();
  signal.addEventListener('abort', stop, { once: true });
  started.defer(() => signal.removeEventListener('abort', stop));
  const answer = collect(last);
  const source = keep(remote.open(path));
  source.stdin.end();
  const producers = [source, ...chain];
  for (const [index, { stdout }] of producers.entries()) stdout.pipe((producers[index + 1] ?? last).stdin);
  const [stdout, exit] = await Promise.all([answer, last.exit]);
  signal.throwIfAborted();
  const stderr = last.stderrTail();
  try {
    if (!hasSucceeded(exit)) throw new DumpError(`${path} cannot be read: ${describeExit(command.file, exit, stderr)}`);
    return parse({ stdout, stderr, exitCode: 0 });
  } catch (error) {
    throw (await findReadFailure(source)) ?? error;
  }
}

/** Why the remote gave nothing, or no more, where that is the cause. */
async function findReadFailure(source: Child): Promise<RemoteError | undefined> {
  const read = await Promise.race([source.exit, sleep(GRACE_MS, undefined, { ref: false })]);
  return read && !hasSucceeded(read)
    ? new RemoteError(describeExit(source.name, read, source.stderrTail()))
    : undefined;
}

/** For what reads the remote to end. */
const GRACE_MS = 2000;

async function collect({ stdout }: Child): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of stdout as AsyncIterable<Buffer>) chunks.push(chunk);
  } catch {
    // Cut off: its exit, or the signal, says why.
  }
  return Buffer.concat(chunks).toString('utf8');
}
