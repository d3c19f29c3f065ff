import type { PartRule } from './backend.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/** Bytes of an artifact that are always provided for, whatever the estimate says. */
const FLOOR_BYTES = 150 * GIB;
/** What rclone takes besides the chunks in flight. */
const RCLONE_BYTES = 60 * MIB;

export interface Estimate {
  /** Of the database on disk. It can be far below the dump's size, where values are compressed. */
  readonly databaseBytes: number;
  /** Of the series' last artifact; 0 if there is none. */
  readonly lastBytes: number;
  /** Memory that this machine or container can still give. */
  readonly availableBytes: number;
}

export interface PartPlan {
  /** Undefined: rclone's own setting is enough. */
  readonly chunkBytes: number | undefined;
  readonly warning: string | undefined;
}

/**
 * Chooses the size of an upload's parts so that the artifact fits into the number that the storage takes; never below
 * the user's own setting, nor above what memory can hold. An estimate only chooses and warns.
 */
export function planParts(rule: PartRule, estimate: Estimate): PartPlan {
  const expected = Math.max(FLOOR_BYTES, 1.5 * estimate.lastBytes, 8 * estimate.databaseBytes);
  const wanted = Math.ceil(expected / rule.maxParts / MIB) * MIB;
  if (wanted <= rule.chunkBytes) return { chunkBytes: undefined, warning: undefined };
  const affordable = Math.floor((estimate.availableBytes - RCLONE_BYTES) / rule.concurrency / MIB) * MIB;
  const chunkBytes = Math.max(rule.chunkBytes, Math.min(wanted, affordable));
  const likely = Math.max(estimate.lastBytes, estimate.databaseBytes);
  const capacity = chunkBytes * rule.maxParts;
  return { chunkBytes, warning: capacity < likely ? warn(rule, chunkBytes, capacity, likely) : undefined };
}

function warn(rule: PartRule, chunkBytes: number, capacity: number, likely: number): string {
  return (
    `the storage takes ${rule.maxParts} parts of an upload, with ${gib(chunkBytes * rule.concurrency)} of memory that is ` +
    `${gib(capacity)}, and the dump may have ${gib(likely)}: give more memory, or set ${rule.concurrencyVariable}=1 and a larger ${rule.variable}`
  );
}

/** What storages, and rclone, say when an upload has more parts than they take. */
const TOO_MANY_PARTS =
  /part ?number|too many (parts|blocks)|(max|limit)[^.;]*\b(parts|blocks)\b|EntityTooLarge|BlockCountExceeds/i;

/** What to change, as a message goes on, where an upload failed for the number of its parts; else empty. */
export function explainPartLimit(
  rule: PartRule | undefined,
  chunkBytes: number | undefined,
  sentBytes: number,
  message: string,
): string {
  if (!rule) return '';
  const used = chunkBytes ?? rule.chunkBytes;
  if (!TOO_MANY_PARTS.test(message) && sentBytes < used * rule.maxParts) return '';
  return `: the upload has more parts of ${used / MIB} MiB than the storage takes; set ${rule.variable} to ${(2 * used) / MIB}Mi or more`;
}

const gib = (bytes: number): string => `${(bytes / GIB).toFixed(1)} GiB`;
