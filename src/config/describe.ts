import { join, split } from 'shlex';
import { createRedactor } from '../core/redact.ts';
import { parseDatabaseUri } from '../core/uri.ts';
import { maskConnectionString } from './connectionString.ts';
import { isSecretFlag } from './remote.ts';
import { isSecretKey } from './secretKey.ts';
import type { Settings } from './settings.ts';
import { type Variable, type VariableName, variables } from './variables.ts';

const MASK = '***';

/** A row of `dbstash config`. */
export interface ConfigRow {
  readonly name: VariableName;
  /** Secrets masked; null where nothing is set. */
  readonly value: string | null;
  readonly source: string;
}

/** What is in force and where it came from, for every variable. Also of a configuration that has problems. */
export function describeConfig({ settings }: { readonly settings: Settings }): readonly ConfigRow[] {
  return variables.map((variable) => {
    const { text, source } = settings[variable.name];
    return { name: variable.name, value: text === undefined ? null : maskText(variable, text), source };
  });
}

function maskText({ secret, mask }: Variable, text: string): string {
  if (mask === 'uri') return maskUri(text);
  if (secret) return MASK;
  const certificates = text.match(/-----BEGIN CERTIFICATE-----/g)?.length;
  if (certificates) return `${certificates} certificate${certificates > 1 ? 's' : ''}`;
  if (mask === 'lines') return `${text.trim().split('\n').length} line(s)`;
  if (mask === 'remote') return maskConnectionString(text);
  return mask === 'args' ? maskArgs(text) : text;
}

/** Of a URI that cannot be read nothing is shown: who knows where its password ends. */
function maskUri(text: string): string {
  try {
    parseDatabaseUri(text);
  } catch {
    return MASK;
  }
  const [, head = '', query = ''] = /^([^?]*)(\?.*)?$/s.exec(text.trim()) ?? [];
  const shown = query.replace(/([?&])([^=&]+)=[^&]*/g, (param, mark: string, key: string) =>
    isSecretKey(decodeURIComponent(key)) ? `${mark}${key}=${MASK}` : param,
  );
  return head.replace(/^([^:]+:\/\/[^:/]*):[^/]*@/, `$1:${MASK}@`) + shown;
}

function maskArgs(text: string): string {
  const redact = createRedactor([]);
  try {
    const args = split(text);
    return join(args.map((arg, index) => redact(maskLogin(maskArg(arg, args[index - 1])))));
  } catch {
    return MASK;
  }
}

/** Also where the password is not encoded as it should be. */
const maskLogin = (arg: string): string => arg.replaceAll(/(:\/\/[^/@:\s]*:).*@/g, `$1${MASK}@`);

function maskArg(arg: string, before: string | undefined): string {
  const [, flag = '', value] = /^--([\w-]+)(?:=(.*))?$/s.exec(arg) ?? [];
  if (value !== undefined) return isSecretFlag(flag, value) ? `--${flag}=${MASK}` : arg;
  const [, flagBefore = ''] = /^--([\w-]+)$/.exec(before ?? '') ?? [];
  return isSecretFlag(flagBefore, arg) ? MASK : arg;
}
