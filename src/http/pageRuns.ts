import type { Outcome } from '../core/report.ts';
import type { RunRecord } from '../core/state.ts';
import { formatBytes, formatDuration } from '../core/units.ts';
import { type Html, html } from './html.ts';
import { type Level, mark } from './pageMarks.ts';
import { renderTable } from './pageTable.ts';
import type { View } from './view.ts';

const OUTCOME_LEVELS: Readonly<Record<Outcome, Level>> = {
  succeeded: 'good',
  warning: 'attention',
  failed: 'bad',
  skipped: 'waiting',
  interrupted: 'bad',
};

const MAX_ROWS = 50;
const MAX_WARNINGS = 5;

const COLUMNS = [
  { title: 'Run' },
  { title: 'Outcome', isPlain: true },
  { title: 'Took', isNumber: true },
  { title: 'Stored', isNumber: true },
  { title: 'Made', isNumber: true },
  { title: 'Removed', isNumber: true },
];

export function renderRuns({ state, calendar }: View): Html {
  const rows = state.runs
    .slice(0, MAX_ROWS)
    .map((run) => [
      html`<b>${calendar.relative(run.startedAt)}</b> <span class="muted">${calendar.date(run.startedAt)}</span>`,
      html`${mark(OUTCOME_LEVELS[run.outcome], run.outcome)}${renderCauses(run)}`,
      html`${formatDuration(run.durationMs)}`,
      html`${formatBytes(run.bytes)}`,
      html`${run.artifacts.length}`,
      html`${run.removed}`,
    ]);
  const caption = 'Runs, newest first';
  return html`<section><h2>Runs</h2><div class="card">${
    rows.length === 0
      ? html`<p class="empty">No run since the start, ${calendar.relative(state.facts.startedAt)}.</p>`
      : renderTable({ caption, columns: COLUMNS, rows, total: state.runs.length })
  }</div></section>`;
}

function renderCauses({ error, warnings }: RunRecord): Html {
  const more = warnings.length - MAX_WARNINGS;
  const told = [...(error === undefined ? [] : [error]), ...warnings.slice(0, MAX_WARNINGS)];
  return html`${told.map((text) => html`<p><bdi>${text}</bdi></p>`)}${more > 0 ? html`<p>and ${more} more</p>` : undefined}`;
}
