import { DbstashError, describeError, EXIT, RemoteError, VerifyError } from '../core/errors.ts';
import type { Drilled, Verdict, VerifyLevel } from '../core/manifest.ts';
import type { Judged } from '../core/memory.ts';
import { holdBackup } from '../lock.ts';
import { createScratch } from '../process/scratch.ts';
import type { Backup, Catalog } from '../remote/catalog.ts';
import { recordVerdict } from './artifact.ts';
import { readCatalogs } from './catalogs.ts';
import { FUTURE_MS } from './choose.ts';
import { expectReadable, UNREADABLE } from './content.ts';
import { canDrill, drill, UNRESTORABLE } from './drill.ts';
import { exitCodeOf } from './report.ts';
import { at, type Session } from './session.ts';
import { ownsBackup } from './sources.ts';

export interface VerifyOptions {
  /** An artifact, an id, `latest` of each series, or `all`. */
  readonly name: string;
  /** There need not be any. */
  readonly mayBeNone?: boolean;
}

/** What was found of one copy of a backup. */
export interface Verified {
  readonly remote: string;
  readonly artifact: string;
  readonly id: string;
  readonly series: string;
  readonly level: VerifyLevel;
  readonly ok: boolean;
  /** Why it is not; or what of it could not be looked at. */
  readonly reason: string | null;
  readonly bytes: number;
  readonly durationMs: number;
  /** What a drill counted. */
  readonly drill?: Drilled;
}

interface Copy {
  readonly session: Session;
  readonly backup: Backup;
}

/**
 * Looks at backups of this configuration (by name: at any) on each remote that has them, and writes what it found of their
 * content beside them. Returns the exit code (4 where one is damaged, else that of the first that could not be looked at), and a
 * sentence, logged already, for each of them. `onVerified` is called for each that could. Throws where there is none.
 */
export async function verify(
  session: Session,
  { name, mayBeNone = false }: VerifyOptions,
  onVerified: (verified: Verified) => void,
): Promise<{ readonly exitCode: number; readonly faults: readonly string[] }> {
  const { host } = session;
  const found = await readCatalogs(session, host.signal);
  const copies = found.flatMap(({ place, catalog }) =>
    choose(session, catalog, name).map((backup): Copy => ({ session: at(session, place), backup })),
  );
  if (copies.length === 0 && !mayBeNone) throw new DbstashError(describeNone(session, name));
  let isDamaged = false;
  const faults: string[] = [];
  const complain = (fault: string) => {
    faults.push(fault);
    host.logger.error(fault);
  };
  const failures: unknown[] =
    found.length < session.places.length + session.broken.length ? [new RemoteError('a remote was left out')] : [];
  faults.push(...failures.map(describeError));
  for (const copy of copies) {
    try {
      const verified = await verifyOne(copy, host.config.verifyLevel);
      isDamaged ||= !verified.ok;
      if (!verified.ok) complain(`${verified.artifact} on ${verified.remote} is damaged: ${verified.reason}`);
      onVerified(verified);
    } catch (error) {
      host.signal.throwIfAborted();
      complain(`${copy.backup.path} could not be verified: ${describeError(error)}`);
      failures.push(error);
    }
  }
  if (isDamaged) return { exitCode: EXIT.damaged, faults };
  return { exitCode: failures.length === 0 ? EXIT.ok : exitCodeOf(failures[0]), faults };
}

function choose(session: Session, { backups }: Catalog, name: string): readonly Backup[] {
  if (name !== 'all' && name !== 'latest')
    return backups.filter(({ path, manifest }) => path === name || manifest.id === name);
  const { config, clock } = session.host;
  const own = backups.filter(({ manifest }) => ownsBackup(config, manifest));
  if (name === 'all') return own;
  const newest = new Map<string, Backup>();
  for (const backup of own) {
    const { series, startedAt } = backup.manifest;
    if (Date.parse(startedAt) <= clock.now().getTime() + FUTURE_MS && !newest.has(series)) newest.set(series, backup);
  }
  return [...newest.values()];
}

const describeNone = ({ series }: Session, name: string): string =>
  name === 'all' || name === 'latest'
    ? `there is no backup of the series ${series} to verify`
    : `there is no backup ${name}: dbstash list shows what there is`;

async function verifyOne(copy: Copy, level: VerifyLevel): Promise<Verified> {
  const { session, backup } = copy;
  const { host, remote } = session;
  const startedMs = host.clock.now().getTime();
  const { reason, ...judgement } = await judge(copy, level);
  const { id, series, bytes } = backup.manifest;
  const durationMs = host.clock.now().getTime() - startedMs;
  return {
    remote: remote.title,
    artifact: backup.path,
    id,
    series,
    ...judgement,
    reason: reason ?? null,
    bytes,
    durationMs,
  };
}

interface Judgement {
  /** How closely it was looked. */
  readonly level: VerifyLevel;
  readonly drill?: Drilled;
  readonly ok: boolean;
  readonly reason: string | undefined;
}

async function judge({ session, backup }: Copy, level: VerifyLevel): Promise<Judgement> {
  const { host } = session;
  const { state, reason, verdict, manifest } = backup;
  // What an earlier look at the content found, another one may find otherwise.
  const isDoubted = state === 'damaged' && verdict?.ok === false && verdict.reason === reason;
  if (level === 'stored' || (state !== 'good' && !isDoubted)) return { level: 'stored', ok: state === 'good', reason };
  const lease = await holdBackup(host.config.tempDir, manifest.id, host.randomHex(4));
  await using scratch = await createScratch(host.config.tempDir, `verify-${host.randomHex(4)}`);
  try {
    const reading = { session, scratch, backup };
    if (level === 'restore' && canDrill(reading)) {
      const drilled = await drill(reading);
      await recordVerdict(session, backup, { level, ok: true, reason: null, drill: drilled });
      return { level, ok: true, reason: undefined, drill: drilled };
    }
    const note = await expectReadable(reading);
    const doubt = findDoubt(verdict, note);
    if (doubt !== undefined) return { level: 'content', ok: false, reason: doubt };
    await recordVerdict(session, backup, { level: 'content', ok: true, reason: note ?? null });
    return { level: 'content', ok: true, reason: note };
  } catch (error) {
    if (!(error instanceof VerifyError)) throw error;
    // Tools have a hand in it, and it goes to the remote, to people and to the page.
    const finding = host.redact(error.finding);
    await recordVerdict(session, backup, { level, ok: false, reason: finding });
    return { level, ok: false, reason: finding };
  } finally {
    await lease?.release();
  }
}

/** What a closer look has found is not taken back by this one; `note` is what it could not look at. */
function findDoubt(verdict: Verdict | undefined, note: string | undefined): string | undefined {
  const found = verdict?.ok === false ? (verdict.reason ?? '') : '';
  if (found.startsWith(UNRESTORABLE)) return `${found} (by a drill, and only a drill can take that back)`;
  return found.startsWith(UNREADABLE) && note !== undefined ? `${found} (before; now ${note})` : undefined;
}

/** As the daemon remembers it. */
export const judgedOf = ({ remote, artifact, id, level, ok, reason, drill }: Verified, at: string): Judged => ({
  remote,
  artifact,
  verdict: { dbstash: 1, id, at, level, ok, reason, ...(drill && { drill }) },
});
