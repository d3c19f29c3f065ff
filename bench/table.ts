import type { Measurement } from './measure.ts';

/** The middle one; of an even number the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** A Markdown table, columns but the first aligned right. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const rule = head.map((_, index) => (index === 0 ? '---' : '---:'));
  return [head, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}

/** Measurements of one contestant, one a round. */
export type Rounds = ReadonlyMap<string, readonly Measurement[]>;

const RESULT_HEAD = ['', 'wall', 'ratio', 'CPU', 'ratio', 'memory, all', 'main process', 'temporary disk'];

/** A row a contestant. A ratio is the median of the rounds' ratios to the `base` of the same round. */
export function formatRounds(rounds: Rounds, base: string): string {
  const bases = rounds.get(base) ?? [];
  const rows = [...rounds].map(([name, measurements]) => {
    const ratio = (pick: (measurement: Measurement) => number) =>
      median(measurements.map((measurement, index) => pick(measurement) / pick(bases[index]!))).toFixed(2);
    const middle = (pick: (measurement: Measurement) => number) => median(measurements.map(pick));
    return [
      name,
      `${middle((m) => m.wallSeconds).toFixed(2)} s`,
      ratio((m) => m.wallSeconds),
      `${middle((m) => m.cpuSeconds).toFixed(2)} s`,
      ratio((m) => m.cpuSeconds),
      formatMega(middle((m) => m.memoryBytes)),
      formatMega(middle((m) => m.mainBytes)),
      formatMega(middle((m) => m.temporaryBytes)),
    ];
  });
  return formatTable(RESULT_HEAD, rows);
}

const formatMega = (bytes: number): string => (bytes < 50_000 ? '0' : `${(bytes / 1e6).toFixed(0)} MB`);
