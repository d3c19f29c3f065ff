import type { Drilled } from './manifest.ts';
import { formatBytes } from './units.ts';

/** How fast a drill was: bytes of the dump, as the tool wrote it, per second. */
export const paceOf = ({ durationMs }: Pick<Drilled, 'durationMs'>, dumpBytes: number): number =>
  (dumpBytes * 1000) / Math.max(durationMs, 1);

/** For people: "12.3 MiB/s". */
export const describePace = (drill: Pick<Drilled, 'durationMs'>, dumpBytes: number): string =>
  `${formatBytes(paceOf(drill, dumpBytes))}/s`;
