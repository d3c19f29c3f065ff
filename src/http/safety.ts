import { describeRemote, findNewest, judgeHealth } from '../core/health.ts';
import type { BackupState, RemoteState, State } from '../core/state.ts';
import type { History } from './history.ts';
import type { Level } from './pageMarks.ts';

/** Whether the operator is safe, and why not. */
export interface Safety {
  readonly level: Level;
  /** "All good" */
  readonly word: string;
  /** The short reason; undefined where the times of the last and the next backup say it all. */
  readonly because: string | undefined;
  /** In full, a sentence each. */
  readonly reasons: readonly string[];
  /** The newest good backup. */
  readonly newest: BackupState | undefined;
}

/** By the rules of /readyz; what those let pass and is still worth a look is told as well. */
export function judgeSafety(state: State, histories: readonly History[], now: Date): Safety {
  const newest = findNewest(state, undefined, now);
  const beginning = describeBeginning(state, histories);
  if (beginning !== undefined)
    return { level: 'waiting', word: 'No backup yet', because: beginning, reasons: [], newest };
  const { unready } = judgeHealth(state, now);
  const ofRemotes = state.remotes.flatMap(describeRemote);
  // Of the whole truth what says that a backup is owed: one failed, is overdue, or there is none.
  const unsafe = unready.filter((reason) => !ofRemotes.includes(reason));
  const notes = [...ofRemotes, ...listNotes(state, histories)];
  if (unsafe.length > 0)
    return {
      level: 'bad',
      word: 'Not safe',
      because: nameCause(state, newest),
      reasons: [...unsafe, ...notes],
      newest,
    };
  if (notes.length > 0) return { level: 'attention', word: 'Needs a look', because: undefined, reasons: notes, newest };
  return { level: 'good', word: 'All good', because: undefined, reasons: [], newest };
}

/** A new installation has nothing to be ashamed of before its first due time. */
function describeBeginning({ remotes, runs, lastDue }: State, histories: readonly History[]): string | undefined {
  if (runs.length > 0 || lastDue || remotes.some(({ fault }) => fault !== undefined)) return undefined;
  if (histories.some(({ entries }) => entries.length > 0)) return undefined;
  if (remotes.some(({ listedAt }) => listedAt === undefined)) return 'looking at what is there';
  return 'waiting for the first run';
}

function nameCause({ runs, running }: State, newest: BackupState | undefined): string {
  if (!newest) return 'there is no good backup';
  const last = runs.find(({ outcome }) => outcome !== 'skipped');
  if (!running && last?.outcome === 'failed' && last.startedAt > newest.startedAt) return 'the last run failed';
  if (!running && last?.outcome === 'interrupted' && last.startedAt > newest.startedAt)
    return 'the last run was interrupted';
  return last?.outcome === 'failed' ? 'not all was backed up' : 'a backup is overdue';
}

function listNotes({ runs, remotes, running }: State, histories: readonly History[]): string[] {
  const [last] = runs;
  return [
    ...(last?.outcome === 'warning' ? last.warnings.map((warning) => `the last run warned: ${warning}`) : []),
    ...(last?.outcome === 'skipped' ? ['the last run did nothing: another one was going on'] : []),
    ...(running ? [] : remotes.flatMap(describeMissed)),
    ...histories.flatMap(describeSpoiled),
    ...histories.flatMap(describeDrill),
  ];
}

const describeMissed = ({ title, missedRuns }: RemoteState): string[] =>
  missedRuns === 1 ? [`${title} got nothing of the last run`] : [];

/** Of the newest that were drilled: what failed before is mended by a later backup that could be restored. */
function describeDrill({ database, entries }: History): string[] {
  const drilled = entries.find(({ verdict, failedDrill }) => failedDrill ?? verdict?.drill);
  return drilled?.failedDrill ? [`the last drill of ${database} failed: ${drilled.failedDrill.reason}`] : [];
}

/** The newest of a remote is a matter of /readyz. */
function describeSpoiled({ database, entries }: History): string[] {
  const count = entries.slice(1).filter(({ copies }) => copies.some(({ backup }) => backup.state !== 'good')).length;
  if (count === 0) return [];
  return [
    `${count} older ${count === 1 ? 'backup' : 'backups'} of ${database} ${count === 1 ? 'is' : 'are'} not whole`,
  ];
}
