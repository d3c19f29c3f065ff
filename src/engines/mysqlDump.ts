import type { Question } from '../core/command.ts';
import { DumpError } from '../core/errors.ts';
import type { ParsedOptions } from '../core/options.ts';
import { DUMP, type DumpPlan, type DumpRequest, type Marks, type Server, type TargetFacts } from './engine.ts';
import { planMydumper } from './mydumper.ts';
import {
  hasComments,
  isOn,
  parseMysqlArgs,
  refuseElsewhere,
  refuseOtherConnection,
  warnAboutOptions,
} from './mysqlArgs.ts';
import { mysqlLogin, readParams } from './mysqlConnection.ts';
import { type Flavor, readRelease, titleOf } from './mysqlFlavor.ts';
import { knowsHistory, versionedOf, warnOfHistory } from './mysqlHistory.ts';
import { mysqlFacts } from './mysqlInspect.ts';

/** "mysqldump 8.0.36", "mariadb-dump 10.11.6-MariaDB"; also of one name's program that is the other's. */
export const mysqldumpVersion = ({ dumpTool }: Flavor): Question<string> => ({
  command: { file: dumpTool, args: ['--no-defaults', '--version'] },
  parse: ({ stdout }) => {
    const version = /(?:Distrib |from )(\d+\.\d[\w.-]*)/.exec(stdout)?.[1] ?? /Ver (\d+\.\d[\w.-]*)/.exec(stdout)?.[1];
    if (version === undefined)
      throw new DumpError(`${dumpTool} --version answers ${JSON.stringify(stdout.slice(0, 100))}`);
    return `${dumpTool} ${version}`;
  },
});

export const SQL_MARKS: Marks = {
  begins: /^(?:\/\*M!999999\\- enable the sandbox mode \*\/ ?\n)?-- (?:MySQL|MariaDB) dump /,
  ends: /\n-- Dump completed(?: on [\d :-]+)?\n$/,
  title: '"-- Dump completed"',
};

const XML_MARKS: Marks = {
  begins: /^<\?xml /,
  ends: /<\/mysqldump>\n$/,
  title: '"</mysqldump>"',
};

export const planMysqlDump =
  (flavor: Flavor) =>
  (request: DumpRequest): DumpPlan => {
    const { mode } = request;
    const plan = mode === 'directory' || mode === 'tar' ? planMydumper(flavor, request) : planSql(flavor, request);
    return { ...plan, warnings: [...warnAboutPlace(flavor, request), ...plan.warnings] };
  };

/** One script. The user's arguments come last and win; what they turn off of the defaults is warned about. */
function planSql(flavor: Flavor, { connection, server, tool, mode, compress, extraArgs }: DumpRequest): DumpPlan {
  const extra = parseMysqlArgs(extraArgs);
  refuseOtherConnection(extra, flavor.dumpTool);
  if (mode === 'file') refuseElsewhere(extra);
  const login = mysqlLogin(flavor, connection);
  const isAll = isOn(extra, 'all-databases');
  const isXml = isOn(extra, 'xml');
  return {
    prepare: [],
    dump: {
      file: flavor.dumpTool,
      args: [
        ...login.args,
        ...chooseContent(extra, server, tool, connection.database),
        ...(mode === 'file' ? [`--result-file=${DUMP}`] : []),
        ...extraArgs,
        ...(isAll ? [] : ['--', connection.database]),
      ],
      env: login.env,
      files: login.files,
    },
    format: isXml ? 'xml' : 'sql',
    compression: null,
    container: null,
    extension: isXml ? '.xml' : '.sql',
    marks: marksOf(extra, isXml),
    ...factsOf(extra, connection.database),
    warnings: [
      ...warnOfHistory(tool, server),
      ...(compress ? [NO_COMPRESSION] : []),
      ...warnAboutOptions(extra, mode === 'stream'),
    ],
  };
}

const NO_COMPRESSION =
  'BACKUP_COMPRESS=true changes nothing: the dump tool has no compression of its own; gzip and zstd do it';

function chooseContent(extra: ParsedOptions, server: Server, tool: string, database: string): readonly string[] {
  const { leftOut } = mysqlFacts.parse(server.target);
  const client = readRelease(tool);
  return [
    // The two exclude each other.
    ...(isOn(extra, 'lock-all-tables') ? [] : ['--single-transaction']),
    '--quick',
    leftOut?.routines ? '--skip-routines' : '--routines',
    leftOut?.events ? '--skip-events' : '--events',
    leftOut?.triggers ? '--skip-triggers' : '--triggers',
    '--no-tablespaces',
    '--hex-blob',
    ...(knowsHistory(client) && versionedOf(server).length > 0 ? ['--dump-history'] : []),
    // Older tools would take three bytes of a character, and put a question mark for one of four.
    '--default-character-set=utf8mb4',
    '--max-allowed-packet=1G',
    ...(client.isMariaDb ? [] : chooseForMysql(client.rank, server)),
    ...(leftOut?.tables ?? []).map((table) => `--ignore-table=${database}.${table}`),
  ];
}

/**
 * The dump of one database must not set the server's list of transactions: it would fail where that has any, and turn the
 * binary log off, so that replicas miss what was restored. Histograms are asked for only where the server has them.
 */
function chooseForMysql(rank: number, { title }: Server): readonly string[] {
  const server = readRelease(title);
  const hasHistograms = !server.isMariaDb && server.rank >= 8000;
  return ['--set-gtid-purged=OFF', ...(rank >= 8000 && !hasHistograms ? ['--column-statistics=0'] : [])];
}

function marksOf(extra: ParsedOptions, isXml: boolean): Marks {
  if (isXml) return XML_MARKS;
  return hasComments(extra) ? SQL_MARKS : {};
}

/** The database, or `*`, that the dump itself names and is restored over. */
function factsOf(extra: ParsedOptions, database: string): { facts?: TargetFacts } {
  if (isOn(extra, 'all-databases')) return { facts: { createsDatabase: '*' } };
  return isOn(extra, 'databases') ? { facts: { createsDatabase: database } } : {};
}

/** F56: an old client may well work. What it does not know of a newer server it leaves out. */
function warnAboutPlace(flavor: Flavor, { connection, server, tool }: DumpRequest): readonly string[] {
  const { ignored } = readParams(connection);
  const [client, found] = [readRelease(tool), readRelease(server.title)];
  const rules: readonly (readonly [boolean, string])[] = [
    [
      client.isMariaDb === found.isMariaDb && client.rank < found.rank,
      `${tool} is older than the server, ${server.title}: what it does not know may be missing in the dump; install a newer client`,
    ],
    [
      client.isMariaDb !== found.isMariaDb,
      `${tool} is ${titleOf(client)}'s, the server is ${server.title}: what only one of them knows may be missing in the dump`,
    ],
    [
      (flavor.name === 'mariadb') !== found.isMariaDb,
      `the server is ${server.title}: right is ENGINE=${found.isMariaDb ? 'mariadb' : 'mysql'}`,
    ],
    [
      ignored.length > 0,
      `of the URI the parameters ${ignored.join(', ')} mean nothing to ${flavor.dumpTool}, and are ignored`,
    ],
  ];
  return rules.filter(([applies]) => applies).map(([, text]) => text);
}
