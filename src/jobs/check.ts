import { createId } from '../core/backupId.ts';
import { DumpError, describeError, EXIT, RemoteError } from '../core/errors.ts';
import { formatBytes } from '../core/units.ts';
import { planParts } from '../remote/parts.ts';
import { openTunnel } from '../ssh.ts';
import { describeDenied, inspectDatabase } from './inspect.ts';
import { exitCodeOf } from './report.ts';
import { at, cleanupSignal, type Session } from './session.ts';
import { findSources, ownsSeries } from './sources.ts';

/** One thing that tonight's backup needs. */
export interface Finding {
  readonly what: string;
  readonly state: 'ok' | 'warning' | 'failed';
  readonly detail: string;
  readonly exitCode: number;
}

type Answer = { readonly detail: string; readonly warnings?: readonly string[] };

/** Tries in seconds what a backup would need: tools, login, remote. Never rejects. */
export async function check(session: Session): Promise<readonly Finding[]> {
  const findings = await Promise.all([
    examine('rclone', async () => ({ detail: session.rcloneVersion })),
    examine('database', () => checkDatabase(session)),
    ...session.broken.map((sentence) => examine('remote', () => Promise.reject(new RemoteError(sentence)))),
    ...session.places.flatMap((place) => [
      examine('remote: write, read, delete', () => checkRemote(at(session, place))),
      examine('remote: list', () => checkCatalog(at(session, place))),
    ]),
  ]);
  return findings.flat();
}

/** 0 if nothing failed, else that of the first failure. */
export const exitCodeOfFindings = (findings: readonly Finding[]): number =>
  findings.find(({ state }) => state === 'failed')?.exitCode ?? EXIT.ok;

async function examine(what: string, look: () => Promise<Answer>): Promise<readonly Finding[]> {
  try {
    const { detail, warnings = [] } = await look();
    return [
      { what, state: 'ok', detail, exitCode: EXIT.ok },
      ...warnings.map((warning): Finding => ({ what, state: 'warning', detail: warning, exitCode: EXIT.ok })),
    ];
  } catch (error) {
    return [{ what, state: 'failed', detail: describeError(error), exitCode: exitCodeOf(error) }];
  }
}

async function checkDatabase(session: Session): Promise<Answer> {
  const { host, scratch, remote } = session;
  await using tunnel = await openTunnel(host.config.ssh, host.config.connection, host.signal);
  const signal = AbortSignal.any([host.signal, tunnel.lost]);
  const reached = { ...session, reach: tunnel.reach };
  const { tool, server, warnings } = await inspectDatabase(reached, scratch, signal);
  const denied = describeDenied(server);
  if (denied !== undefined && !server.unreadable?.isLeftOut) throw new DumpError(denied);
  const estimate = { databaseBytes: server.bytes, lastBytes: 0, availableBytes: host.availableBytes() };
  const parts = remote.backend.parts && planParts(remote.backend.parts, estimate).warning;
  const sources = await findSources(reached, scratch, signal);
  const names = sources.length === 1 ? '' : ` (${sources.map(({ database }) => database).join(', ')})`;
  return {
    detail: `${server.title}, ${formatBytes(server.bytes)}, dumped by ${tool}${names}`,
    warnings: [...warnings, ...(denied ? [denied] : []), ...(parts ? [parts] : [])],
  };
}

async function checkRemote({ host, remote, scratch }: Session): Promise<Answer> {
  if (host.config.dryRun) return { detail: `${remote.title}, not tried: DRY_RUN` };
  const path = `dbstash-check-${createId(host.clock.now(), host.randomHex(3))}.txt`;
  const text = 'written by dbstash check, to be removed at once\n';
  const remove = () => remote.remove([path], scratch.path, cleanupSignal(host)).catch((error: unknown) => error);
  try {
    await remote.write(path, text, host.signal);
    const found = await remote.readAll([path], scratch.path, host.signal);
    if (found.get(path) !== text)
      throw new RemoteError(`${path} was written to ${remote.title}, and did not come back as it was`);
  } catch (error) {
    await remove();
    throw error;
  }
  const removal = await remove();
  const kind = remote.backend.types.join(' over ');
  if (removal === undefined) return { detail: `${remote.title} (${kind})` };
  return {
    detail: `${remote.title} (${kind}), but without the right to delete`,
    warnings: [`backups work, retention will not: ${describeError(removal)}; ${path} stays behind`],
  };
}

async function checkCatalog(session: Session): Promise<Answer> {
  const { backups } = await session.readCatalog(session.host.signal);
  const ours = backups.filter(({ manifest }) => ownsSeries(session.host.config, manifest.series));
  const bad = ours.filter(({ state }) => state !== 'good');
  return {
    detail: `${ours.length} backups of ${session.series}, ${backups.length - ours.length} of other series`,
    warnings: bad.map(({ path, state, reason }) => `${path} is ${state}: ${reason}`),
  };
}
