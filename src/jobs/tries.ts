import { createHash } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describeError } from '../core/errors.ts';
import { makeFolders } from '../process/file.ts';
import type { Host } from './session.ts';

/**
 * When the daemon last began a run, in a small file under BACKUP_TEMP_DIR: a run that failed leaves nothing on the remote,
 * and would be made up for at each start anew. Nothing here rejects: where the file is lost a run is tried once more.
 */
export interface Tries {
  last(): Promise<Date | undefined>;
  note(at: Date): Promise<void>;
  /** A run that was stopped was no try. */
  forget(): Promise<void>;
}

export function createTries({ config, logger, randomHex }: Host): Tries {
  const name = createHash('sha256').update(config.series).digest('hex').slice(0, 16);
  const path = join(config.tempDir, 'tries', name);
  const complain = (error: unknown) => logger.debug(`${path} is not kept: ${describeError(error)}`);
  const write = async (at: Date) => {
    await makeFolders(dirname(path));
    const fresh = `${path}.${randomHex(4)}`;
    await writeFile(fresh, at.toISOString(), { mode: 0o600 });
    await rename(fresh, path);
  };
  return {
    last: async () => {
      const at = new Date(await readFile(path, 'utf8').catch(() => ''));
      return Number.isNaN(at.getTime()) ? undefined : at;
    },
    note: (at) => write(at).catch(complain),
    forget: () => rm(path, { force: true }).catch(complain),
  };
}
