import { DumpError, RemoteError } from '../core/errors.ts';
import { digestOfFiles, type Manifest, type StoredFile } from '../core/manifest.ts';
import { formatBytes } from '../core/units.ts';
import type { DumpPlan, Server } from '../engines/engine.ts';
import { watchCompleteness } from '../pipeline/completeness.ts';
import { createDigest, type Digest } from '../pipeline/digest.ts';
import { planEncoding } from '../pipeline/filters.ts';
import { type Producer, relayToAll, type Stage } from '../pipeline/relay.ts';
import { type Child, stopChild } from '../process/child.ts';
import type { Catalog } from '../remote/catalog.ts';
import { explainPartLimit, type PartPlan, planParts } from '../remote/parts.ts';
import type { Claim } from './claim.ts';
import type { Dump, DumpFolder, DumpStream } from './dump.ts';
import { checkShrink } from './guards.ts';
import { withPatience } from './patience.ts';
import type { Run } from './run.ts';
import { type Place, type Session, startSource, startTool } from './session.ts';

const REFRESH_MS = 60 * 60 * 1000;

export interface Stored extends Pick<Manifest, 'bytes' | 'sha256' | 'dumpBytes'> {
  readonly files?: readonly StoredFile[];
}

export interface Uploaded {
  readonly stored: Stored;
  /** Of each claim, undefined where the remote has taken every byte. */
  readonly failures: readonly (Error | undefined)[];
}

/** Resolves when at least one remote has taken every byte, and rclone has exited 0. */
export async function upload(
  run: Run,
  plan: DumpPlan,
  dump: Dump,
  claims: readonly Claim[],
  server: Server,
): Promise<Uploaded> {
  await using _ = keepFresh(run, claims);
  if (dump.kind === 'folder') return await uploadFolder(run, plan, dump, claims);
  return await uploadStream(run, plan, dump, claims, server);
}

const catalogsOf = (claims: readonly Claim[]): readonly Catalog[] => claims.map(({ catalog }) => catalog);

async function uploadFolder(
  run: Run,
  plan: DumpPlan,
  { path, files }: DumpFolder,
  claims: readonly Claim[],
): Promise<Uploaded> {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  checkSize(run, bytes);
  checkShrink(run, plan, bytes, catalogsOf(claims));
  const copies = claims.map(({ place, artifact }) =>
    withPatience(run, place, async (signal, touch) => {
      const onProgress = onGrowth(() => {
        touch();
        run.progress.touch();
      });
      await place.remote.uploadFolder(path, artifact, onProgress, signal);
    }),
  );
  const results = await Promise.allSettled(copies);
  const failures = results.map((result) => (result.status === 'rejected' ? (result.reason as Error) : undefined));
  if (failures.every((failure) => failure !== undefined)) throw failures[0];
  return { stored: { bytes, dumpBytes: bytes, sha256: digestOfFiles(files), files }, failures };
}

/** The relay from the dump tool to rclone, one for each remote. */
async function uploadStream(
  run: Run,
  plan: DumpPlan,
  dump: DumpStream,
  claims: readonly Claim[],
  server: Server,
): Promise<Uploaded> {
  const { host } = run.session;
  const stored = createDigest();
  await using started = new AsyncDisposableStack();
  const keep = (child: Child): Child => {
    started.defer(() => stopChild(child, 500));
    return child;
  };
  const counted = { bytes: 0 };
  const filters = await startFilters(run, keep);
  const sinks = claims.map((claim) => startUpload(run, claim, server, stored, keep));
  const patience = { clock: host.clock, ms: host.config.stallTimeoutMs / 3 };
  // Last: what it wrote is lost if it is done before anybody reads.
  const source = await startDump(run, plan, dump, catalogsOf(claims), counted);
  keep(source.child);
  const producers = [source, ...filters];
  const last = producers.pop()!;
  const chain = [...producers, { ...last, sent: stored.add }];
  const failures = await relayToAll(chain, sinks, run.signal, patience);
  return { stored: { bytes: stored.bytes, sha256: stored.sha256(), dumpBytes: counted.bytes }, failures };
}

/** `counted` are the bytes of the dump. */
async function startDump(
  run: Run,
  plan: DumpPlan,
  dump: DumpStream,
  before: readonly Catalog[],
  counted: { bytes: number },
): Promise<Producer> {
  const whole = watchCompleteness(dump.marks);
  const examination = dump.examine?.();
  return {
    child: await startSource(run.session.host, run.scratch, dump.command),
    fail: (message) => new DumpError(message),
    tap: (chunk) => {
      counted.bytes += chunk.length;
      run.progress.add(chunk.length);
      examination?.add(chunk);
      return whole.add(chunk);
    },
    approve: async () => {
      const { problem, excessBytes = 0 } = examination?.end() ?? {};
      const cause = (await whole.check()) ?? problem;
      if (cause) throw new DumpError(`the dump is not whole: ${cause}`);
      counted.bytes -= excessBytes;
      checkSize(run, counted.bytes);
      checkShrink(run, plan, counted.bytes, before);
      return excessBytes;
    },
  };
}

function startUpload(run: Run, claim: Claim, server: Server, stored: Digest, keep: (child: Child) => Child): Stage {
  const { remote } = claim.place;
  const chunkBytes = chooseChunk(run, claim, server);
  let taken = 0;
  const onProgress = onGrowth(run.progress.touch);
  const child = remote.upload(claim.artifact, chunkBytes, (bytes) => {
    taken = bytes;
    onProgress(bytes);
  });
  return {
    child: keep(child),
    progress: () => taken,
    fail: (message) => {
      const advice = explainPartLimit(remote.backend.parts, chunkBytes, stored.bytes, message);
      return new RemoteError(`${message} (after ${formatBytes(stored.bytes)} for ${remote.title})${advice}`);
    },
  };
}

/** rclone tells its count every few seconds, also where nothing moves. */
function onGrowth(touch: () => void): (bytes: number) => void {
  let most = 0;
  return (bytes) => {
    if (bytes > most) touch();
    most = Math.max(most, bytes);
  };
}

/** Refreshes the pending records hourly until disposed of; what is being written then is given up. */
function keepFresh({ session, signal }: Run, claims: readonly Claim[]): AsyncDisposable {
  const { clock } = session.host;
  const over = new AbortController();
  const stop = AbortSignal.any([signal, over.signal]);
  let writing: Promise<unknown> = Promise.resolve();
  const write = () => {
    writing = Promise.allSettled(claims.map((claim) => claim.refresh(stop)));
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
  const { host } = run.session;
  const producers: Producer[] = [];
  for (const command of planEncoding(host.config, host.env.PATH).commands) {
    const child = keep(await startTool(host, run.scratch, command));
    producers.push({ child, fail: (message) => new DumpError(message) });
  }
  return producers;
}

function checkSize(run: Run, bytes: number): void {
  const { minBytes } = run.session.host.config;
  if (bytes < minBytes) throw new DumpError(`the dump has ${bytes} bytes, less than BACKUP_MIN_SIZE, ${minBytes}`);
}

function chooseChunk(run: Run, { place, catalog }: Claim, server: Server): number | undefined {
  const plan = planChunks(run.session, place, catalog, server);
  if (plan?.warning) run.warn(plan.warning);
  return plan?.chunkBytes;
}

/** Undefined where the storage does not count parts. */
export function planChunks(
  { series, host }: Session,
  { remote }: Place,
  { backups }: Pick<Catalog, 'backups'>,
  server: Pick<Server, 'bytes'>,
): PartPlan | undefined {
  const { parts } = remote.backend;
  if (!parts) return undefined;
  const last = backups.find(({ manifest, state }) => manifest.series === series && state === 'good');
  return planParts(parts, {
    databaseBytes: server.bytes,
    lastBytes: last?.manifest.bytes ?? 0,
    availableBytes: host.availableBytes(),
  });
}
