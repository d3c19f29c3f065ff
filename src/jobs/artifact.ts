import type { Command } from '../core/command.ts';
import { ConfigError, DumpError, describeError, RemoteError, VerifyError } from '../core/errors.ts';
import { VERDICT_SUFFIX, type Verdict } from '../core/manifest.ts';
import { formatBytes } from '../core/units.ts';
import type { Engine } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import { createDigest } from '../pipeline/digest.ts';
import { type Producer, relay, type Stage } from '../pipeline/relay.ts';
import { type Child, stopChild } from '../process/child.ts';
import type { Scratch } from '../process/scratch.ts';
import { type Backup, measureStored, storedObjects } from '../remote/catalog.ts';
import { giveUp, limitOf } from './patience.ts';
import type { Progress } from './progress.ts';
import { cleanupSignal, type Session, startTool } from './session.ts';

/** A backup that is read from the session's own remote. */
export interface Reading {
  readonly session: Session;
  readonly scratch: Scratch;
  readonly backup: Backup;
}

/** A manifest may come from a newer version. Throws `ConfigError`. */
export function engineOf({ manifest, path }: Backup): Engine {
  const engine = Object.values(engines).find(({ name }) => name === manifest.engine);
  if (!engine) throw new ConfigError(`${path} is a backup of ${manifest.engine}, which this version does not know`);
  return engine;
}

/** Looked at first: reading a name that is not there gives nothing, and no error. */
export async function expectThere({ session: { remote, host }, backup: { path, manifest } }: Reading): Promise<void> {
  const found = await giveUp(remote.title, limitOf(host), (signal) => measureStored(remote, manifest, path, signal));
  for (const object of storedObjects(manifest, path)) {
    const bytes = found.get(object.path);
    if (bytes === object.bytes) continue;
    const finding = `${object.path} has ${bytes ?? 'no'} bytes, its manifest says ${object.bytes}`;
    throw new VerifyError(`${finding}; the target was not touched`, { finding });
  }
}

interface Passing {
  readonly progress: Progress;
  readonly trailer?: string | undefined;
  /** Looks at what the last command gets. */
  readonly watch?: Pick<Producer, 'tap' | 'approve' | 'sent'>;
}

/** The artifact through a chain of commands, of which the last takes it in. */
export async function pass(
  reading: Reading,
  chain: readonly Command[],
  { progress, trailer, watch }: Passing,
): Promise<void> {
  const { session, scratch } = reading;
  const { host } = session;
  await using started = new AsyncDisposableStack();
  const stages: Producer[] = [];
  for (const command of chain) {
    const child = await startTool(host, scratch, command);
    started.defer(() => stopChild(child, 500));
    stages.push({ child, fail: (message: string) => new DumpError(message) });
  }
  const sink = stages.pop()!;
  sink.child.stdout.resume();
  // Last: what it wrote is lost if it is done before anybody reads.
  const source = openSource(reading, progress);
  started.defer(() => stopChild(source.child, 500));
  const producers = [source, ...stages];
  const last = producers.pop()!;
  const [first, ...rest] = [...producers, { ...last, ...watch, trailer }];
  await relayInTime(session, first!, rest, sink);
}

/**
 * From a remote, which `source` reads. One that gives nothing more must not hold the target's locks for ever; a client
 * that is busy with what it has may take its time.
 */
async function relayInTime(
  { host, remote }: Session,
  source: Producer,
  others: readonly Producer[],
  sink: Stage,
): Promise<void> {
  const { stdout } = source.child;
  let moves = 0;
  const tap = (chunk: Buffer) => {
    moves += 1;
    return source.tap?.(chunk);
  };
  const measure = async () => {
    if (stdout.isPaused() || stdout.readableEnded) moves += 1;
    return moves;
  };
  await giveUp(remote.title, { ...limitOf(host), measure }, (signal) =>
    relay([{ ...source, tap }, ...others], sink, signal),
  );
}

/** What is read again to find out whether it is the cause. More would keep the operator waiting for an error that we know. */
const READ_AGAIN_BYTES = 1024 ** 3;

/** A damaged dump may fail in whatever reads it, before the end where its hash would tell. Throws `VerifyError`. */
export async function expectSound(reading: Reading): Promise<void> {
  const { session, scratch, backup } = reading;
  const { host } = session;
  // Of a folder every file was compared when it came.
  if (backup.manifest.files || backup.manifest.bytes > READ_AGAIN_BYTES) return;
  const child = await startTool(host, scratch, { file: 'cat', args: [] });
  child.stdout.resume();
  const sink = { child, fail: (message: string) => new DumpError(message) };
  const again = relayInTime(session, openSource(reading), [], sink);
  await again.catch((error: unknown) => {
    if (error instanceof VerifyError) throw error;
  });
}

function openSource(reading: Reading, progress?: Progress): Producer {
  const { session, backup } = reading;
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
      const again = await readAgain(reading);
      if (!compare(again, manifest))
        throw new RemoteError(
          `${path} came changed from ${remote.title}, and whole when it was read again: restore once more`,
        );
      await recordDamage(session, backup, problem);
      throw new VerifyError(`${path} on ${remote.title} is damaged: ${problem}`, { finding: problem });
    },
  };
}

/** Reads all of an artifact that is one object, for its SHA-256 alone. Throws `VerifyError`, and marks it, where that is not right. */
export async function expectWhole(reading: Reading): Promise<void> {
  const { session, backup } = reading;
  const { manifest, path } = backup;
  if (!compare(await readAgain(reading), manifest)) return;
  const problem = compare(await readAgain(reading), manifest);
  if (!problem) return;
  await recordDamage(session, backup, problem);
  throw new VerifyError(`${path} on ${session.remote.title} is damaged: ${problem}`, { finding: problem });
}

/** Before a dump that cannot be read is called damaged: what came may not be what is stored. Throws as `expectWhole`. */
export async function expectStored(reading: Reading): Promise<void> {
  // Of a folder every file was compared when it came.
  if (!reading.backup.manifest.files) await expectWhole(reading);
}

/** One bad read is no proof against what is stored. */
const readAgain = (reading: Reading): Promise<Stored> => digestStored(reading, () => {});

/** Reads what is stored, to its end; `see` gets every byte. */
export async function digestStored(
  { session, scratch, backup }: Reading,
  see: (chunk: Buffer) => void,
): Promise<Stored> {
  const digest = createDigest();
  const nowhere = await startTool(session.host, scratch, { file: 'cat', args: [] });
  nowhere.stdout.resume();
  const child = openArtifact(session, backup.path);
  const fail = (message: string) => new RemoteError(message);
  const tap = (chunk: Buffer) => {
    digest.add(chunk);
    see(chunk);
  };
  await relayInTime(session, { child, fail, tap }, [], { child: nowhere, fail });
  return { bytes: digest.bytes, sha256: digest.sha256() };
}

export interface Stored {
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

/** From now on the backup is not good: never latest, never counted by retention. */
export async function recordDamage(session: Session, backup: Backup, reason: string): Promise<void> {
  await recordVerdict(session, backup, { level: 'content', ok: false, reason });
}

/** `failedDrill`: why this drill failed. What was known of earlier ones is kept, until a drill tells otherwise. */
interface Found extends Pick<Verdict, 'level' | 'ok' | 'reason' | 'drill'> {
  readonly failedDrill?: string;
}

/**
 * Beside the manifest. Of a backup that was removed, or is being replaced, while we read it nothing is said. Returns what is
 * known of it from now on.
 */
export async function recordVerdict(session: Session, backup: Backup, found: Found): Promise<Verdict> {
  const { remote, host } = session;
  const { path, manifest } = backup;
  const verdict = createVerdict(session, backup, found);
  if (host.config.dryRun) return verdict;
  try {
    const there = await measureStored(remote, manifest, path, cleanupSignal(host));
    if (storedObjects(manifest, path).some((object) => there.get(object.path) !== object.bytes)) return verdict;
    await remote.write(path + VERDICT_SUFFIX, `${JSON.stringify(verdict, null, 2)}\n`, cleanupSignal(host));
  } catch (error) {
    host.logger.warn(`what was found of ${path} could not be written beside it: ${describeError(error)}`);
  }
  return verdict;
}

function createVerdict({ host }: Session, { manifest, verdict: last }: Backup, found: Found): Verdict {
  const at = host.clock.now().toISOString();
  const { level, ok, reason, drill = last?.drill } = found;
  const failedDrill =
    found.failedDrill === undefined
      ? level === 'restore'
        ? undefined
        : last?.failedDrill
      : { at, reason: host.redact(tellable(manifest, found.failedDrill)) };
  return {
    dbstash: 1,
    id: manifest.id,
    at,
    level,
    ok,
    reason: reason && host.redact(ok ? reason : tellable(manifest, reason)),
    ...(drill && { drill }),
    ...(failedDrill && { failedDrill }),
  };
}

/** A tool's own words hold pieces of the data (Key (email)=(...)), which must not lie in clear beside what is encrypted. */
const tellable = ({ encryption }: Pick<Backup['manifest'], 'encryption'>, reason: string): string =>
  encryption === null ? reason : reason.replace(/: .*$/s, '');
