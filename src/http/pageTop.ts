import type { Verdict } from '../core/manifest.ts';
import { formatBytes } from '../core/units.ts';
import { type Html, html } from './html.ts';
import { PROOFS } from './pageBackups.ts';
import { icon, type Level } from './pageMarks.ts';
import type { Calendar } from './pageTime.ts';
import { PALETTES } from './palette.ts';
import type { View } from './view.ts';

/** The sentence that says whether the operator is safe. */
export function renderAnswer(view: View): Html {
  const { level, word, because, reasons } = view.safety;
  return html`<section class="answer ${level}" aria-labelledby="answer">${icon(level)}
<h1 id="answer">${word}: ${because ?? tellTimes(view, 'last backup', 'next')}</h1>
${because === undefined ? undefined : html`<p>${tellTimes(view, 'Last good backup', 'next run')}</p>`}
${reasons.length === 0 ? undefined : renderReasons(reasons, view.calendar)}</section>`;
}

/** "last backup 3 hours ago, next in 21 hours" */
function tellTimes({ safety: { newest }, state: { nextDue }, calendar }: View, last: string, next: string): Html {
  const past = newest ? html`${last} ${calendar.relative(newest.startedAt)}` : html`${last}: none`;
  return nextDue ? html`${past}, ${next} ${calendar.relative(nextDue)}` : past;
}

const MAX_REASONS = 10;

const STAMP = /(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)/;

/** With the moments that it names as the rest of the page tells them. */
const tellReason = (reason: string, calendar: Calendar): readonly (Html | string)[] =>
  reason
    .split(STAMP)
    .map((part) => (Number.isNaN(Date.parse(part)) || !STAMP.test(part) ? part : calendar.date(new Date(part))));

function renderReasons(reasons: readonly string[], calendar: Calendar): Html {
  const more = reasons.length - MAX_REASONS;
  return html`<ul>${reasons.slice(0, MAX_REASONS).map((reason) => html`<li><bdi>${tellReason(reason, calendar)}</bdi></li>`)}${
    more > 0 ? html`<li>and ${more} more</li>` : undefined
  }</ul>`;
}

export function renderRunning({ state: { running }, calendar }: View): Html | undefined {
  if (!running) return undefined;
  const [began, ends] = running.run === '' ? ['came due', 'waits to begin'] : ['began', 'is going on'];
  return html`<p class="card running">${icon('waiting')}<span><b>A run ${began} ${calendar.relative(running.startedAt)} and ${ends}</b>
<span class="muted">since ${calendar.date(running.startedAt)}</span></span></p>`;
}

/** What one wants to know at a glance. */
export function renderTiles({ state, safety: { newest }, histories, calendar }: View): Html {
  const entries = histories.flatMap((history) => history.entries);
  const good = entries.filter(({ isGood }) => isGood).length;
  const remotes = state.remotes.length;
  const proof = entries
    .flatMap(({ isGood, verdict }) => (isGood && verdict?.ok ? verdict : []))
    .reduce<Verdict | undefined>((best, one) => (best && best.at >= one.at ? best : one), undefined);
  return html`<h2 class="hidden">At a glance</h2>
<dl class="tiles">
${tile('Last good backup', newest && calendar.relative(newest.startedAt), newest ? calendar.date(newest.startedAt) : 'none yet')}
${tile('Next run', state.nextDue && calendar.relative(state.nextDue), state.nextDue ? calendar.date(state.nextDue) : 'no further run is due')}
${tile('Good backups', html`${good.toLocaleString('en')}`, html`${good < entries.length ? html`and ${entries.length - good} not whole, ` : undefined}on ${remotes === 1 ? 'one remote' : html`${remotes} remotes`}${newest && html`, the newest ${formatBytes(newest.bytes)}`}`)}
${tile('Last proof', proof && calendar.relative(new Date(proof.at)), proof ? PROOFS[proof.level] : 'no backup was verified yet, or none was whole')}
</dl>`;
}

const tile = (name: string, value: Html | undefined, more: Html | string): Html =>
  html`<div class="card"><dt>${name}</dt><dd>${value ?? '\u2013'}</dd><dd>${more}</dd></div>`;

const SIGNS: Readonly<Record<Level, string>> = {
  good: '<circle cx="8" cy="8" r="7"/>',
  attention: '<path d="M8 1 15.5 15H.5z"/>',
  bad: '<path d="M5 1h6l4 4v6l-4 4H5l-4-4V5z"/>',
  waiting: '<path fill-rule="evenodd" d="M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1m0 3a4 4 0 1 1 0 8 4 4 0 0 1 0-8"/>',
};

/** In the tab: the colour and the shape of the answer. */
export const faviconOf = (level: Level): string =>
  `data:image/svg+xml,${encodeURIComponent(
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="${PALETTES.light[level]}">${SIGNS[level]}</svg>`,
  )}`;
