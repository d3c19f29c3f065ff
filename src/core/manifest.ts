import { createHash } from 'node:crypto';
import * as z from 'zod';
import { MODES } from './mode.ts';
import { PENDING_SUFFIX } from './suffixes.ts';
import { formatCount } from './units.ts';

export * from './suffixes.ts';

/** What a restore into a new place needs to know and the dump does not say; each engine fills its own part. */
const target = z.record(z.string(), z.unknown());

/** A file of a folder that is an artifact; `path` is relative to it. */
const storedFile = z.object({
  path: z.string(),
  bytes: z.int().nonnegative(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type StoredFile = z.infer<typeof storedFile>;

/** As `KeptTables`. */
const keptTables = z.object({
  kind: z.string(),
  count: z.int().nonnegative(),
  names: z.array(z.string()).readonly().exactOptional(),
  digests: z.string().exactOptional(),
});

/**
 * The small JSON beside an artifact that makes it a backup: the commit marker, written after the artifact is known to
 * be whole on the remote. `bytes` and `sha256` are of what is stored, `dumpBytes` of what the tool wrote. Times are ISO 8601,
 * UTC. Of a folder, `bytes` are the sum of `files`, and `sha256` is that of the list as `sha256sum` prints it, sorted by path.
 */
const manifestSchema = z.object({
  dbstash: z.literal(1),
  id: z.string().regex(/^\d{8}T\d{6}Z-[0-9a-f]{6}$/),
  run: z.string(),
  series: z.string(),
  serverId: z.string().nullable(),
  engine: z.string(),
  database: z.string(),
  mode: z.enum(MODES),
  artifact: z.string(),
  startedAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
  bytes: z.int().nonnegative(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  dumpBytes: z.int().nonnegative(),
  format: z.string(),
  compression: z.string().nullable(),
  encryption: z.string().nullable(),
  tool: z.string(),
  server: z.string(),
  version: z.string(),
  target,
  files: z.array(storedFile).exactOptional(),
  /** Of a later version it may say something else: the backup is one all the same. */
  tables: keptTables.exactOptional().catch(undefined as never),
});
export type Manifest = z.infer<typeof manifestSchema>;

/**
 * Written before the first byte of an artifact: proof that the objects it names are ours. `refreshedAt` is rewritten
 * hourly while the upload goes on; a record that was not refreshed for a day belongs to a dead run.
 */
const pendingSchema = z.object({
  dbstash: z.literal(1),
  id: z.string(),
  run: z.string(),
  series: z.string(),
  startedAt: z.iso.datetime(),
  refreshedAt: z.iso.datetime(),
  objects: z.array(z.string()).nonempty(),
});
export type Pending = z.infer<typeof pendingSchema>;

/** SHA-256 of the list of files as `sha256sum` prints it. They are sorted by path. */
export const digestOfFiles = (files: readonly StoredFile[]): string =>
  createHash('sha256')
    .update(files.map(({ sha256, path }) => `${sha256}  ${path}\n`).join(''))
    .digest('hex');

/** How closely one can look. `stored`: there, and of the right size. `content`: read back in full. `restore`: restored aside. */
export const VERIFY_LEVELS = ['stored', 'content', 'restore'] as const;
export type VerifyLevel = (typeof VERIFY_LEVELS)[number];

/** What the last drill counted, when that was, and how long the restore took. `tables` are collections too, `rows` documents and keys. */
const drilledSchema = z.object({
  tables: z.number(),
  rows: z.number(),
  durationMs: z.number(),
  /** When it ended; older releases did not say it. */
  at: z.iso.datetime().exactOptional(),
});
export type Drilled = z.infer<typeof drilledSchema>;

/** A drill that failed, of a backup whose bytes are as they were written. */
const failedDrillSchema = z.object({ at: z.iso.datetime(), reason: z.string() });
export type FailedDrill = z.infer<typeof failedDrillSchema>;

export const describeCounts = ({ tables, rows }: Drilled): string =>
  tables > 0
    ? `${formatCount(rows, 'row')} in ${formatCount(tables, 'table')}`
    : rows > 0
      ? formatCount(rows, 'key')
      : 'it is empty';

/**
 * What the last look at a backup's content found; beside the manifest, as `<artifact>.verify.json`. `ok` is of the stored bytes
 * alone: a drill that fails says nothing of them, and leaves the backup good.
 */
const verdictSchema = z.object({
  dbstash: z.literal(1),
  id: z.string(),
  at: z.iso.datetime(),
  level: z.enum(VERIFY_LEVELS),
  ok: z.boolean(),
  reason: z.string().nullable(),
  /** The last one that went well, also where `level` is of a later look. */
  drill: drilledSchema.optional(),
  /** The last drill, where it did not go well; until one does. */
  failedDrill: failedDrillSchema.exactOptional(),
});
export type Verdict = z.infer<typeof verdictSchema>;

/** A backup as it is once its manifest is written, where it was written to. */
export const asWritten = <M extends Pick<Manifest, 'artifact'>>(manifest: M) =>
  ({ manifest, path: manifest.artifact, state: 'good', reason: undefined, verdict: undefined }) as const;

/** Parsers of the records; undefined where the text is not one (another tool's file, or one cut short). */
export const parseManifest = (text: string): Manifest | undefined => parseRecord(manifestSchema, text);
export const parsePending = (text: string): Pending | undefined => parseRecord(pendingSchema, text);
export function parseVerdict(text: string): Verdict | undefined {
  const verdict = parseRecord(verdictSchema, text);
  return verdict && readFormer(verdict);
}

/** Begins what is found of a backup that fails its drill. */
export const UNRESTORABLE = 'it could not be restored';

/** Older releases took a failed drill for damage, once the SHA-256 had proven to be right. */
function readFormer(verdict: Verdict): Verdict {
  const { ok, level, at, reason } = verdict;
  if (ok || level !== 'restore' || !reason?.startsWith(UNRESTORABLE)) return verdict;
  return { ...verdict, level: 'content', ok: true, reason: null, failedDrill: { at, reason } };
}

function parseRecord<T>(schema: z.ZodType<T>, text: string): T | undefined {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Every instance writes its own record, so that two that take one name in the same second see each other. */
export const pendingPath = (artifact: string, id: string): string => `${artifact}.${id}${PENDING_SUFFIX}`;
