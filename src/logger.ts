import { constants, fstatSync, openSync, writeSync } from 'node:fs';
import pino from 'pino';
import type { Clock } from './core/clock.ts';
import { describeError } from './core/errors.ts';
import type { Redactor } from './core/redact.ts';

type LogLevel = 'debug' | 'info' | 'warn' | 'error';
type LogFormat = 'json' | 'text';

/** The message is a sentence; what a search would look for goes into fields. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to each of its lines. */
  child(fields: LogFields): Logger;
}

/** Fields with a fixed meaning, and any others. */
export interface LogFields {
  readonly run?: string;
  readonly engine?: string;
  readonly database?: string;
  readonly series?: string;
  readonly backup_id?: string;
  /** Seconds. */
  readonly duration?: number;
  readonly error?: unknown;
  readonly [name: string]: unknown;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Gets whole lines, and has written each when it returns: `openStderr()`, or an array in a test. */
  readonly write: (line: string) => void;
  readonly redact: Redactor;
  readonly clock: Pick<Clock, 'now'>;
}

/**
 * Standard output is for what a command answers. A reader that stopped reading must not stop us: where the system lets us
 * open standard error anew (pipes, files, terminals), what it does not take is kept up to `MAX_WAITING_BYTES`, then dropped.
 * Elsewhere synchronous, unlike `process.stderr`, which loses lines at an exit; a reader that went away ends only the log.
 */
export function openStderr(): LoggerOptions['write'] {
  // In a file that others write to as well, the place to write at is shared only by those who did not open it anew.
  const fd = fstatSync(2).isFile() ? undefined : openAnew('/proc/self/fd/2');
  if (fd !== undefined) return writeWithoutWaiting(fd);
  const stderr = pino.destination({ dest: 2, sync: true });
  return (line) => void stderr.write(line);
}

const MAX_WAITING_BYTES = 1024 * 1024;
const RETRY_MS = 50;
/** What is still waiting at our exit gets so long. */
const LAST_MS = 500;

function openAnew(path: string): number | undefined {
  try {
    return openSync(path, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_APPEND | constants.O_NOCTTY);
  } catch {
    return undefined;
  }
}

function writeWithoutWaiting(fd: number): LoggerOptions['write'] {
  let waiting: Buffer = Buffer.alloc(0);
  let dropped = 0;
  let timer: NodeJS.Timeout | undefined;
  const flush = () => {
    clearTimeout(timer);
    try {
      while (waiting.length > 0) waiting = waiting.subarray(writeSync(fd, waiting));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) waiting = Buffer.alloc(0);
      else timer = setTimeout(flush, RETRY_MS).unref();
    }
  };
  process.on('exit', () => {
    const end = performance.now() + LAST_MS;
    for (flush(); waiting.length > 0 && performance.now() < end; flush()) Atomics.wait(PAUSE, 0, 0, 10);
  });
  return (line) => {
    if (waiting.length > MAX_WAITING_BYTES) {
      dropped += 1;
      return;
    }
    const note = dropped === 0 ? '' : `${dropped} lines were dropped: nobody read them\n`;
    dropped = 0;
    waiting = Buffer.concat([waiting, Buffer.from(note + line)]);
    flush();
  };
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4));

/** Every string of every line goes through `redact` before it is written. */
export function createLogger({ level, format, write, redact, clock }: LoggerOptions): Logger {
  const formatLine = FORMATS[format];
  const options: pino.LoggerOptions = {
    level,
    base: null,
    messageKey: 'message',
    timestamp: () => `,"timestamp":"${clock.now().toISOString()}"`,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { error: (error) => (error instanceof Error ? describeError(error) : error) },
  };
  // Values are redacted before a line is put together: a mask inside of a line could break its JSON.
  return wrap(
    pino(options, {
      write: (line) => write(formatLine(redactValues(JSON.parse(line), redact) as LogRecord)),
    }),
  );
}

/** Our signature on theirs: the message first, and never a format string. */
const wrap = (logger: pino.Logger): Logger => ({
  debug: (message, fields) => logger.debug({ ...fields }, message),
  info: (message, fields) => logger.info({ ...fields }, message),
  warn: (message, fields) => logger.warn({ ...fields }, message),
  error: (message, fields) => logger.error({ ...fields }, message),
  child: (fields) => wrap(logger.child({ ...fields })),
});

interface LogRecord {
  readonly timestamp: string;
  readonly level: string;
  readonly message: string;
  readonly [name: string]: unknown;
}

const FORMATS: Readonly<Record<LogFormat, (record: LogRecord) => string>> = {
  json: (record) => `${JSON.stringify(record)}\n`,
  text: formatText,
};

function redactValues(value: unknown, redact: Redactor): unknown {
  if (typeof value === 'string') return redact(value);
  if (Array.isArray(value)) return value.map((item) => redactValues(item, redact));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, redactValues(item, redact)]));
}

/** `2026-02-07 02:00:00Z INFO  message  key=value`, always one line. */
function formatText({ timestamp, level, message, ...fields }: LogRecord): string {
  const time = timestamp.replace('T', ' ').replace(/\.\d+Z$/, 'Z');
  const pairs = Object.entries(fields).map(([key, value]) => `  ${key}=${formatValue(value)}`);
  return `${escapeControls(`${time} ${level.toUpperCase().padEnd(5)} ${message.trimEnd()}${pairs.join('')}`)}\n`;
}

const formatValue = (value: unknown): string =>
  typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);

/** A terminal must not obey what a server's error message holds. */
const escapeControls = (text: string): string =>
  text
    .replace(/\s*[\r\n\u2028\u2029]+\s*/g, ' | ')
    .replace(/[\p{Cc}\p{Cf}]/gu, (c) => `\\u{${c.codePointAt(0)?.toString(16)}}`);
