import type { Engine } from './engine.ts';
import { planSqliteDump } from './sqliteDump.ts';
import { inspectSqlite, inspectSqliteTarget } from './sqliteInspect.ts';
import { planSqliteRestore } from './sqliteRestore.ts';
import { sqliteVersion } from './sqliteShell.ts';

export const sqlite: Engine = {
  name: 'sqlite',
  title: 'SQLite',
  defaultPort: undefined,
  defaultUser: undefined,
  uriSchemes: ['sqlite'],
  tool: sqliteVersion,
  inspect: inspectSqlite,
  planDump: planSqliteDump,
  inspectTarget: inspectSqliteTarget,
  planRestore: planSqliteRestore,
};
