import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fakePath, type ListedBackup } from './backups.ts';
import { runDbstash } from './dbstash.ts';
import type { TestRemote } from './remotes.ts';
import type { Scratch } from './scratch.ts';
import { requireTool } from './tools.ts';

type Folder = Pick<Scratch, 'path'>;
type Env = Record<string, string>;

/** Backs up, and returns the manifest. */
export async function makeBackup(env: Env): Promise<Omit<ListedBackup, 'state'>> {
  const { exitCode, stdout, stderr } = await runDbstash(['backup', '--json'], env);
  if (exitCode !== 0) throw new Error(stderr);
  return JSON.parse(stdout).backups[0];
}

/** PATH with an rclone first that does `script` where an artifact ("$last") is read; `real` is the real one. */
export function rcloneThatReads(scratch: Folder, script: string): { PATH: string } {
  const text = `
real() { '${requireTool('rclone')}' "$@"; }
for last in "$@"; do :; done
case "$1 $last $*" in "cat "*.json*|*" --files-from-raw "*) ;; "cat "*) ${script}
exit ;; esac
real "$@"`;
  return fakePath(scratch, { rclone: text });
}

/** An rclone that gives of an artifact the first 600 kB (more than is kept back), and the rest only after `release`. */
export function heldRclone(scratch: Folder): { env: { PATH: string }; isHeld: () => boolean; release: () => void } {
  const env = rcloneThatReads(
    scratch,
    `real "$@" | { head -c 600000; : >"$0.held"; while [ ! -e "$0.go" ]; do sleep 0.05; done; cat; }`,
  );
  const tool = join(env.PATH.split(':')[0] ?? '', 'rclone');
  return { env, isHeld: () => existsSync(`${tool}.held`), release: () => writeFileSync(`${tool}.go`, '') };
}

export async function rewriteManifest(
  remote: TestRemote,
  artifact: string,
  change: Record<string, unknown>,
): Promise<void> {
  const path = `${artifact}.manifest.json`;
  const manifest = JSON.parse((await remote.read(path)).toString());
  await remote.write(path, JSON.stringify({ ...manifest, ...change }));
}

/** Changes one byte in the middle, keeping the size. */
export async function flipByte(remote: TestRemote, artifact: string): Promise<void> {
  const body = await remote.read(artifact);
  body[body.length >> 1]! ^= 1;
  await remote.write(artifact, body);
}
