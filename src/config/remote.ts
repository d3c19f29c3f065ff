import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { ConfigError } from '../core/errors.ts';
import { readTextFile } from './file.ts';
import { attempt, type Notes } from './notes.ts';
import { isSecretKey } from './secretKey.ts';
import type { Settings } from './settings.ts';
import type { Values } from './variables.ts';

/** Where the backups go, and how rclone is called. */
export interface RemoteConfig {
  /** As rclone writes them; a connection string may hold secrets. At least one. */
  readonly remotes: readonly string[];
  /** The content of an rclone.conf, to be put into a private file. */
  readonly configText: string | undefined;
  /** The path of an rclone.conf; where neither is set, rclone looks for its own. */
  readonly configPath: string | undefined;
  readonly configPass: string | undefined;
  readonly extraArgs: readonly string[];
}

/** In the order in which a restore looks through them. */
export const REMOTES = [
  'RCLONE_REMOTE',
  'RCLONE_REMOTE_2',
  'RCLONE_REMOTE_3',
  'RCLONE_REMOTE_4',
  'RCLONE_REMOTE_5',
  'RCLONE_REMOTE_6',
  'RCLONE_REMOTE_7',
  'RCLONE_REMOTE_8',
  'RCLONE_REMOTE_9',
] as const;

const DEFAULT_PATH = '/config/rclone.conf';

/** What is wrong is noted; undefined where there is no remote at all. */
export function resolveRemote(values: Values, settings: Settings, cwd: string, notes: Notes): RemoteConfig | undefined {
  const { RCLONE_EXTRA_ARGS: extraArgs, RCLONE_CONFIG_PASS: configPass } = values;
  const remotes = REMOTES.flatMap((name) => values[name] ?? []);
  if (settings.RCLONE_REMOTE.text === undefined)
    notes.problems.push('RCLONE_REMOTE: is not set; right is an rclone destination, like s3:bucket/path or /backup');
  for (const name of REMOTES) checkRemote(name, values, cwd, notes);
  notes.problems.push(...extraArgs.flatMap(findSecretFlag));
  const config = locateConfig(values, cwd, notes);
  return values.RCLONE_REMOTE === undefined ? undefined : { remotes, ...config, configPass, extraArgs };
}

function checkRemote(name: (typeof REMOTES)[number], values: Values, cwd: string, notes: Notes): void {
  const remote = values[name];
  if (remote === undefined) return;
  if (/^[^/.:~][^:]*$/.test(remote))
    notes.warnings.push(
      `${name}: ${remote} is a folder below ${cwd}, since it has no colon; a remote is written s3:bucket/path, a folder ./${remote}`,
    );
  const twin = REMOTES.find((other) => other !== name && values[other] === remote);
  if (twin !== undefined && twin < name)
    notes.problems.push(`${name}: is the same as ${twin}; right is another remote`);
}

type Located = Pick<RemoteConfig, 'configText' | 'configPath'>;
const NOT_LOCATED: Located = { configText: undefined, configPath: undefined };

/** RCLONE_CONFIG_FILE, RCLONE_CONFIG, /config/rclone.conf, in this order. */
function locateConfig(values: Values, cwd: string, notes: Notes): Located {
  const { RCLONE_CONFIG_FILE: path, RCLONE_CONFIG: config } = values;
  if (path !== undefined) {
    if (config !== undefined) notes.warnings.push('RCLONE_CONFIG is ignored: RCLONE_CONFIG_FILE is set');
    return attempt('RCLONE_CONFIG_FILE', notes, () => configAt(resolve(cwd, path))) ?? NOT_LOCATED;
  }
  if (config !== undefined) return attempt('RCLONE_CONFIG', notes, () => readConfig(config.trim(), cwd)) ?? NOT_LOCATED;
  const found = existsSync(DEFAULT_PATH) && attempt(DEFAULT_PATH, notes, () => configAt(DEFAULT_PATH));
  return found || NOT_LOCATED;
}

/** Read once to find out now whether rclone will be able to. */
function configAt(path: string): Located {
  readTextFile(path);
  return { configText: undefined, configPath: path };
}

function readConfig(text: string, cwd: string): Located {
  const path = resolve(cwd, text);
  if (text.length < 4096 && !/\s/.test(text) && existsSync(path)) return configAt(path);
  const decoded = decodeBase64(text);
  if (decoded !== undefined && isRcloneConfig(decoded)) return { configText: decoded, configPath: undefined };
  throw new ConfigError(
    'is neither an existing path nor an rclone.conf as base64; right is the output of: base64 < rclone.conf',
  );
}

/** Line breaks are allowed. Undefined for what is no base64 of UTF-8 text. */
function decodeBase64(text: string): string | undefined {
  const joined = text.replace(/\s+/g, '');
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(joined)) return undefined;
  try {
    const decoded = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(joined, 'base64'));
    return decoded.includes('\0') ? undefined : decoded;
  } catch {
    return undefined;
  }
}

const isRcloneConfig = (text: string): boolean => /^\s*\[[^\]\r\n]+\]/m.test(text) || text.includes('RCLONE_ENCRYPT_V');

/** argv can be read by every user of the machine, so a secret among rclone's flags is refused, with another way in. */
function findSecretFlag(arg: string, index: number, args: readonly string[]): string[] {
  const [, flag, inside] = /^--([a-z0-9][a-z0-9-]*)(?:=(.*))?$/is.exec(arg) ?? [];
  const value = inside ?? args[index + 1];
  if (flag === undefined || value === undefined || !isSecretFlag(flag, value)) return [];
  const variable = `RCLONE_${flag.toUpperCase().replaceAll('-', '_')}`;
  return [
    `RCLONE_EXTRA_ARGS: --${flag} would show its value to every user of this machine; right is the variable ${variable}`,
  ];
}

/** Also of a header that logs in. `--sftp-key-use-agent` and the like are followed by another flag. */
export const isSecretFlag = (flag: string, value: string): boolean =>
  (isSecretKey(flag) && !value.startsWith('--')) ||
  (/^header(-(up|down)load)?$/i.test(flag) &&
    /^\s*(authorization|cookie|[\w-]*(token|key|secret|password))\s*:/i.test(value));
