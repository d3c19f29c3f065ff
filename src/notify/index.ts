import type { Report } from '../core/report.ts';

/** Tells people of runs. Nothing that goes wrong here touches a run. */
export interface Notifier {
  /** A run has begun. Does not wait. */
  started(run: string): void;
  /** Resolves when every channel has taken it or was given up; never rejects. */
  ended(report: Report): Promise<void>;
}

export const createNotifier = (): Notifier => ({ started: () => {}, ended: async () => {} });
