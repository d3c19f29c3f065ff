import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseDatabaseUri } from '../core/uri.ts';
import type { Config } from './config.ts';
import { parseConnectionString } from './connectionString.ts';
import { readTextFile } from './file.ts';
import { allFormsOf, isPlainValue, secretsOfEntry, secretsOfRcloneConfig } from './rcloneSecrets.ts';
import { isSecretKey } from './secretKey.ts';
import { variables } from './variables.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Every secret that we know or that our children will: what the redactor has to mask. */
export function secretsOf(
  { settings, remote, ssh, notify }: Pick<Config, 'settings' | 'remote' | 'ssh' | 'notify'>,
  env: Environment,
): readonly string[] {
  const { DB_URI, RESTORE_DB_URI, VERIFY_DB_URI } = settings;
  // RCLONE_CONFIG may be a path, which is no secret.
  const names = variables.filter(
    ({ name, secret, mask }) => secret && !mask && (name !== 'RCLONE_CONFIG' || remote.configText),
  );
  const given = names.map(({ name }) => settings[name]);
  const secrets = [
    ...given.flatMap(({ text }) => text ?? []),
    ...(ssh ? [ssh.key] : []),
    ...notify.webhooks.flatMap(secretsOfWebUrl),
    ...(notify.pingUrl === undefined ? [] : secretsOfWebUrl(notify.pingUrl)),
    ...(notify.mail?.smtp.password === undefined ? [] : [notify.mail.smtp.password]),
    ...secretsOfUri(DB_URI.text),
    ...secretsOfUri(RESTORE_DB_URI.text),
    ...secretsOfUri(VERIFY_DB_URI.text),
    ...remote.remotes.flatMap(secretsOfRemote),
    ...secretsOfRcloneConfig(remote.configText ?? readOthers(remote.configPath, env)),
    ...secretsOfEnvironment(env),
  ];
  return [...new Set(secrets)];
}

/** A part of a path that is shorter is a word. */
const MIN_PATH_KEY_LENGTH = 12;

/** Whoever knows the address of a webhook may post to it: its path and parameters are the key. */
function secretsOfWebUrl(text: string): string[] {
  const { href, pathname, search, searchParams, username, password } = new URL(text);
  const parts = pathname.split('/').filter((part) => part.length >= MIN_PATH_KEY_LENGTH);
  const path = (pathname + search).length >= MIN_PATH_KEY_LENGTH ? [pathname + search] : [];
  const login = [username, password].filter((part) => part !== '').map(decodeURIComponent);
  return [text, href, ...path, ...parts, ...searchParams.values(), ...login];
}

/** The rclone.conf that rclone takes where none is named. */
export function findOwnRcloneConfig({ XDG_CONFIG_HOME: xdg, HOME: home }: Environment): string | undefined {
  const places = [
    ...(xdg ? [join(xdg, 'rclone/rclone.conf')] : []),
    ...(home ? [join(home, '.config/rclone/rclone.conf'), join(home, '.rclone.conf')] : []),
  ];
  return places.find((place) => existsSync(place));
}

/** The rclone.conf that rclone will read; empty where there is none, or where rclone will complain about it. */
function readOthers(path: string | undefined, env: Environment): string {
  const found = path ?? findOwnRcloneConfig(env);
  try {
    return found === undefined ? '' : readTextFile(found);
  } catch {
    return '';
  }
}

/** Of one that cannot be read there are none: it is never shown. */
export function secretsOfUri(text: string | undefined): string[] {
  try {
    const { password, params } = parseDatabaseUri(text ?? '');
    const secrets = Object.entries(params).filter(([key]) => isSecretKey(key));
    // As it is written, too: who encodes more, or less, than is needed has another text.
    const [, raw] = /^[^:]+:\/\/[^/?#@:]*:([^@/?#]*)@/.exec((text ?? '').trim()) ?? [];
    return [...(password === undefined ? [] : [password]), ...(raw ? [raw] : []), ...secrets.map(([, value]) => value)];
  } catch {
    return [];
  }
}

/** Options of a connection string that are no secrets; every other may be one. */
const PLAIN_OPTIONS = new Set(
  (
    'type provider region endpoint location_constraint storage_class acl env_auth host port user domain vendor url ' +
    'account project_number remote root_folder_id team_drive drive_id drive_type shell_type'
  ).split(' '),
);

/** The secrets of a remote given as a connection string. */
export function secretsOfRemote(remote: string): string[] {
  const options = parseConnectionString(remote)?.options ?? [];
  return options
    .filter(([key, value]) => !PLAIN_OPTIONS.has(key) && !isPlainValue(value))
    .flatMap(([key, value]) => (isSecretKey(key) ? allFormsOf(value) : [value]));
}

/** What our children inherit: RCLONE_CONFIG_S3_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, PGPASSWORD, a proxy's password ... */
function secretsOfEnvironment(env: Environment): string[] {
  return Object.entries(env).flatMap(([name, value = '']) => {
    if (/_proxy$/i.test(name)) return secretsOfProxy(value);
    return /^(RCLONE_|AWS_|AZURE_|GOOGLE_|PG|DB_|POSTGRES_|MYSQL_|MARIADB_|MONGO_)/.test(name)
      ? secretsOfEntry(name, value)
      : [];
  });
}

function secretsOfProxy(value: string): string[] {
  const password = URL.canParse(value) ? new URL(value).password : '';
  return password === '' ? [] : [password, ...decoded(password)];
}

/** Nothing where a `%` begins no code: a proxy's address is not ours to refuse. */
function decoded(text: string): string[] {
  try {
    return [decodeURIComponent(text)];
  } catch {
    return [];
  }
}
