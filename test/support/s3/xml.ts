/** An element of XML whose content is text, or elements made by this function. */
export function element(name: string, ...content: readonly (string | number | Markup)[]): Markup {
  const inner = content.map((part) => (part instanceof Markup ? part.text : escapeText(String(part)))).join('');
  return new Markup(`<${name}>${inner}</${name}>`);
}

export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** A whole document, in S3's name space. */
export function xmlDocument(root: Markup): string {
  const text = root.text.replace(/^<(\w+)>/, '<$1 xmlns="http://s3.amazonaws.com/doc/2006-03-01/">');
  return `<?xml version="1.0" encoding="UTF-8"?>\n${text}`;
}

/** The texts of every `name` element, as far as S3's flat requests need it. */
export function textsOf(xml: string, name: string): string[] {
  const matches = xml.matchAll(new RegExp(`<${name}(?:\\s[^>]*)?>([\\s\\S]*?)</${name}>`, 'g'));
  return [...matches].map((match) => unescapeText(match[1] ?? ''));
}

/** The inner XML of every `name` element. */
export function partsOf(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`<${name}>([\\s\\S]*?)</${name}>`, 'g'))].map((match) => match[1] ?? '');
}

const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

function escapeText(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: S3 sends them as character references
  return text.replace(/[<>&"\u0000-\u001f]/g, (character) => `&#x${character.charCodeAt(0).toString(16)};`);
}

function unescapeText(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
    if (name) return ENTITIES[name] ?? whole;
    return String.fromCodePoint(hex ? Number.parseInt(hex, 16) : Number(decimal));
  });
}
