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
  /** How long an answer may take, and what to say where it takes longer; for ever unless given. */
  readonly deadline?: { readonly ms: number; readonly message: string };
  /** Asked instead when this one fails. If it fails too, the first failure is the one to tell. */
  readonly fallback?: Question<T>;
}

/** Commands to a server through its official driver, for what no tool of the engine's can ask. One by one, in order. */
export interface DriverQuestion<T> {
  readonly driver: 'mongo';
  readonly login: DriverLogin;
  readonly commands: readonly DriverCommand[];
  /** Throws when the answers make no sense. There is one for each command. */
  readonly parse: (answers: readonly DriverAnswer[], login: DriverSession) => T;
  /** As of a `Question`. */
  readonly fallback?: DriverQuestion<T>;
}

export interface DriverLogin {
  /** With all secrets: to be shown to nobody. */
  readonly uri: string;
  readonly tlsCa: string | undefined;
  /** Where that is, for people. */
  readonly place: string;
}

export interface DriverCommand {
  readonly database: string;
  /** The name of the command comes first. */
  readonly command: Readonly<Record<string, unknown>>;
  /** The server's refusal is an answer too. */
  readonly mayFail?: true;
}

/** What the server said, as plain JSON, or why it did not. */
export type DriverAnswer = { readonly document: unknown } | { readonly failure: string };

export interface DriverSession {
  /** The database that knows the user, as the driver found out; undefined without a user. */
  readonly authSource: string | undefined;
}

/** Either kind. */
export type AnyQuestion<T> = Question<T> | DriverQuestion<T>;

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
