import { type CheckPlan, type CheckRequest, DUMP } from './engine.ts';
import { PLAIN_MARKS } from './pgDump.ts';
import { GLOBALS, GLOBALS_MARKS } from './pgGlobals.ts';

/** pg_restore reads an archive to its end only where it writes it out: a mere list of its contents passes what is cut short. */
export function planPgCheck({ format }: CheckRequest): CheckPlan {
  if (format === GLOBALS) return { marks: GLOBALS_MARKS, commands: [] };
  if (format === 'plain') return { marks: PLAIN_MARKS, commands: [] };
  const folder = format === 'directory' ? [DUMP] : [];
  return { commands: [{ file: 'pg_restore', args: ['--file=/dev/null', ...folder] }] };
}
