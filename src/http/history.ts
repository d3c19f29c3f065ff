import type { FailedDrill, Verdict } from '../core/manifest.ts';
import type { BackupState, RemoteState, SeriesState, State } from '../core/state.ts';
import { isKnown } from './copies.ts';

/** All that is known of a series, on whatever remotes. */
export interface History {
  readonly series: string;
  readonly database: string;
  /** Newest first. */
  readonly entries: readonly Entry[];
  /** The newest that is whole on some remote. */
  readonly newestGood: Entry | undefined;
}

/** One backup, wherever it lies. */
export interface Entry {
  readonly backup: BackupState;
  readonly isGood: boolean;
  readonly copies: readonly Copy[];
  /** The listed remotes that do not have it. */
  readonly absent: readonly string[];
  /** The latest look at the content of any of its copies. */
  readonly verdict: Verdict | undefined;
  /** The latest drill that failed, of a copy of which none went well since. */
  readonly failedDrill: FailedDrill | undefined;
}

export interface Copy {
  readonly remote: string;
  readonly backup: BackupState;
}

/** In the order in which the remotes name them. */
export function readHistories({ remotes }: State): History[] {
  const listed = remotes.filter(isKnown).map(({ title }) => title);
  const places = remotes.flatMap((remote) => remote.series.map((series) => ({ remote, series })));
  return [...Map.groupBy(places, ({ series }) => series.series).values()].map((group) => readHistory(group, listed));
}

interface Place {
  readonly remote: RemoteState;
  readonly series: SeriesState;
}

function readHistory(places: readonly Place[], listed: readonly string[]): History {
  const copies = places.flatMap(({ remote, series }) =>
    series.backups.map((backup) => ({ remote: remote.title, backup })),
  );
  const entries = [...Map.groupBy(copies, ({ backup }) => backup.id).values()]
    .map((group) => readEntry(group, listed))
    .sort((a, b) => b.backup.startedAt.getTime() - a.backup.startedAt.getTime());
  const { series = '', database = '' } = places[0]?.series ?? {};
  return { series, database, entries, newestGood: entries.find(({ isGood }) => isGood) };
}

function readEntry(copies: readonly Copy[], listed: readonly string[]): Entry {
  const good = copies.find(({ backup }) => backup.state === 'good');
  return {
    backup: (good ?? copies[0]!).backup,
    isGood: good !== undefined,
    copies,
    absent: listed.filter((title) => copies.every(({ remote }) => remote !== title)),
    verdict: latest(copies.flatMap(({ backup }) => backup.verdict ?? [])),
    failedDrill: latest(copies.flatMap(({ backup }) => backup.verdict?.failedDrill ?? [])),
  };
}

const latest = <T extends { readonly at: string }>(looks: readonly T[]): T | undefined =>
  looks.toSorted((a, b) => Date.parse(b.at) - Date.parse(a.at))[0];
