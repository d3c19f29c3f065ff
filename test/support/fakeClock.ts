import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../../src/core/clock.ts';

/** A clock that stands still until it is told to go on. Its wall may be set; timers go by what has passed. */
export interface FakeClock extends Clock {
  /** Lets the time go on to the next timer and runs it. False where there is none. */
  step(): boolean;
  /** Milliseconds until the next timer; undefined where there is none. */
  untilNext(): number | undefined;
  /** Lets so much time pass, timers and what comes of them included. */
  advance(ms: number): Promise<void>;
  /** Sets the wall clock by so much, and lets no time pass. */
  jump(ms: number): void;
}

interface Timer {
  readonly at: number;
  readonly run: () => void;
}

export function createFakeClock(start: string | Date): FakeClock {
  let wall = new Date(start).getTime();
  let passed = 0;
  const timers = new Set<Timer>();
  const nextTimer = (): Timer | undefined => {
    let first: Timer | undefined;
    for (const timer of timers) if (first === undefined || timer.at < first.at) first = timer;
    return first;
  };
  const go = (ms: number) => {
    wall += ms;
    passed += ms;
  };
  const step = () => {
    const timer = nextTimer();
    if (!timer) return false;
    timers.delete(timer);
    go(Math.max(0, timer.at - passed));
    timer.run();
    return true;
  };
  return {
    now: () => new Date(wall),
    setTimeout: (run, ms) => {
      const timer = { at: passed + ms, run };
      timers.add(timer);
      return timer;
    },
    clearTimeout: (handle) => void timers.delete(handle as Timer),
    step,
    untilNext: () => {
      const timer = nextTimer();
      return timer && Math.max(0, timer.at - passed);
    },
    async advance(ms) {
      const end = passed + ms;
      for (let timer = nextTimer(); timer && timer.at <= end; timer = nextTimer()) {
        step();
        await turn();
      }
      go(end - passed);
    },
    jump: (ms) => {
      wall += ms;
    },
  };
}
