import * as z from 'zod';
import { parseConnectionString } from '../config/connectionString.ts';
import { RemoteError } from '../core/errors.ts';
import { hasSucceeded } from '../process/child.ts';
import { joinPath, type Location, variablePrefix } from './location.ts';
import { type Rclone, rcloneError } from './rclone.ts';

/** What kind of storage a remote is, seen through the remotes that wrap others. */
export interface Backend {
  /** Types from the remote named to the storage itself: ["crypt", "s3"]. */
  readonly types: readonly string[];
  /** True where an object appears only when it is whole: then it is uploaded under its final name. */
  readonly isAtomic: boolean;
  /** False where rclone spools a whole stream to its temporary folder first. */
  readonly canStream: boolean;
  /** Sizes that are no power of ten of the stored bytes (crypt adds a header) are rclone's business; names are ours. */
  readonly parts: PartRule | undefined;
}

/** Storages that cut an upload into parts, and take only so many. The limits are rclone's documented ones. */
export interface PartRule {
  readonly flag: string;
  readonly variable: string;
  readonly concurrencyVariable: string;
  readonly maxParts: number;
  readonly concurrency: number;
  /** What rclone would use: its default, or the user's own setting. */
  readonly chunkBytes: number;
  readonly isUsersOwn: boolean;
}

const MIB = 1024 * 1024;
const PART_LIMITED: Readonly<
  Record<string, { chunkBytes: number; maxParts: number; concurrency: number; flag: string }>
> = {
  s3: { chunkBytes: 5 * MIB, maxParts: 10_000, concurrency: 4, flag: 's3' },
  oracleobjectstorage: { chunkBytes: 5 * MIB, maxParts: 10_000, concurrency: 10, flag: 'oos' },
  b2: { chunkBytes: 96 * MIB, maxParts: 10_000, concurrency: 4, flag: 'b2' },
  azureblob: { chunkBytes: 4 * MIB, maxParts: 50_000, concurrency: 16, flag: 'azureblob' },
};

/** Wrappers that tell of what they wrap whether half-written objects show there; the others say that none do. */
const TRUTHFUL_WRAPPERS = new Set(['alias', 'crypt']);

const featuresSchema = z.object({ Features: z.record(z.string(), z.unknown()) });
const dumpSchema = z.record(z.string(), z.record(z.string(), z.string()));
type Definitions = z.infer<typeof dumpSchema>;
type Options = Readonly<Record<string, string>>;

/** Asks rclone what the remote can do and what it wraps. `env` is rclone's environment, `extraArgs` the user's flags. */
export async function inspectBackend(
  rclone: Rclone,
  location: Location,
  env: Options,
  extraArgs: readonly string[],
  signal: AbortSignal,
): Promise<Backend> {
  const isLocal = parseConnectionString(location.path) === undefined;
  const [features, definitions] = await Promise.all([
    readFeatures(rclone, location, signal),
    isLocal ? {} : readDefinitions(rclone, signal),
  ]);
  const chain = walk(location.path, definitions, env);
  const types = [...new Set(chain.map(({ type }) => type))];
  const limited = chain.find(({ type }) => type in PART_LIMITED);
  return {
    types,
    isAtomic: isAtomic(features, types),
    canStream: features.PutStream === true,
    parts: limited && readPartRule(limited, env, extraArgs),
  };
}

/**
 * Storages of objects in buckets show whole objects only. Of others rclone tells (since 1.63) whether half-written ones
 * show, and is believed where nothing that keeps it to itself is in between.
 */
function isAtomic({ BucketBased, PartialUploads }: Record<string, unknown>, types: readonly string[]): boolean {
  if (PartialUploads === true) return false;
  const isTold = PartialUploads === false && types.slice(0, -1).every((type) => TRUTHFUL_WRAPPERS.has(type));
  return BucketBased === true || (isTold && types.length > 0);
}

async function readFeatures(rclone: Rclone, location: Location, signal: AbortSignal): Promise<Record<string, unknown>> {
  const output = await rclone.run({ verb: ['backend', 'features'], paths: [joinPath(location.path, '')] }, signal);
  if (!hasSucceeded(output.exit)) throw rcloneError(`backend features ${location.title}`, output.exit, output.stderr);
  const parsed = featuresSchema.safeParse(parseJson(output.stdout));
  if (!parsed.success) throw new RemoteError(`rclone does not tell what ${location.title} can do`);
  return parsed.data.Features;
}

/** The remotes in rclone's configuration, by the names that they have in variables. */
async function readDefinitions(rclone: Rclone, signal: AbortSignal): Promise<Definitions> {
  const output = await rclone.run({ verb: ['config', 'dump'], paths: [] }, signal);
  if (!hasSucceeded(output.exit)) throw rcloneError('config dump', output.exit, output.stderr);
  const dumped = Object.entries(dumpSchema.safeParse(parseJson(output.stdout)).data ?? {});
  return Object.fromEntries(dumped.map(([name, options]) => [name.toUpperCase(), options]));
}

/** One remote in a chain of wrappers. `own` is what its variables (RCLONE_CONFIG_NAME_KEY) and its connection string say. */
interface Link {
  readonly type: string;
  readonly own: Options;
  readonly configured: Options;
}

/** The remotes along the chain of wrappers (crypt, alias, union, chunker ...), from the outermost on. */
function walk(path: string, definitions: Definitions, env: Options, depth = 0): readonly Link[] {
  const parts = parseConnectionString(path);
  if (!parts) return [{ type: 'local', own: {}, configured: {} }];
  const given = Object.fromEntries(parts.options);
  if (parts.name.startsWith(':')) return [{ type: parts.name.slice(1), own: given, configured: {} }];
  const configured = definitions[parts.name.toUpperCase()] ?? {};
  const own = { ...readVariables(parts.name, env), ...given };
  const { type, ...options } = { ...configured, ...own };
  if (!type || depth > MAX_DEPTH) return [];
  const inner = innerPaths(type, options).flatMap((next) => walk(next, definitions, env, depth + 1));
  return [{ type, own, configured }, ...inner];
}

/** A remote that wraps itself is rclone's to refuse. */
const MAX_DEPTH = 8;

function readVariables(name: string, env: Options): Options {
  const prefix = variablePrefix(name);
  const found = Object.entries(env).filter(([variable]) => variable.startsWith(prefix));
  return Object.fromEntries(found.map(([variable, value]) => [variable.slice(prefix.length).toLowerCase(), value]));
}

/** What a wrapper wraps. `upstreams` are parted by spaces and may be quoted; combine's begin with `folder=`. */
function innerPaths(type: string, { remote, upstreams = '' }: Options): readonly string[] {
  const list = [...upstreams.matchAll(/"((?:[^"]|"")*)"|(\S+)/g)].map(([, quoted, plain]) =>
    quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"'),
  );
  const paths = type === 'combine' ? list.map((upstream) => upstream.replace(/^[^=]*=/, '')) : list;
  return [...(remote ? [remote] : []), ...paths];
}

function readPartRule({ type, own, configured }: Link, env: Options, extraArgs: readonly string[]): PartRule {
  const rule = PART_LIMITED[type]!;
  const flag = `--${rule.flag}-chunk-size`;
  const prefix = `RCLONE_${rule.flag.toUpperCase()}_`;
  // As rclone does: a flag, then the remote's own variable, then the storage's, then the configuration.
  const setting = (key: string): string | undefined =>
    readFlag(extraArgs, `--${rule.flag}-${key.replaceAll('_', '-')}`) ??
    own[key] ??
    env[prefix + key.toUpperCase()] ??
    configured[key];
  const chunkBytes = parseRcloneSize(setting('chunk_size'));
  return {
    flag,
    variable: `${prefix}CHUNK_SIZE`,
    concurrencyVariable: `${prefix}UPLOAD_CONCURRENCY`,
    maxParts: Number(setting('max_upload_parts')) || rule.maxParts,
    concurrency: Number(setting('upload_concurrency')) || rule.concurrency,
    chunkBytes: chunkBytes ?? rule.chunkBytes,
    isUsersOwn: chunkBytes !== undefined,
  };
}

/** The last one counts. */
function readFlag(args: readonly string[], flag: string): string | undefined {
  const index = args.findLastIndex((arg) => arg === flag || arg.startsWith(`${flag}=`));
  return args[index] === flag ? args[index + 1] : args[index]?.slice(flag.length + 1);
}

/** rclone's sizes: a number of KiB, or with a suffix B, K, Mi, GiB ... (https://rclone.org/docs/#size-options). */
function parseRcloneSize(text: string | undefined): number | undefined {
  const match = /^(\d+(?:\.\d+)?)([bkmgtp]?)(?:i?b?)$/i.exec(text?.trim() ?? '');
  const power = 'bkmgtp'.indexOf((match?.[2] || 'k').toLowerCase());
  return match ? Math.round(Number(match[1]) * 1024 ** power) : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
