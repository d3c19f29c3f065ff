import { createId } from '../core/backupId.ts';
import { nameOf } from '../core/connection.ts';
import type { Manifest } from '../core/manifest.ts';
import { renderName } from '../core/naming.ts';
import { keepTables } from '../core/tables.ts';
import { formatBytes } from '../core/units.ts';
import type { DumpPlan } from '../engines/engine.ts';
import { planEncoding } from '../pipeline/filters.ts';
import { keepIndex } from './catalogs.ts';
import { claimName } from './claim.ts';
import { commitOrDiscard } from './commit.ts';
import { prepareDump } from './dump.ts';
import { warnOfVanished } from './guards.ts';
import { type Facts, inspectDatabase } from './inspect.ts';
import { warnOfOrphans } from './orphans.ts';
import { pruneAfterBackup } from './prune.ts';
import type { Result, Run } from './run.ts';
import { at, type Session } from './session.ts';
import { type Stored, upload } from './upload.ts';

/**
 * Dumps the database onto the remotes, commits it on each by its manifest, and prunes its series there. A remote that fails
 * is a warning as long as another has the backup. Throws the first cause.
 */
export async function backup(run: Run): Promise<Result> {
  const { session, signal } = run;
  const facts = await inspectDatabase(session, run.scratch, signal, run.source.part);
  const { plan } = facts;
  for (const warning of facts.warnings) run.warn(warning);
  const id = createId(run.startedAt, session.host.randomHex(3));
  const dump = await prepareDump(run, plan);
  const files = dump.kind === 'folder' ? dump.files.map(({ path }) => path) : undefined;
  const claims = await claimName(run, { id, base: renderBase(run), extension: extensionOf(session, plan), files });
  for (const { place, catalog } of claims) warnOfOrphans({ ...run, session: at(session, place) }, catalog, id);
  const { manifest, holders } = await commitOrDiscard(run, claims, async () => {
    const { stored, failures } = await upload(run, plan, dump, claims, facts.server);
    return { failures, manifest: createManifest(run, { id, artifact: claims[0]!.artifact, plan, facts, stored }) };
  });
  const titles = holders.map(({ place }) => place.remote.title).join(' and ');
  const where = session.places.length > 1 ? ` on ${titles}` : '';
  run.logger.info(`backed up ${formatBytes(manifest.bytes)} to ${manifest.artifact}${where}`, {
    backup_id: id,
    bytes: manifest.bytes,
  });
  const catalogs = claims.map(({ catalog }) => catalog);
  warnOfVanished(run, run.source.part === 'globals' ? undefined : facts.server.tables, catalogs);
  const removed: string[] = [];
  for (const { place, catalog } of holders)
    removed.push(...(await pruneAfterBackup({ ...run, session: at(session, place) }, manifest, catalog)));
  for (const { place, catalog } of holders) await keepIndex({ ...session, ...place }, catalog, run.scratch, signal);
  // What goes to channels and hooks need not name tables.
  const { tables: _, ...told } = manifest;
  return { backups: [{ ...told, remotes: holders.map(({ place }) => place.remote.title) }], removed };
}

/** The name without its extension. */
export function renderBase({ session, startedAt }: Pick<Run, 'session' | 'startedAt'>): string {
  const { config, randomHex } = session.host;
  const { connection, template, timeZone } = config;
  const host = connection.hosts[0]?.host ?? 'localhost';
  return renderName(template, {
    db: config.database,
    engine: connection.engine,
    host,
    startedAt,
    timeZone,
    randomHex: randomHex(4),
  });
}

export function extensionOf({ host: { config } }: Session, plan: DumpPlan): string {
  const format = config.mode === 'tar' ? '.tar' : plan.extension;
  return config.extension ?? format + planEncoding(config).extension;
}

interface Made extends Pick<Manifest, 'id' | 'artifact'> {
  readonly plan: DumpPlan;
  readonly facts: Facts;
  readonly stored: Stored;
}

export function createManifest(
  run: Pick<Run, 'id' | 'session' | 'source' | 'startedAt'>,
  { id, artifact, plan, facts, stored }: Made,
): Manifest {
  const { host, series, engine } = run.session;
  const { mode, connection } = host.config;
  const { compression, encryption } = planEncoding(host.config);
  const { files, ...sums } = stored;
  const { tables } = facts.server;
  return {
    dbstash: 1,
    id,
    run: run.id,
    series,
    serverId: facts.server.serverId,
    engine: engine.name,
    database: run.source.part === 'globals' ? run.source.database : nameOf(connection),
    mode,
    artifact,
    startedAt: run.startedAt.toISOString(),
    finishedAt: host.clock.now().toISOString(),
    ...sums,
    format: plan.format,
    compression: compression ?? plan.container,
    encryption,
    tool: facts.tool,
    server: facts.server.title,
    version: host.version,
    target: { ...facts.server.target, ...plan.facts },
    ...(files && { files: [...files] }),
    ...(tables && run.source.part !== 'globals' && { tables: keepTables(tables, id, encryption !== null) }),
  };
}
