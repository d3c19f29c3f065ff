import { describeError, RemoteError } from '../core/errors.ts';
import { MANIFEST_SUFFIX, type Manifest, parseManifest } from '../core/manifest.ts';
import { measureStored, storedObjects } from '../remote/catalog.ts';
import type { Remote } from '../remote/remote.ts';
import type { Claim } from './claim.ts';
import { withPatience } from './patience.ts';
import type { Run } from './run.ts';
import { cleanupSignal, type Place } from './session.ts';

export interface Committed {
  readonly manifest: Manifest;
  /** Of the remotes that have the backup. */
  readonly holders: readonly Claim[];
}

/** Makes the artifact, then commits it on each remote by its manifest; where that fails, removes what was written. */
export async function commitOrDiscard(
  run: Run,
  claims: readonly Claim[],
  make: () => Promise<{ manifest: Manifest; failures: readonly (Error | undefined)[] }>,
): Promise<Committed> {
  const made = await make().catch(async (error: unknown) => {
    await Promise.all(claims.map((claim) => claim.discard(cleanupSignal(run.session.host))));
    throw error;
  });
  const { manifest, failures } = made;
  const results = await Promise.allSettled(claims.map((claim, index) => commit(run, claim, manifest, failures[index])));
  const lost = results.flatMap((result, index) =>
    result.status === 'rejected' ? [{ claim: claims[index]!, reason: result.reason as unknown }] : [],
  );
  if (lost.length === claims.length) throw lost[0]!.reason;
  for (const { claim, reason } of lost) run.warn(`${claim.place.remote.title} has no backup: ${describeError(reason)}`);
  return { manifest, holders: claims.filter((claim) => !lost.some((one) => one.claim === claim)) };
}

/** `failure` is that of the upload. */
async function commit(run: Run, claim: Claim, manifest: Manifest, failure: Error | undefined): Promise<void> {
  try {
    if (failure) throw failure;
    await withPatience(run, claim.place, async (signal) => {
      await claim.publish(signal);
      await expectStored(claim.place, manifest, signal);
    });
    await run.confirmLock();
    run.signal.throwIfAborted();
    await writeManifest(run, claim.place, manifest);
  } catch (error) {
    if (!(error instanceof UnknownCommitError)) await claim.discard(cleanupSignal(run.session.host));
    throw error;
  }
  // The backup is committed: what comes after may warn, not fail.
  await claim.release(cleanupSignal(run.session.host)).catch((error: unknown) => {
    run.warn(`the pending record of ${claim.artifact} could not be removed: ${describeError(error)}`);
  });
}

/** Neither rclone's exit 0 nor its failure proves what lies there: look. */
async function expectStored({ remote }: Place, manifest: Manifest, signal: AbortSignal): Promise<void> {
  const { artifact } = manifest;
  const sizes = await measureStored(remote, manifest, artifact, signal);
  for (const { path, bytes } of storedObjects(manifest, artifact)) {
    const found = sizes.get(path);
    if (found === undefined) throw new RemoteError(`${remote.title} does not hold ${path} after the upload`);
    if (found !== bytes) throw new RemoteError(`${remote.title} holds ${found} bytes of ${path}, ${bytes} were sent`);
  }
}

/** The manifest may or may not be there: nothing is removed, and its pending record tells the next run. */
class UnknownCommitError extends RemoteError {}

/** The commit. Neither rclone's exit 0 nor its failure proves that the object is there: a look decides. */
async function writeManifest(run: Run, { remote }: Place, manifest: Manifest): Promise<void> {
  const { host } = run.session;
  const path = manifest.artifact + MANIFEST_SUFFIX;
  const text = `${JSON.stringify(manifest, null, 2)}\n`;
  const failure = await remote.write(path, text, cleanupSignal(host)).catch((error: unknown) => error);
  try {
    if (await isWritten(run, remote, path, manifest.id)) return;
    await remote.remove([path], run.scratch.path, cleanupSignal(host));
  } catch (error) {
    throw new UnknownCommitError(`whether ${path} was written is not known`, { cause: failure ?? error });
  }
  throw failure ?? new RemoteError(`${remote.title} does not hold ${path} after it was written`);
}

async function isWritten(run: Run, remote: Remote, path: string, id: string): Promise<boolean> {
  const found = await remote.readAll([path], run.scratch.path, cleanupSignal(run.session.host));
  return parseManifest(found.get(path) ?? '')?.id === id;
}
