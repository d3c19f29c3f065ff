import { createHash } from 'node:crypto';
import { formatCount } from './units.ts';

/** What a dump holds by name; of a whole mongo server its databases. */
export interface Tables {
  readonly kind: 'table' | 'collection' | 'database';
  readonly names: readonly string[];
}

/**
 * What a manifest says of them, bounded, so that the next backup can tell what is gone: their names, or where these must not
 * lie in clear or are many a digest each, eight hexadecimal digits in a row, or where they are more still their number alone.
 */
export interface KeptTables {
  /** As of `Tables`, or of a later version. */
  readonly kind: string;
  readonly count: number;
  readonly names?: readonly string[];
  readonly digests?: string;
}

const MAX_NAMES = 250;
const MAX_NAMES_LENGTH = 8192;
const MAX_DIGESTS = 2000;
const DIGEST_LENGTH = 8;

/** `id` is the backup's: no two have the same digest for a name. */
const digestOf = (name: string, id: string): string =>
  createHash('sha256').update(`${id}\0${name}`).digest('hex').slice(0, DIGEST_LENGTH);

export function keepTables({ kind, names }: Tables, id: string, isEncrypted: boolean): KeptTables {
  const sorted = names.toSorted();
  const length = sorted.reduce((sum, name) => sum + name.length, 0);
  const kept = { kind, count: sorted.length };
  if (!isEncrypted && sorted.length <= MAX_NAMES && length <= MAX_NAMES_LENGTH) return { ...kept, names: sorted };
  if (sorted.length > MAX_DIGESTS) return kept;
  return { ...kept, digests: sorted.map((name) => digestOf(name, id)).join('') };
}

const MAX_SHOWN = 5;

/** What of an earlier backup is not there any more, in a sentence; undefined where nothing is missed. `path` is that backup's. */
export function describeVanished(
  before: KeptTables,
  { id, path }: { readonly id: string; readonly path: string },
  now: Tables,
): string | undefined {
  if (before.kind !== now.kind) return undefined;
  const { gone, names } = findGone(before, id, now.names);
  if (gone === 0) return undefined;
  const more = gone - MAX_SHOWN;
  const which =
    names.length === 0 ? '' : `: ${names.slice(0, MAX_SHOWN).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
  const what = `${gone} of the ${formatCount(before.count, now.kind)} that ${path} holds`;
  return `${what} ${gone === 1 ? 'is' : 'are'} not there any more${which}; look whether that is meant`;
}

function findGone(before: KeptTables, id: string, names: readonly string[]) {
  if (before.names) {
    const present = new Set(names);
    const missing = before.names.filter((name) => !present.has(name));
    return { gone: missing.length, names: missing };
  }
  if (before.digests === undefined) return { gone: Math.max(before.count - names.length, 0), names: [] };
  const present = new Set(names.map((name) => digestOf(name, id)));
  const digests = before.digests.match(/[0-9a-f]{8}/g) ?? [];
  return { gone: digests.filter((digest) => !present.has(digest)).length, names: [] };
}
