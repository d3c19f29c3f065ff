import { DbstashError, DrillError, describeError, EXIT, VerifyError } from '../core/errors.ts';
import type { Drilled, Verdict, VerifyLevel } from '../core/manifest.ts';
import { holdBackup } from '../lock.ts';
import { createScratch } from '../process/scratch.ts';
import type { Backup, Catalog } from '../remote/catalog.ts';
import { type Reading, recordVerdict } from './artifact.ts';
import { isLeftOut, readCatalogs } from './catalogs.ts';
import { FUTURE_MS } from './choose.ts';
import { expectReadable, UNREADABLE } from './content.ts';
import { canDrill, drill } from './drill.ts';
import { exitCodeOf } from './report.ts';
import { at, type Session } from './session.ts';
import { ownsBackup } from './sources.ts';

export interface VerifyOptions {
  /** An artifact, an id, `latest` of each series, or `all`. */
  readonly name: string;
  /** There need not be any. */
  readonly mayBeNone?: boolean;
}

/** `drill failed`: its bytes are as they were written, and it could not be restored aside. */
type VerifyOutcome = 'good' | 'damaged' | 'drill failed';

/** What was found of one copy of a backup. */
export interface Verified {
  readonly remote: string;
  readonly artifact: string;
  readonly id: string;
  readonly series: string;
  readonly level: VerifyLevel;
  readonly outcome: VerifyOutcome;
  /** Whether that is good. */
  readonly ok: boolean;
  /** Why it is not; or what of it could not be looked at. */
  readonly reason: string | null;
  readonly bytes: number;
  readonly durationMs: number;
  /** What a drill counted. */
  readonly drill?: Drilled;
}

/** With what is known of the copy from now on; undefined where its content was not looked at. */
export interface Judged {
  readonly verified: Verified;
  readonly verdict: Verdict | undefined;
}

interface Copy {
  readonly session: Session;
  readonly backup: Backup;
}

/**
 * Looks at backups of this configuration (by name: at any) on each remote that has them, and writes what it found of their
 * content beside them. Returns the exit code (4 where one is damaged or cannot be restored, else that of the first fault), and a
 * sentence for others, logged already in full, for each of them. `onJudged` is called for each that could. Throws where there is none.
 */
export async function verify(
  session: Session,
  { name, mayBeNone = false }: VerifyOptions,
  onJudged: (judged: Judged) => void,
): Promise<{ readonly exitCode: number; readonly faults: readonly string[] }> {
  const { host } = session;
  const found = await readCatalogs(session, host.signal);
  const copies = found.flatMap(({ place, catalog }) =>
    choose(session, catalog, name).map((backup): Copy => ({ session: at(session, place), backup })),
  );
  if (copies.length === 0 && !mayBeNone) throw new DbstashError(describeNone(session, name));
  const faults: string[] = [];
  const codes: number[] = [];
  const complain = (fault: string, exitCode: number, told = fault) => {
    faults.push(told);
    codes.push(exitCode);
    host.logger.error(fault);
  };
  if (isLeftOut(session, found)) {
    faults.push('a remote was left out');
    codes.push(EXIT.remote);
  }
  for (const copy of copies) {
    try {
      const { exitCode, ...judged } = await verifyOne(copy, host.config.verifyLevel);
      if (!judged.verified.ok) complain(describeFault(judged.verified), exitCode, describeFault(toTell(judged)));
      onJudged(judged);
    } catch (error) {
      host.signal.throwIfAborted();
      complain(`${copy.backup.path} could not be verified: ${describeError(error)}`, exitCodeOf(error));
    }
  }
  return { exitCode: codes.includes(EXIT.damaged) ? EXIT.damaged : (codes[0] ?? EXIT.ok), faults };
}

const describeFault = ({ artifact, remote, outcome, reason }: Verified): string =>
  outcome === 'damaged'
    ? `${artifact} on ${remote} is damaged: ${reason}`
    : `${artifact} on ${remote} is as it was written, and its drill failed: ${reason}`;

/** What goes to others says no more than what lies on the remote: of what is encrypted no words of a tool, which hold data. */
const toTell = ({ verified, verdict }: Judged): Verified => {
  const reason = verified.outcome === 'damaged' ? verdict?.reason : verdict?.failedDrill?.reason;
  return { ...verified, reason: reason ?? verified.reason };
};

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

async function verifyOne(copy: Copy, asked: VerifyLevel): Promise<Judged & Pick<Judgement, 'exitCode'>> {
  const { session, backup } = copy;
  const { host, remote } = session;
  const startedMs = host.clock.now().getTime();
  const { level, outcome, reason, exitCode, verdict } = await judge(copy, asked);
  const { id, series, bytes } = backup.manifest;
  const drilled = level === 'restore' && outcome === 'good' ? verdict?.drill : undefined;
  const verified: Verified = {
    remote: remote.title,
    artifact: backup.path,
    id,
    series,
    level,
    outcome,
    ok: outcome === 'good',
    reason: reason ?? null,
    bytes,
    durationMs: host.clock.now().getTime() - startedMs,
    ...(drilled && { drill: drilled }),
  };
  return { verified, verdict, exitCode };
}

interface Judgement {
  /** How closely it was looked. */
  readonly level: VerifyLevel;
  readonly outcome: VerifyOutcome;
  readonly reason: string | undefined;
  readonly exitCode: number;
  readonly verdict: Verdict | undefined;
}

const GOOD = { outcome: 'good', exitCode: EXIT.ok } as const;
const DAMAGED = { outcome: 'damaged', exitCode: EXIT.damaged } as const;

async function judge({ session, backup }: Copy, level: VerifyLevel): Promise<Judgement> {
  const { host } = session;
  const { state, reason, verdict, manifest } = backup;
  // What an earlier look at the content found, another one may find otherwise.
  const isDoubted = state === 'damaged' && verdict?.ok === false && verdict.reason === reason;
  if (level === 'stored' || (state !== 'good' && !isDoubted))
    return {
      level: 'stored',
      ...(state === 'good' ? GOOD : DAMAGED),
      reason: reason ?? noteOf(verdict),
      verdict: undefined,
    };
  const lease = await holdBackup(host.config.tempDir, manifest.id, host.randomHex(4));
  await using scratch = await createScratch(host.config.tempDir, `verify-${host.randomHex(4)}`);
  try {
    const reading = { session, scratch, backup };
    return await (level === 'restore' && canDrill(reading) ? judgeDrill(reading) : judgeContent(reading));
  } catch (error) {
    if (!(error instanceof VerifyError)) throw error;
    // Tools have a hand in it, and it goes to the remote, to people and to the page.
    const finding = host.redact(error.finding);
    const found = await recordVerdict(session, backup, { level: 'content', ok: false, reason: finding });
    return { level, ...DAMAGED, reason: finding, verdict: found };
  } finally {
    await lease?.release();
  }
}

async function judgeDrill(reading: Reading): Promise<Judgement> {
  const { session, backup } = reading;
  const level = 'restore';
  try {
    const drilled = await drill(reading);
    const verdict = await recordVerdict(session, backup, { level, ok: true, reason: null, drill: drilled });
    return { level, ...GOOD, reason: undefined, verdict };
  } catch (error) {
    if (!(error instanceof DrillError)) throw error;
    const reason = session.host.redact(error.message);
    const found = { level: 'content', ok: true, reason: null, failedDrill: reason } as const;
    const verdict = await recordVerdict(session, backup, found);
    return { level, outcome: 'drill failed', exitCode: error.exitCode, reason, verdict };
  }
}

async function judgeContent(reading: Reading): Promise<Judgement> {
  const { session, backup } = reading;
  const level = 'content';
  const note = await expectReadable(reading);
  const doubt = findDoubt(backup.verdict, note);
  if (doubt !== undefined) return { level, ...DAMAGED, reason: doubt, verdict: undefined };
  const verdict = await recordVerdict(session, backup, { level, ok: true, reason: note ?? null });
  return { level, ...GOOD, reason: note ?? noteOf(verdict), verdict };
}

/** A look that is less close does not hide what a drill found. */
const noteOf = (verdict: Verdict | undefined): string | undefined =>
  verdict?.failedDrill && `its last drill, of ${verdict.failedDrill.at}, failed: ${verdict.failedDrill.reason}`;

/** What was found with the identity is not taken back without it; `note` is what could not be looked at. */
function findDoubt(verdict: Verdict | undefined, note: string | undefined): string | undefined {
  const found = verdict?.ok === false ? (verdict.reason ?? '') : '';
  return found.startsWith(UNREADABLE) && note !== undefined ? `${found} (before; now ${note})` : undefined;
}
