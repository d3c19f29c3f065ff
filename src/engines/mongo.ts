import type { Engine } from './engine.ts';
import { mongoDrill } from './mongoDrill.ts';
import { mongodumpVersion, planMongoCheck, planMongoDump } from './mongoDump.ts';
import { recogniseMongo } from './mongoForeign.ts';
import { discoverMongo, inspectMongo } from './mongoInspect.ts';
import { planMongoContents } from './mongoPick.ts';
import { planMongoRestore } from './mongoRestore.ts';
import { inspectMongoTarget } from './mongoTarget.ts';

export const mongo = {
  name: 'mongo',
  title: 'MongoDB',
  defaultPort: 27017,
  defaultUser: undefined,
  uriSchemes: ['mongodb', 'mongodb+srv'],
  dumpsServer: true,
  modes: ['stream', 'file', 'directory', 'tar'],
  tool: mongodumpVersion,
  inspect: inspectMongo,
  discover: discoverMongo,
  planDump: planMongoDump,
  planContents: planMongoContents,
  inspectTarget: inspectMongoTarget,
  planCheck: planMongoCheck,
  recognise: recogniseMongo,
  planRestore: planMongoRestore,
  drill: mongoDrill,
} satisfies Engine;
