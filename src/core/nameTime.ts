import type { Template } from './naming.ts';
import { decodeSegment } from './segment.ts';

/** What a name that somebody gave tells of the dump under it. */
export interface NameReading {
  /** The database, where a template with `{db}` fits the name. */
  readonly database: string | undefined;
  /** When the dump began. */
  readonly startedAt: Date | undefined;
}

const PATTERNS: Readonly<Record<string, string>> = {
  db: '[^/]+?',
  engine: '[a-z]+',
  host: '[^/]+?',
  date: '\\d{4}-\\d\\d-\\d\\d',
  time: '\\d{6}',
  timestamp: '\\d{8}T\\d{6}(?:Z|[+-]\\d{4})?',
  ts: '\\d{10}',
  uuid: '[0-9a-f]{8}',
};

/**
 * Whether a name was made by a template, with any extension, and what it then tells. Times are those of `timeZone`, but for
 * `{ts}` and what names its own offset from UTC.
 */
export function readName({ segments }: Template, name: string, timeZone: string): NameReading | undefined {
  const seen = new Set<string>();
  const pattern = segments
    .map((pieces) =>
      pieces.map((piece) => ('token' in piece ? tokenPattern(piece.token, seen) : quote(piece.literal))).join(''),
    )
    .join('/');
  const found = new RegExp(`^${pattern}(?:\\.[A-Za-z0-9]+)*$`, 'u').exec(name);
  if (!found) return undefined;
  const { db, date, time, timestamp, ts } = found.groups ?? {};
  const text = timestamp ?? (date === undefined ? undefined : `${date}-${time ?? ''}`);
  return {
    database: db === undefined ? undefined : decodeSegment(db),
    startedAt:
      ts === undefined ? (text === undefined ? undefined : findTime(text, timeZone)) : new Date(Number(ts) * 1000),
  };
}

/** The first of each token is read; the others only have to fit. */
function tokenPattern(token: string, seen: Set<string>): string {
  const pattern = PATTERNS[token]!;
  if (seen.has(token)) return `(?:${pattern})`;
  seen.add(token);
  return `(?<${token}>${pattern})`;
}

const quote = (literal: string): string => literal.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

const TIME =
  /(?<!\d)((?:19|20)\d\d)([-_.]?)(\d\d)\2(\d\d)(?:[T_ .@-]*(\d\d)[-:._h]?(\d\d)(?:[-:._m]?(\d\d))?(?!\d)|(?!\d))(?:[.,]\d+)?(Z|(?<=T\d\d:?\d\d:?\d\d)[+-](?:0\d|1[0-4]):?(?:00|15|30|45)(?!\d))?/;

/** The date and time in a name, as tools and people write them (`2026-02-07-020000`, `20260207T0200Z`, `2026-02-07_02h00m`); a day alone is its beginning. */
export function findTime(name: string, timeZone: string): Date | undefined {
  const found = TIME.exec(name);
  if (!found) return undefined;
  const [, year, , month, day, hour = '00', minute = '00', second = '00', offset = ''] = found;
  const local = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(local) || new Date(local).getUTCDate() !== Number(day)) return undefined;
  return offset === '' ? inZone(local, timeZone) : new Date(local - readOffsetMs(offset));
}

const DAY = /(?<!\d)(?=((?:19|20)\d\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01]))/g;

/** The different days that a name holds, as 2026-02-07: a database may have one in its own name. */
export const listDays = (name: string): readonly string[] => [
  ...new Set([...name.matchAll(DAY)].map(([, year, , month, day]) => `${year}-${month}-${day}`)),
];

/** "Z", "+05:30" or "-0800", as `date -Iseconds` writes it. */
function readOffsetMs(offset: string): number {
  const [, sign, hours = '0', minutes = '0'] = /^([+-])(\d\d):?(\d\d)$/.exec(offset) ?? [];
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60_000;
}

/** `local` is what the clock on the wall shows, in milliseconds as if it were UTC. */
function inZone(local: number, timeZone: string): Date {
  const first = local - offsetMs(local, timeZone);
  return new Date(local - offsetMs(first, timeZone));
}

function offsetMs(at: number, timeZone: string): number {
  const format = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' });
  const name = format.formatToParts(at).find(({ type }) => type === 'timeZoneName')?.value ?? '';
  const [, sign, hours = '0', minutes = '0', seconds = '0'] = /GMT([+-])(\d\d):(\d\d)(?::(\d\d))?/.exec(name) ?? [];
  return (sign === '-' ? -1 : 1) * (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1000;
}
