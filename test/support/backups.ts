import { join } from 'node:path';
import type { Verdict } from '../../src/core/manifest.ts';
import { runDbstash } from './dbstash.ts';
import { fakeTools } from './fakeTool.ts';
import type { TestRemote } from './remotes.ts';
import type { Scratch } from './scratch.ts';
import { requireTool } from './tools.ts';

type Env = Record<string, string>;

/** The variables of a backup from `uri` to `remote`; locks and temporary files are in `scratch`. */
export function backupEnv(uri: string, remote: TestRemote, scratch: Pick<Scratch, 'path'>, more: Env = {}): Env {
  const tempDir = join(scratch.path, 'tmp');
  return { DB_URI: uri, RCLONE_REMOTE: remote.remote, ...remote.env, BACKUP_TEMP_DIR: tempDir, ...more };
}

/** PATH with a `pg_dump` before the real one: it answers questions as that does, and dumps as the script says, in which `real` is the real one. */
export function fakePgDump(scratch: Pick<Scratch, 'path'>, script: string): { PATH: string } {
  const text = `
real() { '${requireTool('pg_dump')}' "$@"; }
case "$*" in --version | *--host=*) real "$@"; exit ;; esac
${script}`;
  return fakePath(scratch, { pg_dump: text });
}

/** PATH with these scripts first. */
export const fakePath = (scratch: Pick<Scratch, 'path'>, scripts: Env): { PATH: string } => ({
  PATH: `${fakeTools(scratch, scripts)}:${process.env.PATH}`,
});

export interface ListedBackup {
  readonly id: string;
  readonly artifact: string;
  readonly series: string;
  readonly serverId: string | null;
  readonly database: string;
  readonly state: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly startedAt: string;
  readonly verified: Verdict | null;
}

/** What `dbstash list --json` says, newest first. */
export async function listBackups(env: Env, ...args: string[]): Promise<ListedBackup[]> {
  const { exitCode, stdout, stderr } = await runDbstash(['list', '--json', ...args], env);
  if (exitCode !== 0) throw new Error(`dbstash list exited with ${exitCode}: ${stderr}`);
  return JSON.parse(stdout);
}
