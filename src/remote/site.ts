import type * as z from 'zod';
import { RemoteError } from '../core/errors.ts';
import { hasSucceeded } from '../process/child.ts';
import type { Backend } from './backend.ts';
import { joinPath, type Location } from './location.ts';
import { type Rclone, rcloneError } from './rclone.ts';

/** Where a remote is, and how it is reached. */
export interface Site {
  readonly rclone: Rclone;
  readonly location: Location;
  readonly backend: Backend;
}

/** As rclone takes a path of the remote; '' is the remote itself. */
export const placeOf = ({ location }: Site, path: string): string =>
  path === '' ? location.path : joinPath(location.path, path);

export const titleOf = ({ location }: Site, path: string): string =>
  path === '' ? location.title : joinPath(location.title, path);

/** What a verb prints. Throws `RemoteError`. */
export async function ask(
  site: Site,
  verb: string,
  path: string,
  flags: readonly string[],
  signal: AbortSignal,
  input?: string,
): Promise<string> {
  const call = { verb: [verb], flags, paths: [joinPath(site.location.path, path)] };
  const output = await site.rclone.run({ ...call, ...(input === undefined ? {} : { input }) }, signal);
  if (!hasSucceeded(output.exit))
    throw rcloneError(`${verb} ${joinPath(site.location.title, path)}`, output.exit, output.stderr);
  return output.stdout;
}

/** Storages where rclone's own checksum only repeats what it holds in memory; our SHA-256 stands in the manifest. */
const SKIP_CHECKSUM = new Set(['local', 's3', 'alias']);

export const checksumFlags = ({ backend }: Site): readonly string[] =>
  backend.types.every((type) => SKIP_CHECKSUM.has(type)) ? ['--ignore-checksum'] : [];

/** `what` is for the message of the `RemoteError`. */
export function parse<T>(schema: z.ZodType<T>, text: string, what: string): T {
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw new RemoteError(`${what} does not parse: it may have been cut short`, { cause: error });
  }
}

/** Without it `cat` of one object lists all that lies beside it (seen with rclone 1.60 and 1.75). */
export const ONE_OBJECT = '--no-traverse';
