/** Text that is HTML already: made by `html` alone, so that nothing else gets into a page unescaped. */
export class Html {
  readonly #text: string;
  private constructor(text: string) {
    this.#text = text;
  }
  static fromTemplate(strings: TemplateStringsArray, values: readonly Value[]): Html {
    return new Html(strings.reduce((text, part, index) => text + render(values[index - 1]) + part));
  }
  toString(): string {
    return this.#text;
  }
}

type Value = string | number | Html | undefined | readonly Value[];

/** Escapes what is put in, but for what it made itself; lists are joined, undefined is nothing. For text and quoted attributes. */
export const html = (strings: TemplateStringsArray, ...values: readonly Value[]): Html =>
  Html.fromTemplate(strings, values);

function render(value: Value): string {
  if (value === undefined) return '';
  if (value instanceof Html) return value.toString();
  return typeof value === 'object' ? value.map(render).join('') : escapeHtml(String(value));
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const UNSAFE = /[&<>"']/g;
/** What no HTML document may hold, and what would turn the direction of the text behind it. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNPRINTABLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef]/g;

const escapeHtml = (text: string): string =>
  text
    .toWellFormed()
    .replace(UNPRINTABLE, '\ufffd')
    .replace(UNSAFE, (character) => ESCAPES[character] ?? '');
