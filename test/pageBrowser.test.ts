import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { PALETTES } from '../src/http/palette.ts';
import { startServer } from '../src/http/server.ts';
import { createLogger } from '../src/logger.ts';
import { systemClock } from '../src/process/clock.ts';
import { describeWith } from './support/need.ts';
import * as states from './support/pageStates.ts';
import { freePort } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

const { NOW, SAMPLES } = states;
const TIMEOUT = { timeout: 180_000 };
const WIDTHS = [320, 768, 1440];
const SCHEMES = ['light', 'dark'] as const;
type Scheme = (typeof SCHEMES)[number];
type State = ReturnType<typeof states.stateOf>;

describeWith(['chromium'], 'the status page in Chromium', () => {
  let browser: Browser;
  let shown: State = states.healthyState();
  let address = '';
  const stack = new AsyncDisposableStack();
  beforeAll(async () => {
    const logger = createLogger({
      level: 'error',
      format: 'json',
      write: () => {},
      redact: (text) => text,
      clock: systemClock,
    });
    const port = await freePort();
    stack.use(
      await startServer({
        port,
        host: '127.0.0.1',
        logger,
        signal: new AbortController().signal,
        read: () => ({ state: shown, now: NOW }),
      }),
    );
    address = `http://127.0.0.1:${port}/`;
    browser = await chromium.launch({ executablePath: requireTool('chromium'), chromiumSandbox: false });
  }, TIMEOUT.timeout);
  afterAll(async () => {
    await browser?.close();
    await stack.disposeAsync();
  });

  /** What the browser asked for, said, and was asked to show. */
  interface Visit extends AsyncDisposable {
    readonly page: Page;
    readonly requests: readonly string[];
    readonly complaints: readonly string[];
  }

  async function visit(
    state: State,
    width: number,
    colorScheme: Scheme,
    more: BrowserContextOptions = {},
  ): Promise<Visit> {
    shown = state;
    const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme, ...more });
    const page = await context.newPage();
    const requests: string[] = [];
    const complaints: string[] = [];
    page.on('request', (request) => requests.push(request.url()));
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('dialog', async (dialog) => {
      complaints.push(`dialog: ${dialog.message()}`);
      await dialog.dismiss();
    });
    expect((await page.goto(address))?.status()).toBe(200);
    return { page, requests, complaints, [Symbol.asyncDispose]: () => context.close() };
  }

  const openAll = (page: Page) =>
    page.evaluate('for (const details of document.querySelectorAll("details")) details.open = true');

  it.each(Object.keys(SAMPLES))(
    '%s: fits 320, 768 and 1440 pixels, light and dark, and asks for nothing else',
    TIMEOUT,
    async (name) => {
      await using visited = await visit(SAMPLES[name]!(), 1440, 'light');
      const { page, requests, complaints } = visited;
      const fits = () =>
        page.evaluate<boolean>('document.documentElement.scrollWidth <= document.documentElement.clientWidth');
      for (const isOpen of [false, true]) {
        if (isOpen) await openAll(page);
        for (const width of WIDTHS) {
          await page.setViewportSize({ width, height: 800 });
          expect(await fits(), `${width}, ${isOpen ? 'all open' : 'as it comes'}`).toBe(true);
        }
      }
      for (const scheme of SCHEMES) {
        await page.emulateMedia({ colorScheme: scheme });
        const ground = await page.evaluate<string>('getComputedStyle(document.body).backgroundColor');
        expect(ground).toBe(rgb(PALETTES[scheme].page));
      }
      expect(requests.filter((url) => !url.startsWith('data:'))).toEqual([address]);
      expect(complaints).toEqual([]);
    },
  );

  it('would complain of a style, a script or a picture that is not its own', TIMEOUT, async () => {
    await using visited = await visit(states.healthyState(), 768, 'light');
    await visited.page.evaluate(`
      document.body.insertAdjacentHTML('beforeend', '<p style="color:red">x</p><img src="/livez">');
      document.body.append(Object.assign(document.createElement('script'), { textContent: 'alert(1)' }));`);
    await expect.poll(() => visited.complaints.length, { timeout: 30_000 }).toBeGreaterThanOrEqual(3);
    expect(visited.complaints.every((text) => text.includes('Content Security Policy'))).toBe(true);
  });

  it('F33 shows hostile names as text', TIMEOUT, async () => {
    await using visited = await visit(states.hostileState(), 768, 'light');
    await openAll(visited.page);
    const text = await visited.page.evaluate<string>('document.body.textContent');
    expect(text).toContain('<script>alert(1)</script>');
    expect(text).toContain('"><img src=x onerror=alert(2)>');
    expect(text).toContain('</style><svg onload=alert(3)>');
    expect(await visited.page.locator('script, img, iframe, object, [onload], [onerror]').count()).toBe(0);
    expect(visited.complaints).toEqual([]);
  });

  it('works without scripts', TIMEOUT, async () => {
    await using visited = await visit(states.severalState(), 320, 'dark', { javaScriptEnabled: false });
    await visited.page.locator('summary').first().click();
    expect(await visited.page.locator('details[open] table').first().isVisible()).toBe(true);
  });

  /** What a screen reader gets to know: roles and names, as Chromium itself computes them. */
  async function readAloud(page: Page): Promise<{ role: string; name: string }[]> {
    const session = await page.context().newCDPSession(page);
    const { nodes } = await session.send('Accessibility.getFullAXTree');
    return nodes
      .filter(({ ignored }) => !ignored)
      .map(({ role, name }) => ({ role: String(role?.value), name: String(name?.value ?? '') }));
  }

  it.each(WIDTHS)('tells a screen reader charts, tables and landmarks, at %i pixels', TIMEOUT, async (width) => {
    await using visited = await visit(states.healthyState(), width, 'light');
    const nodes = await readAloud(visited.page);
    const named = (role: string) => nodes.filter((node) => node.role === role).map(({ name }) => name);
    expect([...named('image'), ...named('img')]).toEqual([
      expect.stringMatching(/^Size over time Size of the newest 32 good backups of orders, .* the last 900\.0 MiB\.$/),
      expect.stringMatching(/^Duration over time Duration of the newest 32 .* the last 1m44s\.$/),
    ]);
    for (const landmark of ['banner', 'main', 'contentinfo']) expect(named(landmark), landmark).toHaveLength(1);
    expect(named('table')).toEqual(['Backups of orders, newest first', 'Runs, newest first']);
    expect(named('columnheader')).toEqual(
      expect.arrayContaining(['Backup', 'State', 'Size', 'Proof', 'Outcome', 'Took']),
    );
    expect(named('rowheader')).toHaveLength(16);
    expect(named('cell').length).toBeGreaterThan(40);
  });

  it('has one first heading, and leaves no level out', TIMEOUT, async () => {
    for (const state of [states.healthyState(), states.severalState()]) {
      await using visited = await visit(state, 768, 'light');
      const levels = await visited.page
        .locator('h1, h2, h3, h4, h5, h6')
        .evaluateAll((all) => all.map(({ tagName }) => Number(tagName.slice(1))));
      expect(levels.filter((level) => level === 1)).toEqual([1]);
      for (const [index, level] of levels.entries()) expect(level - (levels[index - 1] ?? 0)).toBeLessThanOrEqual(1);
    }
  });

  it('shows where the focus is', TIMEOUT, async () => {
    await using visited = await visit(states.severalState(), 768, 'dark');
    await visited.page.keyboard.press('Tab');
    const focus = await visited.page.evaluate(`(() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      return { tag: document.activeElement.tagName, outlineStyle, outlineWidth };
    })()`);
    expect(focus).toEqual({ tag: 'SUMMARY', outlineStyle: 'solid', outlineWidth: '3px' });
  });

  const axeSource = () => createRequire(import.meta.url).resolve('axe-core/axe.min.js');

  it.each(['failed', 'unknown', 'running', 'several'])(
    'gives axe nothing to complain of: %s',
    TIMEOUT,
    async (name) => {
      for (const [width, scheme] of [
        [320, 'dark'],
        [1440, 'light'],
      ] as const) {
        // The policy of the page keeps axe out, too.
        await using visited = await visit(SAMPLES[name]!(), width, scheme, { bypassCSP: true });
        await openAll(visited.page);
        await visited.page.addScriptTag({ path: axeSource() });
        // A page that says for hours that all is good is worse than one that loads itself anew.
        const results = await visited.page.evaluate<AxeResults>(
          `axe.run({ rules: { 'meta-refresh': { enabled: false } } })`,
        );
        expect(results.passes.length).toBeGreaterThan(15);
        expect(results.violations.map(({ id, nodes }) => [id, nodes[0]?.html])).toEqual([]);
      }
    },
  );
});

const rgb = (colour: string): string =>
  `rgb(${[1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16)).join(', ')})`;
