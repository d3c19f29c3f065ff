import { ConfigError } from './errors.ts';

const DURATION_UNITS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000 } as const;
const DURATION = /^(?:(?<d>\d+)d)?(?:(?<h>\d+)h)?(?:(?<m>\d+)m)?(?:(?<s>\d+)s)?$/;

/** `90s`, `30m`, `1h30m`, `2d`, or `0`, in milliseconds. Throws `ConfigError` with one sentence. */
export function parseDuration(text: string): number {
  const wanted = text.trim();
  if (wanted === '0') return 0;
  const parts = Object.entries(DURATION.exec(wanted)?.groups ?? {}).filter(([, digits]) => digits !== undefined);
  const ms = parts.reduce((sum, [unit, digits]) => sum + Number(digits) * DURATION_UNITS[unit as DurationUnit], 0);
  if (parts.length === 0 || !Number.isSafeInteger(ms)) {
    throw new ConfigError(`${JSON.stringify(text)} is no duration; right is one like 90s, 30m, 1h30m or 2d, or 0`);
  }
  return ms;
}

type DurationUnit = keyof typeof DURATION_UNITS;

const SIZE_UNITS = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 } as const;

/** `500K`, `10M`, `2G`, `1T` or bytes without a letter; each letter is 1024 of the one before. Throws `ConfigError`. */
export function parseSize(text: string): number {
  const [, digits, letter] = /^(\d+)([KMGT]?)$/.exec(text.trim().toUpperCase()) ?? [];
  const bytes = Number(digits) * SIZE_UNITS[(letter ?? '') as keyof typeof SIZE_UNITS];
  if (!Number.isSafeInteger(bytes)) {
    throw new ConfigError(`${JSON.stringify(text)} is no size; right is one like 500K, 10M or 2G (1K is 1024 bytes)`);
  }
  return bytes;
}

const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['yes', true],
  ['1', true],
  ['false', false],
  ['no', false],
  ['0', false],
]);

/** true/false, yes/no, 1/0, in any case. Throws `ConfigError`. */
export function parseBoolean(text: string): boolean {
  const value = BOOLEANS.get(text.trim().toLowerCase());
  if (value === undefined) throw new ConfigError(`${JSON.stringify(text)} is neither true nor false`);
  return value;
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** For people: "1 table", "3 tables". */
export const formatCount = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

/** For people: of very many the first ten and how many more. */
export function formatNames(names: readonly string[], most = 10): string {
  const more = names.length - most;
  return names.slice(0, most).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/** For people: "812 B", "1.5 KiB", "48.8 GiB". */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // 1023.96 would be written as 1024.0.
  while (value >= 1023.95 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${BYTE_UNITS[unit]}`;
}

/** For people: "350ms", "12.3s", "1h30m"; from a minute on it is exact to the second, as `parseDuration` reads it. */
export function formatDuration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)}ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1).replace(/\.0$/, '')}s`;
  let rest = Math.round(ms / 1000) * 1000;
  let text = '';
  for (const [unit, size] of Object.entries(DURATION_UNITS)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) text += `${count}${unit}`;
  }
  return text;
}

/** For people, how long ago: "40s", "5m", "26h", "12d"; "in 5m" for what lies ahead. */
export function formatAge(ms: number): string {
  if (ms < 0) return `in ${formatAge(-ms)}`;
  const { d, h, m, s } = DURATION_UNITS;
  if (ms >= 2 * d) return `${Math.floor(ms / d)}d`;
  if (ms >= h) return `${Math.floor(ms / h)}h`;
  return ms >= m ? `${Math.floor(ms / m)}m` : `${Math.floor(ms / s)}s`;
}
