import type { State } from '../core/state.ts';
import type { History } from './history.ts';
import type { Calendar } from './pageTime.ts';
import type { Safety } from './safety.ts';

/** What all parts of the status page know. */
export interface View {
  readonly state: State;
  readonly calendar: Calendar;
  readonly histories: readonly History[];
  readonly safety: Safety;
  /** Names of the series that have no backup since they were due. */
  readonly overdue: ReadonlySet<string>;
}
