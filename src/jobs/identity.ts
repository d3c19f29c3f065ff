import { ConfigError } from '../core/errors.ts';
import { planDecryption } from '../pipeline/filters.ts';
import { type Child, hasSucceeded, stopChild } from '../process/child.ts';
import type { Scratch } from '../process/scratch.ts';
import type { Backup } from '../remote/catalog.ts';
import { expectSound, type Reading } from './artifact.ts';
import { giveUp, limitOf } from './patience.ts';
import { type Session, startTool } from './session.ts';

/** More than age's header, however many recipients there are, and the first chunk that it can check. */
const HEAD_BYTES = 256 * 1024;

/** Decrypts the beginning of a backup that is encrypted. Returns why that does not work; undefined where it does. */
async function tryIdentity(session: Session, scratch: Scratch, backup: Backup): Promise<string | undefined> {
  const { host, remote } = session;
  if (backup.manifest.encryption === null) return undefined;
  return await giveUp(remote.title, limitOf(host), (signal) => decryptHead(session, scratch, backup, signal));
}

async function decryptHead(
  { host, remote }: Session,
  scratch: Scratch,
  { path }: Backup,
  signal: AbortSignal,
): Promise<string | undefined> {
  await using started = new AsyncDisposableStack();
  const keep = (child: Child): Child => {
    started.defer(() => stopChild(child, 500));
    return child;
  };
  const stop = () => void started.disposeAsync();
  signal.addEventListener('abort', stop, { once: true });
  started.defer(() => signal.removeEventListener('abort', stop));
  const source = keep(remote.open(path));
  source.stdin.end();
  const head = await readHead(source);
  const age = keep(await startTool(host, scratch, planDecryption(host.config.identity)));
  age.stdin.end(head);
  const [clear, exit] = await Promise.all([readHead(age), age.exit]);
  signal.throwIfAborted();
  // Cut short, it fails in any case: what counts is whether anything came out of it.
  if (clear.length > 0 || hasSucceeded(exit)) return undefined;
  return describeRefusal(age.stderrTail());
}

const NO_MATCH = /no identity matched/;

function describeRefusal(stderr: string): string {
  if (NO_MATCH.test(stderr)) return 'DECRYPT_IDENTITY is of none of its recipients';
  const [first = ''] = stderr.split('\n');
  return first === '' ? 'age gives nothing' : first;
}

async function readHead({ stdout }: Child): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of stdout as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes >= HEAD_BYTES) break;
    }
  } catch {
    // What did not come is missed by the reader.
  }
  return Buffer.concat(chunks);
}

/** Throws `ConfigError`, whose sentence ends in `note`, where a backup cannot be decrypted; `VerifyError` where its damage looks like that. */
export async function expectOpen(reading: Reading, note = ''): Promise<void> {
  const { session, scratch, backup } = reading;
  const problem = await tryIdentity(session, scratch, backup);
  if (problem === undefined) return;
  await expectSound(reading);
  throw new ConfigError(`${backup.path} cannot be decrypted: ${problem}${note}`);
}
