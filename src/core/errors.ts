/** Exit codes of every command (README, "Commands"). */
export const EXIT = {
  ok: 0,
  failed: 1,
  config: 2,
  remote: 3,
  damaged: 4,
  locked: 11,
  sigint: 130,
  sigterm: 143,
} as const;

/** An error whose message is meant for the operator: one sentence, what is wrong, where, what would be right. */
export class DbstashError extends Error {
  readonly exitCode: number = EXIT.failed;
  override get name(): string {
    return this.constructor.name;
  }
}

/** The operator must mend the configuration or the command line. */
export class ConfigError extends DbstashError {
  override readonly exitCode = EXIT.config;
}

/** The database, its tools, or a filter failed. */
export class DumpError extends DbstashError {}

/** The remote, or rclone, failed. */
export class RemoteError extends DbstashError {
  override readonly exitCode = EXIT.remote;
}

/** What is stored is not what was sent, or what came back is not what is stored. */
export class VerifyError extends DbstashError {
  override readonly exitCode = EXIT.damaged;
  /** What is wrong with it, where the message says of what and where as well. */
  readonly finding: string;
  constructor(message: string, options: ErrorOptions & { finding?: string } = {}) {
    super(message, options);
    this.finding = options.finding ?? message;
  }
}

/** A backup whose bytes are as they were written did not pass its drill: no damage. */
export class DrillError extends DbstashError {
  override readonly exitCode: number;
  /** `isServer`: the server of the drill was the trouble, as far as can be known. */
  constructor(message: string, isServer: boolean) {
    super(message);
    this.exitCode = isServer ? EXIT.failed : EXIT.damaged;
  }
}

/** Another run holds the lock of the series. */
export class LockedError extends DbstashError {
  override readonly exitCode = EXIT.locked;
}

/** A total or a stall timeout has passed. */
export class TimeoutError extends DbstashError {}

/** What failed of several databases; the cause of the error that a run over them ends with. */
export class DatabaseErrors extends AggregateError {
  readonly failures: readonly { readonly database: string; readonly error: unknown }[];
  constructor(failures: DatabaseErrors['failures']) {
    super(failures.map(({ error }) => error));
    this.failures = failures;
  }
}

export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** A signal asked us to stop; `exitCode` is 128 + its number, with a hang-up taken for SIGTERM. */
export class InterruptedError extends DbstashError {
  override readonly exitCode: number;
  constructor(signal: StopSignal) {
    super(`interrupted by ${signal}`);
    this.exitCode = signal === 'SIGINT' ? EXIT.sigint : EXIT.sigterm;
  }
}

/** What a tool, a server or a storage says where the same call will fail the same way: login, rights, versions, names. */
const PERMANENT = new RegExp(
  [
    'authentication failed|access ?denied|no pg_hba\\.conf entry|WRONGPASS|NOAUTH|NOPERM|permission denied|not authorized',
    'command denied|is not allowed to connect|not permitted to log in|the login may not|privilege\\(?s?\\)? for this operation',
    'does not exist|unknown database|certificate verify failed|is not installed|version mismatch',
    '\\bforbidden\\b|status ?code: 40[13]|InvalidAccessKeyId|SignatureDoesNotMatch|NoSuchBucket',
  ].join('|'),
  'i',
);

/** Whether the same again may go better: of several failures, whether one of them may. */
export function isWorthRetrying(error: unknown): boolean {
  if (error instanceof ConfigError || error instanceof LockedError || error instanceof InterruptedError) return false;
  const cause = error instanceof Error ? error.cause : undefined;
  if (cause instanceof AggregateError) return cause.errors.some(isWorthRetrying);
  return !PERMANENT.test(describeError(error));
}

/** The text of anything thrown, with its causes, outermost first. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `: ${describeError(error.cause)}`;
  return `${error.message}${error.message.includes(cause.slice(2)) ? '' : cause}`;
}
