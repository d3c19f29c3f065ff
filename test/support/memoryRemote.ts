import { PassThrough, type Readable, Writable } from 'node:stream';
import { RemoteError } from '../../src/core/errors.ts';
import { PARTIAL_SUFFIX } from '../../src/core/manifest.ts';
import type { Child, Exit } from '../../src/process/child.ts';
import type { Remote } from '../../src/remote/remote.ts';

/** What lies on a remote: path -> bytes. */
export type Storage = Map<string, Buffer>;

/** What becomes of a call: `lost` is done, and said to have failed; `short` stores a byte less. */
export type Fate = 'done' | 'refused' | 'lost' | 'short';

export interface MemoryRemoteOptions {
  readonly title: string;
  readonly isAtomic: boolean;
  /** Asked before each call. Throws where the caller is dead: it then does nothing any more. */
  readonly decide: (verb: string, path: string) => Fate;
  /** Told of each upload, from its first moment to its last. */
  readonly onUpload?: (change: 1 | -1) => void;
}

/** A remote without rclone, which keeps what it is given in `storage`. */
export function createMemoryRemote(storage: Storage, options: MemoryRemoteOptions): Remote {
  const { title, isAtomic, decide } = options;
  const act = async <T>(verb: string, path: string, signal: AbortSignal, deed: () => T): Promise<T> => {
    signal.throwIfAborted();
    const fate = decide(verb, path);
    if (fate === 'refused') throw new RemoteError(`${verb} ${path} was refused`);
    const result = deed();
    if (fate === 'lost') throw new RemoteError(`${verb} ${path} was lost`);
    return result;
  };
  const uploadPath = (path: string) => (isAtomic ? path : path + PARTIAL_SUFFIX);
  const remove = (paths: readonly string[]) => {
    for (const path of paths) storage.delete(path);
  };
  const unused = async () => {
    throw new Error('not here');
  };
  const remote: Remote = {
    title,
    backend: { types: ['memory'], isAtomic, canStream: true, parts: undefined },
    list: (signal) =>
      act('list', '', signal, () => {
        return { listing: new Map([...storage].map(([path, body]) => [path, body.length])), times: new Map() };
      }),
    readIndex: unused,
    writeIndex: unused,
    listFolder: unused,
    stat: (path, signal) => act('stat', path, signal, () => storage.get(path)?.length),
    storedAt: async () => undefined,
    modifiedAt: async () => undefined,
    readAll: (paths, _folder, signal) => act('read', '', signal, () => readTexts(storage, paths)),
    readEach: async ({ paths }, folder, signal, take) => {
      try {
        for (const [path, text] of await remote.readAll(paths, folder, signal)) take(path, text, true);
        return undefined;
      } catch (failure) {
        return failure as RemoteError;
      }
    },
    write: (path, text, signal) => act('write', path, signal, () => void storage.set(path, Buffer.from(text))),
    remove: async (paths, _folder, signal) => {
      // One call, that may end in its midst.
      const half = Math.ceil(paths.length / 2);
      for (const part of [paths.slice(0, half), paths.slice(half)])
        if (part.length > 0) await act('remove', part[0]!, signal, () => remove(part));
    },
    describeUpload: () => ({ file: 'memory', args: [] }),
    uploadPath,
    upload: (path) => startUpload(storage, uploadPath(path), options),
    publish: async (path, signal, onMove) => {
      if (isAtomic) return;
      if ((await remote.stat(path, signal)) !== undefined) throw new RemoteError(`${path} exists`);
      onMove?.();
      await act('move', path, signal, () => {
        const body = storage.get(uploadPath(path));
        if (!body) throw new RemoteError(`${path} is not there`);
        storage.set(path, body);
        storage.delete(uploadPath(path));
      });
    },
    uploadFolder: unused,
    downloadFolder: unused,
    removeFolder: async () => {},
    open: () => {
      throw new Error('not here');
    },
    sync: async () => {},
    hasUpload: async () => false,
    findUploads: async () => [],
    abortUpload: async () => false,
  };
  return remote;
}

const readTexts = (storage: Storage, paths: readonly string[]): ReadonlyMap<string, string> =>
  new Map(paths.flatMap((path) => (storage.has(path) ? [[path, storage.get(path)!.toString()]] : [])));

/** Stores at the end of its input, as rcat does; one that is killed leaves half of it where that shows. */
function startUpload(storage: Storage, path: string, { isAtomic, decide, onUpload }: MemoryRemoteOptions): Child {
  const chunks: Buffer[] = [];
  const exit = Promise.withResolvers<Exit>();
  let isOver = false;
  let said = '';
  onUpload?.(1);
  const end = (code: number | null, signal: NodeJS.Signals | null = null) => {
    if (isOver) return;
    isOver = true;
    onUpload?.(-1);
    exit.resolve({ code, signal });
  };
  const fail = (error: unknown) => {
    said = String(error);
    end(1);
  };
  const store = () => {
    const fate = decide('rcat', path);
    const body = Buffer.concat(chunks);
    if (fate === 'refused') return fail('refused');
    storage.set(path, fate === 'short' ? body.subarray(0, -1) : body);
    if (fate === 'lost') return fail('lost');
    end(0);
  };
  const stdin = new Writable({
    write(chunk: Buffer, _encoding, goOn) {
      chunks.push(Buffer.from(chunk));
      goOn();
    },
    final(goOn) {
      try {
        if (!isOver) store();
      } catch (error) {
        fail(error);
      }
      goOn();
    },
  });
  stdin.on('error', () => {});
  const kill = (signal: NodeJS.Signals) => {
    if (isOver) return;
    const half = Buffer.concat(chunks);
    try {
      if (!isAtomic && decide('kill', path) !== 'refused') storage.set(path, half.subarray(0, half.length / 2));
    } catch {
      // who killed it is dead
    }
    end(null, signal);
  };
  const stdout: Readable = new PassThrough();
  return { name: 'memory', stdin, stdout, exit: exit.promise, stderrTail: () => said, kill, isRunning: () => !isOver };
}
