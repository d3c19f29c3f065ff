import { RemoteError } from '../core/errors.ts';
import { PARTIAL_SUFFIX } from '../core/manifest.ts';
import { type Child, hasSucceeded } from '../process/child.ts';
import type { Listings } from './listings.ts';
import { parseLogLine, rcloneError } from './rclone.ts';
import { checksumFlags, placeOf, type Site, titleOf } from './site.ts';

/** `bytes` is what was sent or has come until now. */
type OnProgress = (bytes: number) => void;

/** Artifacts on their way. */
export interface Transfers {
  /** Starts an upload: what is written to the child's standard input. End-of-input commits it. `onProgress` gets rclone's count of bytes sent. */
  upload(path: string, chunkBytes: number | undefined, onProgress: OnProgress): Child;
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
  upload: (path, chunkBytes, onProgress) => upload(site, path, chunkBytes, onProgress),
  uploadPath: (path) => uploadPath(site, path),
  publish: (path, signal, onMove) => publish(site, stat, path, signal, onMove),
  uploadFolder: (from, path, onProgress, signal) => copy(site, from, placeOf(site, path), onProgress, signal),
  downloadFolder: (path, to, onProgress, signal) => copy(site, placeOf(site, path), to, onProgress, signal),
  open: (path) => site.rclone.start({ verb: ['cat'], paths: [placeOf(site, path)] }),
});

const uploadPath = ({ backend }: Site, path: string): string => (backend.isAtomic ? path : path + PARTIAL_SUFFIX);

function upload(site: Site, path: string, chunkBytes: number | undefined, onProgress: OnProgress): Child {
  const { rclone, backend } = site;
  const parts = chunkBytes === undefined || !backend.parts ? [] : [`${backend.parts.flag}=${chunkBytes}B`];
  const flags = [...checksumFlags(site), ...parts, ...STATISTICS];
  const call = { verb: ['rcat'], flags, paths: [placeOf(site, uploadPath(site, path))] };
  return rclone.start(call, readStatistics(onProgress));
}

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
  const flags = ['--no-check-dest', ...STATISTICS];
  const output = await rclone.run({ verb: ['copy'], flags, paths: [from, to] }, signal, readStatistics(onProgress));
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
