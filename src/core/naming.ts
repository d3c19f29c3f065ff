import { formatTimestamp } from './backupId.ts';
import { ConfigError } from './errors.ts';
import { encodeSegment, shortenSegment } from './segment.ts';
import { MANIFEST_SUFFIX, PARTIAL_SUFFIX, PENDING_SUFFIX, VERDICT_SUFFIX } from './suffixes.ts';

/** What a name is made of. `randomHex` has eight digits; `host` is never empty (`localhost` for a file). */
export interface NameFacts {
  readonly db: string;
  readonly engine: string;
  readonly host: string;
  readonly startedAt: Date;
  readonly timeZone: string;
  readonly randomHex: string;
}

/** A parsed BACKUP_NAME_TEMPLATE: for each segment of the path its literals and tokens. */
export interface Template {
  readonly text: string;
  readonly segments: readonly (readonly Piece[])[];
}

type Piece = { readonly literal: string } | { readonly token: Token };
type Token = keyof typeof TOKENS;

const TOKENS = {
  db: (facts: NameFacts) => encodeSegment(facts.db),
  engine: (facts: NameFacts) => facts.engine,
  host: (facts: NameFacts) => encodeSegment(facts.host),
  date: ({ startedAt, timeZone }: NameFacts) => formatLocal(startedAt, timeZone).date,
  time: ({ startedAt, timeZone }: NameFacts) => formatLocal(startedAt, timeZone).time,
  timestamp: (facts: NameFacts) => formatTimestamp(facts.startedAt),
  ts: (facts: NameFacts) => String(Math.floor(facts.startedAt.getTime() / 1000)),
  uuid: (facts: NameFacts) => facts.randomHex,
};

const RECORD_SUFFIXES = [MANIFEST_SUFFIX, PENDING_SUFFIX, VERDICT_SUFFIX, PARTIAL_SUFFIX];

/** What a template may not be, as a sentence goes on after "the name template ... ". */
const TEMPLATE_FAULTS: readonly (readonly [RegExp, string])[] = [
  [/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u, 'holds a control character'],
  [/\\/, 'holds a backslash: folders are separated by /'],
  [/:/, 'holds a colon, which separates a remote from its path'],
  [/^\//, 'begins with a slash: names are relative to the remote'],
  [/\/$/, 'ends with a slash: the last part is the name of a file'],
  [/(^|\/)\s*(\/|$)/, 'has an empty part'],
  [/(^|\/)\s*\.{1,2}\s*(\/|$)/, 'has a part . or ..: names stay in the folder of the remote'],
];

/** Throws `ConfigError` with one sentence. */
export function parseTemplate(text: string): Template {
  const fault = TEMPLATE_FAULTS.find(([pattern]) => pattern.test(text))?.[1] ?? findTokenFault(text);
  if (fault !== undefined) throw new ConfigError(`the name template ${JSON.stringify(text)} ${fault}`);
  const segments = text.split('/');
  segments.forEach(refuseRecordName);
  return { text, segments: segments.map(parsePieces) };
}

function findTokenFault(text: string): string | undefined {
  const unknown = [...text.matchAll(/\{[^{}]*\}/g)]
    .map(([token]) => token)
    .filter((token) => !isToken(token.slice(1, -1)));
  const known = Object.keys(TOKENS)
    .map((token) => `{${token}}`)
    .join(' ');
  if (unknown.length > 0)
    return `has the unknown ${unknown.length > 1 ? 'tokens' : 'token'} ${unknown.join(' ')}; known are ${known}`;
  const rest = text.replace(/\{[^{}]*\}/g, '');
  return /[{}]/.test(rest) ? `has a brace that belongs to no token; known are ${known}` : undefined;
}

const isToken = (name: string): name is Token => Object.hasOwn(TOKENS, name);

function parsePieces(segment: string): Piece[] {
  const parts = segment.split(/\{([^{}]*)\}/);
  return parts
    .map((part, index): Piece => (index % 2 === 1 && isToken(part) ? { token: part } : { literal: part }))
    .filter((piece) => !('literal' in piece) || piece.literal !== '');
}

/** The base of an artifact's name: a relative path with exactly the template's segments, none of them `.`, `..` or empty. */
export function renderName(template: Template, facts: NameFacts): string {
  const render = (piece: Piece) => ('token' in piece ? TOKENS[piece.token](facts) : piece.literal);
  return template.segments.map((pieces) => shortenSegment(pieces.map(render).join(''))).join('/');
}

/** Throws `ConfigError` where the name would be taken for one of our records. */
export const artifactName = (base: string, extension: string): string => refuseRecordName(base + extension);

/** The name for a backup whose first choice is taken. */
export const withId = (base: string, extension: string, id: string): string => artifactName(`${base}-${id}`, extension);

/** BACKUP_EXTENSION, with or without the dot; returned with it. Throws `ConfigError`. */
export function parseExtension(text: string): string {
  const extension = text.startsWith('.') ? text : `.${text}`;
  const isPlain = /^(\.[^\s\p{C}./\\:*?"<>|{}]+)+$/u.test(extension);
  if (!isPlain)
    throw new ConfigError(`the extension ${JSON.stringify(text)} is none: right is one like .sql or sql.zst`);
  return refuseRecordName(extension);
}

/** True where some storage would take the two for one: compared without case, Unicode-normalised. */
export const isSameName = (a: string, b: string): boolean => foldName(a) === foldName(b);

const foldName = (name: string): string => name.normalize('NFD').toUpperCase().toLowerCase().normalize('NFC');

/** Whether a name is for dbstash's own records. */
export const isRecordName = (name: string): boolean => recordSuffixOf(name) !== undefined;

const recordSuffixOf = (name: string): string | undefined =>
  RECORD_SUFFIXES.find((ending) => foldName(name).endsWith(ending));

function refuseRecordName(name: string): string {
  const suffix = recordSuffixOf(name);
  if (suffix === undefined) return name;
  throw new ConfigError(`the name ${JSON.stringify(name)} ends in ${suffix}, which is for dbstash's own records`);
}

function formatLocal(date: Date, timeZone: string): { date: string; time: string } {
  const format = new Intl.DateTimeFormat('en-US', { ...LOCAL_FIELDS, timeZone });
  const part = Object.fromEntries(format.formatToParts(date).map(({ type, value }) => [type, value]));
  return { date: `${part.year}-${part.month}-${part.day}`, time: `${part.hour}${part.minute}${part.second}` };
}

const LOCAL_FIELDS = {
  calendar: 'gregory',
  numberingSystem: 'latn',
  hourCycle: 'h23',
  year: 'numeric',
  month: '2-digit',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
} as const;
