import { createId } from '../core/backupId.ts';
import type { Command } from '../core/command.ts';
import { DumpError, describeError, RemoteError } from '../core/errors.ts';
import { MANIFEST_SUFFIX, type Manifest, parseManifest } from '../core/manifest.ts';
import { renderName } from '../core/naming.ts';
import { formatBytes } from '../core/units.ts';
import type { DumpPlan, Server } from '../engines/engine.ts';
import { watchCompleteness } from '../pipeline/completeness.ts';
import { createDigest, type Digest } from '../pipeline/digest.ts';
import { filters } from '../pipeline/filters.ts';
import { type Producer, relay, type Stage } from '../pipeline/relay.ts';
import { type Child, stopChild } from '../process/child.ts';
import type { Catalog } from '../remote/catalog.ts';
import { explainPartLimit, planParts } from '../remote/parts.ts';
import { type Claim, claimName } from './claim.ts';
import { checkShrink } from './guards.ts';
import { type Facts, inspectDatabase } from './inspect.ts';
import { warnOfOrphans } from './orphans.ts';
import { pruneAfterBackup } from './prune.ts';
import type { Result, Run } from './run.ts';
import { cleanupSignal, runTool, startSource, startTool } from './session.ts';

const REFRESH_MS = 60 * 60 * 1000;

/** Dumps the database onto the remote, commits it by its manifest, and prunes its series. Throws the first cause. */
export async function backup(run: Run): Promise<Result> {
  const { session, signal } = run;
  const facts = await inspectDatabase(session, run.scratch, signal);
  const { plan } = facts;
  for (const warning of facts.warnings) run.warn(warning);
  const id = createId(run.startedAt, session.host.randomHex(3));
  const claim = await claimName(run, renderBase(run), extensionOf(run, plan), id);
  warnOfOrphans(run, claim.catalog, id);
  const manifest = await commitOrDiscard(run, claim, async () => {
    for (const command of plan.prepare) await runTool(session.host, run.scratch, command, signal);
    const stored = await upload(run, plan, claim, facts.server);
    await claim.publish(signal);
    await expectStored(run, claim.artifact, stored.bytes);
    return createManifest(run, { id, claim, plan, facts, stored });
  });
  run.logger.info(`backed up ${formatBytes(manifest.bytes)} to ${claim.artifact}`, {
    backup_id: id,
    bytes: manifest.bytes,
  });
  return { backups: [manifest], removed: await pruneAfterBackup(run, manifest, claim.catalog) };
}

function renderBase({ session, startedAt }: Run): string {
  const { config, randomHex } = session.host;
  const { connection, template, timeZone } = config;
  const host = connection.hosts[0]?.host ?? 'localhost';
  return renderName(template, {
    db: config.database,
    engine: connection.engine,
    host,
    startedAt,
    timeZone,
    randomHex: randomHex(4),
  });
}

function extensionOf(run: Run, plan: DumpPlan): string {
  const { compress, extension } = run.session.host.config;
  return extension ?? plan.extension + (compress.kind === 'filter' ? filters[compress.filter].extension : '');
}

interface Stored {
  readonly bytes: number;
  readonly sha256: string;
  readonly dumpBytes: number;
}

/** The relay from the dump tool to rclone. Resolves when rclone has taken every byte and exited 0. */
async function upload(run: Run, plan: DumpPlan, claim: Claim, server: Server): Promise<Stored> {
  const { host, remote } = run.session;
  const stored = createDigest();
  let dumpBytes = 0;
  const whole = watchCompleteness(plan.marks);
  const chunkBytes = chooseChunk(run, claim.catalog, server);
  await using started = new AsyncDisposableStack();
  const keep = (child: Child): Child => {
    started.defer(() => stopChild(child, 500));
    return child;
  };
  const dump: Producer = {
    child: keep(await startSource(host, run.scratch, plan.dump)),
    fail: (message) => new DumpError(message),
    tap: (chunk) => {
      dumpBytes += chunk.length;
      run.progress.add(chunk.length);
      return whole.add(chunk);
    },
    approve: async () => {
      const problem = await whole.check();
      if (problem) throw new DumpError(`the dump is not whole: ${problem}`);
      checkSize(run, dumpBytes);
      checkShrink(run, plan, dumpBytes, claim.catalog);
    },
  };
  const producers = withDigest([dump, ...(await startFilters(run, keep))], stored);
  const sink: Stage = {
    child: keep(remote.upload(claim.artifact, chunkBytes, onGrowth(run.progress.touch))),
    fail: (message) => {
      const advice = explainPartLimit(remote.backend.parts, chunkBytes, stored.bytes, message);
      return new RemoteError(`${message} (after ${formatBytes(stored.bytes)} for ${remote.title})${advice}`);
    },
  };
  await using _ = keepFresh(run, claim);
  await relay(producers, sink, run.signal);
  return { bytes: stored.bytes, sha256: stored.sha256(), dumpBytes };
}

/** rclone tells its count every few seconds, also where nothing moves. */
function onGrowth(touch: () => void): (bytes: number) => void {
  let most = 0;
  return (bytes) => {
    if (bytes > most) touch();
    most = Math.max(most, bytes);
  };
}

/** Refreshes the pending record hourly until disposed of; what is being written then is given up. */
function keepFresh({ session, signal }: Run, claim: Claim): AsyncDisposable {
  const { clock } = session.host;
  const over = new AbortController();
  const stop = AbortSignal.any([signal, over.signal]);
  let writing = Promise.resolve();
  const write = () => {
    writing = claim.refresh(stop).catch(() => {});
    timer = clock.setTimeout(write, REFRESH_MS);
  };
  let timer = clock.setTimeout(write, REFRESH_MS);
  return {
    [Symbol.asyncDispose]: async () => {
      clock.clearTimeout(timer);
      over.abort();
      await writing;
    },
  };
}

async function startFilters(run: Run, keep: (child: Child) => Child): Promise<readonly Producer[]> {
  const { compress } = run.session.host.config;
  if (compress.kind !== 'filter') return [];
  const command: Command = filters[compress.filter].encode(compress.level ?? filters[compress.filter].defaultLevel);
  return [
    { child: keep(await startTool(run.session.host, run.scratch, command)), fail: (message) => new DumpError(message) },
  ];
}

/** What the last producer writes is what will be stored. */
function withDigest(producers: readonly Producer[], digest: Digest): readonly Producer[] {
  const last = producers.at(-1)!;
  const tap = (chunk: Buffer) => {
    digest.add(chunk);
    return last.tap?.(chunk);
  };
  return [...producers.slice(0, -1), { ...last, tap }];
}

function checkSize(run: Run, bytes: number): void {
  const { minBytes } = run.session.host.config;
  if (bytes < minBytes) throw new DumpError(`the dump has ${bytes} bytes, less than BACKUP_MIN_SIZE, ${minBytes}`);
}

function chooseChunk(run: Run, catalog: Catalog, server: Server): number | undefined {
  const { remote, series, host } = run.session;
  if (!remote.backend.parts) return undefined;
  const last = catalog.backups.find(({ manifest, state }) => manifest.series === series && state === 'good');
  const plan = planParts(remote.backend.parts, {
    databaseBytes: server.bytes,
    lastBytes: last?.manifest.bytes ?? 0,
    availableBytes: host.availableBytes(),
  });
  if (plan.warning) run.warn(plan.warning);
  return plan.chunkBytes;
}

/** Neither rclone's exit 0 nor its failure proves what lies there: look. */
async function expectStored(run: Run, path: string, bytes: number): Promise<void> {
  const { remote } = run.session;
  const found = await remote.stat(path, run.signal);
  if (found === undefined) throw new RemoteError(`${remote.title} does not hold ${path} after the upload`);
  if (found !== bytes) throw new RemoteError(`${remote.title} holds ${found} bytes of ${path}, ${bytes} were sent`);
}

interface Made extends Pick<Manifest, 'id'> {
  readonly claim: Claim;
  readonly plan: DumpPlan;
  readonly facts: Facts;
  readonly stored: Stored;
}

function createManifest(run: Run, { id, claim, plan, facts, stored }: Made): Manifest {
  const { host, series, engine } = run.session;
  const { compress } = host.config;
  return {
    dbstash: 1,
    id,
    run: run.id,
    series,
    serverId: facts.server.serverId,
    engine: engine.name,
    database: host.config.connection.database,
    mode: 'stream',
    artifact: claim.artifact,
    startedAt: run.startedAt.toISOString(),
    finishedAt: host.clock.now().toISOString(),
    ...stored,
    format: plan.format,
    compression: compress.kind === 'filter' ? compress.filter : plan.container,
    encryption: null,
    tool: facts.tool,
    server: facts.server.title,
    version: host.version,
    target: { ...facts.server.target, ...plan.facts },
  };
}

/** Makes the artifact, then commits it by its manifest; on any failure before that, removes what was written. */
async function commitOrDiscard(run: Run, claim: Claim, make: () => Promise<Manifest>): Promise<Manifest> {
  let manifest: Manifest;
  try {
    manifest = await make();
    await run.confirmLock();
    run.signal.throwIfAborted();
    await writeManifest(run, manifest);
  } catch (error) {
    if (!(error instanceof UnknownCommitError)) await claim.discard(cleanupSignal(run.session.host));
    throw error;
  }
  // The backup is committed: what comes after may warn, not fail.
  await claim.release(cleanupSignal(run.session.host)).catch((error: unknown) => {
    run.warn(`the pending record of ${claim.artifact} could not be removed: ${describeError(error)}`);
  });
  return manifest;
}

/** The manifest may or may not be there: nothing is removed, and its pending record tells the next run. */
class UnknownCommitError extends RemoteError {}

/** The commit. Neither rclone's exit 0 nor its failure proves that the object is there: a look decides. */
async function writeManifest(run: Run, manifest: Manifest): Promise<void> {
  const { remote, host } = run.session;
  const path = manifest.artifact + MANIFEST_SUFFIX;
  const text = `${JSON.stringify(manifest, null, 2)}\n`;
  const failure = await remote.write(path, text, cleanupSignal(host)).catch((error: unknown) => error);
  try {
    if (await isWritten(run, path, manifest.id)) return;
    await remote.remove([path], run.scratch.path, cleanupSignal(host));
  } catch (error) {
    throw new UnknownCommitError(`whether ${path} was written is not known`, { cause: failure ?? error });
  }
  throw failure ?? new RemoteError(`${remote.title} does not hold ${path} after it was written`);
}

async function isWritten(run: Run, path: string, id: string): Promise<boolean> {
  const found = await run.session.remote.readAll([path], run.scratch.path, cleanupSignal(run.session.host));
  return parseManifest(found.get(path) ?? '')?.id === id;
}
