import { type Command, type Question, SCRATCH } from '../core/command.ts';
import { ConfigError, DumpError } from '../core/errors.ts';
import { findOption, type ParsedOptions } from '../core/options.ts';
import { DUMP, type DumpPlan, type DumpRequest, type Marks, type TargetFacts } from './engine.ts';
import {
  type Format,
  parsePgDumpArgs,
  readCompression,
  readFormat,
  refuseOtherConnection,
  repairFormats,
  warnAboutOptions,
} from './pgArgs.ts';
import { pgLogin } from './pgConnection.ts';

export const pgDumpVersion: Question<string> = {
  command: { file: 'pg_dump', args: ['--version'] },
  parse: ({ stdout }) => {
    const version = /^pg_dump \(PostgreSQL\) (\S+)/.exec(stdout)?.[1];
    if (version === undefined) throw new DumpError(`pg_dump --version answers ${JSON.stringify(stdout.slice(0, 100))}`);
    return `pg_dump ${version}`;
  },
};

/** Only a build without zstd complains about the option before it looks for a server, of which there is none here. */
export const pgDumpAbilities: Question<readonly string[]> = {
  command: {
    file: 'pg_dump',
    args: ['--format=custom', '--compress=zstd:3', '--no-password', `--host=${SCRATCH}`],
    env: { LC_ALL: 'C', PGHOSTADDR: '' },
  },
  exitCodes: [1],
  parse: ({ stderr }) => (/^pg_dump: error: connection to server/m.test(stderr) ? ['zstd'] : []),
};

/** Anchored at the very end; newer versions add a line that takes psql out of its restricted mode. */
export const PLAIN_MARKS: Marks = {
  begins: /^--\n-- PostgreSQL database dump\n/,
  ends: /\n-- PostgreSQL database dump complete\n--\n\n(?:\\unrestrict [A-Za-z0-9]+\n\n)?$/,
  title: '"-- PostgreSQL database dump complete"',
};

const SHAPES: Readonly<Record<Format, { extension: string; compression: string | null; marks: Marks }>> = {
  plain: { extension: '.sql', compression: null, marks: PLAIN_MARKS },
  custom: { extension: '.dump', compression: 'gzip', marks: { begins: /^PGDMP/, title: 'an archive of pg_dump' } },
  tar: { extension: '.tar', compression: null, marks: {} },
  directory: { extension: '', compression: 'gzip', marks: {} },
};

const CONTAINER_EXTENSIONS: Readonly<Record<string, string>> = { gzip: '.gz', lz4: '.lz4', zstd: '.zst' };

export function planPgDump(request: DumpRequest): DumpPlan {
  const { connection } = request;
  refuseOldClient(request);
  const { args: extraArgs, warnings } = repairFormats(request.extraArgs);
  const extra = parsePgDumpArgs(extraArgs);
  refuseOtherConnection(extra);
  const ownArgs = [...chooseFormat(request, extra), ...placeDump(request)];
  const options = parsePgDumpArgs([...ownArgs, ...extraArgs]);
  const format = readFormat(findOption(options, 'format'));
  checkMode(request, format, extra);
  if (format === 'tar') {
    throw new ConfigError(
      'DUMP_EXTRA_ARGS: --format=tar cannot be restored from a stream, since pg_restore does not read it to its end; right is --format=custom',
    );
  }
  const shape = SHAPES[format];
  const compression = readCompression(options, shape.compression);
  const container = format === 'plain' ? compression : null;
  const login = pgLogin(connection);
  const dump: Command = {
    file: 'pg_dump',
    args: [...ownArgs, ...login.args, ...extraArgs],
    env: login.env,
    files: login.files,
  };
  return {
    prepare: [],
    dump,
    format,
    compression,
    container,
    extension: shape.extension + (CONTAINER_EXTENSIONS[container ?? ''] ?? ''),
    marks: shape.marks,
    ...factsOf(options, format, connection.database),
    warnings: [...warnings, ...warnAboutOptions(options, format, request.mode)],
  };
}

function refuseOldClient({ tool, server }: DumpRequest): void {
  const client = Number(/^pg_dump (\d+)/.exec(tool)?.[1]);
  if (server.major === undefined || client >= server.major) return;
  throw new ConfigError(
    `${tool} cannot dump ${server.title}: the client must be as new as the server. ` +
      `Use the image dbstash:pg-${server.major}, or install postgresql-client-${server.major}`,
  );
}

/** What the user says of the format wins, and then our compression is not added to it. */
function chooseFormat({ mode, compress, abilities = [] }: DumpRequest, extra: ParsedOptions): readonly string[] {
  const isFolder = mode === 'directory' || mode === 'tar';
  if (!compress && !isFolder) return ['--format=plain'];
  const isOurs = findOption(extra, 'format') === undefined && findOption(extra, 'compress') === undefined;
  const own = compress ? (abilities.includes('zstd') ? ['--compress=zstd:3'] : []) : ['--compress=0'];
  return [isFolder ? '--format=directory' : '--format=custom', ...(isOurs ? own : [])];
}

/** pg_dump makes the file or folder itself. */
function placeDump({ mode, jobs }: DumpRequest): readonly string[] {
  if (mode === 'stream') return [];
  return [`--file=${DUMP}`, ...(mode !== 'file' && jobs > 1 ? [`--jobs=${jobs}`] : [])];
}

function checkMode({ mode }: DumpRequest, format: Format, extra: ParsedOptions): void {
  const isFolder = mode === 'directory' || mode === 'tar';
  if (mode !== 'stream' && findOption(extra, 'file'))
    throw new ConfigError('DUMP_EXTRA_ARGS must not say where the dump goes (--file): BACKUP_TEMP_DIR does');
  if (mode !== 'stream' && isFolder !== (format === 'directory'))
    throw new ConfigError(
      `DUMP_EXTRA_ARGS: --format=${format} does not go with BACKUP_MODE=${mode}, which takes ${isFolder ? 'directory' : 'plain or custom'}`,
    );
}

/** In an archive `--create` says nothing; in a script it names the database that is restored over. */
function factsOf(options: ParsedOptions, format: Format, database: string): { facts?: TargetFacts } {
  const isNamed = format === 'plain' && findOption(options, 'create') !== undefined;
  return isNamed ? { facts: { createsDatabase: database } } : {};
}
