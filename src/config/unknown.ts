import { isFromKubernetes } from './settings.ts';
import { variables } from './variables.ts';

/** What begins like this is meant for us. rclone's own and those of a login shell (`SSH_CLIENT`) are not. */
const PREFIXES = [
  'DB_',
  'BACKUP_',
  'RETENTION_',
  'DUMP_',
  'RESTORE_',
  'NOTIFY_',
  'VERIFY_',
  'HEALTH_',
  'HOOK_',
  'LOG_',
  'RCLONE_REMOTE_',
  'PING_URL',
  'SMTP_URL',
  'DECRYPT_IDENTITY',
];

const KNOWN: ReadonlySet<string> = new Set(
  variables.flatMap(({ name, hasFile }) => (hasFile === false ? [name] : [name, `${name}_FILE`])),
);

/** A warning for each variable that looks like one of ours and is none. */
export function warnOfUnknown(env: Readonly<Record<string, string | undefined>>): string[] {
  const unknown = Object.entries(env)
    .filter(([name, text]) => text?.trim() && !KNOWN.has(name) && !isFromKubernetes(name, text))
    .map(([name]) => ({ name, nearest: findNearest(name) }))
    .filter(({ name, nearest }) => PREFIXES.some((prefix) => name.startsWith(prefix)) || isTypo(name, nearest));
  return unknown.map(
    ({ name, nearest }) =>
      `${name} is no variable of dbstash and is ignored${nearest === undefined ? '' : `; did you mean ${nearest}?`}`,
  );
}

/** RCLONE_REMOT: rclone has no such flag, and we miss ours. */
const isTypo = (name: string, nearest: string | undefined): boolean =>
  name.startsWith('RCLONE_') && !name.startsWith('RCLONE_CONFIG_') && nearest !== undefined;

/** The known name that is at most two edits away. */
function findNearest(name: string): string | undefined {
  const near = [...KNOWN]
    .filter((known) => Math.abs(known.length - name.length) <= 2)
    .map((known) => ({ known, edits: countEdits(name, known) }))
    .sort((a, b) => a.edits - b.edits)[0];
  return near !== undefined && near.edits <= 2 ? near.known : undefined;
}

/** Levenshtein's distance, a swap of neighbours counted as one. */
function countEdits(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  const at = (i: number, j: number) => rows[i]?.[j] ?? 0;
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const edits = [at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + (isSame ? 0 : 1)];
      row[j] = Math.min(...edits, ...(isSwap ? [at(i - 2, j - 2) + 1] : []));
    }
  }
  return at(a.length, b.length);
}
