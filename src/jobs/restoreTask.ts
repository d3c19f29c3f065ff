import type { Config } from '../config/config.ts';
import type { Connection } from '../core/connection.ts';
import { ConfigError, DbstashError, describeError, VerifyError } from '../core/errors.ts';
import type { Engine, TablePick, Target } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import { planDecoding } from '../pipeline/filters.ts';
import type { Scratch } from '../process/scratch.ts';
import type { Backup } from '../remote/catalog.ts';
import type { Reading } from './artifact.ts';
import type { Choice } from './choose.ts';
import { ask, type Session } from './session.ts';
import { followLink } from './swap.ts';

export interface RestoreOptions extends Choice {
  readonly connection: Connection;
  /** Of the backups that `latest` chooses from; the session's own unless given. */
  readonly series?: string | undefined;
  /** Into the database that the backup is of, on the server of `connection`. */
  readonly isOwn?: boolean;
  /** Empty the target first; `confirm` must agree to it. */
  readonly replace: boolean;
  readonly createRoles: boolean;
  /** Only these tables, or collections. */
  readonly tables?: readonly string[];
  /** What would act by itself, as events do, is to stay asleep. */
  readonly isDrill?: true;
  /** The run of which all is restored, each under its own name. */
  readonly run?: string;
  /** Asks the user, who agrees by `word`, whether to do `what`: "empties shop on db:5432 first". */
  readonly confirm: (word: string, what: string) => Promise<boolean>;
}

/** How far a restore came. */
interface RestoreState {
  /** The target may be left otherwise than it was. */
  isTouched: boolean;
  /** What fails from now on has to do with the backup. */
  isLoading: boolean;
}

/** What every step of one restore needs. */
export interface Task extends Reading {
  readonly options: RestoreOptions;
  readonly engine: Engine;
  /** As in the options, but for a symbolic link. */
  readonly connection: Connection;
  readonly state: RestoreState;
  /** The tables that are to be restored; all where it is absent. */
  readonly pick?: TablePick;
  /** The dump is a folder, which lies in the scratch folder. */
  readonly isFetched?: boolean;
}

/** Throws `ConfigError` for a backup that cannot be read. */
export async function createTask(
  session: Session,
  scratch: Scratch,
  options: RestoreOptions,
  backup: Backup,
  state: RestoreState = { isTouched: false, isLoading: false },
): Promise<Task> {
  const engine = engines[options.connection.engine];
  expectReadable(engine, backup, session.host.config.identity);
  const connection = session.reach(await followLink(options.connection));
  return { session, scratch, options, engine, backup, connection, state };
}

/** A manifest may come from a newer version, or from anybody who may write to the remote. */
function expectReadable(
  { name, title, modes }: Engine,
  { path, manifest }: Backup,
  identity: Config['identity'],
): void {
  if (manifest.engine !== name)
    throw new ConfigError(`${path} is a backup of ${manifest.engine}, the target is ${title}`);
  if (!modes.includes(manifest.mode))
    throw new ConfigError(`${path} was made in the mode ${manifest.mode}, which ${title} does not know`);
  try {
    planDecoding(manifest, identity);
  } catch (error) {
    throw new ConfigError(`${path} ${describeError(error)}`);
  }
}

/** What an engine makes of a manifest's facts, which may be nonsense. */
export function understand<T>({ path }: Backup, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof DbstashError) throw error;
    throw new VerifyError(`the manifest of ${path} makes no sense: ${describeError(error)}`, { cause: error });
  }
}

export async function inspectTarget({ session, scratch, engine, backup, connection, pick }: Task): Promise<Target> {
  const question = understand(backup, () => engine.inspectTarget(connection, backup.manifest.target, pick));
  return await ask(session.host, scratch, question, session.host.signal);
}
