import { parseConfig, secretsOf } from '../../src/config/config.ts';
import type { Clock } from '../../src/core/clock.ts';
import { createRedactor } from '../../src/core/redact.ts';
import type { Host } from '../../src/jobs/session.ts';
import { createLogger } from '../../src/logger.ts';
import { createNotifier } from '../../src/notify/index.ts';
import { parseSchedule } from '../../src/schedule.ts';

interface HostOptions {
  readonly clock: Clock;
  readonly signal?: AbortSignal;
  /** Gets the lines of the log, as text. */
  readonly write?: (line: string) => void;
}

let count = 0;

/** What the program's edge would give to the jobs, with a clock and a log of one's own. */
export function createTestHost(env: Readonly<Record<string, string>>, { clock, signal, write }: HostOptions): Host {
  const config = parseConfig({ env, flags: {}, cwd: '/', parseSchedule });
  const redact = createRedactor(secretsOf(config, env));
  const logger = createLogger({ level: config.log.level, format: 'text', write: write ?? (() => {}), redact, clock });
  const own = {
    config,
    env: { PATH: process.env.PATH, ...env },
    clock,
    logger,
    randomHex: (bytes: number) =>
      (++count)
        .toString(16)
        .padStart(2 * bytes, '0')
        .slice(-2 * bytes),
    availableBytes: () => 4 * 1024 ** 3,
    signal: signal ?? new AbortController().signal,
    showProgress: undefined,
    redact,
    version: '0.0.0',
  };
  return { ...own, notifier: createNotifier({ ...own, hostname: 'test' }) };
}
