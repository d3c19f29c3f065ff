import { join } from 'node:path';
import { parseConnection } from '../config/uriConnection.ts';
import { createId } from '../core/backupId.ts';
import type { AnyQuestion } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import { drillDay, drillName } from '../core/drillName.ts';
import { ConfigError, DrillError, DumpError, describeError } from '../core/errors.ts';
import { type Drilled, UNRESTORABLE } from '../core/manifest.ts';
import { formatDuration } from '../core/units.ts';
import type { Drill, Engine } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import { planDecoding } from '../pipeline/filters.ts';
import type { Scratch } from '../process/scratch.ts';
import { engineOf, pass, type Reading } from './artifact.ts';
import { expectReadable } from './content.ts';
import { createDeadline } from './deadline.ts';
import { countKeys, expectRoomToCopy } from './keyCopy.ts';
import { followReading } from './progress.ts';
import { restoreFrom } from './restore.ts';
import { ask, cleanupSignal, type Host } from './session.ts';
import { isShortage } from './shortage.ts';

/** Whether a restore is all that there is to a drill: what belongs to a whole server has no place to be tried out. */
export const canDrill = ({ backup: { manifest } }: Reading): boolean => manifest.target.part !== 'globals';

/** How far a drill came. */
interface Course {
  isTouched: boolean;
  /** What fails from now on has to do with the backup, or with a server that could be restored into until now. */
  isLoading: boolean;
  /** Whether what it had made could be removed: such a server answers. */
  isRemoved: boolean;
}

/**
 * Restores a backup into a database that is made for it and removed after it, and counts what is there. Throws `DrillError`
 * where it cannot be restored although its bytes are as they were written, `VerifyError` where they are not; any other error is
 * of a drill that did not get so far.
 */
export async function drill(reading: Reading): Promise<Drilled> {
  const engine = engineOf(reading.backup);
  const { host } = reading.session;
  const { verifyTimeoutMs } = host.config;
  const course: Course = { isTouched: false, isLoading: false, isRemoved: true };
  using limit = createDeadline(
    host.clock,
    verifyTimeoutMs,
    `the drill took longer than VERIFY_TIMEOUT, ${formatDuration(verifyTimeoutMs)}`,
  );
  const signal = AbortSignal.any([host.signal, limit.signal]);
  const limited = { ...reading, session: { ...reading.session, host: { ...host, signal } } };
  try {
    const found = await (engine.drill
      ? restoreAside(limited, engine.drill, course, host)
      : loadAside(limited, engine, course));
    return { ...found, at: host.clock.now().toISOString() };
  } catch (error) {
    host.signal.throwIfAborted();
    const isLate = limit.signal.aborted;
    // What came before says nothing of the backup, and what is no error of a tool is none of its.
    if (!course.isLoading || !(isLate || (error instanceof DumpError && error.cause === undefined))) throw error;
    // Only its bytes can prove damage: they are looked at by themselves.
    await expectReadable(reading);
    const why = describeError(error);
    throw new DrillError(`${UNRESTORABLE}: ${why}`, isLate || !course.isRemoved || isShortage(why));
  }
}

/** `cleaner` has time of its own for what is to be removed. */
async function restoreAside(reading: Reading, { count, drop }: Drill, course: Course, cleaner: Host): Promise<Drilled> {
  const { session, scratch, backup } = reading;
  const { host } = session;
  const connection = chooseConnection(reading);
  const facts = backup.manifest.target;
  const startedMs = host.clock.now().getTime();
  let isOurs = true;
  try {
    const options = { name: backup.manifest.id, at: undefined, connection, replace: false, createRoles: true };
    await restoreFrom(session, { ...options, isDrill: true, confirm: async () => false }, backup, course);
    // What one waits for when it is no drill: nothing of what follows.
    const durationMs = host.clock.now().getTime() - startedMs;
    const counts = await ask(host, scratch, count(connection, facts), host.signal);
    await warnOfLeftovers(reading, connection);
    return { ...counts, durationMs };
  } catch (error) {
    // A target that is not ready would be one that was there before: it is not touched, and not removed.
    isOurs = !(error instanceof ConfigError);
    throw error;
  } finally {
    if (drop && isOurs)
      course.isRemoved = await remove(cleaner, scratch, () => drop(connection, facts), connection, course.isLoading);
  }
}

/** On a server that is named for it, under a name that nobody has; a file needs no server. */
function chooseConnection({ session, scratch, backup }: Reading): Connection {
  const { host } = session;
  const { verifyUri, connection: source } = host.config;
  if (backup.manifest.engine === 'sqlite') return { ...source, database: join(scratch.path, 'drill.sqlite3') };
  if (verifyUri === undefined)
    throw new ConfigError('VERIFY_DB_URI is not set: the level restore needs a server to restore into');
  const name = drillName(createId(host.clock.now(), host.randomHex(3)));
  return { ...parseConnection(verifyUri, { engine: source.engine, database: name }), database: name };
}

const DAY_MS = 86_400_000;

/** What drills that were killed have left, which nobody else would look for; those of today may be going on. */
async function warnOfLeftovers({ session, scratch }: Reading, connection: Connection): Promise<void> {
  const { host } = session;
  const question = engines[connection.engine].discover?.(connection);
  const names = question ? await ask(host, scratch, question, host.signal).catch(() => []) : [];
  const now = host.clock.now().getTime();
  const left = names.filter((name) => now - (drillDay(name)?.getTime() ?? now) > 2 * DAY_MS);
  if (left.length > 0)
    host.logger.warn(`drills that were killed left ${left.join(', ')} on the server of VERIFY_DB_URI: drop them there`);
}

/** A server that could not even be restored into need not be told that it holds nothing of ours. */
async function remove(
  host: Host,
  scratch: Scratch,
  drop: () => AnyQuestion<void>,
  { database }: Connection,
  isLoud: boolean,
): Promise<boolean> {
  try {
    await ask(host, scratch, drop(), cleanupSignal(host));
    return true;
  } catch (error) {
    const message = `the database ${database} of the drill could not be removed: ${describeError(error)}`;
    host.logger[isLoud ? 'warn' : 'debug'](message);
    return false;
  }
}

/** A restore by way of a private server is as good as done once that has loaded the dump. */
async function loadAside(reading: Reading, engine: Engine, course: Course): Promise<Drilled> {
  const { session, scratch, backup } = reading;
  const { host } = session;
  const { manifest, path } = backup;
  const { load, copy } = engine.planRestore({
    connection: host.config.connection,
    target: { exists: false, holds: '', missingRoles: [], title: engine.title, major: undefined },
    facts: manifest.target,
    mode: manifest.mode,
    format: manifest.format,
    replace: false,
    createRoles: false,
    id: host.randomHex(6),
  });
  if (!copy) throw new ConfigError(`${path}: there is no drill for ${engine.title}`);
  await expectRoomToCopy(scratch, backup);
  using progress = followReading(host, manifest);
  course.isLoading = true;
  const startedMs = host.clock.now().getTime();
  await pass(reading, [...planDecoding(manifest, host.config.identity), load], { progress });
  const rows = await countKeys(host, scratch, copy);
  return { tables: 0, rows, durationMs: host.clock.now().getTime() - startedMs };
}
