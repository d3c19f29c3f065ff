import { type Html, html } from './html.ts';

/** How well something is: by colour, by shape and in words. */
export type Level = 'good' | 'attention' | 'bad' | 'waiting';

export const SHAPES = html`<svg class="sprite" aria-hidden="true" focusable="false">
<symbol id="good" viewBox="0 0 24 24"><circle cx="12" cy="12" r="10.5" fill="currentColor"/><path class="ink" d="m7.3 12.4 3.2 3.2 6.2-6.8"/></symbol>
<symbol id="attention" viewBox="0 0 24 24"><path d="M10.6 2.8a1.6 1.6 0 0 1 2.8 0l9 16.4a1.6 1.6 0 0 1-1.4 2.3H3a1.6 1.6 0 0 1-1.4-2.3z" fill="currentColor"/><path class="ink" d="M12 9v5M12 17.6v.1"/></symbol>
<symbol id="bad" viewBox="0 0 24 24"><path d="M7.4 1.5h9.2l5.9 5.9v9.2l-5.9 5.9H7.4l-5.9-5.9V7.4z" fill="currentColor"/><path class="ink" d="m8.4 8.4 7.2 7.2m0-7.2-7.2 7.2"/></symbol>
<symbol id="waiting" viewBox="0 0 24 24"><circle cx="12" cy="12" r="9.3" fill="none" stroke="currentColor" stroke-width="2.4"/><path d="M12 6.8V12l3.4 2.2" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"/></symbol>
</svg>`;

export const icon = (level: Level): Html =>
  html`<svg class="icon" aria-hidden="true" focusable="false"><use href="#${level}"/></svg>`;

export const mark = (level: Level, words: string): Html =>
  html`<span class="mark ${level}">${icon(level)} ${words}</span>`;
