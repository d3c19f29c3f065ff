import { Cron, type CronOptions } from 'croner';
import { toString as describeCron } from 'cronstrue';
import { type Clock, pause } from './core/clock.ts';
import { ConfigError } from './core/errors.ts';

/** When to run. */
export interface Schedule {
  /** Run now, and never again: `next` is always undefined. */
  readonly isOnce: boolean;
  /** The first due time later than `after`. */
  next(after: Date): Date | undefined;
  /** The latest due time earlier than `before`; undefined where there was none for forty years. */
  previous(before: Date): Date | undefined;
}

const ONCE: Schedule = { isOnce: true, next: () => undefined, previous: () => undefined };

const NICKNAMES = ['@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@annually'];
/** The fields from the right: the one for seconds may be absent. */
const FIELDS = [
  { name: 'weekday', range: '0-7 or SUN-SAT' },
  { name: 'month', range: '1-12 or JAN-DEC' },
  { name: 'day of the month', range: '1-31 or L' },
  { name: 'hour', range: '0-23' },
  { name: 'minute', range: '0-59' },
  { name: 'second', range: '0-59' },
] as const;

/**
 * A time that a clock change skips is due right after it, one that it repeats is due once; what says `*` or a step runs
 * through both. `N/STEP` is understood, as other schedulers do.
 */
const OPTIONS: CronOptions = { mode: '5-or-6-parts', fixedTimeRule: 'no-wildcard', sloppyRanges: true };

/** `once`, or cron patterns separated by `;`. Throws `ConfigError` with one sentence. */
export function parseSchedule(text: string, timeZone: string): Schedule {
  requireTimeZone(timeZone);
  const parts = text
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  if (parts.length === 1 && parts[0]?.toLowerCase() === 'once') return ONCE;
  if (parts.length === 0) throw new ConfigError(`the schedule is empty; right is ${FORMS}`);
  const crons = parts.map((part) => parsePattern(part, timeZone));
  const next = (after: Date) => earliest(crons.map((cron) => cron.nextRun(after)));
  return { isOnce: false, next, previous: (before) => latestBefore(before, next) };
}

const FORMS = `5 fields (minute hour day month weekday), 6 with seconds first, ${NICKNAMES.join(', ')}, or "once" alone`;

const earliest = (dates: readonly (Date | null)[]): Date | undefined =>
  dates.filter((date) => date !== null).sort((a, b) => a.getTime() - b.getTime())[0];

const FURTHEST_MS = 40 * 366 * 86_400_000;

/** By `next` alone, so that both know the same due times: first how far back there is one, then halving what is between. */
function latestBefore(before: Date, next: Schedule['next']): Date | undefined {
  const end = before.getTime();
  const dueAfter = (ms: number) => next(new Date(ms))?.getTime() ?? Number.POSITIVE_INFINITY;
  let back = 1000;
  while (dueAfter(end - back) >= end) {
    if (back > FURTHEST_MS) return undefined;
    back *= 2;
  }
  let [found, none] = [dueAfter(end - back), end];
  while (none - found > 1) {
    const middle = Math.floor((found + none) / 2);
    const due = dueAfter(middle);
    if (due < end) found = due;
    else none = middle;
  }
  return new Date(found);
}

function requireTimeZone(timeZone: string): void {
  try {
    new Intl.DateTimeFormat('en', { timeZone });
  } catch (cause) {
    throw new ConfigError(`${JSON.stringify(timeZone)} is no time zone; right is one like UTC or Europe/Berlin`, {
      cause,
    });
  }
}

function parsePattern(pattern: string, timeZone: string): Cron {
  const quoted = JSON.stringify(pattern);
  const fields = NICKNAMES.includes(pattern.toLowerCase()) ? [] : pattern.split(/\s+/);
  if (![0, 5, 6].includes(fields.length)) throw new ConfigError(`${quoted} is no schedule; right is ${FORMS}`);
  const wrong = fields
    .toReversed()
    .map(describeFault)
    .find((fault) => fault !== undefined);
  if (wrong !== undefined) throw new ConfigError(`${quoted} is no schedule: ${wrong}`);
  const cron = new Cron(pattern, { ...OPTIONS, timezone: timeZone });
  if (cron.nextRun(new Date(0)) === null)
    throw new ConfigError(`${quoted} never comes: there is no such day in any year`);
  return cron;
}

/** Tries a field alone; `index` counts from the right. */
function describeFault(text: string, index: number): string | undefined {
  const field = FIELDS[index];
  const pattern = FIELDS.map((_, at) => (at === index ? text : '*'))
    .toReversed()
    .join(' ');
  try {
    new Cron(pattern, OPTIONS);
    return undefined;
  } catch {
    return `the ${field?.name} is ${JSON.stringify(text)}; right is ${field?.range}, *, a range a-b, a step */n, or a list of these`;
  }
}

/** What a schedule that `parseSchedule` has accepted says, in English. */
export function describeSchedule(text: string, timeZone: string): string {
  const parts = text.split(';').map((part) => part.trim());
  return `${parts
    .filter((part) => part !== '')
    .map(describePattern)
    .join('; ')} (${timeZone})`;
}

function describePattern(pattern: string): string {
  if (pattern.toLowerCase() === 'once') return 'Once, at start';
  try {
    // Where both name days either is enough, as in every cron.
    return describeCron(pattern, { use24HourTimeFormat: true }).replace(
      / of the month, and (on|only on) /,
      ' of the month, or $1 ',
    );
  } catch {
    return pattern;
  }
}

/** The first `count` due times later than `after`. */
export function listDueTimes(schedule: Schedule, after: Date, count: number): readonly Date[] {
  const times: Date[] = [];
  for (let due = schedule.next(after); due && times.length < count; due = schedule.next(due)) times.push(due);
  return times;
}

/** Wall time is looked at again after so long: timers end at 24.8 days, and clocks are set. */
const STEP_MS = 60_000;

interface ScheduleOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Calls `onTick` with each due time, without waiting for what it does, until `signal` fires. Several due times that a
 * sleep or a clock set forwards has passed are one tick; no due time ticks twice, also when the clock is set back.
 */
export async function runSchedule(
  schedule: Schedule,
  onTick: (due: Date) => void,
  { clock, signal }: ScheduleOptions,
): Promise<void> {
  const fired = createFired(schedule);
  let now = clock.now();
  let due = fired.next(now);
  while (due !== undefined && !signal.aborted) {
    await pause(clock, Math.min(STEP_MS, due.getTime() - now.getTime()), signal);
    if (signal.aborted) return;
    now = clock.now();
    if (now >= due) {
      fired.add(due);
      onTick(due);
    }
    due = fired.next(now); // also when nothing ticked: the clock may have been set back
  }
}

/**
 * The due times that have ticked, as spans of consecutive ones: a new span begins only where the clock was set, so that
 * this stays small for ever.
 */
function createFired(schedule: Schedule) {
  const spans: { from: Date; to: Date }[] = [];
  const spanOf = (due: Date) => spans.find(({ from, to }) => from <= due && due <= to);
  return {
    add(due: Date): void {
      const last = spans.at(-1);
      if (last !== undefined && schedule.next(last.to)?.getTime() === due.getTime()) last.to = due;
      else spans.push({ from: due, to: due });
    },
    /** The first due time later than `after` that has not ticked. */
    next(after: Date): Date | undefined {
      let due = schedule.next(after);
      for (let span = due && spanOf(due); due && span; span = due && spanOf(due)) due = schedule.next(span.to);
      return due;
    },
  };
}
