import { resolve } from 'node:path';
import { ConfigError, EXIT } from '../core/errors.ts';
import { formatBytes } from '../core/units.ts';
import { download } from '../jobs/download.ts';
import type { Session } from '../jobs/session.ts';
import { type Call, printText } from './call.ts';

export async function runDownload(session: Session, { edge, source, options, args }: Call): Promise<number> {
  if (session.host.config.dryRun)
    throw new ConfigError(
      'DRY_RUN: a download has no dry run, and nothing was fetched; right is false, or `list` to look',
    );
  const [name = 'latest', folder = '.'] = args;
  if (name === 'latest' && session.host.config.selection.kind !== 'one')
    throw new ConfigError(
      'latest is not clear, since there are several databases: give a name that dbstash list shows',
    );
  const decode = options.decode === true;
  const { backup, remote, path } = await download(session, { name, folder: resolve(source.cwd, folder), decode });
  printText(edge, `${backup.path} (${formatBytes(backup.manifest.bytes)}) of ${remote} is in ${path}\n`);
  return EXIT.ok;
}
