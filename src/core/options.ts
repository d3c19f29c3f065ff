/** An option as getopt_long would see it. `index` is its place in the arguments, `value` undefined where there is none. */
export interface Option {
  /** The long name as in the table; an unknown option by its own name or letter. */
  readonly name: string;
  readonly value: string | undefined;
  readonly index: number;
}

export interface ParsedOptions {
  readonly options: readonly Option[];
  /** What is neither an option nor the value of one. */
  readonly operands: readonly string[];
}

/** An option that a tool knows, as text: `F|format=` has a letter, a name and a value; `verbose` only a name. */
export type OptionTable = readonly string[];

interface Spec {
  readonly letter: string | undefined;
  readonly name: string;
  readonly takesValue: boolean;
}

/**
 * Reads a tool's arguments as its getopt_long would: bundled letters (`-vFc`), values attached or apart (`-Fc`, `-F c`,
 * `--format=c`, `--format c`), names shortened as long as they are unambiguous, `--` as the end of options.
 */
export function parseOptions(args: readonly string[], table: OptionTable): ParsedOptions {
  const specs = table.map(parseSpec);
  const options: Option[] = [];
  const operands: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const arg = args[index]!;
    if (arg === '--') {
      operands.push(...args.slice(index + 1));
      break;
    }
    if (!/^-./s.test(arg)) {
      operands.push(arg);
      continue;
    }
    const found = arg.startsWith('--') ? readLong(arg, specs) : readLetters(arg, specs);
    const last = found.at(-1)!;
    if (last.needsValue) last.value = args[index + 1];
    options.push(...found.map(({ name, value }) => ({ name, value, index })));
    if (last.needsValue) index++;
  }
  return { options, operands };
}

/** The last option of that name: the one that wins. */
export const findOption = (parsed: ParsedOptions, name: string): Option | undefined =>
  parsed.options.findLast((option) => option.name === name);

function parseSpec(text: string): Spec {
  const [, letter, name, equals] = /^(?:(.)\|)?([^=]+)(=?)$/.exec(text)!;
  return { letter, name: name!, takesValue: equals === '=' };
}

interface Found {
  name: string;
  value: string | undefined;
  needsValue: boolean;
}

function readLong(arg: string, specs: readonly Spec[]): Found[] {
  const [, typed, attached] = /^--([^=]*)(?:=(.*))?$/s.exec(arg)!;
  const candidates = specs.filter(({ name }) => name.startsWith(typed!));
  const spec = candidates.find(({ name }) => name === typed) ?? (candidates.length === 1 ? candidates[0] : undefined);
  return [
    { name: spec?.name ?? typed!, value: attached, needsValue: attached === undefined && spec?.takesValue === true },
  ];
}

function readLetters(arg: string, specs: readonly Spec[]): Found[] {
  const found: Found[] = [];
  const letters = [...arg.slice(1)];
  for (const [at, letter] of letters.entries()) {
    const spec = specs.find((candidate) => candidate.letter === letter);
    const rest = letters.slice(at + 1).join('');
    if (spec?.takesValue) {
      found.push({ name: spec.name, value: rest || undefined, needsValue: rest === '' });
      break;
    }
    found.push({ name: spec?.name ?? letter, value: undefined, needsValue: false });
  }
  return found;
}
