/** Id of a backup or a run: its start in UTC and six random hex digits, which the caller draws. */
export const createId = (now: Date, randomHex: string): string => `${formatTimestamp(now)}-${randomHex}`;

/** `20260207T020000Z`, always UTC. */
export const formatTimestamp = (date: Date): string => `${date.toISOString().slice(0, 19).replace(/[-:]/g, '')}Z`;
