import { describe, expect, it } from 'vitest';
import { parseVerdict, type Verdict } from '../src/core/manifest.ts';
import { noteVerdicts } from '../src/core/memory.ts';
import { describeReadiness } from '../src/http/health.ts';
import { renderMetrics } from '../src/http/metrics.ts';
import { renderPage } from '../src/http/page.ts';
import { ago, backupOf, hours, NOW, remoteOf, seriesOf, stateOf } from './support/pageStates.ts';

const backup = backupOf(0);
const at = ago(hours(1)).toISOString();
const plain: Verdict = { dbstash: 1, id: backup.id, at, level: 'content', ok: true, reason: null };
const drill = { tables: 3, rows: 7, durationMs: 2000, at };
const failedDrill = { at, reason: 'it could not be restored: extension "x" is not available' };

describe('F15: what older releases wrote of a drill that failed', () => {
  const former = { ...plain, level: 'restore', ok: false };
  it.each([
    ['it could not be restored: psql exited with 3', true],
    ['it could not be restored', true],
    ['its SHA-256 is not the one in its manifest', false],
    ['it is what was backed up, and cannot be read: pg_restore exited with 1', false],
    [null, false],
  ])('%s: is taken for what it is', (reason, isDrill) => {
    const parsed = parseVerdict(JSON.stringify({ ...former, reason, drill }));
    const expected = isDrill
      ? { ...plain, drill, failedDrill: { at, reason } }
      : { ...plain, level: 'restore', ok: false, reason, drill };
    expect(parsed).toEqual(expected);
  });

  it('reads a drill without its time, as it was written', () => {
    const { at: _, ...early } = drill;
    expect(parseVerdict(JSON.stringify({ ...plain, drill: early }))?.drill).toEqual(early);
  });
});

/** A state in which the newest backup was looked at, on two remotes. */
const stateWith = (first: Verdict | undefined, second?: Verdict) =>
  stateOf({
    remotes: [first, second].map((verdict, index) =>
      remoteOf(`s3:${index}`, [seriesOf([{ ...backup, verdict }, backupOf(1)])]),
    ),
  });

async function scrape(verdict: Verdict, name: string): Promise<string[]> {
  const text = await renderMetrics(stateWith(verdict), NOW);
  return text.split('\n').filter((line) => line.startsWith(`dbstash_${name}{`) && line.includes('remote="s3:0"'));
}
const textOf = (page: string): string => page.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ');

describe('F15: a drill that failed', () => {
  it('is told by metrics beside a look at the content that went well', async () => {
    const looks = await scrape({ ...plain, failedDrill }, 'last_verification_ok');
    expect(looks.map((line) => line.replace(/.*level="(\w+)".* /, '$1 '))).toEqual(['content 1', 'restore 0']);
    expect(await scrape({ ...plain, failedDrill }, 'failed_drills')).toEqual([expect.stringMatching(/ 1$/)]);
    expect(await scrape({ ...plain, failedDrill }, 'newest_backup_is_good')).toEqual([expect.stringMatching(/ 1$/)]);
    const well = await scrape({ ...plain, drill }, 'last_verification_ok');
    expect(well.map((line) => line.replace(/.*level="(\w+)".* /, '$1 '))).toEqual(['content 1', 'restore 1']);
    expect(await scrape({ ...plain, drill }, 'failed_drills')).toEqual([expect.stringMatching(/ 0$/)]);
  });

  it('is told by the page, and by one remote also where the other one went well later', () => {
    const later = { ...plain, at: NOW.toISOString(), level: 'restore' as const, drill };
    for (const state of [stateWith({ ...plain, failedDrill }), stateWith({ ...plain, failedDrill }, later)]) {
      const page = textOf(renderPage(state, NOW));
      expect(page).toContain('Needs a look');
      expect(page).toContain('the last drill of orders failed: it could not be restored: extension');
      expect(page).toMatch(/proven .* drill failed 60 minutes ago|proven .* drill failed 1 hour ago/);
    }
    expect(textOf(renderPage(stateWith(later), NOW))).toContain('All good');
    expect(describeReadiness(stateWith({ ...plain, failedDrill }), NOW).status).toBe(200);
  });

  it('of an older backup is mended by a drill of a newer one', () => {
    const backups = [{ ...backup, verdict: { ...plain, drill } }, backupOf(1, { verdict: { ...plain, failedDrill } })];
    const state = stateOf({ remotes: [remoteOf('s3:b', [seriesOf(backups)])] });
    expect(textOf(renderPage(state, NOW))).toContain('All good');
  });

  it('leaves the backup good in what a daemon remembers', () => {
    const judged = { remote: 's3:0', artifact: backup.artifact, verdict: { ...plain, failedDrill } };
    const [remote] = noteVerdicts(stateWith(undefined), [judged]).remotes;
    expect(remote?.series[0]?.backups[0]).toMatchObject({ state: 'good', verdict: { failedDrill } });
  });
});

describe('F20: what the page says of proofs', () => {
  const older = { ...plain, id: backupOf(1).id, at: '2026-02-01T00:00:00.000Z' };
  const pageOf = (first: object, second: object): string => {
    const remotes = [
      remoteOf('s3:0', [
        seriesOf([
          { ...backup, ...first },
          { ...backupOf(1), ...second },
        ]),
      ]),
    ];
    return textOf(renderPage(stateOf({ remotes }), NOW));
  };

  it('is the newest one that went well, also where a newer one did not', () => {
    const failed = { state: 'damaged', verdict: { ...plain, ok: false, reason: 'its SHA-256 is another' } };
    expect(pageOf(failed, { verdict: older })).not.toContain('no backup was verified yet');
    expect(pageOf(failed, {})).toContain('no backup was verified yet, or none was whole');
  });

  it('is no more "proven" of what has gone since', () => {
    expect(pageOf({ verdict: plain }, {})).toContain('proven');
    const gone = pageOf({ state: 'missing', reason: 'it is gone', verdict: plain }, {});
    expect(gone).not.toContain('proven');
    expect(gone).toContain('no more: last');
    expect(gone).toContain('no backup was verified yet, or none was whole');
  });
});

describe('the time of a restore', () => {
  it('is told with the bytes of the dump that went by in a second', async () => {
    const pace = backup.dumpBytes / 2;
    expect(await scrape({ ...plain, drill }, 'last_drill_bytes_per_second')).toEqual([
      expect.stringMatching(new RegExp(` ${pace}$`)),
    ]);
    expect(textOf(renderPage(stateWith({ ...plain, drill }), NOW))).toContain(
      `a restore took 2s, ${(pace / 1024 ** 3).toFixed(1)} GiB/s (7 rows in 3 tables)`,
    );
  });
});
