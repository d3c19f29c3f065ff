import { join } from 'node:path';
import { parseConnection } from '../config/uriConnection.ts';
import { createId } from '../core/backupId.ts';
import type { Connection } from '../core/connection.ts';
import { drillDay, drillName } from '../core/drillName.ts';
import { ConfigError, DumpError, describeError, VerifyError } from '../core/errors.ts';
import type { Drilled } from '../core/manifest.ts';
import type { Drill, Engine } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import { planDecoding } from '../pipeline/filters.ts';
import { engineOf, expectSound, expectStored, pass, type Reading } from './artifact.ts';
import { isOwnFault } from './blame.ts';
import { countKeys, expectRoomToCopy } from './keyCopy.ts';
import { followReading } from './progress.ts';
import { restoreFrom } from './restore.ts';
import { ask, cleanupSignal } from './session.ts';

/** Begins what is found of a backup that fails its drill. */
export const UNRESTORABLE = 'it could not be restored';

/** Whether a restore is all that there is to a drill: what belongs to a whole server has no place to be tried out. */
export const canDrill = ({ backup: { manifest } }: Reading): boolean => manifest.target.part !== 'globals';

/**
 * Restores a backup into a database that is made for it and removed after it, and counts what is there. Throws `VerifyError`
 * where it cannot be restored; any other error is none of the backup's.
 */
export async function drill(reading: Reading): Promise<Drilled> {
  const engine = chooseEngine(reading);
  const { clock } = reading.session.host;
  const startedMs = clock.now().getTime();
  const counts = engine.drill ? await restoreAside(reading, engine.drill) : await loadAside(reading, engine);
  return { ...counts, durationMs: clock.now().getTime() - startedMs };
}

function chooseEngine({ backup }: Reading): Engine {
  const { manifest, path } = backup;
  const engine = engineOf(backup);
  if (manifest.engine === 'mongo' && manifest.database === 'all')
    throw new ConfigError(
      `${path} is of a whole server, which a drill cannot restore aside; right is the level content`,
    );
  return engine;
}

async function restoreAside(reading: Reading, { count, drop }: Drill): Promise<Omit<Drilled, 'durationMs'>> {
  const { session, scratch, backup } = reading;
  const { host } = session;
  const connection = chooseConnection(reading);
  const state = { isTouched: false, isLoading: false };
  try {
    const options = { name: backup.manifest.id, at: undefined, connection, replace: false, createRoles: true };
    await restoreFrom(session, { ...options, isDrill: true, confirm: async () => false }, backup, state).catch(
      async (error: unknown) => {
        // What came before says nothing of the backup, and what is no error of a tool is none of its.
        if (!state.isLoading || !(error instanceof DumpError) || error.cause !== undefined) throw error;
        await expectStored(reading);
        if (isOwnFault(error.message)) throw error;
        const finding = `${UNRESTORABLE}: ${describeError(error)}`;
        throw new VerifyError(`${backup.path} on ${session.remote.title}: ${finding}`, { finding });
      },
    );
    const counts = await ask(host, scratch, count(connection), host.signal);
    await warnOfLeftovers(reading, connection);
    return counts;
  } finally {
    if (drop) await remove(reading, connection, drop, state.isLoading ? 'warn' : 'debug');
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
  { session, scratch }: Reading,
  connection: Connection,
  drop: NonNullable<Drill['drop']>,
  level: 'warn' | 'debug',
): Promise<void> {
  const { host } = session;
  await ask(host, scratch, drop(connection), cleanupSignal(host)).catch((error: unknown) =>
    host.logger[level](
      `the database ${connection.database} of the drill could not be removed: ${describeError(error)}`,
    ),
  );
}

/** A restore by way of a private server is as good as done once that has loaded the dump. */
async function loadAside(reading: Reading, engine: Engine): Promise<Omit<Drilled, 'durationMs'>> {
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
  await pass(reading, [...planDecoding(manifest, host.config.identity), load], { progress }).catch(
    async (error: unknown) => {
      if (error instanceof DumpError) await expectSound(reading);
      throw error;
    },
  );
  return { tables: 0, rows: await countKeys(host, scratch, copy) };
}
