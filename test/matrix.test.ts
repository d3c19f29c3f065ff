import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Mode } from '../src/core/mode.ts';
import { engines } from '../src/engines/index.ts';
import { listBackups } from './support/backups.ts';
import { runDbstash } from './support/dbstash.ts';
import { describeEngine, FIXTURES, type Fixture } from './support/fixtures.ts';
import { makeBackup } from './support/restores.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

type Env = Record<string, string>;

/** What may stand between the tool and the remote, by mode; `age` is a new key. */
const FILTERS: Readonly<Record<Mode, readonly string[]>> = {
  stream: ['false', 'true', 'gzip', 'zstd', 'zstd+age'],
  file: ['false', 'gzip:9+age'],
  tar: ['false', 'zstd+age'],
  directory: ['false', 'true'],
};

const FILTER_TOOLS = ['rclone', 'gzip', 'pigz', 'zstd', 'age', 'age-keygen', 'tar'];
const TIMEOUT = { timeout: 240_000 };

function encryption(): Env {
  const identity = execFileSync(requireTool('age-keygen'), { encoding: 'utf8', stdio: 'pipe' });
  return { BACKUP_ENCRYPT_TO: /age1\w+/.exec(identity)![0], DECRYPT_IDENTITY: identity };
}

/** mydumper 0.10 sometimes waits for its own threads for ever (seen): the stall timeout ends it, and another try helps. */
async function makeBackupPatiently(env: Env): Promise<void> {
  const isMydumper = env.DB_URI?.startsWith('mysql:') && /directory|tar/.test(env.BACKUP_MODE ?? '');
  if (!isMydumper) return void (await makeBackup(env));
  const impatient = { ...env, BACKUP_STALL_TIMEOUT: '20s' };
  const again = (): Promise<unknown> => makeBackup(impatient);
  await again().catch(again).catch(again);
}

for (const { name, title, modes } of Object.values(engines)) {
  describeEngine(name, FILTER_TOOLS, `${title} comes back as it was`, () => {
    let scratch: Scratch;
    let fixture: Fixture;

    beforeAll(async () => {
      scratch = scratchFolder();
      fixture = await FIXTURES[name](scratch);
    }, 120_000);

    afterAll(async () => {
      await fixture?.[Symbol.asyncDispose]();
      await scratch?.[Symbol.asyncDispose]();
    });

    const cases = modes.flatMap((mode) => FILTERS[mode].map((filter) => [mode, filter] as const));

    it.each(cases)('by %s with %s', TIMEOUT, async (mode, filter) => {
      const [compress = '', age] = filter.split('+');
      const folder = join(scratch.path, `${mode} ${filter}`);
      const env: Env = {
        ...fixture.env,
        RCLONE_REMOTE: join(folder, 'backups'),
        BACKUP_TEMP_DIR: join(folder, 'tmp'),
        BACKUP_MODE: mode,
        BACKUP_COMPRESS: compress,
        ...(age && encryption()),
      };
      await makeBackupPatiently(env);
      const verified = await runDbstash(['verify'], env);
      expect(verified, verified.stderr).toMatchObject({
        exitCode: 0,
        stdout: expect.stringMatching(/^ {2}good {2}content/),
      });
      const compression = compress.startsWith('gzip') ? 'gzip' : compress.startsWith('zstd') ? 'zstd' : undefined;
      expect(await listBackups(env)).toMatchObject([
        { engine: name, state: 'good', mode, encryption: age ?? null, ...(compression && { compression }) },
      ]);
      const target = `copy_${mode}_${filter.replace(/\W/g, '_')}`;
      const run = await runDbstash(['restore', 'latest', ...fixture.target(target)], env, { timeoutMs: 120_000 });
      expect(run.exitCode, run.stderr).toBe(0);
      expect(await fixture.content(target)).toEqual(await fixture.content());
      expect(readdirSync(env.BACKUP_TEMP_DIR!).filter((entry) => entry.startsWith('work-'))).toEqual([]);
    });
  });
}
