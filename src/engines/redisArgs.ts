import { ConfigError } from '../core/errors.ts';

/** Options of redis-cli that leave a dump what it is, and how many values each takes: always apart, never after a `=`. */
const HARMLESS: Readonly<Record<string, number>> = {
  '-t': 1,
  '-2': 0,
  '-4': 0,
  '-6': 0,
  '--verbose': 0,
  '--no-auth-warning': 0,
  '--tls': 0,
  '--insecure': 0,
  '--sni': 1,
  '--cacert': 1,
  '--cacertdir': 1,
  '--cert': 1,
  '--key': 1,
  '--tls-ciphers': 1,
  '--tls-ciphersuites': 1,
};

/** Options that would make the dump speak of another server than its name, series and manifest. */
const PLACES = ['-h', '-p', '-s', '-u', '-n', '-c', '--user', '--cluster'];
const PASSWORDS = ['-a', '--pass', '--askpass'];
const OUTPUTS = ['--rdb', '--functions-rdb'];

/** DUMP_EXTRA_ARGS as redis-cli reads them. Throws `ConfigError` for the first that does not go with a dump. */
export function checkRedisArgs(args: readonly string[]): readonly string[] {
  for (let at = 0; at < args.length; at++) {
    const arg = args[at]!;
    const values = Object.hasOwn(HARMLESS, arg) ? HARMLESS[arg]! : refuse(arg);
    if (at + values >= args.length) throw new ConfigError(`DUMP_EXTRA_ARGS: ${arg} needs a value`);
    at += values;
  }
  return args;
}

function refuse(arg: string): never {
  if (PLACES.includes(arg))
    throw new ConfigError(`DUMP_EXTRA_ARGS must not say where the database is (${arg}): DB_URI or DB_* do`);
  if (PASSWORDS.includes(arg))
    throw new ConfigError(`DUMP_EXTRA_ARGS must not hold a password (${arg}): DB_URI or DB_PASSWORD do`);
  if (OUTPUTS.includes(arg))
    throw new ConfigError(`DUMP_EXTRA_ARGS must not say what is dumped and where to (${arg}): BACKUP_MODE does`);
  const known = Object.keys(HARMLESS).join(', ');
  // What is no option may be a secret.
  const what = arg.startsWith('-') ? arg.split('=')[0] : 'a word that belongs to no option';
  throw new ConfigError(`DUMP_EXTRA_ARGS: ${what} does not go with a dump by redis-cli, which takes ${known}`);
}
