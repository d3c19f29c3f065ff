import { type Command, SCRATCH } from '../core/command.ts';
import { ConfigError } from '../core/errors.ts';
import { DUMP, type DumpPlan, type DumpRequest } from './engine.ts';
import { printVerdict, SHELL_ARGS } from './sqliteShell.ts';

/** Where a database that a reader would lock is copied to first. */
const COPY = `${SCRATCH}/copy.sqlite3`;
/** The statements that print the dump, made from the schema inside the dump's own transaction. */
const STATEMENTS = `${SCRATCH}/dump-statements.sql`;

const NO_COMPRESSION =
  'BACKUP_COMPRESS=true changes nothing: sqlite3 has no compression of its own; gzip and zstd do it';

/** Flags of sqlite3 that leave the form of the dump alone; each takes a value. */
const EXTRA_FLAGS = ['-cmd', '-vfs', '-mmap'];

/**
 * A script as .dump writes it, in one read transaction and led by the verdict of quick_check, but printed by statements
 * of ours. The shell's .dump cuts a text at its first NUL, writes an infinity that no SQLite reads back (3.53), fails at
 * the restore where the last AUTOINCREMENT table was dropped, and forgets user_version and application_id (all seen).
 */
export function planSqliteDump(request: DumpRequest): DumpPlan {
  const { connection, server, tool, compress, extraArgs } = request;
  const minor = readMinor(tool);
  const flags = ['-readonly', ...SHELL_ARGS, '-init', '/dev/null', ...checkExtraArgs(extraArgs)];
  if (request.mode === 'file') return planCopy(request, flags);
  const source = server.needsCopy ? COPY : connection.database;
  return {
    prepare: server.needsCopy ? [copyCommand(flags, connection.database, COPY)] : [],
    dump: {
      file: 'sqlite3',
      // Since 3.50 the shell shows control characters as ^X unless told not to.
      args: [
        ...flags,
        '-list',
        '-noheader',
        '-separator',
        ',',
        ...(minor >= 50 ? ['-escape', 'off'] : []),
        source,
        ...SCRIPT,
      ],
    },
    format: 'sql',
    compression: null,
    container: null,
    extension: '.sql',
    marks: {
      begins: /^-- quick_check: ok\n(?:PRAGMA [^\n]*\n)*PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n/,
      ends: /\nCOMMIT;\n$/,
      title: '"COMMIT;"',
    },
    warnings: compress ? [NO_COMPRESSION] : [],
  };
}

/** The database itself, page by page, in a file that is checked before it goes on its way. */
function planCopy({ connection, compress }: DumpRequest, flags: readonly string[]): DumpPlan {
  const copy = copyCommand(flags, connection.database, DUMP);
  return {
    prepare: [copy],
    dump: {
      file: 'sqlite3',
      args: [
        '-readonly',
        ...SHELL_ARGS,
        '-init',
        '/dev/null',
        DUMP,
        printVerdict('quick_check', 'the database is damaged'),
      ],
    },
    format: 'sqlite3',
    compression: null,
    container: null,
    extension: '.sqlite3',
    marks: { begins: /^SQLite format 3\0/, title: 'the head of a SQLite file' },
    warnings: compress ? [NO_COMPRESSION] : [],
  };
}

/** Holds the read lock as long as the local disk needs, not as long as the upload does. */
const copyCommand = (flags: readonly string[], path: string, to: string): Command => ({
  file: 'sqlite3',
  args: [...flags, path, '.timeout 60000', 'BEGIN', 'SELECT count(*) FROM sqlite_master', `.backup '${to}'`],
});

function readMinor(tool: string): number {
  const [, major, minor] = /^sqlite3 (\d+)\.(\d+)/.exec(tool) ?? [];
  const version = Number(major) * 1000 + Number(minor);
  if (version < 3034) throw new ConfigError(`${tool} is too old: 3.34 or newer is needed`);
  return version - 3000;
}

function checkExtraArgs(args: readonly string[]): readonly string[] {
  for (let at = 0; at < args.length; at += 2) {
    const flag = args[at]?.replace(/^--/, '-') ?? '';
    if (!EXTRA_FLAGS.includes(flag) || args[at + 1] === undefined) {
      throw new ConfigError(
        `DUMP_EXTRA_ARGS: ${args[at]} does not go with sqlite, which takes ${EXTRA_FLAGS.join(', ')}, each with a value`,
      );
    }
  }
  return args;
}

const quoteName = (name: string) => `'"' || replace(${name}, '"', '""') || '"'`;

/** One value as a literal that reads back as the same bytes. @ stands for the column. */
const LITERAL = `CASE typeof(@)
  WHEN 'integer' THEN @
  WHEN 'text' THEN iif(instr(@, char(0)), 'CAST(x''' || hex(@) || ''' AS TEXT)', quote(@))
  WHEN 'real' THEN iif(abs(@) > 1.7976931348623157e308, iif(@ > 0, '9e999', '-9e999'), quote(@))
  ELSE quote(@) END`;

/**
 * The statements, a line of the dump each or a table's rows. The columns of a row are parted by the shell's separator, so
 * that no row is ever put together in memory. Rowids are kept where they exist (pragma_index_info of a table answers for
 * one WITHOUT ROWID only), are not a column anyway, and have a name left.
 */
const GENERATE = `
WITH tables AS (
  SELECT rowid AS pos, name, sql, rootpage = 0 AS is_virtual FROM sqlite_master
  WHERE type = 'table' AND sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
), filled AS (
  SELECT pos, name, ${quoteName('name')} AS quoted, iif(
    EXISTS (SELECT 1 FROM pragma_index_info(tables.name))
      OR EXISTS (SELECT 1 FROM pragma_table_xinfo(tables.name) WHERE pk)
        AND NOT EXISTS (SELECT 1 FROM pragma_index_list(tables.name) WHERE origin = 'pk'),
    NULL,
    (SELECT a.column1 FROM (VALUES ('rowid'), ('_rowid_'), ('oid')) a WHERE NOT EXISTS (
      SELECT 1 FROM pragma_table_xinfo(tables.name) x WHERE x.name = a.column1 COLLATE NOCASE) LIMIT 1)) AS rowid_name
  FROM tables WHERE NOT is_virtual
  UNION ALL SELECT 1e9 + (name <> 'sqlite_sequence'), name, name, NULL FROM sqlite_master WHERE name IN ('sqlite_sequence', 'sqlite_stat1')
), rows AS (
  SELECT pos, quoted, rowid_name,
    (SELECT group_concat(${quoteName('name')}, ',') FROM (SELECT name FROM pragma_table_xinfo(filled.name) WHERE hidden = 0 ORDER BY cid)) AS names,
    (SELECT group_concat(replace('${LITERAL.replaceAll("'", "''")}', '@', ${quoteName('name')}), ',')
      FROM (SELECT name FROM pragma_table_xinfo(filled.name) WHERE hidden = 0 ORDER BY cid)) AS literals
  FROM filled
), lines(pos, part, sql) AS (
  SELECT pos, 0, quote(iif(is_virtual, 'PRAGMA writable_schema=ON;' || char(10) ||
    'INSERT INTO sqlite_master(type,name,tbl_name,rootpage,sql) VALUES(''table'',' || quote(name) || ',' || quote(name) || ',0,' || quote(sql) || ');',
    sql || iif(instr(sql, '--'), char(10), '') || ';')) FROM tables
  UNION ALL SELECT 1e9, 0, quote('CREATE TABLE "dbstash: makes sqlite_sequence"(id INTEGER PRIMARY KEY AUTOINCREMENT);' || char(10) ||
    'DROP TABLE "dbstash: makes sqlite_sequence";' || char(10) || 'DELETE FROM sqlite_sequence;') FROM sqlite_master WHERE name = 'sqlite_sequence'
  UNION ALL SELECT 1e9 + 1, 0, quote('ANALYZE sqlite_master;' || char(10) || 'DELETE FROM sqlite_stat1;') FROM sqlite_master WHERE name = 'sqlite_stat1'
  UNION ALL SELECT pos, 1, quote('INSERT INTO ' || quoted || '(' || coalesce(rowid_name || ',', '') || names || ') VALUES(') ||
    coalesce(' || ' || rowid_name || ' || '',''', '') || ' || ' || literals || ' || '');'' FROM ' || quoted || ' NOT INDEXED' FROM rows
  UNION ALL SELECT 2e9, rank() OVER (ORDER BY type DESC, rowid), quote(sql || iif(instr(sql, '--'), char(10), '') || ';')
    FROM sqlite_master WHERE type IN ('index', 'trigger', 'view') AND sql IS NOT NULL
  UNION ALL SELECT 3e9, 0, quote('PRAGMA writable_schema=OFF;') WHERE EXISTS (SELECT 1 FROM tables WHERE is_virtual)
)
SELECT 'SELECT ' || sql || ';' FROM lines ORDER BY pos, part`;

/** Encoding, page size and vacuum mode come before the first table, or they come to nothing. */
const HEAD = `SELECT 'PRAGMA encoding=' || quote(encoding) || ';' || char(10) ||
  'PRAGMA page_size=' || page_size || ';' || char(10) || 'PRAGMA auto_vacuum=' || auto_vacuum || ';' || char(10) ||
  'PRAGMA application_id=' || application_id || ';' || char(10) || 'PRAGMA user_version=' || user_version || ';' || char(10) ||
  'PRAGMA foreign_keys=OFF;' || char(10) || 'BEGIN TRANSACTION;'
  FROM pragma_encoding, pragma_page_size, pragma_auto_vacuum, pragma_application_id, pragma_user_version`;

/** One argument each: unlike a script on standard input, the shell stops at the first that fails and exits with its error. */
const SCRIPT: readonly string[] = [
  '.timeout 60000',
  'BEGIN',
  printVerdict('quick_check', 'the database is damaged'),
  `.output '${STATEMENTS}'`,
  GENERATE,
  '.output',
  HEAD,
  `.read '${STATEMENTS}'`,
  "SELECT 'COMMIT;'",
];
