import { describeCounts, type Verdict } from '../core/manifest.ts';
import { describePace } from '../core/pace.ts';
import { formatBytes, formatDuration } from '../core/units.ts';
import { renderChart } from './chart.ts';
import type { Copy, Entry, History } from './history.ts';
import { type Html, html } from './html.ts';
import { mark } from './pageMarks.ts';
import { type Column, renderTable } from './pageTable.ts';
import type { View } from './view.ts';

/** What was done to prove a backup. */
export const PROOFS: Readonly<Record<Verdict['level'], string>> = {
  stored: 'seen whole on the remote',
  content: 'read back and checked',
  restore: 'restored into a scratch database',
};

const MAX_ROWS = 50;
/** Of all databases together, so that a page of many stays small. */
const MAX_ALL_ROWS = 240;
const MAX_HISTORIES = 80;
const MAX_CHARTED = 8;
const MAX_POINTS = 60;

export function renderBackups(view: View): Html {
  const { histories } = view;
  const [only] = histories;
  if (histories.length === 0 || !only) return html`<section><h2>Backups</h2>${renderEmpty(view)}</section>`;
  if (histories.length === 1) return html`<section><h2>Backups</h2>${renderHistory(view, only, 0)}</section>`;
  const more = histories.length - MAX_HISTORIES;
  return html`<section><h2>Backups of ${histories.length} databases</h2>
${troubledFirst(view)
  .slice(0, MAX_HISTORIES)
  .map((history, index) => renderFolded(view, history, index))}
${more > 0 ? html`<p class="more">and ${more} more databases, ${describeRest(view)}</p>` : undefined}</section>`;
}

const troubledFirst = ({ histories, overdue }: View): readonly History[] => [
  ...histories.filter((history) => !isWell(history, overdue)),
  ...histories.filter((history) => isWell(history, overdue)),
];

function describeRest(view: View): string {
  const troubled = troubledFirst(view)
    .slice(MAX_HISTORIES)
    .filter((history) => !isWell(history, view.overdue)).length;
  return troubled === 0 ? 'whose newest backups are good' : `${troubled} of them not well`;
}

const isWell = ({ series, entries: [newest] }: History, overdue: View['overdue']): boolean =>
  !overdue.has(series) && newest !== undefined && newest.copies.every(({ backup }) => backup.state === 'good');

function renderEmpty({ state: { remotes } }: View): Html {
  const isKnown = remotes.some(({ listedAt }) => listedAt !== undefined);
  return html`<p class="card empty">${isKnown ? 'No backup yet.' : 'Not known yet: no remote has been listed.'}</p>`;
}

function renderFolded(view: View, history: History, index: number): Html {
  const { entries, newestGood, database, series } = history;
  const newest = newestGood && view.calendar.relative(newestGood.backup.startedAt);
  return html`<details class="card"${view.histories.length <= 2 ? html` open` : undefined}>
<summary><h3><bdi title="${series}">${database}</bdi></h3> <span>${describeHistory(history, view.overdue)}</span>
<span class="muted small">${newest && html`newest good ${newest}, `}${count(entries.length, 'backup')}</span></summary>
<div class="inside">${renderHistory(view, history, index)}</div></details>`;
}

function describeHistory(history: History, overdue: View['overdue']): Html {
  const { newestGood, entries } = history;
  if (isWell(history, overdue)) return mark('good', 'good');
  if (!newestGood) return mark('bad', 'no good backup');
  if (overdue.has(history.series)) return mark('bad', 'overdue');
  return entries[0]?.isGood ? mark('attention', 'not whole on every remote') : mark('bad', 'newest is not whole');
}

function renderHistory(view: View, history: History, index: number): Html {
  const { entries, database } = history;
  if (entries.length === 0) return renderEmpty(view);
  const shown = Math.min(MAX_ROWS, Math.max(3, Math.floor(MAX_ALL_ROWS / view.histories.length)));
  const hasCopies = view.state.remotes.length > 1;
  const columns: readonly Column[] = [
    { title: 'Backup' },
    { title: 'State', isPlain: true },
    { title: 'Size', isNumber: true, isPlain: true },
    ...(hasCopies ? [{ title: 'Copies' }] : []),
    { title: 'Proof' },
  ];
  const rows = entries.slice(0, shown).map((entry) => renderEntry(view, entry, hasCopies));
  const caption = `Backups of ${database}, newest first`;
  return html`${index < MAX_CHARTED ? renderCharts(view, history, index) : undefined}
<div class="card">${renderTable({ caption, columns, rows, total: entries.length })}</div>`;
}

function renderEntry(view: View, entry: Entry, hasCopies: boolean): readonly Html[] {
  const { calendar } = view;
  const { backup, isGood, copies } = entry;
  const name = html`<b>${calendar.relative(backup.startedAt)}</b> <span class="muted">${calendar.date(backup.startedAt)}</span><p><code><bdi>${backup.artifact}</bdi></code></p>`;
  const reason = isGood || hasCopies ? undefined : html`<p><bdi>${backup.reason}</bdi></p>`;
  return [
    name,
    html`${isGood ? mark('good', 'good') : mark('bad', copies[0]?.backup.state ?? '')}${reason}`,
    html`${formatBytes(backup.bytes)}`,
    ...(hasCopies ? [renderCopies(view, entry)] : []),
    renderProof(view, entry),
  ];
}

/** On which remotes it is, and what is wrong with it there. */
function renderCopies({ state: { remotes } }: View, { copies, absent }: Entry): Html {
  const good = copies.filter(({ backup }) => backup.state === 'good');
  if (good.length === remotes.length) return html`on all ${remotes.length}`;
  const unknown = remotes.filter(
    ({ title }) => !absent.includes(title) && copies.every(({ remote }) => remote !== title),
  );
  return html`<ul>${good.map(({ remote }) => html`<li>${mark('good', 'on')} <bdi>${remote}</bdi></li>`)}${copies
    .filter(({ backup }) => backup.state !== 'good')
    .map(renderSpoiled)}${absent.map((title) => html`<li class="muted">not on <bdi>${title}</bdi></li>`)}${unknown.map(
    ({ title }) => html`<li class="muted">not known: <bdi>${title}</bdi></li>`,
  )}</ul>`;
}

const renderSpoiled = ({ remote, backup: { state, reason } }: Copy): Html =>
  html`<li>${mark('bad', state)} on <bdi>${remote}</bdi>${reason === undefined ? undefined : html`: <bdi>${reason}</bdi>`}</li>`;

function renderProof({ calendar }: View, { verdict, failedDrill, isGood, backup: { dumpBytes } }: Entry): Html {
  if (!verdict) return html`<span class="muted">not yet</span>`;
  const when = calendar.relative(new Date(verdict.at));
  const { drill } = verdict;
  const took =
    drill &&
    html`<p class="muted">a restore took ${formatDuration(drill.durationMs)}, ${describePace(drill, dumpBytes)} (${describeCounts(drill)})</p>`;
  const failed =
    failedDrill &&
    html`<p>${mark('attention', 'drill failed')} ${calendar.relative(new Date(failedDrill.at))}</p><p><bdi>${failedDrill.reason}</bdi></p>`;
  // What was proven of it holds no longer where it is gone or of another size.
  if (verdict.ok && !isGood) return html`<span class="muted">no more: last ${when}</span>`;
  if (verdict.ok)
    return html`${mark('good', 'proven')} ${when}<p class="muted">${verdict.reason ?? PROOFS[verdict.level]}</p>${took}${failed}`;
  return html`${mark('bad', 'failed')} ${when}<p><bdi>${verdict.reason ?? ''}</bdi></p>${failed}`;
}

function renderCharts({ calendar }: View, { entries, database }: History, index: number): Html | undefined {
  const shown = entries
    .filter(({ isGood }) => isGood)
    .slice(0, MAX_POINTS)
    .map(({ backup }) => backup)
    .toReversed();
  const [first, last] = [shown[0], shown.at(-1)];
  if (!first || !last || first === last) return undefined;
  const range = `${calendar.day(first.startedAt)} to ${calendar.day(last.startedAt)}`;
  const figure = (
    title: string,
    pick: (backup: (typeof shown)[number]) => number,
    format: (value: number) => string,
  ) => {
    const values = shown.map(pick);
    const [least, most] = [Math.min(...values), Math.max(...values)].map(format);
    const now = format(pick(last));
    const description = `${title} of the newest ${shown.length} good backups of ${database}, ${range}: the least ${least}, the most ${most}, the last ${now}.`;
    const points = shown.map((backup) => ({ at: backup.startedAt, value: pick(backup) }));
    return html`<figure class="card"><figcaption><b>${title}</b> <b>${now}</b></figcaption><p class="muted small">between ${least} and ${most}</p>${renderChart({ id: `${title.toLowerCase()}-${index}`, title: `${title} over time`, description, points })}
<p class="ends muted small"><span>${calendar.day(first.startedAt)}</span><span>${calendar.day(last.startedAt)}</span></p></figure>`;
  };
  return html`<div class="charts">${figure('Size', ({ bytes }) => bytes, formatBytes)}
${figure('Duration', ({ startedAt, finishedAt }) => finishedAt.getTime() - startedAt.getTime(), formatDuration)}</div>`;
}

const count = (number: number, noun: string): string =>
  `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`;
