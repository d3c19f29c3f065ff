import type { Recognised } from './engine.ts';

const SCRIPT = /^(?:-- [^\n]*\n)*(?:PRAGMA [^\n]*\n)*BEGIN TRANSACTION;\n/;

/** A script as `.dump` writes it, or the database file itself, as `.backup` or `VACUUM INTO` leave it. */
export function recogniseSqlite(head: string): Recognised | undefined {
  const nothing = { facts: {}, tool: undefined, server: undefined, databases: undefined };
  if (head.startsWith('SQLite format 3\0')) return { ...nothing, mode: 'file', format: 'sqlite3', marks: {} };
  if (!SCRIPT.test(head)) return undefined;
  return { ...nothing, mode: 'stream', format: 'sql', marks: { ends: /\nCOMMIT;\n$/, title: '"COMMIT;"' } };
}
