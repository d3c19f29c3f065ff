import type { Command } from '../core/command.ts';
import { RemoteError } from '../core/errors.ts';
import { PARTIAL_SUFFIX } from '../core/manifest.ts';
import { type Child, hasSucceeded } from '../process/child.ts';
import type { Listings } from './listings.ts';
import { parseLogLine, rcloneError } from './rclone.ts';
import { checksumFlags, ONE_OBJECT, placeOf, type Site, titleOf } from './site.ts';

/** `bytes` is what was sent or has come until now. */
type OnProgress = (bytes: number) => void;

/** Artifacts on their way. */
export interface Transfers {
  /** Starts an upload: what is written to the child's standard input. End-of-input commits it. `onProgress` gets rclone's count of bytes sent. */
  upload(path: string, chunkBytes: number | undefined, onProgress: OnProgress): Child;
  /** What `upload` would run, or for a folder at `from` `uploadFolder`. */
  describeUpload(path: string, chunkBytes: number | undefined, from?: string): Command;
  /** The name to upload to, so that a half-written object never has the final one. */
  uploadPath(path: string): string;
  /** Gives an upload its final name, which must be free; from `onMove` on it may be ours. */
  publish(path: string, signal: AbortSignal, onMove?: () => void): Promise<void>;
  /** Copies the files of the local folder `from` to the folder `path`, which nobody else writes to. */
  uploadFolder(from: string, path: string, onProgress: OnProgress, signal: AbortSignal): Promise<void>;
  /** Copies the files of the folder `path` to the local folder `to`. */
  downloadFolder(path: string, to: string, onProgress: OnProgress, signal: AbortSignal): Promise<void>;
  /** Starts reading an object; nothing comes of one that is missing, so `stat` it first. */
  open(path: string): Child;
}

/** rclone tells its count of bytes every few seconds. */
const STATISTICS = ['--use-json-log', '--stats=5s', '--stats-log-level=NOTICE'];

export const createTransfers = (site: Site, { stat }: Pick<Listings, 'stat'>): Transfers => ({
  upload: (path, chunkBytes, onProgress) =>
    site.rclone.start(uploadCall(site, path, chunkBytes), readStatistics(onProgress)),
  describeUpload: (path, chunkBytes, from) =>
    site.rclone.describe(from === undefined ? uploadCall(site, path, chunkBytes) : copyCall(from, placeOf(site, path))),
  uploadPath: (path) => uploadPath(site, path),
  publish: (path, signal, onMove) => publish(site, stat, path, signal, onMove),
  uploadFolder: (from, path, onProgress, signal) => copy(site, from, placeOf(site, path), onProgress, signal),
  downloadFolder: (path, to, onProgress, signal) => copy(site, placeOf(site, path), to, onProgress, signal),
  open: (path) => site.rclone.start({ verb: ['cat'], flags: [ONE_OBJECT], paths: [placeOf(site, path)] }),
});

const uploadPath = ({ backend }: Site, path: string): string => (backend.isAtomic ? path : path + PARTIAL_SUFFIX);

function uploadCall(site: Site, path: string, chunkBytes: number | undefined) {
  const { parts } = site.backend;
  const size = chunkBytes === undefined || !parts ? [] : [`${parts.flag}=${chunkBytes}B`];
  const flags = [...checksumFlags(site), ...size, ...STATISTICS];
  return { verb: ['rcat'], flags, paths: [placeOf(site, uploadPath(site, path))] };
}

const copyCall = (from: string, to: string) => ({
  verb: ['copy'],
  flags: ['--no-check-dest', ...STATISTICS],
  paths: [from, to],
});

async function publish(
  site: Site,
  stat: Listings['stat'],
  path: string,
  signal: AbortSignal,
  onMove?: () => void,
): Promise<void> {
  if (site.backend.isAtomic) return;
  // Onto an existing object moveto may keep the old content and exit 0.
  if ((await stat(path, signal)) !== undefined) {
    throw new RemoteError(`${titleOf(site, path)} exists: somebody else wrote it during the upload; it was left alone`);
  }
  onMove?.();
  const paths = [placeOf(site, path + PARTIAL_SUFFIX), placeOf(site, path)];
  const output = await site.rclone.run({ verb: ['moveto'], flags: checksumFlags(site), paths }, signal);
  if (!hasSucceeded(output.exit)) throw rcloneError(`moveto ${titleOf(site, path)}`, output.exit, output.stderr);
}

async function copy(
  { rclone, location }: Site,
  from: string,
  to: string,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<void> {
  const output = await rclone.run(copyCall(from, to), signal, readStatistics(onProgress));
  if (!hasSucceeded(output.exit)) throw rcloneError(`copy ${location.title}`, output.exit, output.stderr);
}

/** Reads rclone's statistics out of its JSON log, whole lines at a time. */
function readStatistics(onProgress: OnProgress): (text: string) => void {
  let rest = '';
  return (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const bytes = parseLogLine(line)?.stats?.bytes;
      if (bytes !== undefined) onProgress(bytes);
    }
  };
}
