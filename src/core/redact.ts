/** Gives back a text in which no secret can be read. */
export type Redactor = (text: string) => string;

const MASK = '***';

/** A shorter secret would blank out ordinary words; it is still masked where `PATTERNS` know its place. */
const MIN_SECRET_LENGTH = 4;
/** A line of a longer secret (a key, a token file) that a tool may show alone. */
const MIN_LINE_LENGTH = 12;
const MIN_BASE64_LENGTH = 6;

/**
 * Masks every one of `secrets` of at least four characters: as it is, in base64 at any place of a longer text (there also
 * percent-encoded, or escaped as in JSON), and
 * percent-encoded, escaped as in JSON, or quoted for a shell or SQL. Passwords in URIs, `password=...` and the like
 * are masked whether they are known or not.
 */
export function createRedactor(secrets: readonly string[]): Redactor {
  const known = new Set(secrets.flatMap(withLines).filter((secret) => secret.length >= MIN_SECRET_LENGTH));
  const forms = [...new Set([...known].flatMap((secret) => [secret, ...spellings(secret).flatMap(base64Forms)]))];
  const loose = [...known].filter((secret) => !PLAIN.test(secret)).map(loosePattern);
  return (text) => {
    const spans = [
      ...forms.flatMap((form) => findForm(text, form)),
      ...loose.flatMap((pattern) => findPattern(text, pattern)),
    ];
    return PATTERNS.reduce((masked, [pattern, mask]) => masked.replace(pattern, mask), maskSpans(text, spans));
  };
}

/** In anybody's text, the places where a secret stands. Each is bounded or begins with a literal: lines may be long. */
const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|$)/g, MASK],
  [/(:\/\/[^\s:@/]{0,256}:)[^\s/?#"'<>]*@/g, `$1${MASK}@`],
  [/\b(authorization["']?\s{0,3}[:=]\s{0,3}["']?)[^\r\n"']+/gi, `$1${MASK}`],
  [
    /((?:pass(?:w(?:or)?d|phrase)?|secret|token|credentials?|signature|(?:access|account|api|auth|master|private|storage)[_-]?key|[,?&](?:key|sig|sas_url))[\w-]{0,40}(?:[ \t]{0,3}=[ \t]{0,3}|\\?["'][ \t]{0,3}[:=][ \t]{0,3}))(?:\{[^}]*\}?|\\*"[^"]*"?|\\*'[^']*'?|[^\s,;&"')\]}]+)/gi,
    `$1${MASK}`,
  ],
];

type Span = readonly [start: number, end: number];

/** Overlapping spans become one mask: of two secrets that share characters no rest is left. */
function maskSpans(text: string, spans: readonly Span[]): string {
  let masked = '';
  let done = 0;
  for (const [start, end] of spans.toSorted((a, b) => a[0] - b[0])) {
    if (start >= done) masked += text.slice(done, start) + MASK;
    done = Math.max(done, end);
  }
  return masked + text.slice(done);
}

function findForm(text: string, form: string): Span[] {
  const spans: Span[] = [];
  for (let at = text.indexOf(form); at >= 0; at = text.indexOf(form, at + 1)) spans.push([at, at + form.length]);
  return spans;
}

const findPattern = (text: string, pattern: RegExp): Span[] =>
  [...text.matchAll(pattern)].map((match) => [match.index, match.index + match[0].length]);

function withLines(secret: string): string[] {
  const lines = secret.split(/[\r\n]+/).filter((line) => line.length >= MIN_LINE_LENGTH && !line.startsWith('-----'));
  return [secret, ...lines];
}

/** As it may stand in a text that is then put into base64 as a whole: a URI, a connection string, JSON. */
const spellings = (secret: string): string[] => [
  ...new Set([
    secret,
    encodeURIComponent(secret.toWellFormed()),
    secret.replaceAll('"', '""'),
    JSON.stringify(secret).slice(1, -1),
  ]),
];

/** Alone, and the part that is the same whatever stands before and after it; with either alphabet. */
function base64Forms(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const inside = [0, 1, 2].map((before) => {
    const encoded = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64');
    return encoded.slice(Math.ceil((before * 8) / 6), Math.floor(((before + bytes.length) * 8) / 6));
  });
  const alone = bytes.toString('base64');
  return [alone, alone.replace(/=+$/, ''), ...inside]
    .filter((form) => form.length >= MIN_BASE64_LENGTH)
    .flatMap((form) => [form, form.replaceAll('+', '-').replaceAll('/', '_')]);
}

/** Characters that no encoding touches. */
const PLAIN = /^[A-Za-z0-9]+$/;
const QUOTES = /^[\\'"]+$/;

/** Matches the secret with any of its other characters encoded, once or several times over. */
function loosePattern(secret: string): RegExp {
  const source = [...secret.matchAll(/[A-Za-z0-9]+|[\\'"]+|./gsu)].map(([unit]) => {
    if (PLAIN.test(unit)) return literal(unit);
    return QUOTES.test(unit) ? looseQuotes(unit.length) : looseCharacter(unit);
  });
  return new RegExp(source.join(''), 'g');
}

const CONTROL_LETTERS: Readonly<Record<string, string>> = { '\b': 'b', '\t': 't', '\n': 'n', '\f': 'f', '\r': 'r' };

function looseCharacter(character: string): string {
  const letter = CONTROL_LETTERS[character];
  return alternatives([
    `\\\\{0,8}${literal(character)}`,
    percentPattern(character),
    unicodePattern(character),
    ...(letter === undefined ? [] : [`\\\\{1,8}${letter}`]),
    ...(character === ' ' ? ['\\+'] : []),
  ]);
}

/** A run of quotes and backslashes: shells and JSON write one with many, and one by one they would match in too many ways. */
const looseQuotes = (count: number): string =>
  `${alternatives([`[\\\\'"]`, ...['\\', "'", '"'].flatMap((quote) => [percentPattern(quote), unicodePattern(quote)])])}{${count},${count * 8}}`;

const alternatives = (patterns: readonly string[]): string => `(?:${patterns.join('|')})`;

/** `%2F`, `%2f`, `%252F` ... */
const percentPattern = (character: string): string =>
  [...Buffer.from(character)].map((byte) => `%(?:25)*${hexPattern(byte, 2)}`).join('');

/** As in JSON, of each of its UTF-16 units. */
const unicodePattern = (character: string): string =>
  unitsOf(character)
    .map((unit) => `\\\\{1,8}u${hexPattern(unit, 4)}`)
    .join('');

const hexPattern = (value: number, digits: number): string =>
  hex(value, digits).replace(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`);

const literal = (text: string): string =>
  unitsOf(text)
    .map((unit) => `\\u${hex(unit, 4)}`)
    .join('');

const unitsOf = (text: string): number[] => Array.from({ length: text.length }, (_, index) => text.charCodeAt(index));
const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
