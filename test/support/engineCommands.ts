import { spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { type Command, type Question, renderCommand } from '../../src/core/command.ts';
import type { Connection } from '../../src/core/connection.ts';
import type { DumpPlan, DumpRequest, RestorePlan, RestoreRequest, Server } from '../../src/engines/engine.ts';
import type { mysql } from '../../src/engines/mysql.ts';
import type { Scratch } from './scratch.ts';

export interface MadeDump {
  readonly server: Server;
  readonly plan: DumpPlan;
  readonly mode: DumpRequest['mode'];
  /** What came on standard output. */
  readonly bytes: Buffer;
  readonly stderr: string;
  /** The private folder, in which a dump lies that is no stream. */
  readonly folder: string;
}

interface RunOptions {
  readonly input?: Buffer;
  /** False: it is killed once it took everything. */
  readonly endsInput?: boolean;
  readonly folder?: string;
}

/** One whose questions are commands. */
type CommandEngine = typeof mysql;
/** A command that takes longer is killed. */
const MAX_MS = 45_000;

/** Runs what an engine describes, as the program does, with `path` as PATH. */
export function createCommands(engine: CommandEngine, scratch: Pick<Scratch, 'path'>, path: string | undefined) {
  let count = 0;

  async function createFolder(): Promise<string> {
    const folder = join(scratch.path, `scratch ${engine.name} ${count++}`);
    await mkdir(folder, { mode: 0o700 });
    return folder;
  }

  async function run(described: Command, { input, endsInput = true, folder }: RunOptions = {}) {
    const place = folder ?? (await createFolder());
    const { file, args, env, files } = renderCommand(described, place);
    for (const [name, content] of Object.entries(files ?? {}))
      await writeFile(join(place, name), content, { mode: 0o600 });
    const child = spawn(file, args, { env: { PATH: path, HOME: process.env.HOME, ...env } });
    const exit = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
    const timer = setTimeout(() => child.kill('SIGKILL'), MAX_MS);
    void exit.catch(() => {}).finally(() => clearTimeout(timer));
    child.stdin.on('error', () => {});
    const bytes = input ?? Buffer.from(described.input ?? '');
    if (endsInput) child.stdin.end(bytes);
    else child.stdin.write(bytes, () => setTimeout(() => child.kill('SIGKILL'), 300));
    const [stdout, stderr, code] = await Promise.all([buffer(child.stdout), text(child.stderr), exit]);
    return { code, stdout, stderr };
  }

  async function ask<T>(question: Question<T>): Promise<T> {
    const { code, stdout, stderr } = await run(question.command);
    if (!(question.exitCodes ?? [0]).includes(code ?? -1)) throw new Error(stderr);
    return question.parse({ stdout: stdout.toString(), stderr, exitCode: code ?? -1 });
  }

  async function makeDump(connection: Connection, changes: Partial<DumpRequest> = {}): Promise<MadeDump> {
    const server = changes.server ?? (await ask(engine.inspect(connection)));
    const tool = await ask(engine.tool);
    const common = { mode: 'stream', jobs: 1, compress: false, extraArgs: [] } as const;
    const request = { connection, tool, ...common, ...changes, server };
    const plan = engine.planDump(request);
    const folder = await createFolder();
    const { code, stdout, stderr } = await run(plan.dump, { folder });
    if (code !== 0) throw new Error(stderr || `exit ${code}`);
    return { server, plan, mode: request.mode, bytes: stdout, stderr, folder };
  }

  async function planRestore(
    connection: Connection,
    dump: Pick<MadeDump, 'server' | 'plan' | 'mode'>,
    changes: Partial<RestoreRequest> = {},
  ): Promise<RestorePlan> {
    const facts = { ...dump.server.target, ...dump.plan.facts };
    const target = await ask(engine.inspectTarget(connection, facts));
    const { format } = dump.plan;
    const common = { replace: false, createRoles: false, id: 'x', mode: dump.mode };
    return engine.planRestore({ connection, target, facts, format, ...common, ...changes });
  }

  /** Returns what prepare and finish warned of. */
  async function restore(
    connection: Connection,
    dump: MadeDump,
    changes: Partial<RestoreRequest> = {},
  ): Promise<string> {
    const plan = await planRestore(connection, dump, changes);
    const before = await runAll(plan.prepare, dump.folder);
    const isFolder = dump.mode === 'directory' || dump.mode === 'tar';
    await load(plan, isFolder ? Buffer.alloc(0) : dump.bytes, dump.folder);
    return before + (await runAll(plan.finish));
  }

  async function load(plan: RestorePlan, bytes: Buffer, folder?: string): Promise<void> {
    let input = bytes;
    for (const command of [...plan.filters, plan.load]) {
      const { code, stdout, stderr } = await run(command, { input, ...(folder && { folder }) });
      if (code !== 0) throw new Error(stderr || `exit ${code}`);
      input = stdout;
    }
  }

  async function runAll(commands: readonly Command[], folder?: string): Promise<string> {
    let warnings = '';
    for (const command of commands) {
      const { code, stderr } = await run(command, folder === undefined ? {} : { folder });
      if (code !== 0) throw new Error(stderr);
      warnings += stderr;
    }
    return warnings;
  }

  return { run, ask, makeDump, planRestore, restore, load };
}

/** As the pipeline looks at either end of a dump. */
export function isWhole(bytes: Buffer, { marks }: DumpPlan): boolean {
  const head = bytes.subarray(0, 64 * 1024).toString('latin1');
  const tail = bytes.subarray(-64 * 1024).toString('latin1');
  return (marks.begins?.test(head) ?? true) && (marks.ends?.test(tail) ?? true);
}
