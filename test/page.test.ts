import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readHistories } from '../src/http/history.ts';
import { html } from '../src/http/html.ts';
import { PAGE_CSP, renderPage } from '../src/http/page.ts';
import { PALETTES, type Palette } from '../src/http/palette.ts';
import { judgeSafety } from '../src/http/safety.ts';
import * as states from './support/pageStates.ts';

const { NOW, SAMPLES, ago, backupOf, hours, remoteOf, runOf, seriesOf, stateOf } = states;
type State = ReturnType<typeof stateOf>;

const render = (state: State): string => renderPage(state, NOW);
/** What stands there, without the marks. */
const textOf = (page: string): string =>
  page
    .replace(/<style>[\s\S]*?<\/style>/, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ');
const headlineOf = (state: State): string => textOf(/<h1[\s\S]*?<\/h1>/.exec(render(state))?.[0] ?? '').trim();
const safetyOf = (state: State) => judgeSafety(state, readHistories(state), NOW);

describe('the answer', () => {
  it.each([
    ['healthy', 'good', 'All good: last backup 3 hours ago , next in 21 hours'],
    ['running', 'good', 'All good: last backup 3 hours ago , next in 21 hours'],
    ['several', 'attention', 'Needs a look: last backup 3 hours ago , next in 21 hours'],
    ['failed', 'bad', 'Not safe: the last run failed'],
    ['overdue', 'bad', 'Not safe: a backup is overdue'],
    ['empty', 'waiting', 'No backup yet: waiting for the first run'],
    ['unknown', 'waiting', 'No backup yet: looking at what is there'],
  ])('of a state that is %s is %s: %s', (name, level, headline) => {
    const state = SAMPLES[name]!();
    expect(safetyOf(state).level).toBe(level);
    expect(headlineOf(state)).toBe(headline);
  });

  it('says why, by the rules of /readyz', () => {
    const page = textOf(render(states.failedState()));
    expect(page).toContain('FATAL: password authentication failed');
    expect(page).toContain('Last good backup 27 hours ago');
    const several = textOf(render(states.severalState()));
    expect(several).toContain('nas:dbstash cannot be listed: dial tcp 10.0.0.9:22: i/o timeout');
    expect(several).toContain('nas:dbstash got nothing of the last 3 runs');
    expect(several).toContain('the last run warned: nas:dbstash: cut off after 20m without progress');
  });

  it('is never good without a good backup', () => {
    const damaged = backupOf(0, { state: 'damaged', reason: 'its size is 12 B' });
    for (const backups of [[], [damaged]]) {
      const state = stateOf({ remotes: [remoteOf('s3:b', [seriesOf(backups)])], runs: [runOf(0)] });
      expect(headlineOf(state)).toBe('Not safe: there is no good backup');
    }
  });

  it('is not good after a long silence, of a process that has just been started', () => {
    const old = stateOf({ lastDue: undefined, remotes: [remoteOf('s3:b', [seriesOf([backupOf(40)])])] });
    expect(headlineOf(old)).toBe('Not safe: a backup is overdue');
  });

  it('takes no backup dated in the future for the last one', () => {
    const state = stateOf({ remotes: [remoteOf('s3:b', [seriesOf([backupOf(-30), backupOf(0)])])] });
    expect(headlineOf(state)).toContain('last backup 3 hours ago');
  });

  it('names older backups that are not whole, and a remote that missed the last run', () => {
    const backups = [backupOf(0), backupOf(1, { state: 'missing', reason: 'gone' })];
    const state = stateOf({
      remotes: [remoteOf('s3:b', [seriesOf(backups)]), remoteOf('s3:c', [seriesOf(backups)], { missedRuns: 1 })],
    });
    expect(safetyOf(state)).toMatchObject({
      level: 'attention',
      reasons: ['s3:c got nothing of the last run', '1 older backup of orders is not whole'],
    });
  });

  it('tells the moments of its reasons in the time zone of the page', () => {
    const state = stateOf({
      facts: { timeZone: 'Asia/Tokyo' },
      remotes: [remoteOf('s3:b', [seriesOf([backupOf(1)])])],
    });
    const page = render(state);
    expect(page).toContain('<time datetime="2026-02-07T02:00:00.000Z">7 Feb 2026, 11:00</time>');
    expect(textOf(page)).not.toContain('2026-02-07T02:00:00Z');
  });

  it('leaves what only looks like a moment as it is', () => {
    const error = 'at 2026-99-99T99:99:99Z';
    expect(textOf(render(stateOf({ runs: [runOf(0, { outcome: 'failed', error })] })))).toContain(error);
  });
});

describe('the page', () => {
  it('tells a run that is going on, or waits', () => {
    expect(textOf(render(states.runningState()))).toContain('A run began 5 minutes ago and is going on');
    const waiting = { ...states.healthyState(), running: { run: '', startedAt: ago(hours(0.05)) } };
    expect(textOf(render(waiting))).toContain('A run came due 3 minutes ago and waits to begin');
    expect(textOf(render(states.healthyState()))).not.toContain('A run ');
  });

  it('tells each backup once, with what each remote has of it', () => {
    const page = textOf(render(states.severalState()));
    expect(page).toContain('damaged on b2:offsite/prod : its size is 12 B, its manifest says 900.0 MiB');
    expect(page).toContain('not known: nas:dbstash');
    expect(page).toContain('proven 24 hours ago restored into a scratch database');
    const shop = page.split('shop-2026-02-01-020000');
    expect(shop).toHaveLength(2);
    expect(shop[1]).toMatch(/^.{0,200}not on b2:offsite\/prod/);
  });

  it('shows the newest 50 of 10,000 backups, and says how many more there are', () => {
    const page = render(states.longState());
    expect(textOf(page)).toContain('and 9,950 more');
    expect(Buffer.byteLength(page)).toBeLessThan(100_000);
  });

  it('stays small with 300 databases, and shows first what is in trouble', () => {
    const state = states.wideState(300);
    const [remote] = state.remotes;
    const series = remote!.series.with(
      299,
      seriesOf([backupOf(0, { state: 'damaged', reason: 'torn' })], 'tenant_299'),
    );
    const page = render({ ...state, remotes: [{ ...remote!, series }] });
    expect(Buffer.byteLength(page)).toBeLessThan(300_000);
    expect(/<summary><h3>.*?>(tenant_\d+)</.exec(page)?.[1]).toBe('tenant_299');
    expect(textOf(page)).toContain('and 220 more databases, whose newest backups are good');
    const torn = remote!.series.map(({ database }) => seriesOf([backupOf(0, { state: 'damaged' })], database));
    const allTorn = render({ ...state, remotes: [{ ...remote!, series: torn }] });
    expect(textOf(allTorn)).toContain('and 220 more databases, 220 of them not well');
  });

  it('tells schedule and retention in words', () => {
    const page = (facts: Partial<State['facts']>) => textOf(render(stateOf({ facts })));
    expect(page({})).toContain('At 02:00 (UTC) 0 2 * * *');
    expect(page({})).toContain('7 daily, 4 weekly');
    expect(page({ retention: undefined })).toContain('nothing is removed');
    expect(page({ schedule: '0 1 * * *; @hourly', timeZone: 'Europe/Berlin' })).toContain(
      'At 01:00; Every hour (Europe/Berlin)',
    );
  });

  it('has words for what is not there', () => {
    expect(textOf(render(states.emptyState()))).toMatch(/No backup yet\..*No backup there\..*No run since the start/);
    expect(textOf(render(states.unknownState()))).toMatch(/no remote has been listed.*not listed yet/);
    expect(textOf(render(states.emptyState()))).toContain('no backup was verified yet, or none was whole');
    expect(textOf(render({ ...states.emptyState(), nextDue: undefined }))).toContain('no further run is due');
  });

  it('describes each chart in words', () => {
    expect(render(states.healthyState()).match(/<svg viewBox="[^"]*" role="img"/g)).toHaveLength(2);
    expect(textOf(render(states.healthyState()))).toContain(
      'Size of the newest 32 good backups of orders, 7 Jan 2026 to 7 Feb 2026: the least 751.3 MiB, the most 926.2 MiB, the last 900.0 MiB.',
    );
  });

  it.each(Object.keys(SAMPLES))('nests its elements well, and gives no id twice: %s', (name) => {
    const page = render(SAMPLES[name]!());
    const open: string[] = [];
    for (const [, end, tag = '', rest = ''] of page.matchAll(/<(\/?)([a-z0-9]+)((?:"[^"]*"|[^">])*)>/g)) {
      if (end) expect(open.pop()).toBe(tag);
      else if (!['meta', 'link'].includes(tag) && !rest.endsWith('/')) open.push(tag);
    }
    expect(open).toEqual([]);
    const ids = [...page.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

describe('hostile names', () => {
  it('F33 stay text, wherever they stand', () => {
    const page = render(states.hostileState());
    expect(page).not.toMatch(/<script|<img|onerror=alert\(2\)>|<svg onload/);
    expect(page.match(/<\/style>/g)).toHaveLength(1);
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
    expect(page).toContain('&quot;&gt;&lt;img src=x onerror=alert(2)&gt;');
    expect(page).toContain('&amp;amp;');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(page).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u202a-\u202e]/);
  });

  it('are escaped by the template, unless it made them itself', () => {
    const inner = html`<b>${'<&>'}</b>`;
    expect(html`${inner}|${[inner, "'x'"]}|${undefined}|${3}|"${'"'}"`.toString()).toBe(
      '<b>&lt;&amp;&gt;</b>|<b>&lt;&amp;&gt;</b>&#39;x&#39;||3|"&quot;"',
    );
    expect(html`${'\ud83d'}${'\u0000'}`.toString()).toBe('\ufffd\ufffd');
  });
});

describe('PAGE_CSP', () => {
  it('allows the style of the page by its digest, and no other', () => {
    const [, style = ''] = /<style>([\s\S]*?)<\/style>/.exec(render(states.hostileState())) ?? [];
    expect(style.length).toBeGreaterThan(1000);
    expect(PAGE_CSP).toContain(`'sha256-${createHash('sha256').update(style).digest('base64')}'`);
    expect(PAGE_CSP).not.toContain('unsafe');
    expect(PAGE_CSP).toMatch(/^default-src 'none'; /);
    for (const state of Object.values(SAMPLES)) expect(render(state())).not.toMatch(/ style="| on[a-z]+="|<script/);
  });
});

/** As WCAG 2 defines it. */
function contrast(one: string, other: string): number {
  const luminance = (colour: string) => {
    const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
      const share = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [dark = 0, light = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

describe.each(Object.entries(PALETTES))('the %s palette', (_, palette) => {
  const LEVELS = ['good', 'attention', 'bad', 'waiting'] as const;
  const grounds: (keyof Palette)[] = ['page', 'card'];
  const pairs: (readonly [keyof Palette, keyof Palette])[] = [
    ...(['text', 'muted', 'link', ...LEVELS] as const).flatMap((ink) =>
      grounds.map((ground) => [ink, ground] as const),
    ),
    ...LEVELS.flatMap((level) => [[level, `${level}Tint`] as const, ['text', `${level}Tint`] as const]),
  ];
  it.each(pairs)('shows %s on %s at 4.5:1 or more', (ink, ground) => {
    expect(contrast(palette[ink], palette[ground])).toBeGreaterThanOrEqual(4.5);
  });
});
