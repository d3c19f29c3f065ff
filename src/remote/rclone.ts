import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from '../core/command.ts';
import { RemoteError } from '../core/errors.ts';
import { type Child, describeExit, type Exit, hasSucceeded, spawnChild } from '../process/child.ts';
import { type Output, runCommand } from '../process/run.ts';

/** How rclone is called: with which flags, environment and configuration. */
export interface Rclone {
  /** Runs a verb to its end. Paths come after `--`, so that none is taken for a flag. */
  run(call: Call, signal: AbortSignal, onStderr?: (text: string) => void): Promise<Output>;
  /** What it would run. */
  describe(call: Call): Command;
  /** Starts a verb whose standard input or output is a stream. */
  start(call: Call, onStderr?: (text: string) => void): Child;
}

interface Call {
  readonly verb: readonly string[];
  readonly flags?: readonly string[];
  readonly paths: readonly string[];
  readonly input?: string;
  /** A file that takes what it prints. */
  readonly output?: string;
}

export interface RcloneOptions {
  readonly env: Readonly<Record<string, string>>;
  /** Path of the configuration; undefined for rclone's own. */
  readonly configPath: string | undefined;
  readonly extraArgs: readonly string[];
}

/** rclone 1.60 (Debian 12 and 13) is the oldest that the tests run against. */
const OLDEST = [1, 60] as const;

/** rclone's exit codes (https://rclone.org/docs/#exit-code). */
const EXIT_DIRECTORY_MISSING = 3;
const EXIT_FILE_MISSING = 4;

const NO_CONFIG = /Config file .* not found - using defaults/;

export function createRclone(options: RcloneOptions): Rclone {
  const commandOf = (call: Call): Command => ({
    file: 'rclone',
    args: [
      ...call.verb,
      // A protected configuration without its password would read it from standard input, and eat the dump.
      '--ask-password=false',
      ...(options.configPath === undefined ? [] : ['--config', options.configPath]),
      ...(call.flags ?? []),
      ...options.extraArgs,
      '--',
      ...call.paths,
    ],
    ...(call.input === undefined ? {} : { input: call.input }),
  });
  return {
    describe: commandOf,
    run: async (call, signal, onStderr) => {
      const once = () =>
        runCommand(commandOf(call), {
          env: options.env,
          signal,
          ...(onStderr === undefined ? {} : { onStderr }),
          ...(call.output === undefined ? {} : { output: call.output }),
        });
      const output = await once();
      if (!hasMissedConfig(call, output) || !existsSync(options.configPath ?? '')) return output;
      await sleep(100, undefined, { signal }).catch(() => {});
      return once();
    },
    start: (call, onStderr) => {
      const child = spawnChild(commandOf(call), { env: options.env, ...(onStderr === undefined ? {} : { onStderr }) });
      return { ...child, stderrTail: () => cleanLog(child.stderrTail()) };
    },
  };
}

/**
 * Whether rclone came between the two renames by which another rclone saves the configuration (a token, or what it has
 * found out about an SFTP server), and saw none.
 */
const hasMissedConfig = ({ verb }: Call, { exit, stderr }: Output): boolean =>
  NO_CONFIG.test(stderr) && (!hasSucceeded(exit) || verb[0] === 'config');

/** Asks rclone for its version, "1.75.1". Throws `RemoteError` if it is missing or too old. */
export async function readRcloneVersion(rclone: Rclone, signal: AbortSignal): Promise<string> {
  const output = await rclone.run({ verb: ['version'], paths: [] }, signal);
  if (!hasSucceeded(output.exit)) throw rcloneError('version', output.exit, output.stderr);
  const version = /^rclone v(\d+)\.(\d+)(\.\d+)?/.exec(output.stdout);
  if (!version) throw new RemoteError(`rclone does not tell its version: ${output.stdout.slice(0, 80)}`);
  const [major, minor] = [Number(version[1]), Number(version[2])];
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    throw new RemoteError(`rclone ${major}.${minor} is too old: ${OLDEST.join('.')} or newer is needed`);
  }
  return version[0].slice('rclone v'.length);
}

/** The error of a verb that exited badly, with what rclone said, without its time stamps. */
export function rcloneError(verb: string, exit: Exit, stderr: string): RemoteError {
  return new RemoteError(describeExit(`rclone ${verb}`, exit, cleanLog(stderr)));
}

export const isMissing = (exit: Exit): boolean =>
  exit.code === EXIT_DIRECTORY_MISSING || exit.code === EXIT_FILE_MISSING;

/** rclone's messages, text or JSON, as one line without time, level and statistics. */
function cleanLog(stderr: string): string {
  const messages = stderr
    .split('\n')
    .map(messageOf)
    .filter((line) => line !== '');
  return [...new Set(messages)].slice(-5).join('; ');
}

function messageOf(line: string): string {
  if (line.startsWith('{')) {
    const entry = parseLogLine(line);
    if (!entry || entry.stats !== undefined) return '';
    const object = entry.object ? `${entry.object}: ` : '';
    return (object + (entry.msg ?? '')).trim();
  }
  // That there is no configuration file explains nothing: most remotes here come from the environment.
  if (NO_CONFIG.test(line)) return '';
  return line.replace(/^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d /, '').trim();
}

/** What `--use-json-log` prints, a line each. */
export interface LogLine {
  readonly msg?: string;
  readonly object?: string;
  readonly stats?: { readonly bytes?: number };
}

export function parseLogLine(line: string): LogLine | undefined {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return undefined;
  }
}
