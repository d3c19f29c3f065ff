import { createId } from '../core/backupId.ts';
import { DumpError, describeError, EXIT, RemoteError } from '../core/errors.ts';
import { formatBytes } from '../core/units.ts';
import { planParts } from '../remote/parts.ts';
import { FORBIDDEN } from '../remote/records.ts';
import { openTunnel } from '../ssh.ts';
import { type Answer, compareClocks, SETTINGS } from './checkSettings.ts';
import { describeDenied, inspectDatabase } from './inspect.ts';
import { exitCodeOf } from './report.ts';
import { at, cleanupSignal, type Session } from './session.ts';
import { findSources, forSource, ownsSeries, type Source } from './sources.ts';

/** One thing that tonight's backup needs. `info`: all is well, and one should know. */
export interface Finding {
  readonly what: string;
  readonly state: 'ok' | 'info' | 'warning' | 'failed';
  readonly detail: string;
  readonly exitCode: number;
}

/** Tries in seconds what a backup would need: tools, login, remote, room. Never rejects. */
export async function check(session: Session): Promise<readonly Finding[]> {
  const findings = await Promise.all([
    examine('rclone', async () => ({ detail: session.rcloneVersion })),
    checkDatabases(session),
    ...session.broken.map((sentence) => examine('remote', () => Promise.reject(new RemoteError(sentence)))),
    ...session.places.flatMap((place) => [
      examine('remote: write, read, delete', () => checkRemote(at(session, place))),
      examine('remote: list', () => checkCatalog(at(session, place))),
    ]),
    ...SETTINGS.map(([what, look]) => examine(what, async () => look(session))),
  ]);
  return findings.flat();
}

/** 0 if nothing failed, else that of the first failure. */
export const exitCodeOfFindings = (findings: readonly Finding[]): number =>
  findings.find(({ state }) => state === 'failed')?.exitCode ?? EXIT.ok;

async function examine(what: string, look: () => Promise<Answer>): Promise<readonly Finding[]> {
  try {
    const { detail, warnings = [], isNote } = await look();
    return [
      { what, state: isNote ? 'info' : 'ok', detail, exitCode: EXIT.ok },
      ...warnings.map((warning): Finding => ({ what, state: 'warning', detail: warning, exitCode: EXIT.ok })),
    ];
  } catch (error) {
    return [{ what, state: 'failed', detail: describeError(error), exitCode: exitCodeOf(error) }];
  }
}

/** Each of several by itself: the login may have rights on some alone. */
async function checkDatabases(session: Session): Promise<readonly Finding[]> {
  const { host, scratch } = session;
  try {
    await using tunnel = await openTunnel(host.config.ssh, host.config.connection, host.signal);
    const signal = AbortSignal.any([host.signal, tunnel.lost]);
    const reached = { ...session, reach: tunnel.reach };
    const findings: (readonly Finding[])[] = [];
    const sources = await findSources(reached, scratch, signal);
    for (const source of sources) {
      const what = sources.length === 1 ? 'database' : `database ${source.database}`;
      findings.push(await examine(what, () => checkDatabase(forSource(reached, source), source, signal)));
    }
    return findings.flat();
  } catch (error) {
    return await examine('database', () => Promise.reject(error));
  }
}

async function checkDatabase(session: Session, source: Source, signal: AbortSignal): Promise<Answer> {
  const { host, scratch, places } = session;
  const { tool, server, warnings } = await inspectDatabase(session, scratch, signal, source.part);
  const denied = describeDenied(server);
  if (denied !== undefined && !server.unreadable?.isLeftOut) throw new DumpError(denied);
  const estimate = { databaseBytes: server.bytes, lastBytes: 0, availableBytes: host.availableBytes() };
  const parts = places.flatMap(
    ({ remote }) => (remote.backend.parts && planParts(remote.backend.parts, estimate).warning) || [],
  );
  return {
    detail: `${server.title}, ${formatBytes(server.bytes)}, dumped by ${tool}`,
    warnings: [...warnings, ...(denied ? [denied] : []), ...new Set(parts)],
  };
}

async function checkRemote({ host, remote, scratch }: Session): Promise<Answer> {
  if (host.config.dryRun) return { detail: `${remote.title}, not tried: DRY_RUN` };
  const path = `dbstash-check-${createId(host.clock.now(), host.randomHex(3))}.txt`;
  const text = 'written by dbstash check, to be removed at once\n';
  const remove = () => remote.remove([path], scratch.path, cleanupSignal(host)).catch((error: unknown) => error);
  const warnings: string[] = [];
  try {
    const before = host.clock.now();
    await remote.write(path, text, host.signal);
    warnings.push(...(await compareClocks(host, before, remote, path)));
    const found = await remote.readAll([path], scratch.path, host.signal);
    if (found.get(path) !== text)
      throw new RemoteError(`${path} was written to ${remote.title}, and did not come back as it was`);
  } catch (error) {
    await remove();
    const message = describeError(error);
    throw FORBIDDEN.test(message) ? new RemoteError(`${message}; ${NEEDED_RIGHTS}`, { cause: error }) : error;
  }
  const removal = await remove();
  const kind = remote.backend.types.join(' over ');
  if (removal === undefined) return { detail: `${remote.title} (${kind})`, warnings };
  return {
    detail: `${remote.title} (${kind}), but without the right to delete`,
    warnings: [...warnings, `backups work, retention will not: ${describeError(removal)}; ${path} stays behind`],
  };
}

const NEEDED_RIGHTS =
  'a backup needs the rights to list, to read and to write (of S3: s3:ListBucket, s3:GetObject, s3:PutObject), retention that to delete (s3:DeleteObject)';

async function checkCatalog(session: Session): Promise<Answer> {
  const { backups } = await session.readCatalog(session.host.signal);
  const ours = backups.filter(({ manifest }) => ownsSeries(session.host.config, manifest.series));
  const bad = ours.filter(({ state }) => state !== 'good');
  return {
    detail: `${ours.length} backups of ${session.series}, ${backups.length - ours.length} of other series`,
    warnings: bad.map(({ path, state, reason }) => `${path} is ${state}: ${reason}`),
  };
}
