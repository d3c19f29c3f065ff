import { createHash } from 'node:crypto';
import type { State } from '../core/state.ts';
import { findOverdue } from './copies.ts';
import { readHistories } from './history.ts';
import { type Html, html } from './html.ts';
import { renderBackups } from './pageBackups.ts';
import { SHAPES } from './pageMarks.ts';
import { renderPlan, renderRemotes, renderTotals } from './pagePlan.ts';
import { renderRuns } from './pageRuns.ts';
import { STYLE } from './pageStyle.ts';
import { createCalendar } from './pageTime.ts';
import { faviconOf, renderAnswer, renderRunning, renderTiles } from './pageTop.ts';
import { judgeSafety } from './safety.ts';
import type { View } from './view.ts';

/** What the page needs: its own style, known by its digest, and the icon within it. No script, nothing from elsewhere. */
export const PAGE_CSP = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE.toString()).digest('base64')}'`,
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** An open page must not say for hours that all is good; more often than this would only close what its reader opened. */
const REFRESH_SECONDS = { running: 30, idle: 300 };

/** The status page, whole in itself. */
export function renderPage(state: State, now: Date): string {
  const histories = readHistories(state);
  const calendar = createCalendar(now, state.facts.timeZone);
  const safety = judgeSafety(state, histories, now);
  const overdue = new Set(state.running ? [] : findOverdue(state, now).map(({ series }) => series));
  const view = { state, calendar, histories, safety, overdue };
  return html`<!doctype html>
<html lang="en">
${renderHead(view)}
<body>
${SHAPES}
<header><p class="brand">dbstash</p><p>${describeTarget(state)}</p></header>
<main>
${renderAnswer(view)}
${renderRunning(view)}
${renderTiles(view)}
${renderBackups(view)}
${renderRemotes(view)}
${renderRuns(view)}
<div class="pair">
${renderPlan(view)}
${renderTotals(view)}
</div>
</main>
${renderFooter(view)}
</body>
</html>
`.toString();
}

function renderHead({ state: { running, facts }, safety }: View): Html {
  const seconds = running ? REFRESH_SECONDS.running : REFRESH_SECONDS.idle;
  return html`<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<meta http-equiv="refresh" content="${seconds}">
<title>${safety.word}: ${nameDatabase(facts.database)} - dbstash</title>
<link rel="icon" href="${faviconOf(safety.level)}">
<style>${STYLE}</style>
</head>`;
}

const nameDatabase = (database: string): string => (database === '*' ? 'all databases' : database);

const describeTarget = ({ facts }: State): Html =>
  html`${facts.engineTitle}: <b><bdi>${nameDatabase(facts.database)}</bdi></b> <span class="muted">at <bdi>${facts.server}</bdi></span>`;

function renderFooter({ state: { facts }, calendar }: View): Html {
  return html`<footer>
<p>As of ${calendar.date(calendar.now)}; times are in <bdi>${facts.timeZone}</bdi></p>
<p>dbstash ${facts.version}, running since ${calendar.date(facts.startedAt)}</p>
<p><a href="metrics">Metrics</a> · <a href="readyz">Readiness</a> · <a href="healthz">Health</a></p>
</footer>`;
}
