import { parseConfig } from '../config/config.ts';
import { backupOnce } from '../daemon.ts';
import { type Call, printJson } from './call.ts';

export async function runBackup({ edge, source, options }: Call): Promise<number> {
  const report = await backupOnce(edge.createHost(parseConfig(source)));
  if (options.json) printJson(edge, { ...report, error: report.error ?? null });
  return report.exitCode;
}
