import { createId } from '../core/backupId.ts';
import { type Command, SCRATCH } from '../core/command.ts';
import { DumpError, describeError, EXIT, RemoteError } from '../core/errors.ts';
import { artifactName, withId } from '../core/naming.ts';
import { planEncoding } from '../pipeline/filters.ts';
import { createScratch, type Scratch } from '../process/scratch.ts';
import type { Catalog } from '../remote/catalog.ts';
import { openTunnel } from '../ssh.ts';
import { createManifest, extensionOf, renderBase } from './backup.ts';
import { isTaken } from './claim.ts';
import { describeDump, folderOf } from './dump.ts';
import { describeDenied, type Facts, inspectDatabase } from './inspect.ts';
import { type Preview, previewPrune } from './prune.ts';
import { exitCodeOf } from './report.ts';
import { at, type Host, openSession, type Place, type Session } from './session.ts';
import { findSources, forSource, type Source } from './sources.ts';
import { planChunks } from './upload.ts';

/** A command as it may be shown: of its environment and its files the names alone. */
export interface ShownCommand {
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly files: readonly string[];
}

/** What would become of a backup on one remote. */
export interface PlannedCopy extends Preview {
  readonly remote: string;
  readonly artifact: string;
  readonly upload: ShownCommand;
}

/** One backup that would be made. */
export interface PlannedBackup {
  readonly database: string;
  readonly series: string;
  readonly server: string;
  /** Of the database on disk. */
  readonly bytes: number;
  readonly tool: string;
  /** In order; what the last prints goes through `filters` to every upload, where it is no folder. */
  readonly commands: readonly ShownCommand[];
  readonly filters: readonly ShownCommand[];
  readonly copies: readonly PlannedCopy[];
}

export interface DryRun {
  readonly backups: readonly PlannedBackup[];
  readonly warnings: readonly string[];
  /** What would fail, and with which exit code. */
  readonly problems: readonly { readonly what: string; readonly message: string; readonly exitCode: number }[];
}

interface Notes {
  readonly warnings: string[];
  readonly problems: { what: string; message: string; exitCode: number }[];
}

/** Looks at all that a run would use, and writes nothing but private files of its own. Never rejects. */
export async function planRun(host: Host): Promise<DryRun> {
  const notes: Notes = { warnings: [], problems: [] };
  const backups: PlannedBackup[] = [];
  await attempt('remote', notes, async () => {
    await using session = await openSession(host);
    for (const sentence of session.broken) notes.warnings.push(sentence);
    const catalogs = await readAll(session, notes);
    await attempt('database', notes, async () => {
      await using tunnel = await openTunnel(host.config.ssh, host.config.connection, host.signal);
      const reached = { ...session, reach: tunnel.reach };
      const signal = AbortSignal.any([host.signal, tunnel.lost]);
      for (const source of await listSources(reached, signal))
        await attempt(source.database, notes, async () => {
          backups.push(await planBackup(forSource(reached, source), source, catalogs, notes, signal));
        });
    });
  });
  return { backups, ...notes };
}

/** 0 if nothing would fail, else that of the first failure. */
export const exitCodeOfDryRun = ({ problems }: DryRun): number => problems[0]?.exitCode ?? EXIT.ok;

async function attempt(what: string, { problems }: Notes, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    problems.push({ what, message: describeError(error), exitCode: exitCodeOf(error) });
  }
}

type Catalogs = ReadonlyMap<Place, Catalog>;

/** One remote of several that cannot be read is a warning, as in a run. */
async function readAll({ places, host }: Session, notes: Notes): Promise<Catalogs> {
  const results = await Promise.allSettled(places.map((place) => place.readCatalog(host.signal)));
  const found = new Map<Place, Catalog>();
  const failures: RemoteError[] = [];
  results.forEach((result, index) => {
    const place = places[index]!;
    if (result.status === 'fulfilled') found.set(place, result.value);
    else failures.push(new RemoteError(`${place.remote.title}: ${describeError(result.reason)}`));
  });
  const [first] = failures;
  if (found.size > 0) notes.warnings.push(...failures.map(({ message }) => message));
  else if (first) notes.problems.push({ what: 'remote', message: first.message, exitCode: first.exitCode });
  return found;
}

async function listSources(session: Session, signal: AbortSignal): Promise<readonly Source[]> {
  const sources = await findSources(session, session.scratch, signal);
  if (sources.some(({ part }) => part === 'database')) return sources;
  throw new DumpError('there is no database to back up');
}

async function planBackup(
  session: Session,
  source: Source,
  catalogs: Catalogs,
  notes: Notes,
  signal: AbortSignal,
): Promise<PlannedBackup> {
  const { host } = session;
  await using scratch = await createScratch(host.config.tempDir, `dry-${host.randomHex(4)}`);
  const facts = await inspectDatabase(session, scratch, signal, source.part);
  const { plan, server, tool } = facts;
  const denied = describeDenied(server);
  if (denied !== undefined && !server.unreadable?.isLeftOut) throw new DumpError(denied);
  notes.warnings.push(...facts.warnings);
  const show = (command: Command) => showCommand(command, scratch);
  return {
    database: source.database,
    series: source.series,
    server: server.title,
    bytes: server.bytes,
    tool,
    commands: describeDump(host.config.mode, plan).map(show),
    filters: planEncoding(host.config, host.env.PATH).commands.map(show),
    copies: planCopies(session, source, facts, catalogs, { notes, scratch }),
  };
}

function planCopies(
  session: Session,
  source: Source,
  facts: Facts,
  catalogs: Catalogs,
  { notes, scratch }: { notes: Notes; scratch: Scratch },
): readonly PlannedCopy[] {
  const { host } = session;
  const startedAt = host.clock.now();
  const id = createId(startedAt, host.randomHex(3));
  const [base, extension] = [renderBase({ session, startedAt }), extensionOf(session, facts.plan)];
  const first = artifactName(base, extension);
  const isFree = [...catalogs.values()].every((catalog) => !isTaken(catalog, first));
  const artifact = isFree ? first : withId(base, extension, id);
  const stored = { bytes: 0, dumpBytes: 0, sha256: '' };
  const run = { id: createId(startedAt, host.randomHex(3)), session, source, startedAt };
  const manifest = createManifest(run, { id, artifact, plan: facts.plan, facts, stored });
  return [...catalogs].map(([place, catalog]) => {
    const chunks = planChunks(session, place, catalog, facts.server);
    if (chunks?.warning) notes.warnings.push(chunks.warning);
    const from = host.config.mode === 'directory' ? folderOf(scratch.path) : undefined;
    const preview = previewPrune(at(session, place), catalog, manifest);
    if (preview.obstacle !== undefined) notes.warnings.push(`nothing would be pruned: ${preview.obstacle}`);
    const upload = showCommand(place.remote.describeUpload(artifact, chunks?.chunkBytes, from), scratch);
    return { remote: place.remote.title, artifact, upload, ...preview };
  });
}

/** The run's private folder has another name each time. */
function showCommand({ file, args, env = {}, files = {} }: Command, { path }: Scratch): ShownCommand {
  const show = (text: string) => text.replaceAll(SCRATCH, TEMP).replaceAll(path, TEMP);
  return { argv: [file, ...args].map(show), env: Object.keys(env), files: Object.keys(files) };
}

const TEMP = '(temporary folder)';
