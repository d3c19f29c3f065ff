/** rclone's way to give a backend's options in the name of a remote: `:s3,provider=AWS,region=x:bucket/path`. */
export interface ConnectionString {
  /** "s3remote", or ":s3" for one that no configuration knows. */
  readonly name: string;
  readonly options: readonly (readonly [key: string, value: string])[];
  readonly path: string;
}

/** Undefined for a local path. Syntax: https://rclone.org/docs/#connection-strings; in quotes, doubled ones stand for one. */
export function parseConnectionString(text: string): ConnectionString | undefined {
  const name = /^:?[^,:/]*/.exec(text)?.[0] ?? '';
  let rest = text.slice(name.length);
  const options: [string, string][] = [];
  for (let option = OPTION.exec(rest); option; option = OPTION.exec(rest)) {
    options.push([option[1] ?? '', unquote(option[2] ?? 'true')]);
    rest = rest.slice(option[0].length);
  }
  return rest.startsWith(':') ? { name, options, path: rest.slice(1) } : undefined;
}

const OPTION = /^,([^=,:]+)(?:=("(?:[^"]|"")*"|'(?:[^']|'')*'|(?!["'])[^,:]*))?(?=[,:])/;

function unquote(value: string): string {
  const quote = value[0];
  if (quote !== '"' && quote !== "'") return value;
  return value.slice(1, -1).replaceAll(quote + quote, quote);
}

/** True of a text that begins like a connection string, and that rclone would not take. */
export const isBrokenConnectionString = (text: string): boolean =>
  /^(:|[^,:/]*,[^=,:]+=)/.test(text) && parseConnectionString(text) === undefined;

/** The same remote with every option's value masked. */
export function maskConnectionString(text: string): string {
  if (isBrokenConnectionString(text)) return '***';
  const parts = parseConnectionString(text);
  if (!parts || parts.options.length === 0) return text;
  return `${parts.name}${parts.options.map(([key]) => `,${key}=***`).join('')}:${parts.path}`;
}
