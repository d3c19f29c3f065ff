import { parseConnectionString } from '../config/connectionString.ts';

/**
 * A remote as rclone sees it and as we may show it. A connection string's options (`:s3,secret_access_key=...:bucket`)
 * may be secrets, and argv is public: they become `RCLONE_CONFIG_<NAME>_*` variables of rclone's environment.
 */
export interface Location {
  /** For rclone's argv: "dbstash1:bucket/path". */
  readonly path: string;
  /** For people, logs and manifests: ":s3:bucket/path". */
  readonly title: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Reads `name:path`, `:backend,key=value:path`, `name,key=value:path` or a local path. `fallbackName` is given to a nameless one. */
export function parseLocation(text: string, fallbackName: string): Location {
  const parts = parseConnectionString(text);
  if (!parts || parts.options.length === 0) return { path: text, title: text, env: {} };
  const isNameless = parts.name.startsWith(':');
  const name = isNameless ? fallbackName : parts.name;
  const prefix = variablePrefix(name);
  const env: Record<string, string> = isNameless ? { [`${prefix}TYPE`]: parts.name.slice(1) } : {};
  for (const [key, value] of parts.options) env[prefix + key.toUpperCase().replaceAll('-', '_')] = value;
  return { path: `${name}:${parts.path}`, title: `${parts.name}:${parts.path}`, env };
}

/** What the variables of the remote `name` begin with; rclone leaves its dashes as they are. */
export const variablePrefix = (name: string): string => `RCLONE_CONFIG_${name.toUpperCase()}_`;

/** The path of an object under a remote: no second slash after `name:`, none doubled. */
export const joinPath = (remote: string, path: string): string =>
  remote.endsWith(':') || remote.endsWith('/') ? remote + path : `${remote}/${path}`;
