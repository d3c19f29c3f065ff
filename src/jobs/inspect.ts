import { ConfigError, DumpError } from '../core/errors.ts';
import type { DumpPlan, Server } from '../engines/engine.ts';
import type { Scratch } from '../process/scratch.ts';
import { ask, runTool, type Session } from './session.ts';

/** What is known before the first byte: the tool, the server, and how the dump will be made. */
export interface Facts {
  readonly tool: string;
  readonly server: Server;
  readonly plan: DumpPlan;
  readonly warnings: readonly string[];
}

/** Asks the dump tool and the server, and plans the dump. Throws `DumpError`, or `ConfigError` for what cannot work. */
export async function inspectDatabase(session: Session, scratch: Scratch, signal: AbortSignal): Promise<Facts> {
  const { host, engine } = session;
  const { connection, compress: compression, extraArgs } = host.config;
  const compress = compression.kind === 'own';
  const [tool, server, abilities] = await Promise.all([
    ask(host, scratch, engine.tool, signal),
    ask(host, scratch, engine.inspect(connection), signal),
    compress && engine.abilities ? ask(host, scratch, engine.abilities, signal) : [],
  ]);
  const plan = engine.planDump({ connection, server, tool, abilities, compress, extraArgs });
  if (compression.kind === 'filter' && plan.container !== null) {
    throw new ConfigError(
      `DUMP_EXTRA_ARGS compresses the dump with ${plan.container}, BACKUP_COMPRESS again with ${compression.filter}: choose one`,
    );
  }
  // Said now, and by `check`, and not after the first byte.
  if (compression.kind === 'filter') {
    await runTool(host, scratch, { file: compression.filter, args: ['--version'] }, signal);
  }
  if (plan.prepare.length > 0) await expectRoom(scratch, server);
  return { tool, server, plan, warnings: [...server.warnings, ...plan.warnings] };
}

/** What is prepared before a dump is a copy of the database in the temporary folder. */
async function expectRoom(scratch: Scratch, { bytes }: Server): Promise<void> {
  const free = await scratch.freeBytes();
  if (free >= bytes) return;
  throw new DumpError(
    `BACKUP_TEMP_DIR: ${scratch.path} has ${free} bytes free, a copy of the database needs ${bytes}: give it room, or use WAL mode`,
  );
}
