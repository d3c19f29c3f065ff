import type { Connection } from '../core/connection.ts';
import { ConfigError } from '../core/errors.ts';
import { type KnownHost, parseKnownHosts } from '../core/knownHosts.ts';
import { isHost } from '../core/uri.ts';
import type { Notes } from './notes.ts';
import { findPrivateKeys, isLocked } from './privateKey.ts';
import type { Settings } from './settings.ts';
import type { Values } from './variables.ts';

/** The SSH server that the database is reached through. */
export interface SshConfig {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** PEM. */
  readonly key: string;
  readonly passphrase: string | undefined;
  readonly knownHosts: readonly KnownHost[];
}

export function parseSshHost(text: string): string {
  const host = text.trim().replace(/^\[(.*)\]$/, '$1');
  if (isHost(host) && !host.startsWith('/')) return host;
  throw new ConfigError(
    `${JSON.stringify(text)} is no host; right is a name or an address, with user and port as SSH_USER and SSH_PORT`,
  );
}

/** A private key, or that in base64. Repeats nothing of it. */
export function parseSshKey(text: string): string {
  const [key] = [text, decodeBase64(text)].flatMap(findPrivateKeys);
  if (key !== undefined) return `${key}\n`;
  throw new ConfigError(
    'it holds no private key; right is the content of a file like ~/.ssh/id_ed25519, that in base64 (base64 -w0 FILE), or its path as SSH_KEY_FILE',
  );
}

/** Lines of a known_hosts file, or those in base64. */
export function parseSshKnownHosts(text: string): readonly KnownHost[] {
  const found = [text, decodeBase64(text)].map(parseKnownHosts).find((entries) => entries.length > 0);
  if (found) return found;
  throw new ConfigError('it holds no line of a known_hosts file; right is what ssh-keyscan HOST prints');
}

/** Empty for what is no base64. */
function decodeBase64(text: string): string {
  const joined = text.replace(/\s+/g, '');
  return /^[A-Za-z0-9+/_-]+={0,2}$/.test(joined) ? Buffer.from(joined, 'base64').toString('utf8') : '';
}

const NEEDED = {
  SSH_USER: 'right is the user to log in as',
  SSH_KEY: 'right is the private key to log in with, or SSH_KEY_FILE',
  SSH_KNOWN_HOSTS: "right is the SSH server's line of known_hosts (ssh-keyscan prints it), or SSH_KNOWN_HOSTS_FILE",
} as const;

/** Undefined where there is no tunnel; what is wrong or missing is noted. */
export function resolveSsh(
  values: Values,
  settings: Settings,
  connection: Connection | undefined,
  { problems, warnings }: Notes,
): SshConfig | undefined {
  const { SSH_HOST: host, SSH_PORT: port, SSH_USER: user, SSH_KEY: key, SSH_KNOWN_HOSTS: knownHosts } = values;
  const { SSH_KEY_PASSPHRASE: passphrase } = values;
  if (settings.SSH_HOST.text === undefined) {
    const given = (['SSH_KEY', 'SSH_KNOWN_HOSTS', 'SSH_KEY_PASSPHRASE'] as const).filter((name) => settings[name].text);
    if (given.length > 0) warnings.push(`${given.join(', ')} without SSH_HOST: there is no tunnel`);
    return undefined;
  }
  const missing = Object.entries(NEEDED).filter(([name]) => settings[name as keyof typeof NEEDED].text === undefined);
  problems.push(...missing.map(([name, right]) => `${name}: is not set, and SSH_HOST is; ${right}`));
  if (key !== undefined && isLocked(key) && passphrase === undefined)
    problems.push('SSH_KEY: it has a passphrase; right is that passphrase as SSH_KEY_PASSPHRASE');
  const obstacle = connection && findObstacle(connection);
  if (obstacle) problems.push(`SSH_HOST: ${obstacle}`);
  if (host === undefined || user === undefined || key === undefined || !knownHosts) return undefined;
  return { host, port, user, key, passphrase, knownHosts };
}

function findObstacle({ engine, hosts, params, isSrv }: Connection): string | undefined {
  if (engine === 'sqlite') return 'sqlite is a file, to which no tunnel leads; run dbstash where the file is';
  const right = 'right is its name or address as the SSH server sees it, localhost for one that runs there';
  if (hosts.length === 0) return `the URI names no host of the database; ${right}`;
  if (hosts.some(({ host }) => host.startsWith('/')))
    return `the database is given as a Unix socket, to which no tunnel leads; ${right}`;
  const socket = Object.keys(params).find((name) => /^(unix_?)?socket$/i.test(name));
  if (socket !== undefined)
    return `the URI names a Unix socket (${socket}), which the client would take instead of the tunnel`;
  const group = Object.keys(params).find((name) => /^(replicaset|loadbalanced)$/i.test(name));
  if (engine === 'mongo' && (isSrv || hosts.length > 1 || group !== undefined))
    return 'the members of a MongoDB replica set are reached by their own names, past any tunnel; right is mongodb:// with one of them, and no replicaSet';
  return undefined;
}
