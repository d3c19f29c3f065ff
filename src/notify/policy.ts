import type { Config } from '../config/config.ts';
import type { Report } from '../core/report.ts';

interface Decision {
  readonly isTold: boolean;
  /** How many runs before this one did not go well, where it is the first that did; else 0. */
  readonly recoveredAfter: number;
}

/** Decides which runs are told of; remembers, as long as the process lives, how many in a row did not go well. */
export function createPolicy(on: Config['notify']['on']): (report: Pick<Report, 'outcome'>) => Decision {
  let troubles = 0;
  return ({ outcome }) => {
    const isWell = outcome === 'succeeded';
    const recoveredAfter = isWell ? troubles : 0;
    troubles = isWell ? 0 : troubles + 1;
    const isTold = on === 'always' || (on === 'success' ? isWell : !isWell || recoveredAfter > 0);
    return { isTold, recoveredAfter };
  };
}
