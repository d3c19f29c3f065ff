import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { PAGE_CSP } from '../src/http/page.ts';
import { NEVER, openEndpoints, openStage, stop, waitForTimes } from './support/daemons.ts';
import { startDbstash } from './support/dbstash.ts';
import { startRemote } from './support/remotes.ts';
import { waitFor } from './support/scratch.ts';
import { findTool } from './support/tools.ts';

const TIMEOUT = { timeout: 120_000 };
const CANARY = 'canary-7Hq+/secret=';

describe('what a daemon says of itself', () => {
  it('is true after a run: metrics, and the page', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: NEVER, BACKUP_ON_START: 'true' });
    await using second = await startRemote('local');
    const { env, get } = await openEndpoints();
    const remotes = { RCLONE_REMOTE_2: second.remote, ...second.env };
    await using daemon = startDbstash([], { ...stage.env, ...remotes, ...env }, { timeoutMs: 120_000 });
    await waitForTimes(daemon, /^run succeeded/, 1);
    const told = async (pattern: RegExp) => {
      const { text } = await get('/metrics');
      return pattern.test(text) && text;
    };
    const text = await waitFor(() => told(/^dbstash_ready 1$/m), { timeoutMs: 60_000, title: 'dbstash_ready 1' });
    expect(text).toMatch(/^dbstash_runs_total\{outcome="succeeded"\} 1$/m);
    expect(text).toMatch(/^dbstash_last_run_outcome\{outcome="succeeded"\} 1$/m);
    expect(text.match(/^dbstash_remote_up\{.*\} 1$/gm)).toHaveLength(2);
    expect(text.match(/^dbstash_backups\{.*,state="good"\} 1$/gm)).toHaveLength(2);
    const [, newest = ''] = /^dbstash_last_success_timestamp_seconds\{.*\} (\S+)$/m.exec(text) ?? [];
    expect(Math.abs(Date.now() / 1000 - Number(newest))).toBeLessThan(120);
    const promtool = findTool('promtool');
    if (promtool) {
      const { status, stdout, stderr } = spawnSync(promtool, ['check', 'metrics'], { input: text, encoding: 'utf8' });
      expect([status, stdout + stderr]).toEqual([0, '']);
    }
    const page = await get('/');
    expect(page.headers.get('content-security-policy')).toBe(PAGE_CSP);
    expect(page.text).toMatch(/<h1 id="answer">All good: last backup <time/);
    expect(page.text).toContain('on all 2');
    expect(await stop(daemon)).toMatchObject({ exitCode: 0 });
  });

  it('F33 holds no secret, also where a tool tells one', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: NEVER, BACKUP_ON_START: 'true' });
    const { env, get, expectStatus } = await openEndpoints();
    const hook = { HOOK_PRE_BACKUP: 'echo "cannot open, said $RCLONE_CONFIG_NAS_PASS to nobody" >&2; exit 1' };
    const secret = { RCLONE_CONFIG_NAS_TYPE: 'sftp', RCLONE_CONFIG_NAS_PASS: CANARY };
    await using daemon = startDbstash([], { ...stage.env, ...env, ...hook, ...secret }, { timeoutMs: 120_000 });
    await waitForTimes(daemon, /^run failed/, 1);
    const { reason } = await expectStatus('/healthz', 503);
    const page = await get('/');
    expect(page.text).toContain('Not safe');
    expect(reason).toContain('cannot open, said ***');
    expect(page.text).toContain('cannot open, said ***');
    for (const endpoint of ['/', '/metrics', '/healthz', '/readyz', '/livez']) {
      const { text } = await get(endpoint);
      expect(text.length).toBeGreaterThan(10);
      for (const form of [CANARY, Buffer.from(CANARY).toString('base64'), encodeURIComponent(CANARY), 'canary-7Hq'])
        expect(text, endpoint).not.toContain(form);
    }
    await stop(daemon);
  });
});
