import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listDays } from '../src/core/nameTime.ts';
import { runDbstash } from './support/dbstash.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { createSqlite } from './support/seeds.ts';
import { requireTool } from './support/tools.ts';

const TIMEOUT = { timeout: 120_000 };

interface Row {
  readonly path: string;
  readonly reason?: string;
  readonly manifest?: { readonly startedAt: string };
}

describe('what the name of a dump says, where the dump itself says less', () => {
  let scratch: Scratch;
  let folder: string;
  let env: Record<string, string>;
  beforeEach(() => {
    scratch = scratchFolder();
    folder = join(scratch.path, 'remote');
    mkdirSync(folder);
    const uri = createSqlite(scratch);
    env = { DB_URI: uri, RCLONE_REMOTE: folder, BACKUP_TEMP_DIR: join(scratch.path, 'tmp') };
    const path = uri.slice('sqlite://'.length);
    execFileSync('sqlite3', [path, `.output ${join(scratch.path, 'dump.sql')}`, '.dump']);
  });
  afterEach(() => scratch[Symbol.asyncDispose]());
  const put = (name: string): string => {
    copyFileSync(join(scratch.path, 'dump.sql'), join(folder, name));
    return name;
  };
  /** What became of each, and the exit code. */
  async function adopt(
    ...args: readonly string[]
  ): Promise<{ exitCode: number | null; rows: Readonly<Record<string, Row>> }> {
    const done = await runDbstash(['adopt', '--json', ...args], env);
    const rows: Row[] = JSON.parse(done.stdout);
    return { exitCode: done.exitCode, rows: Object.fromEntries(rows.map((row) => [row.path, row])) };
  }

  it('keeps it from another database that a mere pattern brought along', TIMEOUT, async () => {
    const other = put('invoices-2026-02-07-020000.sql');
    const left = await adopt('*.sql');
    expect(left.exitCode).toBe(2);
    expect(left.rows[other]?.reason).toContain('its name says that it is of invoices, not of ');
    expect(readdirSync(folder)).toEqual([other]);
    expect(await adopt('invoices-*.sql')).toMatchObject({ exitCode: 0 });
  });

  it('is no time where that is yet to come, or may be one of two', TIMEOUT, async () => {
    const coming = put('nightly_2099-02-07.sql');
    const unclear = put('shop_20240101_2026-02-07.sql');
    const { exitCode, rows } = await adopt('*');
    expect(exitCode).toBe(2);
    expect(rows[coming]?.reason).toContain('it would be of 2099-02-07T00:00:00.000Z, which is yet to come');
    expect(rows[unclear]?.reason).toContain('its name holds 2024-01-01 and 2026-02-07: BACKUP_NAME_TEMPLATE can say');
    expect(readdirSync(folder)).toHaveLength(2);
    env.BACKUP_NAME_TEMPLATE = '{db}_20240101_{date}';
    expect(await adopt('shop_*')).toMatchObject({
      exitCode: 0,
      rows: { [unclear]: { manifest: { startedAt: '2026-02-07T00:00:00.000Z' } } },
    });
  });

  it('is told apart from a time that only the storage knows', TIMEOUT, async () => {
    const dumb = put('nightly.sql');
    utimesSync(join(folder, dumb), new Date('2025-03-04T05:06:07Z'), new Date('2025-03-04T05:06:07Z'));
    put('weekly_20250301.sql');
    const done = await runDbstash(['adopt', '--dry-run', '*'], env);
    expect(done.stdout).toMatch(/nightly\.sql .* 2025-03-04 05:06:07 UTC \(so says the storage, not its name\),/);
    expect(done.stdout).toMatch(/weekly_20250301\.sql .* 2025-03-01 00:00:00 UTC,/);
  });

  it('is not waited for without end, where the storage does not answer', TIMEOUT, async () => {
    const name = put('nightly.sql');
    const tools = join(scratch.path, 'tools');
    mkdirSync(tools);
    const rclone = `#!/bin/sh
case " $* " in *" --stat --no-mimetype "*) exec sleep 100;; esac
exec ${requireTool('rclone')} "$@"`;
    writeFileSync(join(tools, 'rclone'), rclone, { mode: 0o755 });
    const hung = { ...env, PATH: `${tools}:${process.env.PATH}`, BACKUP_STALL_TIMEOUT: '5s' };
    const done = await runDbstash(['adopt', name], hung, { timeoutMs: 60_000 });
    expect(done, done.stderr).toMatchObject({ exitCode: 3, stdout: expect.stringContaining('did not answer for') });
  });

  it('does not count where a record on the remote cannot be read, which may say more', TIMEOUT, async () => {
    const name = put('nightly_20260207.sql');
    mkdirSync(join(folder, 'folder'));
    writeFileSync(join(folder, 'folder/x.pending.json'), '{}');
    const tools = join(scratch.path, 'tools');
    mkdirSync(tools);
    const rclone = `#!/bin/sh
case " $* " in *" copy "*) echo "permission denied" >&2; exit 1;; esac
exec ${requireTool('rclone')} "$@"`;
    writeFileSync(join(tools, 'rclone'), rclone, { mode: 0o755 });
    // Something else could be read.
    expect((await runDbstash(['backup'], env)).exitCode).toBe(0);
    const before = readdirSync(folder);
    const done = await runDbstash(['adopt', name], { ...env, PATH: `${tools}:${process.env.PATH}` });
    expect(done, done.stderr).toMatchObject({ exitCode: 3 });
    expect(done.stderr).toContain('not all of its records could be read');
    expect(readdirSync(folder)).toEqual(before);
  });

  it.each([
    ['app_20240101_2026-02-07.sql', ['2024-01-01', '2026-02-07']],
    ['app-20260207-201512.sql', ['2026-02-07']],
    ['app-2026-02-07_2026-02-07.sql', ['2026-02-07']],
    ['app_202602070215.sql', ['2026-02-07']],
    ['app.sql', []],
  ])('of %s are the days %j', (name, days) => {
    expect(listDays(name)).toEqual(days);
  });
});
