import { type Html, html } from './html.ts';

/** A column; `isNumber` is set right, and what is plain says by itself what it is. */
export interface Column {
  readonly title: string;
  readonly isNumber?: boolean;
  readonly isPlain?: boolean;
}

/** A row has a cell for each column; the first names it. */
export interface Table {
  /** For those who do not see what stands around it. */
  readonly caption: string;
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Html[])[];
  /** How many there are in all; the rows are the newest of them. */
  readonly total: number;
}

/** So many stand open, the others are a click away. */
const OPEN = 8;

export function renderTable(table: Table): Html {
  const { rows, total, caption } = table;
  const more = total - rows.length;
  const folded = rows.slice(OPEN);
  return html`${renderRows(table, rows.slice(0, OPEN), caption)}${
    folded.length === 0
      ? undefined
      : html`<details class="rest"><summary>${folded.length} more</summary>${renderRows(table, folded, `${caption}, continued`)}</details>`
  }${more > 0 ? html`<p class="more">and ${more.toLocaleString('en')} more</p>` : undefined}`;
}

/** The roles are those of the elements: some browsers forget them where a narrow screen has no room for a grid. */
const renderRows = ({ columns }: Table, rows: Table['rows'], caption: string): Html =>
  html`<table role="table"><caption class="hidden">${caption}</caption>
<thead role="rowgroup"><tr role="row">${columns.map(renderHead)}</tr></thead>
<tbody role="rowgroup">
${rows.map((cells) => html`<tr role="row">${cells.map((cell, index) => renderCell(cell, columns[index], index))}</tr>\n`)}</tbody></table>`;

const renderHead = ({ title, isNumber }: Column): Html =>
  html`<th scope="col" role="columnheader"${isNumber ? html` class="number"` : undefined}>${title}</th>`;

const renderCell = (cell: Html, column: Column | undefined, index: number): Html =>
  index === 0
    ? html`<th scope="row" role="rowheader">${cell}</th>`
    : html`<td role="cell"${column?.isPlain ? undefined : html` data-label="${column?.title}"`}${column?.isNumber ? html` class="number"` : undefined}>${cell}</td>`;
