import { type Html, html } from './html.ts';

/** A curve over time. `id` is unique in its page. */
export interface Chart {
  readonly id: string;
  /** "Size" */
  readonly title: string;
  /** What it shows, in words. */
  readonly description: string;
  /** Oldest first; two at least. */
  readonly points: readonly { readonly at: Date; readonly value: number }[];
}

const WIDTH = 400;
const HEIGHT = 90;
/** Room for the last dot. */
const EDGE = 5;

/** From zero, so that half of the height is half of the value. */
export function renderChart({ id, title, description, points }: Chart): Html {
  const from = points[0]?.at.getTime() ?? 0;
  const spanMs = Math.max((points.at(-1)?.at.getTime() ?? 0) - from, 1);
  const top = Math.max(...points.map(({ value }) => value), Number.MIN_VALUE);
  const places = points.map(({ at, value }) => ({
    x: round(EDGE + ((at.getTime() - from) / spanMs) * (WIDTH - 2 * EDGE)),
    y: round(HEIGHT - (value / top) * (HEIGHT - EDGE)),
  }));
  const curve = places.map(({ x, y }) => `${x},${y}`).join(' ');
  const last = places.at(-1) ?? { x: EDGE, y: HEIGHT };
  return html`<svg viewBox="0 0 ${WIDTH} ${HEIGHT + 1}" role="img" aria-labelledby="${id}-title ${id}-desc">
<title id="${id}-title">${title}</title><desc id="${id}-desc">${description}</desc>
<line class="base" x1="0" x2="${WIDTH}" y1="${HEIGHT}" y2="${HEIGHT}"/>
<polygon class="area" points="${places[0]?.x},${HEIGHT} ${curve} ${last.x},${HEIGHT}"/>
<polyline class="curve" points="${curve}"/><circle class="dot" cx="${last.x}" cy="${last.y}" r="4.5"/></svg>`;
}

const round = (value: number): number => Math.round(value * 10) / 10;
