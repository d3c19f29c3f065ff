import { Writable } from 'node:stream';

/** One input for several targets, which all get every byte, at the pace of the slowest. */
export interface FanOut {
  readonly input: Writable;
  /** Goes on without `target`, whatever it still has to take. */
  drop(target: Writable): void;
  /** Those that have not yet taken what the others may have. */
  waitingFor(): readonly Writable[];
}

/** Ends its targets when it is ended. A target that fails is its owner's to `drop`. */
export function fanOut(all: readonly Writable[]): FanOut {
  const targets = new Set(all);
  const waiting = new Set<Writable>();
  let done: (() => void) | undefined;
  const taken = (target: Writable) => {
    waiting.delete(target);
    if (waiting.size > 0 || !done) return;
    const goOn = done;
    done = undefined;
    goOn();
  };
  const pass = (chunks: readonly Buffer[], goOn: () => void) => {
    // Of none left, nobody asks any more.
    for (const target of targets) waiting.add(target);
    done = goOn;
    for (const target of targets) writeAll(target, chunks, () => taken(target));
  };
  const input = new Writable({
    decodeStrings: true,
    write: (chunk: Buffer, _encoding, goOn) => pass([chunk], () => goOn()),
    writev: (items, goOn) =>
      pass(
        items.map(({ chunk }) => chunk as Buffer),
        () => goOn(),
      ),
    final: (goOn) => {
      for (const target of targets) target.end();
      goOn();
    },
  });
  return {
    input,
    drop: (target) => {
      if (targets.delete(target)) taken(target);
    },
    waitingFor: () => [...waiting],
  };
}

function writeAll(target: Writable, chunks: readonly Buffer[], onTaken: () => void): void {
  const last = chunks.length - 1;
  target.cork();
  chunks.forEach((chunk, index) => {
    target.write(chunk, index === last ? (error) => void (error ?? onTaken()) : undefined);
  });
  target.uncork();
}
