import type { Answer, Question } from '../core/command.ts';
import { ConfigError, DumpError } from '../core/errors.ts';
import { type Contents, type ContentsRequest, DUMP, type TableName, type TablePick } from './engine.ts';
import { isInternal, isSystemDatabase } from './mongoAnswers.ts';
import { readArchiveHead } from './mongoArchive.ts';

/** An archive begins with a record of each collection. */
const HEAD_BYTES = 16 * 1024 * 1024;

/** Of an archive the beginning is read, of a folder the names of its files. */
export function planMongoContents({ format, path }: ContentsRequest): Question<Contents> {
  if (format === 'directory')
    return {
      command: { file: 'find', args: [DUMP, '-mindepth', '2', '-name', '*.metadata.json*', '-printf', '%P\\n'] },
      parse: ({ stdout }) => contentsOf(stdout.split('\n').flatMap(readFileName)),
    };
  if (format !== 'archive')
    throw new ConfigError(`${path} is a mongo dump of the format ${format}, out of which no collection can be taken`);
  return {
    command: {
      file: 'od',
      args: [`--read-bytes=${HEAD_BYTES}`, '--address-radix=n', '--output-duplicates', '--format=x1', '--width=256'],
    },
    parse: readArchive,
  };
}

const contentsOf = (all: readonly TableName[]): Contents => ({
  tables: all.filter(
    ({ scope, name }) => !isInternal(name) && !name.startsWith('system.') && !isSystemDatabase(scope!),
  ),
});

/** shop/of+all%2F.metadata.json.gz: as in a query, where + is a blank. */
function readFileName(line: string): readonly TableName[] {
  const [, scope, name] = /^([^/]+)\/(.+)\.metadata\.json(\.gz)?$/.exec(line) ?? [];
  if (scope === undefined || name === undefined) return [];
  return [{ scope: decode(scope), name: decode(name) }];
}

function decode(name: string): string {
  try {
    return decodeURIComponent(name.replaceAll('+', ' '));
  } catch {
    return name;
  }
}

function readArchive({ stdout }: Answer): Contents {
  try {
    return contentsOf(readArchiveHead(Buffer.from(stdout.replaceAll(/\s/g, ''), 'hex')).collections);
  } catch (cause) {
    throw new DumpError('the beginning of the archive makes no sense: which collections it holds is not known', {
      cause,
    });
  }
}

/** Where each collection goes: into the one database that is the target, or, where that is a whole server, its own. */
export function placeCollections(database: string, { tables }: TablePick): ReadonlyMap<string, readonly string[]> {
  const places = new Map<string, string[]>();
  for (const { scope, name } of tables) {
    const into = database === '' ? scope! : database;
    const names = places.get(into) ?? [];
    if (names.includes(name))
      throw new ConfigError(`two collections called ${name} cannot go into one database: restore one after the other`);
    places.set(into, [...names, name]);
  }
  return places;
}
