import { parseConfig } from '../config/config.ts';
import { backupOnce } from '../daemon.ts';
import { type Call, printJson } from './call.ts';
import { runDryRun } from './dryRun.ts';

export async function runBackup({ edge, source, options }: Call): Promise<number> {
  const config = parseConfig(source);
  if (config.dryRun) return await runDryRun(edge, config, { json: options.json === true });
  const report = await backupOnce(edge.createHost(config));
  if (options.json) printJson(edge, { ...report, error: report.error ?? null });
  return report.exitCode;
}
