import { type Command, SCRATCH } from '../core/command.ts';
import { ConfigError, DumpError } from '../core/errors.ts';
import { formatBytes } from '../core/units.ts';
import type { KeyCopy } from '../engines/engine.ts';
import { pumpKeys } from '../pipeline/keys.ts';
import { type Child, describeExit, hasSucceeded, stopChild } from '../process/child.ts';
import type { Scratch } from '../process/scratch.ts';
import type { Backup } from '../remote/catalog.ts';
import { type Host, startTool } from './session.ts';
import { watchStall } from './stall.ts';

/** Linux's limit of a socket's path. */
const MAX_SOCKET_PATH = 107;

/** Throws, before the first byte, where the dump does not fit beside what is there. */
export async function expectRoomToCopy(scratch: Scratch, { manifest }: Backup): Promise<void> {
  const free = await scratch.freeBytes();
  if (free >= manifest.dumpBytes) return;
  throw new ConfigError(
    `BACKUP_TEMP_DIR: ${scratch.path} has ${formatBytes(free)} free, the dump needs ${formatBytes(manifest.dumpBytes)}: give it room, or name another folder`,
  );
}

/** Starts a private server on the dump, and copies what it holds into the target. `onTouch` is called before the target is touched. */
export async function copyKeys(host: Host, scratch: Scratch, copy: KeyCopy, onTouch: () => void): Promise<void> {
  const socket = copy.socket.replaceAll(SCRATCH, scratch.path);
  if (Buffer.byteLength(socket) > MAX_SOCKET_PATH)
    throw new ConfigError(`BACKUP_TEMP_DIR is too long a path: ${socket} cannot be a socket; name a shorter one`);
  const server = await startMortal(host, scratch, copy.server);
  using stall = watchStall(host.clock, host.config.stallTimeoutMs, async () => 0);
  try {
    const loaded = await waitForData(server, copy, host.signal);
    host.logger.info(`the dump is whole and loaded: ${loaded} keys go into the target`);
    const signal = AbortSignal.any([host.signal, stall.signal]);
    await pumpKeys(socket, copy, { signal, onMove: stall.touch, onTouch });
  } finally {
    await stopChild(server, 1000);
  }
}

/** Starts a private server on the dump, and returns how many keys it loaded. */
export async function countKeys(host: Host, scratch: Scratch, copy: KeyCopy): Promise<number> {
  const server = await startMortal(host, scratch, copy.server);
  try {
    return await waitForData(server, copy, host.signal);
  } finally {
    await stopChild(server, 1000);
  }
}

/** Starts a server that ends with us, also where we are killed: nothing tells it by its input, as it tells a client. */
async function startMortal(host: Host, scratch: Scratch, command: Command): Promise<Child> {
  const { file, args } = command;
  const bound = { ...command, file: 'setpriv', args: ['--pdeathsig', 'KILL', '--', file, ...args] };
  const probe = await startTool(host, scratch, { file: 'setpriv', args: ['--pdeathsig', 'KILL', '--', 'true'] });
  probe.stdout.resume();
  return await startTool(host, scratch, hasSucceeded(await probe.exit) ? bound : command);
}

/** Resolves with the number of keys when the server has loaded the dump; it starts empty where it finds none. */
async function waitForData(server: Child, copy: KeyCopy, signal: AbortSignal): Promise<number> {
  let log = '';
  const ready = Promise.withResolvers<void>();
  server.stdout.on('data', (chunk: Buffer) => {
    log = (log + chunk.toString('latin1')).slice(-16_384);
    if (/ready to accept connections/i.test(log)) ready.resolve();
  });
  const stop = () => ready.reject(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  // Its last lines may come after it has gone.
  server.stdout.once('end', () => {
    void server.exit.then((exit) => {
      const plain = describeExit('redis-server', exit, server.stderrTail());
      ready.reject(new DumpError(explainLog(log, copy) ?? plain));
    });
  });
  try {
    await ready.promise;
  } finally {
    signal.removeEventListener('abort', stop);
  }
  const [, keys] = /Done loading RDB, keys loaded: (\d+)/.exec(log) ?? [];
  if (keys === undefined) throw new DumpError(`redis-server did not load the dump: ${tailOf(log)}`);
  return Number(keys);
}

function explainLog(log: string, { origin }: KeyCopy): string | undefined {
  const version = /Can't handle RDB format version (\S+)/.exec(log)?.[1];
  if (version !== undefined || /Wrong signature/.test(log)) {
    const what = version === undefined ? 'does not know its signature' : `does not know its version ${version}`;
    return `the dump is of ${origin}, and the redis-server here ${what}: restore with one as new as that, of the same kind`;
  }
  const module = /can't load: no matching module (?:type )?'([^']+)'/.exec(log)?.[1];
  if (module !== undefined)
    return `the dump holds data of the module ${module}, which the redis-server here does not have: load it from the file itself (docs/restore.md)`;
  return log === '' ? undefined : `redis-server could not load the dump: ${tailOf(log)}`;
}

const tailOf = (log: string): string =>
  log
    .trim()
    .split(/\r?\n/)
    .map((line) => line.replace(/^\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ [-*#.] /, ''))
    .slice(-4)
    .join('; ');
