import type { Verdict } from '../core/manifest.ts';
import type { BackupState, RemoteState, SeriesState, State } from '../core/state.ts';
import { findOverdue, newestGoodOf, verdictsByLevel } from './copies.ts';

/** A value of a metric. */
export interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}
export type Read = (state: State, now: Date) => readonly Sample[];

const BACKUP_STATES = ['good', 'missing', 'damaged'] as const;
const LEVELS = ['stored', 'content', 'restore'] as const;

/** What a series has on one remote, with the labels of both. */
interface Copy extends SeriesState {
  readonly labels: Readonly<Record<string, string>>;
}

export const EPOCH = new Date(0);
export const seconds = (time: Date): number => time.getTime() / 1000;
export const moment = (time: Date | undefined): Sample[] => (time ? [{ value: seconds(time) }] : []);
export const isLookedAt = ({ listedAt, fault }: RemoteState): boolean => listedAt !== undefined || fault !== undefined;

const copies = ({ remotes }: State): Copy[] =>
  remotes
    .filter(({ listedAt }) => listedAt !== undefined)
    .flatMap(({ title, series }) =>
      series.map((one) => ({ ...one, labels: { remote: title, series: one.series, database: one.database } })),
    );

export function perCopy(pick: (copy: Copy) => number | undefined) {
  return (state: State): Sample[] =>
    copies(state).flatMap((copy) => {
      const value = pick(copy);
      return value === undefined ? [] : [{ labels: copy.labels, value }];
    });
}

export const perNewest = (pick: (backup: BackupState) => number) =>
  perCopy(({ backups }) => {
    const newest = newestGoodOf(backups);
    return newest && pick(newest);
  });

export function perLevel(pick: (verdict: Verdict) => number) {
  return (state: State): Sample[] =>
    copies(state).flatMap(({ labels, backups }) => {
      const verdicts = verdictsByLevel(backups);
      return LEVELS.flatMap((level) => {
        const verdict = verdicts.get(level);
        return verdict ? [{ labels: { ...labels, level }, value: pick(verdict) }] : [];
      });
    });
}

export const countStates: Read = (state) =>
  copies(state).flatMap(({ labels, backups }) =>
    BACKUP_STATES.map((word) => ({
      labels: { ...labels, state: word },
      value: backups.filter((backup) => backup.state === word).length,
    })),
  );

export const overdueSeries: Read = (state, now) => {
  const overdue = findOverdue(state, now);
  const known = [...overdue, ...listedSeries(state).map(({ labels }) => labels)];
  return [...Map.groupBy(known, ({ series }) => series)].map(([series, [first]]) => ({
    labels: { series, database: first?.database ?? '' },
    value: Number(overdue.some((one) => one.series === series)),
  }));
};

/** Each series once, with its newest good backup of all remotes. */
export function listedSeries(state: State) {
  const groups = Map.groupBy(copies(state), ({ series }) => series);
  return [...groups].map(([series, all]) => ({
    labels: { series, database: all[0]?.database ?? '' },
    newest: newestGoodOf(all.flatMap(({ backups }) => backups)),
  }));
}
