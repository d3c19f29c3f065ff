import { formatBytes } from '../core/units.ts';
import { type Adoption, adopt } from '../jobs/adopt.ts';
import { formatRows } from '../jobs/list.ts';
import type { Session } from '../jobs/session.ts';
import { type Call, printJson, printText } from './call.ts';

export async function runAdopt(session: Session, { edge, options, args }: Call): Promise<number> {
  const { dryRun: isDryRun } = session.host.config;
  const results: Adoption[] = [];
  const take = (adoption: Adoption) => {
    results.push(adoption);
    if (!options.json) printText(edge, `${formatRows([describe(adoption, isDryRun)])}\n`);
  };
  const exitCode = await adopt(session, { names: args, isDryRun }, take);
  if (options.json) {
    printJson(edge, results);
    return exitCode;
  }
  const adopted = results.filter(({ manifest }) => manifest !== undefined).length;
  if (results.length === 0 && args.length === 0)
    printText(edge, 'nothing that BACKUP_NAME_TEMPLATE would have made is left to adopt\n');
  if (adopted > 0 && !isDryRun)
    printText(edge, `${adopted} adopted: dbstash prune --dry-run says which of them stay\n`);
  return exitCode;
}

function describe({ path, remote, manifest, reason = '', dated }: Adoption, isDryRun: boolean): string[] {
  if (!manifest) return ['left', `${path} on ${remote}`, reason];
  const { startedAt, bytes, tool, format, compression, encryption, database } = manifest;
  const made = [tool === 'unknown' ? format : `${tool} (${format})`, compression, encryption].filter(
    (part) => part !== null,
  );
  return [
    isDryRun ? 'would adopt' : 'adopted',
    `${path} on ${remote}`,
    `${database} of ${startedAt.slice(0, 19).replace('T', ' ')} UTC${dated === 'storage' ? ' (so says the storage, not its name)' : ''}, ${formatBytes(bytes)}, ${made.join(', ')}`,
  ];
}
