import * as z from 'zod';
import type { Answer, Question } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import { ConfigError, DumpError } from '../core/errors.ts';
import type { Server, Target } from './engine.ts';
import { redisCli } from './redisConnection.ts';

/** What the manifest carries. */
export const redisFacts = z
  .object({
    /** Redis or Valkey, and its version. */
    product: z.string(),
    version: z.string(),
    keys: z.number(),
    /** One more than the highest number of a database with keys. */
    databases: z.number(),
  })
  .partial();

/** redis-cli waits for ever for a server that does not speak TLS, and so does not understand how it is spoken to. */
const waitFor = ({ tls }: Connection): NonNullable<Question<Server>['deadline']> => ({
  ms: 30_000,
  message: `redis-cli got no answer from the server within 30 s${tls === undefined || tls === 'disable' ? '' : ': perhaps it does not speak TLS (right is redis://, without DB_TLS)'}`,
});

/**
 * What INFO prints is raw, whatever is asked for; every other answer here is one line of its own, quoted, so that it is
 * known from an error. SYNC itself cannot be tried: it makes the server fork. Which of the two ways of asking for the right
 * to it is open to the login, is not known; perhaps neither. REPLCONF without arguments does nothing.
 */
export function inspectRedis(connection: Connection): Question<Server> {
  const user = quote(connection.user ?? 'default');
  const questions = ['REPLCONF', `ACL DRYRUN ${user} SYNC`, `EVAL "return redis.acl_check_cmd('SYNC') and 1 or 0" 0`];
  return {
    command: { ...redisCli(connection, ['--no-raw']), input: ['INFO', ...questions, ''].join('\n') },
    deadline: waitFor(connection),
    exitCodes: [0, 1],
    parse: (answer) => {
      const info = readInfo(answer, connection);
      const [replconf = '', dryRun = '', script = ''] = answer.stdout.trimEnd().split(/\r?\n/).slice(-questions.length);
      refuseUnfit(info);
      const isRefused = /^"[^"]*no permissions/.test(dryRun) || script === '(integer) 0';
      return describeServer(info, connection, { isRefused, hasReplconf: !/NOPERM/.test(replconf) });
    },
  };
}

interface Rights {
  readonly isRefused: boolean;
  readonly hasReplconf: boolean;
}

function describeServer(info: Info, connection: Connection, { isRefused, hasReplconf }: Rights): Server {
  const grant = `ACL SETUSER ${connection.user ?? 'default'}`;
  const { product, version } = info;
  const primary = info.get('role') === 'slave' ? `${info.get('master_host')}:${info.get('master_port')}` : undefined;
  const isCutOff = primary !== undefined && info.get('master_link_status') !== 'up';
  return {
    title: `${product} ${version}${primary === undefined ? '' : `, a replica of ${primary}`}`,
    // A run id changes with every start, a replication id with every failover and most starts: neither is the server's.
    serverId: null,
    bytes: Number(info.get('used_memory_dataset') ?? 0),
    target: { product, version, keys: info.keys, databases: info.databases },
    major: undefined,
    needsCopy: false,
    ...(isRefused && { unreadable: { names: ['the dataset (SYNC)'], remedy: `${grant} +sync +replconf` } }),
    warnings: [
      ...(isCutOff ? [`the replica has lost its primary ${primary}: what it holds may be old`] : []),
      ...(hasReplconf || isRefused
        ? []
        : [
            `the login may not run REPLCONF, so that the server writes each dump to its own disk first: ${grant} +replconf`,
          ]),
    ],
  };
}

function refuseUnfit(info: Info): void {
  if (info.get('redis_mode') === 'sentinel')
    throw new ConfigError('this is a sentinel, which holds no data; right is the address of a primary or a replica');
  if (info.get('cluster_enabled') === '1')
    throw new ConfigError(
      'this is a node of a cluster, which holds the keys of its own slots only; a cluster is not backed up by this version as a whole',
    );
  if (info.get('loading') === '1') throw new DumpError('the server is still loading its data');
}

/** What a restore would meet. */
export function inspectRedisTarget(connection: Connection): Question<Target> {
  return {
    command: { ...redisCli(connection, ['--no-raw']), input: 'INFO\nFUNCTION LIST\n' },
    deadline: waitFor(connection),
    exitCodes: [0, 1],
    parse: (answer) => {
      const info = readInfo(answer, connection);
      refuseTarget(info);
      const libraries = answer.stdout.match(/^\s*\d+\) 1\) "library_name"\r?$/gm)?.length ?? 0;
      const { product, version, keys } = info;
      return {
        exists: true,
        holds: [...count(keys, 'key', 'keys'), ...count(libraries, 'function library', 'function libraries')].join(
          ', ',
        ),
        missingRoles: [],
        title: `${product} ${version}`,
        major: undefined,
      };
    },
  };
}

function refuseTarget(info: Info): void {
  if (info.get('cluster_enabled') === '1')
    throw new ConfigError('the target is a node of a cluster, which takes the keys of its own slots only');
  if (info.get('role') === 'slave')
    throw new ConfigError(
      `the target is a replica: restore into its primary, ${info.get('master_host')}:${info.get('master_port')}`,
    );
  if (info.get('redis_mode') === 'sentinel') throw new ConfigError('the target is a sentinel, which holds no data');
  if (info.get('loading') === '1') throw new DumpError('the target is still loading its data');
}

const count = (number: number, one: string, many: string): string[] =>
  number === 0 ? [] : [`${number} ${number === 1 ? one : many}`];

interface Info {
  readonly product: 'Redis' | 'Valkey';
  readonly version: string;
  readonly keys: number;
  readonly databases: number;
  get(name: string): string | undefined;
}

/** Throws `DumpError` where the server did not tell. */
function readInfo(answer: Answer, connection: Connection): Info {
  const fields = new Map<string, string>();
  for (const line of answer.stdout.split(/\r?\n/)) {
    const [, name, value] = /^([a-z][a-z0-9_]*):(.*)$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) fields.set(name, value);
  }
  const get = (name: string) => fields.get(name);
  const valkey = get('valkey_version');
  const version = valkey ?? get('redis_version');
  if (version === undefined) throw new DumpError(explain(answer, connection));
  const filled = [...fields].flatMap(([name, value]) => {
    const [, number] = /^db(\d+)$/.exec(name) ?? [];
    const [, keys] = /^keys=(\d+)/.exec(value) ?? [];
    return number === undefined || keys === undefined ? [] : [{ number: Number(number), keys: Number(keys) }];
  });
  return {
    product: valkey === undefined ? 'Redis' : 'Valkey',
    version,
    keys: filled.reduce((sum, { keys }) => sum + keys, 0),
    databases: Math.max(0, ...filled.map(({ number }) => number + 1)),
    get,
  };
}

/** redis-cli exits 0 on most errors. What it or the server said, and what would be right. */
const CAUSES: readonly (readonly [when: RegExp, say: (connection: Connection) => string])[] = [
  [
    /called without any password|no password is set/,
    () => 'the server has no password for this login, and was given one: leave it out',
  ],
  [/WRONGPASS|AUTH failed|invalid password/, ({ user }) => `the server refuses the password of ${nameOf(user)}`],
  [/NOAUTH/, () => 'the server wants a password and was given none; right is DB_PASSWORD, or a URI with one'],
  [/NOPERM/, ({ user }) => `the login may not run INFO: ACL SETUSER ${user ?? 'default'} +info +sync +replconf`],
  [/DENIED/, () => 'the server is in protected mode and takes no connection from elsewhere: it needs a password'],
  [/LOADING/, () => 'the server is still loading its data'],
  [
    /closed the connection|Connection reset|I\/O error/i,
    ({ tls }) =>
      `the server closed the connection at the first word${tls === undefined ? ': it may want TLS (rediss://, or DB_TLS)' : ''}`,
  ],
];

const nameOf = (user: string | undefined): string => (user === undefined ? 'the default user' : `user ${user}`);

function explain({ stdout, stderr }: Answer, connection: Connection): string {
  const said = `${stderr}\n${stdout}`.trim();
  const first = said.split(/\r?\n/)[0] ?? '';
  // It names the place, and why.
  if (/^Could not connect/.test(first)) return first;
  const cause = CAUSES.find(([when]) => when.test(said));
  if (cause) return `${cause[1](connection)} (${first})`;
  return first === '' ? 'redis-cli got no answer from the server' : `redis-cli got no answer to INFO: ${first}`;
}

/** A word for redis-cli's standard input. */
const quote = (text: string): string =>
  `"${[...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}"`;
