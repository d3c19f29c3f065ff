import type { Clock } from '../core/clock.ts';
import { TimeoutError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';

export interface StallWatch extends Disposable {
  /** Fires when nothing has moved for the whole time. */
  readonly signal: AbortSignal;
  /** Something moved. */
  readonly touch: () => void;
}

/** How often in a stall timeout we look. Looks are counted, not time: a wall clock may be set, or wake up with its machine. */
const LOOKS = 20;

/** Watches for `stallMs` without a `touch` and without growth of `measure`, the run's temporary folder. 0 turns it off. */
export function watchStall(clock: Clock, stallMs: number, measure: () => Promise<number>): StallWatch {
  const controller = new AbortController();
  const message = `nothing moved for ${formatDuration(stallMs)} (BACKUP_STALL_TIMEOUT): no byte of the dump, none taken by the remote`;
  let idleLooks = 0;
  let size = 0;
  let timer: unknown;
  let isOver = stallMs === 0;
  const touch = () => {
    idleLooks = 0;
  };
  const look = async () => {
    const now = await measure().catch(() => size);
    if (isOver) return;
    idleLooks = now > size ? 0 : idleLooks + 1;
    size = now;
    if (idleLooks >= LOOKS) return controller.abort(new TimeoutError(message));
    timer = clock.setTimeout(() => void look(), stallMs / LOOKS);
  };
  if (!isOver) timer = clock.setTimeout(() => void look(), stallMs / LOOKS);
  return {
    signal: controller.signal,
    touch,
    [Symbol.dispose]: () => {
      isOver = true;
      clock.clearTimeout(timer);
    },
  };
}
