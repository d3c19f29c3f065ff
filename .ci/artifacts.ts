/**
 * Makes the artifacts of a format that is about to be released, which the tests then restore for ever:
 * `node .ci/artifacts.ts 1` writes test/artifacts/1. What is there is never made anew.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { EngineName } from '../src/core/connection.ts';
import { FIXTURES } from '../test/support/fixtures.ts';
import { makeBackup } from '../test/support/restores.ts';

type Env = Record<string, string>;

/** What differs in the manifest or in how a restore reads it. */
const KINDS: readonly (readonly [EngineName, string, Env])[] = [
  ['pg', 'plain-zstd', { BACKUP_COMPRESS: 'zstd' }],
  ['pg', 'custom', { BACKUP_COMPRESS: 'true' }],
  ['pg', 'directory', { BACKUP_MODE: 'directory', BACKUP_COMPRESS: 'true' }],
  ['pg', 'tar-zstd', { BACKUP_MODE: 'tar', BACKUP_COMPRESS: 'zstd' }],
  ['mysql', 'stream', {}],
  ['mariadb', 'stream', {}],
  ['mariadb', 'tar', { BACKUP_MODE: 'tar' }],
  ['mongo', 'zstd', { BACKUP_COMPRESS: 'zstd' }],
  ['mongo', 'gzip', { BACKUP_COMPRESS: 'true' }],
  ['mongo', 'directory', { BACKUP_MODE: 'directory', BACKUP_COMPRESS: 'true' }],
  ['redis', 'stream', { BACKUP_COMPRESS: 'zstd' }],
  ['sqlite', 'gzip', { BACKUP_COMPRESS: 'gzip' }],
  ['sqlite', 'file', { BACKUP_MODE: 'file', BACKUP_COMPRESS: 'zstd' }],
];

const format = process.argv[2] ?? '';
const folder = join(import.meta.dirname, '../test/artifacts', format);
if (!/^\d+$/.test(format) || existsSync(folder)) {
  process.stderr.write(`the number of a format of which there is no ${folder}: node .ci/artifacts.ts 2\n`);
  process.exit(2);
}

// Its path stands in what is made: the same on every machine.
const scratch = { path: join(tmpdir(), 'dbstash-artifacts') };
rmSync(scratch.path, { recursive: true, force: true });
mkdirSync(scratch.path);
for (const engine of new Set(KINDS.map(([name]) => name))) {
  await using fixture = await FIXTURES[engine]({ ...scratch, [Symbol.asyncDispose]: async () => {} });
  for (const [, kind, more] of KINDS.filter(([name]) => name === engine)) {
    const to = join(folder, `${engine}-${kind}`);
    await makeBackup({
      ...fixture.env,
      ...more,
      RCLONE_REMOTE: to,
      BACKUP_NAME_TEMPLATE: 'source',
      BACKUP_SERIES: 'source',
      BACKUP_TEMP_DIR: join(scratch.path, 'tmp'),
    });
  }
  writeFileSync(join(folder, `${engine}.json.gz`), gzipSync(JSON.stringify(await fixture.content())));
}
rmSync(scratch.path, { recursive: true });
