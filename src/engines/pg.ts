import type { Engine } from './engine.ts';
import { pgDumpAbilities, pgDumpVersion, planPgDump } from './pgDump.ts';
import { inspectPg } from './pgInspect.ts';
import { planPgRestore } from './pgRestore.ts';
import { inspectPgTarget } from './pgTarget.ts';

export const pg: Engine = {
  name: 'pg',
  title: 'PostgreSQL',
  defaultPort: 5432,
  defaultUser: 'postgres',
  uriSchemes: ['postgres', 'postgresql'],
  tool: pgDumpVersion,
  abilities: pgDumpAbilities,
  inspect: inspectPg,
  planDump: planPgDump,
  inspectTarget: inspectPgTarget,
  planRestore: planPgRestore,
};
