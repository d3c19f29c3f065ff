import { type Command, SCRATCH } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import { ConfigError } from '../core/errors.ts';
import { type ParsedOptions, parseOptions } from '../core/options.ts';
import { type CheckPlan, type CheckRequest, DUMP, type DumpPlan, type DumpRequest, type Server } from './engine.ts';
import { knowsMysqldumpOption } from './mysqlArgs.ts';
import { hostOf, type MysqlLogin, mysqlLogin, OPTION_FILE, socketOf, tlsOf } from './mysqlConnection.ts';
import { type Flavor, readRelease } from './mysqlFlavor.ts';
import { versionedOf } from './mysqlHistory.ts';
import { type MysqlFacts, mysqlFacts } from './mysqlInspect.ts';

/** Options of mydumper 0.10 to 0.19, for reading arguments as it does. */
const OPTIONS = [
  '?|help B|database= T|tables-list= O|omit-from-file= o|outputdir= s|statement-size= r|rows= F|chunk-filesize=',
  'c|compress e|build-empty-files x|regex= i|ignore-engines= N|insert-ignore m|no-schemas d|no-data G|triggers E|events',
  'R|routines W|no-views k|no-locks no-backup-locks less-locking l|long-query-guard= K|kill-long-queries D|daemon',
  'I|snapshot-interval= L|logfile= tz-utc skip-tz-utc use-savepoints success-on-1146 lock-all-tables U|updated-since=',
  'trx-consistency-only complete-insert z|tidb-snapshot= h|host= u|user= p|password= a|ask-password P|port= S|socket=',
  't|threads= C|compress-protocol V|version v|verbose= defaults-file= defaults-extra-file= ssl key= cert= ca= capath=',
  'cipher= trx-tables sync-thread-lock-mode= where= hex-blob stream= order-by-primary skip-definer',
].flatMap((line) => line.split(' '));

/** What does for mydumper what a flag does for mysqldump. */
const INSTEAD: Readonly<Record<string, string>> = {
  'single-transaction': '--trx-consistency-only',
  'ignore-table': '--omit-from-file=FILE or --regex=PATTERN',
  'ignore-views': '--no-views',
  'no-create-info': '--no-schemas',
  tables: '--tables-list=TABLE,TABLE',
  'net-buffer-length': '--statement-size=BYTES',
  'lock-tables': '--lock-all-tables',
};

/** What we say, and what would lead elsewhere. */
const OURS = new Set([
  'database',
  'outputdir',
  'host',
  'user',
  'password',
  'ask-password',
  'port',
  'socket',
  'defaults-file',
  'defaults-extra-file',
  'daemon',
  'stream',
]);

/** A folder of one file or more per table, written in parallel from one snapshot. */
export function planMydumper(flavor: Flavor, request: DumpRequest): DumpPlan {
  const { connection, server, jobs, compress, extraArgs } = request;
  const facts = mysqlFacts.parse(server.target);
  const { leftOut } = facts;
  const extra = parseOptions(extraArgs, OPTIONS);
  checkExtraArgs(extra);
  refuseUnrestorable(server, facts);
  if (leftOut?.tables?.length)
    throw new ConfigError(
      `mydumper would stop at what the login may not read, ${leftOut.tables.join(', ')}: right is ${server.unreadable?.remedy}`,
    );
  const isCompressed = compress || extra.options.some(({ name }) => name === 'compress');
  const login = connect(flavor, connection);
  return {
    prepare: [],
    dump: {
      file: 'mydumper',
      args: [
        ...login.args,
        `--database=${connection.database}`,
        `--outputdir=${DUMP}`,
        `--threads=${jobs}`,
        ...(leftOut?.triggers ? [] : ['--triggers']),
        ...(leftOut?.events ? [] : ['--events']),
        ...(leftOut?.routines ? [] : ['--routines']),
        ...(compress ? ['--compress'] : []),
        ...extraArgs,
      ],
      env: login.env,
      files: login.files,
    },
    format: 'mydumper',
    compression: isCompressed ? 'gzip' : null,
    container: null,
    extension: '',
    marks: {},
    facts: { sourceDatabase: connection.database },
    warnings: [],
  };
}

/**
 * mydumper 0.10 forgets in which sql_mode a trigger, a procedure or an event was made, and in which time zone, and of MySQL 9, which shows a column
 * more, takes one for another: myloader then stops, or makes something else (seen). A blank that it puts behind each ; at the
 * end of a line of them matters only within quotes.
 */
function refuseUnrestorable(server: Server, { hasRoutines, otherModes = [] }: MysqlFacts): void {
  const { title, notes = {} } = server;
  const { isMariaDb, rank } = readRelease(title);
  const history = versionedOf(server);
  if (history.length > 0)
    throw new ConfigError(
      `mydumper leaves out the history of ${history.join(', ')} (system versioned): right is BACKUP_MODE=stream or file`,
    );
  if (Array.isArray(notes.ambiguous) && notes.ambiguous.length > 0)
    throw new ConfigError(
      `mydumper takes the name of ${notes.ambiguous.join(', ')} for one of its own: right is BACKUP_MODE=stream or file`,
    );
  const lost = hasRoutines && !isMariaDb && rank >= 9000 ? `the procedures and functions of ${title}` : undefined;
  const changed =
    otherModes.length > 0
      ? `what was made in another sql_mode than the server's own, or in a time zone (${otherModes.join(', ')})`
      : undefined;
  if (lost === undefined && changed === undefined) return;
  throw new ConfigError(
    `mydumper writes ${lost ?? changed} in a form that does not restore: right is BACKUP_MODE=stream or file`,
  );
}

function checkExtraArgs({ options, operands }: ParsedOptions): void {
  for (const { name } of options) {
    if (OURS.has(name))
      throw new ConfigError(`DUMP_EXTRA_ARGS must not hold --${name}: dbstash says that to mydumper itself`);
    const plain = name.replace(/^skip-/, '').replaceAll('_', '-');
    if (OPTIONS.some((option) => option.replace(/^.\|/, '').replace('=', '') === name)) continue;
    if (knowsMysqldumpOption(plain)) {
      const instead = INSTEAD[plain];
      throw new ConfigError(
        `DUMP_EXTRA_ARGS: --${name} is a flag of mysqldump, and BACKUP_MODE directory and tar use mydumper, ` +
          (instead === undefined ? 'which has nothing like it' : `where it is ${instead}`),
      );
    }
  }
  if (operands.length > 0)
    throw new ConfigError('DUMP_EXTRA_ARGS holds a word that belongs to no option, which mydumper does not take');
}

/** Whole again in one database, whatever its name. */
export function myloader(flavor: Flavor, connection: Connection, folder: string, source: string | undefined): Command {
  const login = connect(flavor, connection);
  return {
    file: 'myloader',
    args: [
      ...login.args,
      `--directory=${folder}`,
      `--database=${connection.database}`,
      ...(source === undefined ? [] : [`--source-db=${source}`]),
      '--enable-binlog',
    ],
    env: login.env,
    files: login.files,
  };
}

/** The password stands in the file alone; what else is there mydumper does not read in every version. */
function connect(flavor: Flavor, connection: Connection): MysqlLogin {
  const { env, files } = mysqlLogin(flavor, connection);
  const { host, port } = hostOf(connection);
  const socket = socketOf(connection);
  const tls = tlsOf(connection);
  return {
    args: [
      `--defaults-file=${OPTION_FILE}`,
      ...(socket === undefined
        ? [`--host=${host === 'localhost' ? '127.0.0.1' : host}`, `--port=${port}`]
        : [`--socket=${socket}`]),
      ...(connection.user === undefined ? [] : [`--user=${connection.user}`]),
      ...(tls === 'require' || tls === 'verify' ? ['--ssl'] : []),
      ...(connection.tlsCa === undefined ? [] : [`--ca=${SCRATCH}/ca.pem`]),
    ],
    env,
    files,
  };
}

/** Its last words stand in a file of their own. Of a script nothing but its hash tells more than was looked at when it was made. */
export const planMysqlCheck = ({ format }: CheckRequest): CheckPlan => ({
  commands: format === 'mydumper' ? [{ file: 'grep', args: ['-q', '^Finished dump at', `${DUMP}/metadata`] }] : [],
});
