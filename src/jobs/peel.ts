import { ConfigError } from '../core/errors.ts';
import { findCompression, findEncryption, planDecoding } from '../pipeline/filters.ts';
import { describeExit } from '../process/child.ts';
import type { Scratch } from '../process/scratch.ts';
import { pipeHead } from './head.ts';
import type { Session } from './session.ts';

/** bzip2 gives nothing before it has a whole block, of up to 900 kB. */
const PEELED_BYTES = 1024 * 1024;

/** The beginning of what goes by, as much as `peel` takes. */
export function keepHead(): { readonly add: (chunk: Buffer) => void; readonly bytes: () => Buffer } {
  const chunks: Buffer[] = [];
  let bytes = 0;
  return {
    add(chunk) {
      if (bytes < PEELED_BYTES) chunks.push(Buffer.from(chunk));
      bytes += chunk.length;
    },
    bytes: () => Buffer.concat(chunks).subarray(0, PEELED_BYTES),
  };
}

/** What is around a dump. */
export interface Layers {
  readonly compression: string | null;
  readonly encryption: string | null;
  /** Of the dump itself. */
  readonly head: Buffer;
}

/** Takes off what is around the dump: encryption first, then compression. Throws `ConfigError` where that does not work. */
export async function peel(session: Session, scratch: Scratch, outer: Buffer): Promise<Layers> {
  const encryption = findEncryption(outer);
  const encoded = await undo(session, scratch, { compression: null, encryption }, outer);
  const compression = findCompression(encoded);
  return { compression, encryption, head: await undo(session, scratch, { compression, encryption: null }, encoded) };
}

async function undo(session: Session, scratch: Scratch, layer: Omit<Layers, 'head'>, outer: Buffer): Promise<Buffer> {
  const { host } = session;
  let head = outer;
  for (const command of planDecoding(layer, host.config.identity)) {
    const { clear, exit, stderr } = await pipeHead(session, scratch, command, head, host.signal, PEELED_BYTES);
    if (exit.failure) throw new ConfigError(describeExit(command.file, exit, stderr));
    if (clear.length === 0) throw new ConfigError(`${command.file} makes nothing of it: ${stderr.split('\n')[0]}`);
    head = clear;
  }
  return head;
}
