/** Suffixes of the records beside an artifact. A pending record's name also holds the backup's id (see pendingPath). */
export const MANIFEST_SUFFIX = '.manifest.json';
export const PENDING_SUFFIX = '.pending.json';
export const VERDICT_SUFFIX = '.verify.json';
export const PARTIAL_SUFFIX = '.partial';
