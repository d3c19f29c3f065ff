import type { Command } from '../core/command.ts';
import { DumpError, describeError, VerifyError } from '../core/errors.ts';
import type { CheckPlan, Marks } from '../engines/engine.ts';
import { watchCompleteness } from '../pipeline/completeness.ts';
import { planDecoding } from '../pipeline/filters.ts';
import type { Producer } from '../pipeline/relay.ts';
import { engineOf, expectStored, expectThere, expectWhole, pass, type Reading } from './artifact.ts';
import { expectRoom, fetchFolder } from './fetch.ts';
import { expectOpen } from './identity.ts';
import { followReading } from './progress.ts';
import { runTool } from './session.ts';
import { isShortage } from './shortage.ts';

/** Passes on what it gets, to nobody. */
const CAT: Command = { file: 'cat', args: [] };

/** Begins what is found of a dump that is stored as it was made. */
export const UNREADABLE = 'it is what was backed up, and cannot be read';

const UNDECRYPTED = 'it is encrypted and DECRYPT_IDENTITY is not set: its SHA-256 alone was checked';

/**
 * Reads a backup in full: SHA-256, decryption, decompression, and what the engine can tell of a dump without a server.
 * Returns what could not be looked at, if anything. Throws `VerifyError` where it is damaged; any other error is none of
 * the backup's: the remote, a tool, or the identity.
 */
export async function expectReadable(reading: Reading, more: Watch = {}): Promise<string | undefined> {
  const { session, backup } = reading;
  const { manifest, path } = backup;
  const { identity } = session.host.config;
  const engine = engineOf(backup);
  await expectThere(reading);
  if (manifest.encryption !== null && identity.length === 0) {
    await expectWhole(reading);
    return UNDECRYPTED;
  }
  await expectOpen(reading);
  try {
    await readThrough(reading, { ...more, ...engine.planCheck({ ...manifest, facts: manifest.target }) });
  } catch (error) {
    if (!(error instanceof DumpError)) throw error;
    await expectStored(reading);
    if (isShortage(error.message)) throw error;
    const finding = `${UNREADABLE}: ${describeError(error)}`;
    throw new VerifyError(`${path} on ${session.remote.title} is damaged: ${finding}`, { finding });
  }
  return undefined;
}

/** What is known of a dump, and wanted of it, besides. */
interface Watch {
  readonly marks?: Marks;
  /** Sees every byte of the dump that is no folder. */
  readonly see?: (chunk: Buffer) => void;
}

async function readThrough(reading: Reading, plan: CheckPlan & Watch): Promise<void> {
  const { session, scratch, backup } = reading;
  const { host } = session;
  const { manifest, path } = backup;
  if (plan.needsRoom) await expectRoom(reading, `to look at ${path} takes`);
  let left = plan.commands;
  if (!(await fetchFolder(reading))) {
    const [first = CAT, ...rest] = plan.commands;
    left = rest;
    const decoders = planDecoding(manifest, host.config.identity);
    using progress = followReading(host, manifest);
    // What looks at the dump stands behind a stage of its own: the artifact's has its hash to look after.
    await pass(reading, [...(decoders.length > 0 ? decoders : [CAT]), first], {
      progress,
      watch: watchDump(plan, path),
    });
  }
  for (const command of left) await runTool(host, scratch, command, host.signal);
}

/** The same marks as when it was made, on what came back. */
function watchDump({ marks, examine, see }: CheckPlan & Watch, path: string): Pick<Producer, 'tap' | 'approve'> {
  const completeness = marks && watchCompleteness(marks);
  const examination = examine?.();
  return {
    tap: (chunk) => {
      see?.(chunk);
      examination?.add(chunk);
      return completeness?.add(chunk);
    },
    approve: async () => {
      const problem = (await completeness?.check()) ?? examination?.end().problem;
      if (problem !== undefined) throw new DumpError(`${path} is no whole dump: ${problem}`);
      return undefined;
    },
  };
}
