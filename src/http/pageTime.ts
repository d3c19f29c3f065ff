import { type Html, html } from './html.ts';

/** How a page speaks of time: as it is `now`, in the operator's time zone. */
export interface Calendar {
  readonly now: Date;
  /** "7 Feb 2026, 02:00" */
  date(at: Date): Html;
  /** "7 Feb 2026" */
  day(at: Date): string;
  /** "3 hours ago", "in 21 hours" */
  relative(at: Date): Html;
}

const UNITS = [
  { unit: 'day', ms: 86_400_000, from: 172_800_000 },
  { unit: 'hour', ms: 3_600_000, from: 5_400_000 },
  { unit: 'minute', ms: 60_000, from: 45_000 },
] as const;

const DAY = { day: 'numeric', month: 'short', year: 'numeric' } as const;
const WORDS = new Intl.RelativeTimeFormat('en');

export function createCalendar(now: Date, timeZone: string): Calendar {
  const days = new Intl.DateTimeFormat('en-GB', { timeZone, ...DAY });
  const minutes = new Intl.DateTimeFormat('en-GB', { timeZone, ...DAY, hour: '2-digit', minute: '2-digit' });
  const stamp = (at: Date, text: string) => html`<time datetime="${at.toISOString()}">${text}</time>`;
  return {
    now,
    day: (at) => days.format(at),
    date: (at) => stamp(at, minutes.format(at)),
    relative: (at) => stamp(at, describeDistance(at.getTime() - now.getTime())),
  };
}

/** Rounded, so that a minute before and a minute after the full hour are the same hour. */
function describeDistance(ms: number): string {
  const size = UNITS.find(({ from }) => Math.abs(ms) >= from);
  if (size) return WORDS.format(Math.round(ms / size.ms), size.unit);
  return ms > 0 ? 'in a moment' : 'just now';
}
