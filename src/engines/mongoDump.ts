import type { Question } from '../core/command.ts';
import { DumpError } from '../core/errors.ts';
import { findOption } from '../core/options.ts';
import { type CheckPlan, type CheckRequest, DUMP, type DumpPlan, type DumpRequest, type Marks } from './engine.ts';
import { mongoNotes } from './mongoAnswers.ts';
import { parseMongoDumpArgs, warnAboutOptions } from './mongoArgs.ts';
import { mongoTool } from './mongoConnection.ts';

export const mongodumpVersion: Question<string> = {
  command: { file: 'mongodump', args: ['--version'] },
  parse: ({ stdout }) => {
    const version = /^mongodump version: (\S+)/.exec(stdout)?.[1];
    if (version === undefined)
      throw new DumpError(`mongodump --version answers ${JSON.stringify(stdout.slice(0, 100))}`);
    return `mongodump ${version}`;
  },
};

/**
 * Each block of an archive ends with four bytes of 0xff, which are therefore no sign of its end. The last block is a
 * namespace's last one: its header with EOF and a checksum, and nothing in it. An archive without namespaces ends after
 * its own header.
 */
export const ARCHIVE_MARKS: Marks = {
  begins: new RegExp(`^${hex('6de29981')}`),
  ends: new RegExp(
    `(?:${hex('08')}EOF${hex('000112')}CRC${hex('00')}.{8}${hex('00')}` +
      `|${hex('02')}tool_version${hex('00')}.{4}[ -~]*${hex('0000')})${hex('ffffffff')}$`,
    's',
  ),
  title: 'the end of its last collection',
};

function hex(bytes: string): string {
  return bytes.replace(/../g, '\\x$&');
}

export function planMongoDump(request: DumpRequest): DumpPlan {
  const { connection, server, mode, jobs, compress, extraArgs } = request;
  const { database } = connection;
  const notes = mongoNotes.parse(server.notes ?? {});
  const options = parseMongoDumpArgs(extraArgs);
  const has = (name: string) => findOption(options, name) !== undefined;
  const isFolder = mode === 'directory' || mode === 'tar';
  const isWhole = database === '';
  const gzip = compress || has('gzip');
  const oplog = has('oplog') || (isWhole && notes.isReplicaSet === true && notes.canReadOplog === true);
  const ownArgs = [
    ...(isWhole ? [] : [`--db=${database}`]),
    ...(isFolder ? [`--out=${DUMP}`, `--numParallelCollections=${jobs}`] : []),
    ...(mode === 'file' ? [`--archive=${DUMP}`] : []),
    ...(mode === 'stream' ? ['--archive'] : []),
    ...(gzip && !has('gzip') ? ['--gzip'] : []),
    ...(oplog && !has('oplog') ? ['--oplog'] : []),
  ];
  return {
    prepare: [],
    dump: mongoTool('mongodump', connection, [...ownArgs, ...extraArgs], notes.authSource),
    format: isFolder ? 'directory' : 'archive',
    compression: gzip ? 'gzip' : null,
    container: gzip && !isFolder ? 'gzip' : null,
    extension: isFolder ? '' : `.archive${gzip ? '.gz' : ''}`,
    marks: isFolder ? {} : ARCHIVE_MARKS,
    facts: {
      ...(oplog && { oplog }),
      ...(gzip && isFolder && { gzip }),
      ...(has('dumpDbUsersAndRoles') && { usersAndRoles: true }),
    },
    warnings: [...warnAboutOptions(options, mode), ...warnOfOldClient(request)],
  };
}

/** From which version on the tools are made for a server. Newer servers mostly work, and nobody promises it. */
const MADE_FOR: readonly (readonly [server: number, client: number])[] = [
  [8, 10],
  [7, 8],
];

function warnOfOldClient({ tool, server }: DumpRequest): readonly string[] {
  const client = Number(/^mongodump 100\.(\d+)\./.exec(tool)?.[1] ?? Number.NaN);
  const [, needed] = MADE_FOR.find(([major]) => (server.major ?? 0) >= major) ?? [];
  if (needed === undefined || !(client < needed)) return [];
  return [`${tool} is older than ${server.title}: use the MongoDB Database Tools 100.${needed} or newer`];
}

/** Of the collections in a folder each is a file of its own, which mongorestore alone can read: size and hash must do. */
export const planMongoCheck = ({ format }: CheckRequest): CheckPlan => ({
  ...(format === 'archive' && { marks: ARCHIVE_MARKS }),
  commands: [],
});
