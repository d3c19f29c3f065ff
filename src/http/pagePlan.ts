import cronstrue from 'cronstrue';
import type { Facts, RemoteState } from '../core/state.ts';
import { formatBytes, formatDuration } from '../core/units.ts';
import { sumOfBytes } from './copies.ts';
import { type Html, html } from './html.ts';
import { mark } from './pageMarks.ts';
import type { View } from './view.ts';

export const renderRemotes = ({ state: { remotes }, calendar }: View): Html =>
  html`<section><h2>${remotes.length === 1 ? 'Remote' : 'Remotes'}</h2><ul class="remotes">
${remotes.map((remote) => {
  const { title, listedAt, fault, missedRuns } = remote;
  return html`<li class="card"><h3><bdi>${title}</bdi></h3>
<p>${describeReach(remote)}${listedAt && html`<span class="muted">, listed ${calendar.relative(listedAt)}</span>`}</p>
${fault === undefined ? undefined : html`<p><bdi>${fault}</bdi></p>`}
${missedRuns === 0 ? undefined : html`<p>${mark('attention', missedRuns === 1 ? 'missed the last run' : `missed the last ${missedRuns} runs`)}</p>`}
<p class="muted">${describeContent(remote)}</p></li>`;
})}</ul></section>`;

function describeReach({ listedAt, fault }: RemoteState): Html {
  if (fault !== undefined) return mark('bad', 'not reachable');
  return listedAt ? mark('good', 'reachable') : mark('waiting', 'not listed yet');
}

function describeContent({ series, listedAt, fault }: RemoteState): string {
  const backups = series.flatMap((one) => one.backups);
  if (backups.length === 0) return listedAt ? 'No backup there.' : 'What is there is not known.';
  const text = `${backups.length.toLocaleString('en')} ${backups.length === 1 ? 'backup' : 'backups'}, ${formatBytes(sumOfBytes(backups))}`;
  return fault === undefined ? text : `${text}, when it was last seen`;
}

/** What was asked for. */
export function renderPlan({ state: { facts } }: View): Html {
  const { retention, compression, isEncrypted, mode, graceMs } = facts;
  return html`<section><h2>Plan</h2><dl class="card plan">
${row('Schedule', html`${describeSchedule(facts)} <code class="muted">${facts.schedule}</code>`)}
${row('Keeps', html`<bdi>${retention ?? 'everything: nothing is removed'}</bdi>`)}
${row('Overdue', html`${formatDuration(graceMs)} past its due time`)}
${row('Mode', html`${mode}`)}
${row('Compression', html`${compression ?? 'none'}`)}
${row('Encryption', html`${isEncrypted ? 'encrypted before it leaves' : 'none'}`)}
</dl></section>`;
}

const row = (name: string, value: Html): Html => html`<div><dt>${name}</dt><dd>${value}</dd></div>\n`;

/** "At 02:00 (Europe/Berlin)"; of several patterns each. What has no words is left to the pattern itself. */
function describeSchedule({ schedule, timeZone }: Facts): string {
  try {
    const words = schedule
      .split(';')
      .filter((pattern) => pattern.trim() !== '')
      .map((pattern) => cronstrue.toString(pattern.trim(), { use24HourTimeFormat: true }));
    return `${words.join('; ')} (${timeZone})`;
  } catch {
    return timeZone;
  }
}

/** What this process has counted. */
export function renderTotals({ state: { totals, facts }, calendar }: View): Html {
  const runs = Object.entries(totals.runs).filter(([, number]) => number > 0);
  const lost = Object.entries(totals.notificationFailures).filter(([, number]) => number > 0);
  return html`<section><h2>Since the start, ${calendar.relative(facts.startedAt)}</h2><dl class="card plan">
${row('Runs', html`<bdi>${listCounts(runs)}</bdi>`)}
${row('Removed', html`${totals.pruned} by retention`)}
${row('Skipped', html`${totals.skippedTicks} ${totals.skippedTicks === 1 ? 'due time' : 'due times'}, while a run was going on`)}
${row('Not delivered', lost.length === 0 ? html`no message` : mark('attention', `messages: ${listCounts(lost)}`))}
</dl></section>`;
}

const listCounts = (counts: readonly (readonly [string, number])[]): string =>
  counts.map(([name, number]) => `${number} ${name}`).join(', ') || 'none';
