import type { Engine } from './engine.ts';
import { planPgCheck } from './pgCheck.ts';
import { pgDrill } from './pgDrill.ts';
import { pgDumpAbilities, pgDumpVersion, planPgDump } from './pgDump.ts';
import { recognisePg } from './pgForeign.ts';
import { discoverPg, planPgGlobals } from './pgGlobals.ts';
import { inspectPg } from './pgInspect.ts';
import { planPgContents } from './pgPick.ts';
import { planPgRestore } from './pgRestore.ts';
import { inspectPgTarget } from './pgTarget.ts';

export const pg = {
  name: 'pg',
  title: 'PostgreSQL',
  defaultPort: 5432,
  defaultUser: 'postgres',
  uriSchemes: ['postgres', 'postgresql'],
  modes: ['stream', 'file', 'directory', 'tar'],
  tool: pgDumpVersion,
  abilities: pgDumpAbilities,
  inspect: inspectPg,
  discover: discoverPg,
  maintenanceDatabase: 'postgres',
  planGlobals: planPgGlobals,
  planDump: planPgDump,
  planContents: planPgContents,
  inspectTarget: inspectPgTarget,
  planRestore: planPgRestore,
  planCheck: planPgCheck,
  recognise: recognisePg,
  drill: pgDrill,
} satisfies Engine;
