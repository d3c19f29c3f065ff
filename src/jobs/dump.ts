import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Command, renderCommand } from '../core/command.ts';
import { DumpError, describeError } from '../core/errors.ts';
import type { StoredFile } from '../core/manifest.ts';
import type { Mode } from '../core/mode.ts';
import { formatBytes } from '../core/units.ts';
import { DUMP, type DumpPlan, type Examination, type Marks } from '../engines/engine.ts';
import type { Run } from './run.ts';
import { runTool } from './session.ts';

/** What is to be uploaded: what a command writes, or the files of a folder. */
export type Dump = DumpStream | DumpFolder;

export interface DumpStream {
  readonly kind: 'stream';
  /** Its standard output is the artifact, before filters. */
  readonly command: Command;
  readonly marks: Marks;
  readonly examine: (() => Examination) | undefined;
}

export interface DumpFolder {
  readonly kind: 'folder';
  readonly path: string;
  /** Sorted by path. */
  readonly files: readonly StoredFile[];
}

/** A tar ends with two blocks of nothing. */
const TAR_MARKS: Marks = { ends: /\0{1024}$/, title: 'the end of a tar' };
const CAT: Command = { file: 'cat', args: [DUMP] };
const TAR: Command = { file: 'tar', args: ['--create', '--file=-', `--directory=${DUMP}`, '.'] };

/** What `prepareDump` and the upload would run, in order; the last one's output is what goes up, where it is no folder. */
export function describeDump(mode: Mode, plan: DumpPlan): readonly Command[] {
  const before = [...plan.prepare, plan.dump];
  if (mode === 'file') return [...before, CAT];
  return mode === 'tar' ? [...before, TAR] : before;
}

/** Runs what goes before the upload: in the modes that are no stream, the dump itself. Throws `DumpError`. */
export async function prepareDump(run: Run, plan: DumpPlan): Promise<Dump> {
  const { host } = run.session;
  const { mode } = host.config;
  const runAll = async (commands: readonly Command[]) => {
    for (const command of commands) await runInRoom(run, command);
  };
  await runAll(plan.prepare);
  if (mode === 'stream') return { kind: 'stream', command: plan.dump, marks: plan.marks, examine: plan.examine };
  await runAll([plan.dump]);
  if (mode === 'file') {
    return { kind: 'stream', command: CAT, marks: plan.marks, examine: plan.examine };
  }
  if (mode === 'tar') return { kind: 'stream', command: TAR, marks: TAR_MARKS, examine: undefined };
  return await readFolder(folderOf(run.scratch.path));
}

/** How tools say that a disk is full. */
const FULL = /no space left|ENOSPC|\b(disk|device) is full|err(no|code):? 28\b/i;

/** As `runTool`; where the temporary folder is too small for what the command writes, the error says so. */
async function runInRoom({ session: { host }, scratch, signal }: Run, command: Command): Promise<void> {
  const room = await scratch.freeBytes();
  try {
    await runTool(host, scratch, command, signal);
  } catch (error) {
    if (signal.aborted || !FULL.test(describeError(error))) throw error;
    throw new DumpError(
      `BACKUP_TEMP_DIR: ${formatBytes(room)} were free in ${scratch.path}, too little for this dump: give it room, or name another folder`,
      { cause: error },
    );
  }
}

/** Where in a scratch folder the dump lies that is no stream. */
export const folderOf = (scratch: string): string => renderCommand({ file: DUMP, args: [DUMP] }, scratch).args[0]!;

/** Throws `DumpError` where there is nothing. */
async function readFolder(path: string): Promise<DumpFolder> {
  const files = await digestFolder(path);
  if (files.length === 0) throw new DumpError('the dump is not whole: its folder holds no file');
  return { kind: 'folder', path, files };
}

/** Every file below a folder, with its SHA-256, sorted by path. */
export async function digestFolder(folder: string): Promise<readonly StoredFile[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  const files: StoredFile[] = [];
  for (const path of paths) files.push({ path: relative(folder, path), ...(await digestFile(path)) });
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function digestFile(path: string): Promise<Pick<StoredFile, 'bytes' | 'sha256'>> {
  const { size } = await stat(path);
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash);
  return { bytes: size, sha256: hash.digest('hex') };
}
