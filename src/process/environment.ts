/** Names (or prefixes, ending in `*`) that every child gets. */
const COMMON = ['PATH', 'HOME', 'TMPDIR', 'TZ', 'LANG', 'LC_*', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'LD_LIBRARY_PATH'];

const PROXIES = [
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
  'ALL_PROXY',
  'http_proxy',
  'https_proxy',
  'no_proxy',
  'all_proxy',
];

/** What an engine's tools get of our environment. */
export const TOOL_NAMES = [...COMMON, 'PG*'];

/** Where rclone looks for its own configuration and for the agent that has the keys of SFTP. */
const RCLONE_PLACES = ['XDG_CONFIG_HOME', 'XDG_CACHE_HOME', 'SSH_AUTH_SOCK'];

const RCLONE_NAMES = [...COMMON, ...PROXIES, ...RCLONE_PLACES, 'RCLONE_*', 'AWS_*', 'AZURE_*', 'GOOGLE_*'];

/** Mean something else to us than to rclone, which takes every RCLONE_X for its flag --x. */
const OURS = /^RCLONE_(REMOTE(_\d)?|CONFIG|EXTRA_ARGS|CONFIG_PASS)(_FILE)?$/;

/** Before this version rclone refuses S3 where AWS_CA_BUNDLE is set (LoadCustomCABundleError). */
const TAKES_CA_BUNDLE = [1, 63] as const;

type Environment = Readonly<Record<string, string | undefined>>;

/** The variables of `env` that `names` lists: children get an environment from a list, never ours. */
export function pickEnvironment(env: Environment, names: readonly string[]): Record<string, string> {
  const isListed = (name: string) =>
    names.some((entry) => (entry.endsWith('*') ? name.startsWith(entry.slice(0, -1)) : name === entry));
  const picked: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && isListed(name)) picked[name] = value;
  }
  return picked;
}

/** What rclone gets of our environment. `version` is its own, "1.60.1"; undefined while it is not known. */
export function pickRcloneEnvironment(env: Environment, version: string | undefined): Record<string, string> {
  const picked = pickEnvironment(env, RCLONE_NAMES);
  const isKept = (name: string) => !OURS.test(name) && (name !== 'AWS_CA_BUNDLE' || takesCaBundle(version));
  return Object.fromEntries(Object.entries(picked).filter(([name]) => isKept(name)));
}

function takesCaBundle(version = '0.0'): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > TAKES_CA_BUNDLE[0] || (major === TAKES_CA_BUNDLE[0] && minor >= TAKES_CA_BUNDLE[1]);
}
