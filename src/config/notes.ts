import { ConfigError } from '../core/errors.ts';

/** What is found on the way, a sentence each. Neither list ever holds a secret. */
export interface Notes {
  readonly problems: string[];
  readonly warnings: string[];
}

/** Does a part of the work; if that throws a `ConfigError`, it is noted under `title`, and all goes on. */
export function attempt<T>(title: string, { problems }: Notes, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.push(title === '' ? error.message : `${title}: ${error.message}`);
    return undefined;
  }
}
