/** What retention needs to know of a backup. `startedAt` is ISO 8601, from the manifest. */
export interface Dated {
  readonly id: string;
  readonly startedAt: string;
}

/** How many of each; 0 is off. `minKeep` is at least 1. */
export interface RetentionPolicy {
  readonly maxFiles: number;
  readonly maxDays: number;
  readonly keepLast: number;
  readonly keepHourly: number;
  readonly keepDaily: number;
  readonly keepWeekly: number;
  readonly keepMonthly: number;
  readonly keepYearly: number;
  readonly minKeep: number;
}

/** Newest first; each with its reasons in words. Together they are the input. */
export interface RetentionPlan<T extends Dated> {
  readonly keep: readonly Judged<T>[];
  readonly remove: readonly Judged<T>[];
}

interface Judged<T extends Dated> {
  readonly backup: T;
  readonly reasons: readonly string[];
}

const DAY_MS = 86_400_000;
/** Clocks of several machines differ; what is further ahead than this is from a clock that was wrong. */
const FUTURE_MS = 600_000;

/** The keep rules of periods, as restic's: natural ones, here in UTC, and only those that have a backup count. */
const PERIOD_RULES = [
  { limit: 'keepHourly', word: 'hourly', periodOf: (iso: string) => iso.slice(0, 13) },
  { limit: 'keepDaily', word: 'daily', periodOf: (iso: string) => iso.slice(0, 10) },
  { limit: 'keepWeekly', word: 'weekly', periodOf: isoWeek },
  { limit: 'keepMonthly', word: 'monthly', periodOf: (iso: string) => iso.slice(0, 7) },
  { limit: 'keepYearly', word: 'yearly', periodOf: (iso: string) => iso.slice(0, 4) },
] as const;
type PeriodRule = (typeof PERIOD_RULES)[number];

/** True where the policy removes nothing. */
export const isRetentionOff = (policy: RetentionPolicy): boolean => !hasMax(policy) && !hasKeep(policy);

const hasMax = (policy: RetentionPolicy): boolean => policy.maxFiles > 0 || policy.maxDays > 0;
const hasKeep = (policy: RetentionPolicy): boolean =>
  policy.keepLast > 0 || PERIOD_RULES.some(({ limit }) => policy[limit] > 0);

/**
 * What stays and what goes, of the good backups of one series on one remote. Ages are measured from the newest of
 * them, so that a long silence removes nothing. What is dated in the future of `now` is neither counted nor removed.
 */
export function planRetention<T extends Dated>(
  backups: readonly T[],
  policy: RetentionPolicy,
  now: Date,
): RetentionPlan<T> {
  const sorted = [...backups].sort(compareNewestFirst);
  const horizon = now.getTime() + FUTURE_MS;
  const keep: Judged<T>[] = sorted
    .filter((backup) => timeOf(backup) > horizon)
    .map((backup) => ({ backup, reasons: ['dated in the future: not counted, never removed'] }));
  const remove: Judged<T>[] = [];
  const counted = sorted.filter((backup) => timeOf(backup) <= horizon);
  const times = counted.map(timeOf);
  const selected = PERIOD_RULES.map((rule) => selectByPeriod(times, rule, policy[rule.limit]));
  for (const [index, backup] of counted.entries()) {
    const kept = selected.flatMap((reasons) => reasons.get(index) ?? []);
    const { stays, reasons } = judge(index, exceededLimits(times, index, policy), kept, policy);
    (stays ? keep : remove).push({ backup, reasons });
  }
  return { keep, remove };
}

/** A limit that is exceeded removes, a rule that selects saves; without limits, what no rule selects goes. */
function judge(index: number, exceeded: readonly string[], kept: readonly string[], policy: RetentionPolicy) {
  if (isRetentionOff(policy)) return { stays: true, reasons: ['no retention is set'] };
  const always = index < policy.minKeep ? [`newest ${policy.minKeep} always stay`] : [];
  const last = index < policy.keepLast ? [`last ${index + 1} of ${policy.keepLast}`] : [];
  const within = hasMax(policy) && exceeded.length === 0 ? ['within the limits'] : [];
  const saved = [...always, ...last, ...kept, ...within];
  if (saved.length > 0) return { stays: true, reasons: saved };
  return { stays: false, reasons: [...exceeded, ...(hasKeep(policy) ? ['selected by no keep rule'] : [])] };
}

/** The `MAX_*` limits that the backup at `index` exceeds. */
function exceededLimits(times: readonly number[], index: number, { maxFiles, maxDays }: RetentionPolicy): string[] {
  const ageMs = (times[0] ?? 0) - (times[index] ?? 0);
  const tooOld = maxDays > 0 && ageMs > maxDays * DAY_MS;
  const tooMany = maxFiles > 0 && index >= maxFiles;
  return [
    ...(tooOld ? [`older than ${maxDays} days (${formatAge(ageMs)} before the newest)`] : []),
    ...(tooMany ? [`more than ${maxFiles} files`] : []),
  ];
}

/**
 * Of each of the newest `limit` periods that have a backup, the newest one; and the oldest of all as long as there are
 * fewer periods than that, so that history grows to its full length. Reasons by index.
 */
function selectByPeriod(times: readonly number[], { word, periodOf }: PeriodRule, limit: number): Map<number, string> {
  const reasons = new Map<number, string>();
  let last: string | undefined;
  for (const [index, time] of times.entries()) {
    const used = reasons.size;
    if (used === limit) break;
    const current = periodOf(new Date(time).toISOString());
    if (current !== last) reasons.set(index, `${word} ${used + 1} of ${limit}: ${current}`);
    else if (index === times.length - 1) reasons.set(index, `oldest: ${word} has only ${used} of ${limit}`);
    last = current;
  }
  return reasons;
}

/** `2026-W06`: the week, Monday to Sunday, belongs to the year of its Thursday. */
function isoWeek(iso: string): string {
  const day = new Date(`${iso.slice(0, 10)}T00:00:00Z`);
  const thursday = new Date(day.getTime() + (4 - (day.getUTCDay() || 7)) * DAY_MS);
  const year = thursday.getUTCFullYear();
  const week = 1 + Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / (7 * DAY_MS));
  return `${year}-W${String(week).padStart(2, '0')}`;
}

/** A time that cannot be read is taken for the far future: such a backup is not ours to remove. */
function timeOf(backup: Dated): number {
  const time = Date.parse(backup.startedAt);
  return Number.isNaN(time) ? Number.POSITIVE_INFINITY : time;
}

function compareNewestFirst(a: Dated, b: Dated): number {
  const [timeA, timeB] = [timeOf(a), timeOf(b)];
  if (timeA !== timeB) return timeA > timeB ? -1 : 1;
  if (a.id === b.id) return 0;
  return a.id > b.id ? -1 : 1;
}

function formatAge(ms: number): string {
  const hours = Math.floor((ms % DAY_MS) / 3_600_000);
  return `${Math.floor(ms / DAY_MS)} days${hours > 0 ? ` ${hours} h` : ''}`;
}
