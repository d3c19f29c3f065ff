import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { type S3Server, startS3 } from './s3.ts';
import { scratchFolder } from './scratch.ts';
import { startSftp } from './sftp.ts';
import { startVersitygw } from './versitygw.ts';

interface RemoteFile {
  readonly bytes: number;
  readonly sha256: string;
}

/** A remote with nothing on it, and a way to look at it, and meddle with it, that does not go through rclone. */
export interface TestRemote extends AsyncDisposable {
  readonly kind: RemoteKind;
  /** For RCLONE_REMOTE. */
  readonly remote: string;
  /** The variables that rclone needs for it. */
  readonly env: Readonly<Record<string, string>>;
  /** By path, relative to `remote`. */
  list(): Promise<Map<string, RemoteFile>>;
  read(path: string): Promise<Buffer>;
  /** As if it had been stored at `modified`, where that is given. */
  write(path: string, body: Buffer | string, modified?: Date): Promise<void>;
  remove(path: string): Promise<void>;
  /** The server behind kind `s3`, to make it fail. */
  readonly s3?: S3Server;
  stop(): Promise<void>;
}

/** Programs that a kind needs besides rclone. */
export const REMOTE_TOOLS = { local: [], sftp: [], s3: [], versitygw: ['versitygw'] } as const;
export type RemoteKind = keyof typeof REMOTE_TOOLS;
/** Those that need nothing but rclone. */
export const REMOTE_KINDS = ['local', 'sftp', 's3'] as const;

const STARTERS: Readonly<Record<RemoteKind, () => Promise<TestRemote>>> = {
  local: startLocal,
  sftp: startSftpRemote,
  s3: startS3Remote,
  versitygw: startVersitygwRemote,
};

export function startRemote(kind: RemoteKind): Promise<TestRemote> {
  return STARTERS[kind]();
}

async function startLocal(): Promise<TestRemote> {
  const scratch = scratchFolder();
  const folder = join(scratch.path, 'backups');
  mkdirSync(folder);
  const stop = () => scratch[Symbol.asyncDispose]();
  return { kind: 'local', remote: folder, env: {}, ...folderFiles(folder), stop, [Symbol.asyncDispose]: stop };
}

async function startSftpRemote(): Promise<TestRemote> {
  const server = await startSftp();
  const { stop } = server;
  const folder = join(server.folder, 'backups');
  mkdirSync(folder);
  const env = server.rcloneEnv('sftp');
  return { kind: 'sftp', remote: 'sftp:/backups', env, ...folderFiles(folder), stop, [Symbol.asyncDispose]: stop };
}

async function startVersitygwRemote(): Promise<TestRemote> {
  const server = await startVersitygw();
  const { bucket, stop } = server;
  const folder = join(server.folder, 'backups');
  const env = server.rcloneEnv('s3');
  const remote = `s3:${bucket}/backups`;
  return { kind: 'versitygw', remote, env, ...folderFiles(folder), stop, [Symbol.asyncDispose]: stop };
}

async function startS3Remote(): Promise<TestRemote> {
  const s3 = await startS3();
  const prefix = 'backups/';
  const list = async () => {
    const ours = [...s3.objects()].filter(([key]) => key.startsWith(prefix));
    return new Map(ours.map(([key, { bytes, sha256 }]) => [key.slice(prefix.length), { bytes, sha256 }]));
  };
  const read = async (path: string) => {
    const object = s3.objects().get(prefix + path);
    if (!object) throw new Error(`no such object: ${path}`);
    return object.body;
  };
  return {
    kind: 's3',
    remote: `s3:${s3.bucket}/backups`,
    env: s3.rcloneEnv('s3'),
    list,
    read,
    write: async (path, body, modified) => s3.put(prefix + path, body, modified),
    remove: async (path) => s3.delete(prefix + path),
    s3,
    stop: s3.stop,
    [Symbol.asyncDispose]: s3.stop,
  };
}

function folderFiles(folder: string): Pick<TestRemote, 'list' | 'read' | 'write' | 'remove'> {
  return {
    list: async () => {
      if (!existsSync(folder)) return new Map();
      const paths = readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name));
      return new Map(paths.sort().map((path) => [relative(folder, path), describeFile(path)]));
    },
    read: async (path) => readFileSync(join(folder, path)),
    write: async (path, body, modified) => {
      const file = join(folder, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, body);
      if (modified) utimesSync(file, modified, modified);
    },
    remove: async (path) => rmSync(join(folder, path)),
  };
}

function describeFile(path: string): RemoteFile {
  return { bytes: statSync(path).size, sha256: createHash('sha256').update(readFileSync(path)).digest('hex') };
}
