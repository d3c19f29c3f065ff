import { readFileSync, type Stats, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { ConfigError } from '../core/errors.ts';

/**
 * A file as text, without a byte-order mark. Throws `ConfigError` that names the file, its owner and mode, and the
 * remedy; never what it holds.
 */
export function readTextFile(path: string): string {
  const bytes = readBytes(path);
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (!text.includes('\0')) return text;
  } catch {
    // Told below.
  }
  throw new ConfigError(`${path} is no text: it holds bytes that are not UTF-8, or a NUL`);
}

function readBytes(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new ConfigError(`cannot read ${path}: ${explain(path, (cause as NodeJS.ErrnoException).code)}`, { cause });
  }
}

function explain(path: string, code: string | undefined): string {
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EISDIR') return 'it is a folder';
  if (code !== 'EACCES' && code !== 'EPERM') return code ?? 'unknown error';
  const uid = process.geteuid?.();
  const { at, stats } = nearestVisible(path);
  const what = at === path ? 'it' : `the folder ${at}`;
  const bits = at === path ? 'r' : 'x';
  return (
    `${what} belongs to uid ${stats.uid}, gid ${stats.gid}, mode ${(stats.mode & 0o7777).toString(8).padStart(4, '0')}, ` +
    `and we run as uid ${uid}: chown ${uid} ${at}, chmod a+${bits} ${at}, or run as uid ${stats.uid}`
  );
}

/** The file, or the folder on the way to it beyond which we cannot look. */
function nearestVisible(path: string): { at: string; stats: Stats } {
  try {
    return { at: path, stats: statSync(path) };
  } catch {
    return nearestVisible(dirname(path));
  }
}
