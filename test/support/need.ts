import { describe } from 'vitest';
import { findTool } from './tools.ts';

/** A group of tests that needs programs (names as in findTool). Where one is missing the group is skipped, loudly. */
export function describeWith(tools: readonly string[], name: string, tests: () => void): void {
  const missing = tools.filter((tool) => findTool(tool) === undefined);
  if (missing.length > 0)
    console.warn(`SKIPPED "${name}": ${missing.join(', ')} missing (sh .ci/prepare test gets it)`);
  describe.skipIf(missing.length > 0)(name, tests);
}
