import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { freePort, scratchFolder } from './scratch.ts';
import { isListening, startServer } from './server.ts';
import { requireTool } from './tools.ts';

interface SshdOptions {
  /** Types of the host's keys. */
  readonly keyTypes?: readonly string[];
  /** Lines of sshd_config, before all others. */
  readonly config?: readonly string[];
  readonly passphrase?: string;
}

/** A real sshd on a free port of 127.0.0.1, which lets one key in, as the user whom we run as. */
export interface SshServer extends AsyncDisposable {
  readonly port: number;
  readonly user: string;
  /** The private key that it lets in. */
  readonly key: string;
  /** Its lines of known_hosts. */
  readonly knownHosts: string;
  /** The SHA-256 of its host key of that type, as ssh-keygen shows it. */
  fingerprint(type: string): string;
  /** Process ids of the connections that there are. */
  sessions(): number[];
  /** Kills them; the server goes on. */
  killSessions(): void;
  /** The variables of a tunnel through it. */
  env(): Record<string, string>;
  stop(): Promise<void>;
}

export async function startSshd(options: SshdOptions = {}): Promise<SshServer> {
  const { keyTypes = ['ed25519'], config = [], passphrase = '' } = options;
  await using starting = new AsyncDisposableStack();
  const scratch = starting.use(scratchFolder());
  const at = (name: string) => join(scratch.path, name);
  for (const type of keyTypes) makeKey(at(`host-${type}`), type);
  makeKey(at('user'), 'ed25519', passphrase);
  const port = await freePort();
  const lines = [
    ...config,
    `ListenAddress 127.0.0.1:${port}`,
    ...keyTypes.map((type) => `HostKey ${at(`host-${type}`)}`),
    `AuthorizedKeysFile ${at('user.pub')}`,
    'PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no',
    'KbdInteractiveAuthentication no\nMaxStartups 100',
  ];
  writeFileSync(at('config'), `${lines.join('\n')}\n`);
  // Where root's sshd locks up what it does not trust yet; its service makes it otherwise.
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  const server = await startServer({
    file: requireTool('sshd'),
    args: ['-D', '-e', '-f', at('config')],
    env: {},
    isReady: () => isListening(port),
  });
  const sessions = () => descendantsOf(server.pid);
  const killSessions = () => {
    for (const pid of sessions()) kill(pid);
  };
  starting.defer(server.stop);
  starting.defer(killSessions);
  const publicKeys = keyTypes.map((type) =>
    readFileSync(at(`host-${type}.pub`), 'utf8')
      .split(' ')
      .slice(0, 2)
      .join(' '),
  );
  const knownHosts = publicKeys.map((key) => `[127.0.0.1]:${port} ${key}\n`).join('');
  const { username: user } = userInfo();
  const key = readFileSync(at('user'), 'utf8');
  const running = starting.move();
  const stop = () => running.disposeAsync();
  return {
    port,
    user,
    key,
    knownHosts,
    fingerprint: (type) => fingerprintOf(at(`host-${type}.pub`)),
    sessions,
    killSessions,
    env: () => ({
      SSH_HOST: '127.0.0.1',
      SSH_PORT: String(port),
      SSH_USER: user,
      SSH_KEY: key,
      SSH_KNOWN_HOSTS: knownHosts,
      ...(passphrase && { SSH_KEY_PASSPHRASE: passphrase }),
    }),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Makes `file` and `file.pub`. */
export function makeKey(file: string, type: string, passphrase = ''): void {
  execFileSync(requireTool('ssh-keygen'), ['-q', '-t', type, '-N', passphrase, '-C', '', '-f', file]);
}

const fingerprintOf = (file: string): string =>
  execFileSync(requireTool('ssh-keygen'), ['-l', '-E', 'sha256', '-f', file], { encoding: 'utf8' }).split(' ')[1] ?? '';

function descendantsOf(pid: number): number[] {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => [Number(name), parentOf(name)]);
  const children = parents.flatMap(([child, parent]) => (parent === pid ? [child!] : []));
  return children.flatMap((child) => [child, ...descendantsOf(child)]);
}

function parentOf(pid: string): number | undefined {
  try {
    return Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  } catch {
    return undefined;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}
