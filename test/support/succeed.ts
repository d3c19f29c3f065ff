import { expect } from 'vitest';
import { type DbstashRun, runDbstash } from './dbstash.ts';

/** Runs commands that must exit with 0, else the test fails with what they said. */
export const expectSuccess =
  (options?: { readonly timeoutMs: number }) =>
  async (args: readonly string[], env: Record<string, string>): Promise<DbstashRun> => {
    const done = await runDbstash(args, env, options);
    expect(done.exitCode, done.stderr).toBe(0);
    return done;
  };
