import type { Clock } from '../core/clock.ts';
import { TimeoutError } from '../core/errors.ts';

/** A signal that fires after `ms`; never, where that is 0. */
export function createDeadline(
  clock: Clock,
  ms: number,
  message: string,
): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const expire = () => controller.abort(new TimeoutError(message));
  const timer = ms === 0 ? undefined : clock.setTimeout(expire, ms);
  return { signal: controller.signal, [Symbol.dispose]: () => clock.clearTimeout(timer) };
}
