import { ConfigError } from '../core/errors.ts';
import { planDecryption } from '../pipeline/filters.ts';
import { hasSucceeded, stopChild } from '../process/child.ts';
import type { Scratch } from '../process/scratch.ts';
import type { Backup } from '../remote/catalog.ts';
import { expectSound, type Reading } from './artifact.ts';
import { pipeHead, readHead } from './head.ts';
import { giveUp, limitOf } from './patience.ts';
import type { Session } from './session.ts';

/** Decrypts the beginning of a backup that is encrypted. Returns why that does not work; undefined where it does. */
async function tryIdentity(session: Session, scratch: Scratch, backup: Backup): Promise<string | undefined> {
  const { host, remote } = session;
  if (backup.manifest.encryption === null) return undefined;
  return await giveUp(remote.title, limitOf(host), (signal) => decryptHead(session, scratch, backup, signal));
}

async function decryptHead(
  session: Session,
  scratch: Scratch,
  { path }: Backup,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { host, remote } = session;
  const source = remote.open(path);
  source.stdin.end();
  const stop = () => void stopChild(source, 500);
  signal.addEventListener('abort', stop, { once: true });
  const head = await readHead(source).finally(() => {
    signal.removeEventListener('abort', stop);
    return stopChild(source, 500);
  });
  signal.throwIfAborted();
  const { clear, exit, stderr } = await pipeHead(session, scratch, planDecryption(host.config.identity), head, signal);
  signal.throwIfAborted();
  // Cut short, it fails in any case: what counts is whether anything came out of it.
  if (clear.length > 0 || hasSucceeded(exit)) return undefined;
  return describeRefusal(stderr);
}

const NO_MATCH = /no identity matched/;

function describeRefusal(stderr: string): string {
  if (NO_MATCH.test(stderr)) return 'DECRYPT_IDENTITY is of none of its recipients';
  const [first = ''] = stderr.split('\n');
  return first === '' ? 'age gives nothing' : first;
}

/** Throws `ConfigError`, whose sentence ends in `note`, where a backup cannot be decrypted; `VerifyError` where its damage looks like that. */
export async function expectOpen(reading: Reading, note = ''): Promise<void> {
  const { session, scratch, backup } = reading;
  const problem = await tryIdentity(session, scratch, backup);
  if (problem === undefined) return;
  await expectSound(reading);
  throw new ConfigError(`${backup.path} cannot be decrypted: ${problem}${note}`);
}
