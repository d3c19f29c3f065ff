import { formatDuration } from '../core/units.ts';
import type { Patience, SinkGroup, Stage } from './relay.ts';

/** How often in its time we look. Looks are counted, not time: a wall clock may be set, or wake up with its machine. */
const LOOKS = 10;

/**
 * Cuts off those of several sinks for which others wait: that do not take what those have taken, or that have not ended long
 * after them and give no sign of life (`Stage.progress`). Disposing ends the watch.
 */
export function watchLag(sinks: readonly Stage[], group: SinkGroup, patience: Patience | undefined): Disposable {
  if (!patience || patience.ms === 0 || sinks.length < 2) return { [Symbol.dispose]: () => {} };
  const { clock, ms } = patience;
  const looks = new Map<Stage, { idle: number; progress: number }>();
  let timer: unknown;
  const look = () => {
    const live = group.live();
    const isDone = group.failures().filter((failure) => failure === undefined).length > live.length;
    // Nobody is behind others where all wait, for the dump perhaps.
    const hasOthers = isDone || live.some((sink) => !group.isBehind(sink));
    const behind = hasOthers ? live.filter((sink) => isDone || group.isBehind(sink)) : [];
    for (const sink of sinks) if (!behind.includes(sink)) looks.delete(sink);
    for (const sink of behind.filter(isStuck))
      void group.cut(sink, sink.fail(`the others waited for it for ${formatDuration(ms)}: it was cut off`));
    timer = clock.setTimeout(look, ms / LOOKS);
  };
  const isStuck = (sink: Stage): boolean => {
    const progress = sink.progress?.() ?? 0;
    const before = looks.get(sink);
    const idle = before?.progress === progress ? before.idle + 1 : 0;
    looks.set(sink, { idle, progress });
    return idle >= LOOKS;
  };
  timer = clock.setTimeout(look, ms / LOOKS);
  return { [Symbol.dispose]: () => clock.clearTimeout(timer) };
}
