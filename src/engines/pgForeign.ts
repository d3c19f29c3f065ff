import type { Recognised } from './engine.ts';
import { PLAIN_MARKS } from './pgDump.ts';
import { GLOBALS_MARKS } from './pgGlobals.ts';

/** pg_dump's own formats but for tar, which pg_restore does not read to its end. */
export function recognisePg(head: string): Recognised | undefined {
  if (head.startsWith('PGDMP')) return readArchive(Buffer.from(head, 'latin1'));
  const isCluster = GLOBALS_MARKS.begins!.test(head);
  if (!isCluster && !PLAIN_MARKS.begins!.test(head)) return undefined;
  const server = /^-- Dumped from database version (\S+)/m.exec(head)?.[1];
  const tool = /^-- Dumped by pg_dump version (\S+)/m.exec(head)?.[1];
  const named = /^\\connect /m.test(head);
  return {
    mode: 'stream',
    format: 'plain',
    // Whether it holds large objects, and so COMMITs of its own, is not known.
    facts: { largeObjects: true },
    marks: PLAIN_MARKS,
    tool: tool && `pg_dump ${tool}`,
    server: server && `PostgreSQL ${server}`,
    databases: undefined,
    ...(isCluster && { refusal: 'it is of a whole server, made by pg_dumpall: psql restores it' }),
    ...(!isCluster && named && { refusal: 'it was made with --create, and goes into the database that it names' }),
  };
}

const CUSTOM = 1;

/** The head as `ReadHead` in PostgreSQL's pg_backup_archiver.c reads it. */
function readArchive(head: Buffer): Recognised | undefined {
  const [major = 0, minor = 0, , intBytes = 4, , format] = head.subarray(5);
  let at = 11;
  const readInt = (): number => {
    if (at + 1 + intBytes > head.length) return -1;
    const sign = head[at]!;
    const value = head.readUIntLE(at + 1, Math.min(intBytes, 6));
    at += 1 + intBytes;
    return sign === 0 ? value : -value;
  };
  const readText = (): string | undefined => {
    const length = readInt();
    if (length < 0) return undefined;
    at += length;
    return head.toString('utf8', at - length, at);
  };
  if (major !== 1 || minor < 10 || format !== CUSTOM) return undefined;
  // Since 1.15 a byte names the compression, before it was a level.
  if (minor >= 15) at += 1;
  else readInt();
  for (let part = 0; part < 7; part += 1) readInt();
  const [database, server, tool] = [readText(), readText(), readText()];
  return {
    mode: 'stream',
    format: 'custom',
    facts: { largeObjects: true },
    marks: {},
    tool: tool && `pg_dump ${tool}`,
    server: server && `PostgreSQL ${server}`,
    databases: database === undefined ? undefined : [database],
  };
}
