import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { createId } from '../../src/core/backupId.ts';
import { MANIFEST_SUFFIX, type Manifest, PARTIAL_SUFFIX, type Pending, pendingPath } from '../../src/core/manifest.ts';
import type { TestRemote } from './remotes.ts';
import type { Scratch } from './scratch.ts';
import { requireTool } from './tools.ts';

const HOUR_MS = 3_600_000;

/** So many hours before now; after it where negative. */
export const hoursAgo = (hours: number): Date => new Date(Date.now() - hours * HOUR_MS);
export const daysAgo = (days: number): Date => hoursAgo(days * 24);

interface Seed {
  readonly artifact: string;
  readonly startedAt: Date;
  readonly series?: string;
  readonly serverId?: string | null;
  readonly database?: string;
  readonly body?: string;
  /** By the remote's clock; else now. */
  readonly storedAt?: Date;
}

let count = 0;
/** Six hex digits, another each time. */
const nextHex = (): string => (++count).toString(16).padStart(6, '0');

/** A backup of SQLite as the program would have left it, its time as one likes. Its body need be no dump. */
export async function seedBackup(remote: TestRemote, seed: Seed): Promise<Manifest> {
  const {
    artifact,
    startedAt,
    series = 'app',
    serverId = null,
    database = '/data/app.db',
    body = `-- a dump called ${artifact}\n`,
  } = seed;
  const id = createId(startedAt, nextHex());
  const manifest: Manifest = {
    dbstash: 1,
    id,
    run: id,
    series,
    serverId,
    engine: 'sqlite',
    database,
    mode: 'stream',
    artifact,
    startedAt: startedAt.toISOString(),
    finishedAt: startedAt.toISOString(),
    bytes: Buffer.byteLength(body),
    sha256: createHash('sha256').update(body).digest('hex'),
    dumpBytes: Buffer.byteLength(body),
    format: 'sql',
    compression: null,
    encryption: null,
    tool: 'sqlite3 3.40.1',
    server: 'SQLite 3.40.1',
    version: '0.1.0',
    target: {},
  };
  await remote.write(artifact, body, seed.storedAt);
  await remote.write(artifact + MANIFEST_SUFFIX, JSON.stringify(manifest), seed.storedAt);
  return manifest;
}

interface PendingSeed {
  readonly artifact: string;
  readonly refreshedAt: Date;
  readonly series?: string;
  readonly objects?: readonly [string, ...string[]];
  /** Where it lies, if not where it belongs. */
  readonly path?: string;
}

/** A pending record as an upload writes it. Returns its path. */
export async function seedPending(remote: TestRemote, seed: PendingSeed): Promise<string> {
  const { artifact, refreshedAt, series = 'app' } = seed;
  const { objects = [artifact, artifact + PARTIAL_SUFFIX, artifact + MANIFEST_SUFFIX] } = seed;
  const id = createId(refreshedAt, nextHex());
  const times = { startedAt: refreshedAt.toISOString(), refreshedAt: refreshedAt.toISOString() };
  const record: Pending = { dbstash: 1, id, run: id, series, ...times, objects: [objects[0], ...objects.slice(1)] };
  const path = seed.path ?? pendingPath(artifact, id);
  await remote.write(path, JSON.stringify(record));
  return path;
}

/** A small SQLite database; returns its URI. */
export function createSqlite(scratch: Pick<Scratch, 'path'>, statements = 'CREATE TABLE t AS SELECT 42 AS a;'): string {
  const path = join(scratch.path, 'app.db');
  runSqlite(path, statements);
  return `sqlite://${path}`;
}

/** The answer's lines, columns parted by `|`. */
export const runSqlite = (path: string, statements: string): string =>
  execFileSync(requireTool('sqlite3'), [path], { input: statements, encoding: 'utf8' }).trim();

/** PATH on which `rclone` is the given one (a name as in findTool). */
export function rclonePath(scratch: Pick<Scratch, 'path'>, tool: string): { PATH: string } {
  const folder = mkdtempSync(join(scratch.path, 'path-'));
  symlinkSync(requireTool(tool), join(folder, 'rclone'));
  return { PATH: `${folder}:${process.env.PATH}` };
}
