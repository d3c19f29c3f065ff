import { ConfigError, DumpError } from '../core/errors.ts';
import type { Mode } from '../core/mode.ts';
import { formatBytes } from '../core/units.ts';
import type { DumpPlan, Server } from '../engines/engine.ts';
import { planEncoding } from '../pipeline/filters.ts';
import { findProgram } from '../process/path.ts';
import type { Scratch } from '../process/scratch.ts';
import { ask, type Host, type Session } from './session.ts';
import type { Source } from './sources.ts';

/** What is known before the first byte: the tool, the server, and how the dump will be made. */
export interface Facts {
  readonly tool: string;
  readonly server: Server;
  readonly plan: DumpPlan;
  readonly warnings: readonly string[];
}

/** Asks the dump tool and the server, and plans the dump. Throws `DumpError`, or `ConfigError` for what cannot work. */
export async function inspectDatabase(
  session: Session,
  scratch: Scratch,
  signal: AbortSignal,
  part: Source['part'] = 'database',
): Promise<Facts> {
  const { host, engine } = session;
  const { mode, jobs, compress: compression, extraArgs } = host.config;
  const connection = session.reach(host.config.connection);
  const compress = compression.kind === 'own' && part === 'database';
  const [tool, server, abilities] = await Promise.all([
    ask(host, scratch, engine.tool, signal),
    ask(host, scratch, engine.inspect(connection), signal),
    compress && engine.abilities ? ask(host, scratch, engine.abilities, signal) : [],
  ]);
  const planDump = part === 'globals' ? engine.planGlobals! : engine.planDump;
  const plan = planDump({ connection, server, tool, abilities, mode, jobs, compress, extraArgs });
  if (compression.kind === 'filter' && plan.container !== null) {
    throw new ConfigError(
      `DUMP_EXTRA_ARGS compresses the dump with ${plan.container}, BACKUP_COMPRESS again with ${compression.filter}: choose one`,
    );
  }
  expectFilters(host);
  if (plan.prepare.length > 0) await expectRoom(scratch, server, mode);
  const room = mode === 'stream' ? [] : await warnOfRoom(scratch, server);
  return { tool, server, plan, warnings: [...server.warnings, ...plan.warnings, ...room] };
}

/** What the login may not read, and what would help; undefined where nothing is known of that kind. */
export function describeDenied({ unreadable }: Server): string | undefined {
  if (!unreadable) return undefined;
  const { names, remedy, isLeftOut } = unreadable;
  const [first, ...rest] = names;
  const more = rest.length === 0 ? '' : ` and ${rest.length} more`;
  return `the login may not read ${first}${more}, ${isLeftOut ? 'which the dump leaves out' : 'where the dump will stop'}: ${remedy}`;
}

/** Said now, and by `check`, and not after the first byte. */
function expectFilters({ config, env }: Host): void {
  for (const { file } of planEncoding(config, env.PATH).commands) {
    if (findProgram([file], env.PATH) === undefined)
      throw new DumpError(`${file} could not be started: it is not installed, or not on PATH`);
  }
}

/** What is prepared before a dump is a copy of the database in the temporary folder. */
async function expectRoom(scratch: Scratch, { bytes }: Server, mode: Mode): Promise<void> {
  const free = await scratch.freeBytes();
  if (free >= bytes) return;
  const or = mode === 'stream' ? 'use WAL mode' : 'name another folder';
  throw new DumpError(
    `BACKUP_TEMP_DIR: ${formatBytes(free)} are free in ${scratch.path}, a copy of the database needs ${formatBytes(bytes)}: give it room, or ${or}`,
  );
}

/** The size of a database says little of that of its dump: it is a reason to warn, not to stop. */
async function warnOfRoom(scratch: Scratch, { bytes }: Server): Promise<readonly string[]> {
  const free = await scratch.freeBytes();
  if (free >= bytes) return [];
  return [
    `BACKUP_TEMP_DIR: ${formatBytes(free)} are free, the database has ${formatBytes(bytes)}: its dump may not fit (BACKUP_MODE=stream needs no room)`,
  ];
}
