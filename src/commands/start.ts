import { parseConfig } from '../config/config.ts';
import { runDaemon } from '../daemon.ts';
import type { Call } from './call.ts';
import { runDryRun } from './dryRun.ts';

/** With DRY_RUN it says what it would do, and when, and is done. */
export async function runStart({ edge, source }: Call): Promise<number> {
  const config = parseConfig(source);
  return config.dryRun ? await runDryRun(edge, config, { json: false }) : await runDaemon(edge.createHost(config));
}
