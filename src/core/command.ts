/**
 * A child process as data. Engines describe commands and never spawn; `process/` runs them, without a shell.
 *
 * `args`, `env` values and `cwd` may hold `SCRATCH`, which is replaced by the private scratch folder of the run
 * (0700, removed at its end). `files` are written there first, mode 0600: the way in for secrets that must not be in argv.
 */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly files?: Readonly<Record<string, string>>;
  /** Text given on standard input, which is then ended. Without it, standard input is empty or a pipe of the relay. */
  readonly input?: string;
}

/** Stands for the scratch folder in a command; a NUL cannot occur in anything a user gave us. */
export const SCRATCH = '\0scratch';

/** A command whose output answers something. */
export interface Question<T> {
  readonly command: Command;
  /** Throws when the answer makes no sense. */
  readonly parse: (answer: Answer) => T;
  /** Exit codes that come with an answer; 0 unless given. */
  readonly exitCodes?: readonly number[];
  /** Asked instead when this one fails. If it fails too, the first failure is the one to tell. */
  readonly fallback?: Question<T>;
}

export interface Answer {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** The command with `SCRATCH` replaced by `folder`. */
export function renderCommand(command: Command, folder: string): Command {
  const render = (text: string) => text.replaceAll(SCRATCH, folder);
  const env = Object.entries(command.env ?? {}).map(([key, value]) => [key, render(value)]);
  return { ...command, args: command.args.map(render), env: Object.fromEntries(env) };
}
