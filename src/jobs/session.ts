import { access, chmod, constants, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Config, findOwnRcloneConfig } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import type { AnyQuestion, Command, DriverQuestion, Question } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import { DumpError, describeError, TimeoutError } from '../core/errors.ts';
import type { Redactor } from '../core/redact.ts';
import type { Engine } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import type { Logger } from '../logger.ts';
import type { Notifier } from '../notify/index.ts';
import { type Child, describeExit, hasSucceeded, spawnChild } from '../process/child.ts';
import { pickEnvironment, pickRcloneEnvironment, TOOL_NAMES } from '../process/environment.ts';
import { runCommand } from '../process/run.ts';
import { createScratch, type Scratch, sweepScratch } from '../process/scratch.ts';
import { type Backend, inspectBackend } from '../remote/backend.ts';
import { type Catalog, type ManifestCache, readCatalog, type Texts } from '../remote/catalog.ts';
import { type Location, parseLocation } from '../remote/location.ts';
import { createRclone, type Rclone, readRcloneVersion } from '../remote/rclone.ts';
import { createRemote, type Remote } from '../remote/remote.ts';
import { giveUp, limitOf } from './patience.ts';

/** What the process gives to every job: nothing below takes time, environment, randomness or signals from the air. */
export interface Host {
  readonly config: Config;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Lower-case hex of so many random bytes. */
  readonly randomHex: (bytes: number) => string;
  /** Memory that this machine or container can still give. */
  readonly availableBytes: () => number;
  /** Fires when the process has to end. */
  readonly signal: AbortSignal;
  /** Shows how far a run is, on a terminal; undefined where there is none. */
  readonly showProgress: ((line: string) => void) | undefined;
  /** Masks every secret that is known: for what goes to people and other programs. The log does it by itself. */
  readonly redact: Redactor;
  readonly notifier: Notifier;
  readonly version: string;
}

/** A remote, and what lies there. */
export interface Place {
  readonly remote: Remote;
  /** `known` are texts of records that need not be read. */
  readCatalog(signal: AbortSignal, known?: Texts): Promise<Catalog>;
}

/**
 * A host with its remotes looked at and a private folder: opened once a process, used by job after job. What asks for no
 * place in particular means the session's own, at first the first.
 */
export interface Session extends Place, AsyncDisposable {
  readonly host: Host;
  readonly engine: Engine;
  readonly series: string;
  /** How the engine's tools reach a database of the configured server: straight, or through the tunnel of this run. */
  readonly reach: (connection: Connection) => Connection;
  /** In the order of their variables. */
  readonly places: readonly Place[];
  /** A sentence for each remote that could not be looked at, and is left out. */
  readonly broken: readonly string[];
  readonly rcloneVersion: string;
  readonly scratch: Scratch;
}

/** The session with another place as its own. */
export const at = (session: Session, place: Place): Session => ({ ...session, ...place });

/**
 * Looks for rclone and at the remotes; `signal` ends that alone. Without one nobody else watches: a remote that does not answer is
 * given up at the stall timeout. Throws `RemoteError` or `ConfigError`.
 */
export async function openSession(host: Host, signal?: AbortSignal): Promise<Session> {
  const { config, logger } = host;
  for (const name of await sweepScratch(config.tempDir))
    logger.warn(`removed ${name}, which a run that died left in ${config.tempDir}`);
  const scratch = await createScratch(config.tempDir, `session-${host.randomHex(4)}`);
  try {
    const { places, ...remotes } = await openPlaces(host, scratch, signal);
    return {
      host,
      engine: engines[config.connection.engine],
      series: config.series,
      reach: (connection) => connection,
      ...places[0]!,
      places,
      ...remotes,
      scratch,
      [Symbol.asyncDispose]: () => scratch[Symbol.asyncDispose](),
    };
  } catch (error) {
    await scratch[Symbol.asyncDispose]();
    throw error;
  }
}

/** In the order of their variables. */
export const locateRemotes = ({ remote }: Config): readonly Location[] =>
  remote.remotes.map((text, index) => parseLocation(text, `dbstash${index + 1}`));

/** At least one; throws why the first could not be opened where none could. */
async function openPlaces(
  host: Host,
  scratch: Scratch,
  given: AbortSignal | undefined,
): Promise<Pick<Session, 'places' | 'broken' | 'rcloneVersion'>> {
  const signal = given ?? host.signal;
  const { extraArgs } = host.config.remote;
  const options = { configPath: await placeRcloneConfig(host, scratch), extraArgs };
  const first = rcloneEnvironment(host, undefined);
  const locations = locateRemotes(host.config);
  const { stallTimeoutMs } = host.config;
  // One of several is given up while there is time for the others, as later.
  const ms = locations.length > 1 ? stallTimeoutMs / 3 : given === undefined ? stallTimeoutMs : 0;
  const looks = locations.map((location) => {
    const env = { ...first, ...location.env };
    return giveUp(location.title, { ...limitOf(host), signal, ms }, (stop) =>
      inspectBackend(createRclone({ ...options, env }), location, env, extraArgs, stop),
    );
  });
  const looked = Promise.allSettled(looks);
  // Waited for first: what an rclone that is missing or too old says of the remote would hide it.
  const rcloneVersion = await readRcloneVersion(createRclone({ ...options, env: first }), signal);
  const results = await looked;
  const env = rcloneEnvironment(host, rcloneVersion);
  const places = results.flatMap((result, index) => {
    if (result.status === 'rejected') return [];
    const location = locations[index]!;
    return createPlace(
      host,
      scratch,
      createRclone({ ...options, env: { ...env, ...location.env } }),
      location,
      result.value,
    );
  });
  const reasons = results.map((result): unknown => (result.status === 'rejected' ? result.reason : undefined));
  if (places.length === 0) throw reasons[0];
  const broken = reasons.flatMap((reason, index) =>
    reason === undefined ? [] : [`${locations[index]?.title} is left out: ${describeError(reason)}`],
  );
  return { places, broken, rcloneVersion };
}

function createPlace(host: Host, scratch: Scratch, rclone: Rclone, location: Location, backend: Backend): Place {
  if (!backend.canStream) {
    host.logger.warn(
      `${location.title} takes no streams: rclone puts each dump into ${host.env.TMPDIR ?? '/tmp'} first, which must have room for it`,
    );
  }
  const remote = createRemote(rclone, location, backend);
  const cache: ManifestCache = new Map();
  return {
    remote,
    readCatalog: async (signal, known) => {
      const catalog = await readCatalog(remote, cache, scratch.path, signal, known);
      if (catalog.unreadable) warnOfUnreadable(host.logger, catalog.unreadable);
      return catalog;
    },
  };
}

function warnOfUnreadable(logger: Logger, { paths, failure }: NonNullable<Catalog['unreadable']>): void {
  const [first, ...rest] = paths;
  const more = rest.length === 0 ? '' : ` and ${rest.length} more`;
  logger.warn(`${first}${more} could not be read, and nothing is pruned: ${failure.message}`);
}

/** rclone's environment. Which of our variables it does not get is told at debug. */
function rcloneEnvironment({ env, config, logger }: Host, version: string | undefined): Record<string, string> {
  const picked = pickRcloneEnvironment(env, version);
  if (config.remote.configPass !== undefined) picked.RCLONE_CONFIG_PASS = config.remote.configPass;
  const dropped = Object.keys(env).filter((name) => picked[name] === undefined);
  if (version !== undefined) logger.debug(`rclone does not get ${dropped.sort().join(', ')}`);
  return picked;
}

/**
 * A configuration given as content becomes a private file, which rclone may write refreshed tokens to. So does one in a
 * folder that we cannot write to, and none at all: what rclone wants to save it would try to, call after call, for seconds.
 */
async function placeRcloneConfig({ config, env }: Host, scratch: Scratch): Promise<string | undefined> {
  const { configText, configPath } = config.remote;
  const found = configPath ?? findOwnRcloneConfig(env);
  const text = configText ?? (found === undefined ? '' : await readWhereUnwritable(found));
  if (text === undefined) return configPath;
  const path = join(scratch.path, 'rclone.conf');
  await writeFile(path, text, { mode: 0o600 });
  await chmod(path, 0o600);
  return path;
}

/** Undefined where rclone can save it, or where it is rclone's to complain. */
async function readWhereUnwritable(path: string): Promise<string | undefined> {
  try {
    return await access(dirname(path), constants.W_OK).then(
      () => undefined,
      () => readFile(path, 'utf8'),
    );
  } catch {
    return undefined;
  }
}

const toolOptions = (host: Host) => ({ env: pickEnvironment(host.env, TOOL_NAMES) });

/** Asks a tool or, through it or a driver, the server. Throws `DumpError`. */
export async function ask<T>(host: Host, scratch: Scratch, question: AnyQuestion<T>, signal: AbortSignal): Promise<T> {
  try {
    return 'driver' in question ? await askDriver(question, signal) : await askOnce(host, scratch, question, signal);
  } catch (error) {
    if (!question.fallback || signal.aborted) throw error;
    return await ask(host, scratch, question.fallback, signal).catch(() => {
      throw error;
    });
  }
}

/** The driver is loaded where it is needed: it is large, and most engines have none. */
async function askDriver<T>(question: DriverQuestion<T>, signal: AbortSignal): Promise<T> {
  const { askMongo } = await import('../mongo.ts');
  return await askMongo(question, signal);
}

async function askOnce<T>(host: Host, scratch: Scratch, question: Question<T>, signal: AbortSignal): Promise<T> {
  const { file } = question.command;
  const command = await scratch.prepare(question.command);
  const { exitCodes = [0], deadline } = question;
  const run = { ...toolOptions(host), signal: AbortSignal.any([signal, ...(deadline ? [expire(deadline)] : [])]) };
  const { exit, stdout, stderr } = await runCommand(command, run);
  if (exit.code === null || !exitCodes.includes(exit.code)) throw new DumpError(describeExit(file, exit, stderr));
  return question.parse({ stdout, stderr, exitCode: exit.code });
}

/** Fires when the time for an answer is over. */
function expire({ ms, message }: NonNullable<Question<unknown>['deadline']>): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(new DumpError(message)), ms).unref();
  return controller.signal;
}

/** Runs an engine's command, which must exit 0. Returns what it said on standard error. Throws `DumpError`. */
export async function runTool(host: Host, scratch: Scratch, command: Command, signal: AbortSignal): Promise<string> {
  const { exit, stderr } = await runCommand(await scratch.prepare(command), { ...toolOptions(host), signal });
  if (!hasSucceeded(exit)) throw new DumpError(describeExit(command.file, exit, stderr));
  return stderr;
}

/** Starts an engine's command or a filter, whose standard input and output are streams. */
export async function startTool(host: Host, scratch: Scratch, command: Command): Promise<Child> {
  return spawnChild(await scratch.prepare(command), toolOptions(host));
}

/** Starts a command that only writes: its standard input is what the command says, or empty. */
export async function startSource(host: Host, scratch: Scratch, command: Command): Promise<Child> {
  const child = await startTool(host, scratch, command);
  child.stdin.end(command.input ?? '');
  return child;
}

const CLEANUP_MS = 60_000;
/** Of the seven seconds from SIGTERM to our exit, what is left for cleaning up after the uploads have stopped. */
const HURRIED_CLEANUP_MS = 1500;

/** A fresh deadline for cleaning up after a failure: a minute, and no more than a moment once the process has to end. */
export function cleanupSignal({ signal }: Host): AbortSignal {
  const controller = new AbortController();
  const hurry = () => setTimeout(() => controller.abort(signal.reason), HURRIED_CLEANUP_MS).unref();
  const expire = () => {
    signal.removeEventListener('abort', hurry);
    controller.abort(new TimeoutError(`there was no answer within ${CLEANUP_MS / 1000} s`));
  };
  setTimeout(expire, CLEANUP_MS).unref();
  if (signal.aborted) hurry();
  else signal.addEventListener('abort', hurry, { once: true });
  return controller.signal;
}
