import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { createInterface } from 'node:readline/promises';
import { runCli } from './cli.ts';
import type { Edge } from './commands/call.ts';
import { type Config, secretsOf } from './config/config.ts';
import { DbstashError, describeError, EXIT, InterruptedError, type StopSignal } from './core/errors.ts';
import { createRedactor } from './core/redact.ts';
import type { Host } from './jobs/session.ts';
import { createLogger, openStderr } from './logger.ts';
import { createNotifier } from './notify/index.ts';
import { killAllChildren } from './process/child.ts';
import { systemClock } from './process/clock.ts';
import { version } from './version.ts';

/** From a signal, or an internal error, to our exit at the latest: whoever stops us kills after ten seconds. */
const STOP_MS = 6500;
/** Once all is done nothing should hold us any more; what does, as a child stuck in the kernel, gets so long. */
const LINGER_MS = 500;

const controller = new AbortController();
let redact = (text: string): string => text;
/** To the log, as soon as there is one. */
let complain = (message: string): void => void process.stderr.write(`${redact(`dbstash: ${message}`)}\n`);

const edge: Edge = {
  env: process.env,
  cwd: process.cwd(),
  print: (text) => void process.stdout.write(text),
  redact: (text) => redact(text),
  askUser: process.stdin.isTTY && process.stderr.isTTY ? askUser : undefined,
  createHost,
  version,
};

function createHost(config: Config): Host {
  redact = createRedactor(secretsOf(config, process.env));
  const isTerminal = process.stderr.isTTY === true;
  // Unless told otherwise, people get text and programs JSON.
  const format = isTerminal && config.settings.LOG_FORMAT.source === 'default' ? 'text' : config.log.format;
  const logger = createLogger({
    level: config.log.level,
    format,
    write: openStderr(),
    redact,
    clock: systemClock,
  }).child({
    engine: config.connection.engine,
    ...(config.selection.kind === 'one' && { database: config.database, series: config.series }),
  });
  complain = logger.error;
  for (const warning of config.warnings) logger.warn(warning);
  const around = {
    config,
    env: process.env,
    clock: systemClock,
    logger,
    redact,
    signal: controller.signal,
    hostname: hostname(),
    version,
  };
  return {
    ...around,
    randomHex: (bytes) => randomBytes(bytes).toString('hex'),
    availableBytes: () => process.availableMemory(),
    showProgress: isTerminal && format === 'text' ? showLine : undefined,
    notifier: createNotifier(around),
  };
}

const showLine = (line: string): void => void process.stderr.write(`\r\u001b[K${line}`);

/** The end of input is no answer. */
async function askUser(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  terminal.once('SIGINT', () => stop(new InterruptedError('SIGINT')));
  try {
    return await terminal.question(question, { signal: controller.signal });
  } catch {
    controller.signal.throwIfAborted();
    return '';
  } finally {
    terminal.close();
  }
}

let signals = 0;

/** The first signal stops what is going on in good order, the second at once. */
function stopOn(signal: StopSignal): void {
  process.on(signal, () => {
    const error = new InterruptedError(signal);
    signals += 1;
    if (signals > 1) exitNow(error.exitCode);
    stop(error);
  });
}

/** Our sudden death would be an end-of-input to an upload, which commits: stop it in order first. */
function stopAfter(error: unknown): void {
  complain(`internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  process.exitCode = EXIT.failed;
  stop(new DbstashError('stopped by an internal error', { cause: error }));
}

function stop(reason: DbstashError): void {
  controller.abort(reason);
  const timer = setTimeout(() => {
    complain(`${reason.message}: not all could be stopped in order within ${STOP_MS / 1000} s, the rest is killed`);
    exitNow(reason.exitCode);
  }, STOP_MS);
  timer.unref();
}

/** As by nohup, for a process that is to outlive its terminal: signal 1 is the lowest bit. */
function isHangUpIgnored(): boolean {
  try {
    return /^SigIgn:\s*[0-9a-f]*[13579bdf]$/m.test(readFileSync('/proc/self/status', 'utf8'));
  } catch {
    return false;
  }
}

function exitNow(exitCode: number): never {
  killAllChildren();
  process.exit(exitCode);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) stopOn(signal);
if (!isHangUpIgnored()) stopOn('SIGHUP');
process.on('uncaughtException', stopAfter);
process.on('unhandledRejection', stopAfter);
// A reader of our output that went away, as `dbstash list | head` does, is no failure.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

try {
  const exitCode = await runCli(process.argv.slice(2), edge);
  process.exitCode = process.exitCode || exitCode;
} catch (error) {
  process.stderr.write(`${redact(`dbstash: ${describeError(error)}`)}\n`);
  process.exitCode = error instanceof DbstashError ? error.exitCode : EXIT.failed;
}
killAllChildren();
setTimeout(() => process.exit(), LINGER_MS).unref();
