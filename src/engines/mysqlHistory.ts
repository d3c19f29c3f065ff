import * as z from 'zod';
import type { Server } from './engine.ts';
import { type Release, readRelease } from './mysqlFlavor.ts';

/** Tables that keep what their rows were before (MariaDB). */
export const versionedOf = ({ notes }: Server): readonly string[] => versionedNotes.parse(notes ?? {}).versioned;

const versionedNotes = z.object({ versioned: z.array(z.string()).default([]) });

/** Since mariadb-dump 10.11. */
export const knowsHistory = ({ isMariaDb, rank }: Release): boolean => isMariaDb && rank >= 10_011;

export function warnOfHistory(tool: string, server: Server): readonly string[] {
  const tables = versionedOf(server);
  if (tables.length === 0 || knowsHistory(readRelease(tool))) return [];
  return [
    `the history of ${tables.join(', ')} (system versioned) is not in the dump: ${tool} cannot dump it, 10.11 can`,
  ];
}
