import type { Drilled } from '../core/manifest.ts';
import type { BackupState, RemoteState, SeriesState, State } from '../core/state.ts';
import { findOverdue, isKnown, type Look, looksByLevel, newestGoodOf } from './copies.ts';

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
  readonly newestGood: BackupState | undefined;
}

export const EPOCH = new Date(0);
export const seconds = (time: Date): number => time.getTime() / 1000;
export const moment = (time: Date | undefined): Sample[] => (time ? [{ value: seconds(time) }] : []);
export const isLookedAt = ({ listedAt, fault }: RemoteState): boolean => listedAt !== undefined || fault !== undefined;

const copies = ({ remotes }: State, now: Date): Copy[] =>
  remotes.filter(isKnown).flatMap(({ title, series }) =>
    series.map((one) => ({
      ...one,
      labels: { remote: title, series: one.series, database: one.database },
      newestGood: newestGoodOf(one.backups, now),
    })),
  );

export const perCopy =
  (pick: (copy: Copy) => number | undefined): Read =>
  (state, now) =>
    copies(state, now).flatMap((copy) => {
      const value = pick(copy);
      return value === undefined ? [] : [{ labels: copy.labels, value }];
    });

export const perNewest = (pick: (backup: BackupState) => number): Read =>
  perCopy(({ newestGood }) => newestGood && pick(newestGood));

export function perLevel(pick: (look: Look) => number): Read {
  return (state, now) =>
    copies(state, now).flatMap(({ labels, backups }) => {
      const looks = looksByLevel(backups);
      return LEVELS.flatMap((level) => {
        const look = looks.get(level);
        return look ? [{ labels: { ...labels, level }, value: pick(look) }] : [];
      });
    });
}

/** Of the newest backup that was restored in a drill. */
export const perDrill = (pick: (drill: Drilled, dumpBytes: number) => number): Read =>
  perCopy(({ backups }) => {
    const drilled = backups.find(({ verdict }) => verdict?.drill);
    return drilled?.verdict?.drill && pick(drilled.verdict.drill, drilled.dumpBytes);
  });

export const countStates: Read = (state, now) =>
  copies(state, now).flatMap(({ labels, backups }) =>
    BACKUP_STATES.map((word) => ({
      labels: { ...labels, state: word },
      value: backups.filter((backup) => backup.state === word).length,
    })),
  );

export const overdueSeries: Read = (state, now) => {
  const overdue = findOverdue(state, now);
  const known = [...overdue, ...listedSeries(state, now).map(({ labels }) => labels)];
  return [...Map.groupBy(known, ({ series }) => series)].map(([series, [first]]) => ({
    labels: { series, database: first?.database ?? '' },
    value: Number(overdue.some((one) => one.series === series)),
  }));
};

/** Each series once, with its newest good backup of all remotes. */
export function listedSeries(state: State, now: Date) {
  const groups = Map.groupBy(copies(state, now), ({ series }) => series);
  return [...groups].map(([series, all]) => ({
    labels: { series, database: all[0]?.database ?? '' },
    newest: newestGoodOf(
      all.flatMap(({ newestGood }) => newestGood ?? []),
      now,
    ),
  }));
}
