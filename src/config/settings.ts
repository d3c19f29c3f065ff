import { resolve } from 'node:path';
import { readTextFile } from './file.ts';
import { attempt, type Notes } from './notes.ts';
import { type Values, type Variable, type VariableName, variables } from './variables.ts';

/** Where values come from. `flags` are those of the command line, by the variable's name; they win. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly flags: Readonly<Record<string, string>>;
  readonly cwd: string;
}

/** A variable as it was given, or in force: its text, secrets included, and where that came from. */
export interface Setting {
  readonly text: string | undefined;
  /** "default", "environment", "flag", "file /path", or the name of the variable that it follows from. */
  readonly source: string;
}

export type Settings = Readonly<Record<VariableName, Setting>>;

/** Reads every variable and every file that one names; what cannot be read is noted and counts as unset. */
export function readSettings(from: Surroundings, notes: Notes): Settings {
  return Object.fromEntries(
    variables.map((variable) => [variable.name, readSetting(variable, from, notes)]),
  ) as Settings;
}

/** The values of a few variables, as above; no other is looked at. */
export function readValues<N extends VariableName>(
  names: readonly N[],
  from: Surroundings,
  notes: Notes,
): Pick<Values, N> {
  const some = variables.filter(({ name }) => names.some((one) => one === name));
  const settings = Object.fromEntries(some.map((variable) => [variable.name, readSetting(variable, from, notes)]));
  return parseSome(some, settings, notes) as Pick<Values, N>;
}

function readSetting(variable: Variable, { env, flags, cwd }: Surroundings, notes: Notes): Setting {
  const { name } = variable;
  const before = notes.problems.length;
  const flag = flags[name];
  if (isSet(flag)) return { text: flag, source: 'flag' };
  const path = variable.hasFile === false ? undefined : env[`${name}_FILE`];
  const text = env[name];
  if (isSet(path)) {
    if (isSet(text)) notes.warnings.push(`${name} and ${name}_FILE are both set: the file is used`);
    const read = readFile(name, resolve(cwd, path), notes);
    if (!read && variable.isProtection && notes.problems.length === before)
      notes.problems.push(
        `${name}_FILE: ${path} is empty, and going on without it would protect nothing: unset the variable, or fill the file`,
      );
    return read ?? unset(variable);
  }
  return isSet(text) && !isFromKubernetes(name, text) ? { text, source: 'environment' } : unset(variable);
}

/** Blank counts as unset. */
const isSet = (text: string | undefined): text is string => text !== undefined && text.trim() !== '';

const UNSET: Setting = { text: undefined, source: 'default' };

const unset = (variable: Variable): Setting => ({ text: variable.default, source: 'default' });

function readFile(name: VariableName, path: string, notes: Notes): Setting | undefined {
  const text = attempt(`${name}_FILE`, notes, () => readTextFile(path).replace(/[\r\n]+$/, ''));
  return isSet(text) ? { text, source: `file ${path}` } : undefined;
}

/** Kubernetes adds `DB_PORT=tcp://10.0.0.1:5432` and more for a Service called `db`. */
export const isFromKubernetes = (name: string, text: string): boolean =>
  /_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(name) ||
  (name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(text));

/** The values of all settings. One that is wrong is noted and replaced by its default, so that all can be told at once. */
export const parseSettings = (settings: Settings, notes: Notes): Values =>
  parseSome(variables, settings, notes) as Values;

function parseSome(some: readonly Variable[], settings: Partial<Settings>, notes: Notes): Partial<Values> {
  const parsed = some.map(({ name, parse, default: fallback }) => {
    const { text, source } = settings[name] ?? UNSET;
    const value = text === undefined ? undefined : attempt(describeName(name, source), notes, () => parse(text));
    return [name, value ?? (fallback === undefined ? undefined : parse(fallback))];
  });
  return Object.fromEntries(parsed);
}

/** `BACKUP_TIMEOUT`, with the place where it can be mended if that is not the environment. */
function describeName(name: VariableName, source: string): string {
  if (source === 'flag') return `--${name.toLowerCase().replaceAll('_', '-')}`;
  return source.startsWith('file ') ? `${name} (from ${source.slice('file '.length)})` : name;
}
