import type { Config } from '../config/config.ts';
import type { Report } from '../core/report.ts';

interface Decision {
  readonly isTold: boolean;
  /** How many runs before this one did not go well, where it is the first that did; else 0. */
  readonly recoveredAfter: number;
}

/** Decides which runs are told of; remembers, as long as the process lives, how many of each job in a row did not go well. */
export function createPolicy(on: Config['notify']['on']): (report: Pick<Report, 'job' | 'outcome'>) => Decision {
  const troubles = { backup: 0, verify: 0 };
  return ({ job, outcome }) => {
    const isWell = outcome === 'succeeded';
    const recoveredAfter = isWell ? troubles[job] : 0;
    troubles[job] = isWell ? 0 : troubles[job] + 1;
    const isTold = on === 'always' || (on === 'success' ? isWell : !isWell || recoveredAfter > 0);
    return { isTold, recoveredAfter };
  };
}
