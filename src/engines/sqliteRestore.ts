import { type Command, SCRATCH } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import { ConfigError } from '../core/errors.ts';
import type { CheckPlan, CheckRequest, ContentsRequest, RestorePlan, RestoreRequest } from './engine.ts';
import { type SqliteFacts, sqliteFacts } from './sqliteInspect.ts';
import { printVerdict, SHELL_ARGS, withInit } from './sqliteShell.ts';

/**
 * What lets the shell write the tables behind virtual ones, and read schemas older than its rules on quotes. The file is
 * thrown away when anything fails: it needs no journal, and reaches the disk when it is finished.
 */
const BEFORE_LOAD = `
.dbconfig defensive off
.dbconfig dqs_ddl on
.dbconfig dqs_dml on
PRAGMA journal_mode=OFF;
PRAGMA synchronous=OFF;
`;

/** Loads into a new file beside the target, checks it, and leaves it to be swapped in. */
export function planSqliteRestore({ connection, target, facts, format, id }: RestoreRequest): RestorePlan {
  if (format !== 'sql' && format !== 'sqlite3')
    throw new ConfigError(`a sqlite dump of the format ${format} cannot be restored by this version`);
  const to = connection.database;
  const from = `${to}.restoring-${id}`;
  return {
    prepare: [],
    filters: [],
    // Of a file that is the database itself every byte is its own.
    load:
      format === 'sql'
        ? withInit('load.sql', BEFORE_LOAD, from)
        : { file: 'dd', args: [`of=${from}`, 'bs=1M', 'status=none'] },
    isAtomic: true,
    finish: [finishCommand(from, sqliteFacts.parse(facts))],
    swap: {
      from,
      to,
      remove: [`${to}-wal`, `${to}-shm`, `${to}-journal`],
      lock: lockCommand(to, target.notes?.isBroken === true),
    },
  };
}

/** The journal mode comes last: a WAL would have to be emptied again. */
function finishCommand(path: string, { journalMode, objects = 0 }: SqliteFacts): Command {
  const steps = [printVerdict('integrity_check', 'the restored database is damaged')];
  if (objects > 0)
    steps.push("SELECT json_extract('{}', 'nothing was restored') WHERE NOT EXISTS (SELECT 1 FROM sqlite_master)");
  if (journalMode === 'wal') steps.push('PRAGMA journal_mode=WAL');
  return { file: 'sqlite3', args: [...SHELL_ARGS, '-init', '/dev/null', path, ...steps] };
}

/**
 * Out of WAL mode first, which moves everything into the file itself and is refused while anybody else has it open. Any
 * other mode shows only who is inside a transaction. A file that is no sound database has nobody to lock out.
 */
function lockCommand(path: string, isBroken: boolean): Command {
  const lock = '.timeout 5000\nPRAGMA journal_mode=DELETE;\nBEGIN EXCLUSIVE;\n';
  return withInit('lock.sql', `${isBroken ? '' : lock}SELECT 'locked';\n`, isBroken ? ':memory:' : path);
}

/** Loads into a file of its own, and looks at that. */
export function planSqliteCheck(request: CheckRequest): CheckPlan {
  const connection: Connection = {
    engine: 'sqlite',
    hosts: [],
    user: undefined,
    password: undefined,
    database: `${SCRATCH}/check.sqlite3`,
    params: {},
    tls: undefined,
    tlsCa: undefined,
  };
  const target = { exists: false, holds: '', missingRoles: [], title: 'SQLite', major: undefined };
  const { load, finish } = planSqliteRestore({
    ...request,
    connection,
    target,
    replace: false,
    createRoles: false,
    id: 'check',
  });
  return { commands: [load, ...finish], needsRoom: true };
}

/** The shell takes a database apart better than anything does a script. */
export function refuseSqliteTables({ path, wanted, connection }: ContentsRequest): never {
  const copy = `${connection.database}.copy`;
  throw new ConfigError(
    `a backup of SQLite is restored as a whole: restore it into another file (dbstash restore ${path} --database ${copy}), ` +
      `then copy the table (sqlite3 ${copy} '.dump ${wanted[0]}' | sqlite3 -bail ${connection.database})`,
  );
}
