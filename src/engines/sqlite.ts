import type { Engine } from './engine.ts';
import { sqliteDrill } from './sqliteDrill.ts';
import { planSqliteDump } from './sqliteDump.ts';
import { recogniseSqlite } from './sqliteForeign.ts';
import { inspectSqlite, inspectSqliteTarget } from './sqliteInspect.ts';
import { planSqliteCheck, planSqliteRestore, refuseSqliteTables } from './sqliteRestore.ts';
import { sqliteVersion } from './sqliteShell.ts';

export const sqlite = {
  name: 'sqlite',
  title: 'SQLite',
  defaultPort: undefined,
  defaultUser: undefined,
  uriSchemes: ['sqlite'],
  modes: ['stream', 'file'],
  tool: sqliteVersion,
  inspect: inspectSqlite,
  planDump: planSqliteDump,
  inspectTarget: inspectSqliteTarget,
  planContents: refuseSqliteTables,
  planRestore: planSqliteRestore,
  planCheck: planSqliteCheck,
  recognise: recogniseSqlite,
  drill: sqliteDrill,
} satisfies Engine;
