import * as z from 'zod';
import type { DriverCommand, DriverQuestion } from '../core/command.ts';
import type { Connection } from '../core/connection.ts';
import type { Counts, Drill, TargetFacts } from './engine.ts';
import { mongoFacts, readDocument } from './mongoAnswers.ts';
import { driverLogin } from './mongoConnection.ts';
import { scratchNames } from './mongoScratch.ts';

const stats = z.object({ collections: z.number(), objects: z.number() });

const eachScratch = (
  { database }: Connection,
  facts: TargetFacts,
  command: DriverCommand['command'],
): readonly DriverCommand[] =>
  scratchNames(database, mongoFacts.parse(facts)).map(({ to }) => ({ database: to, command }));

export const mongoDrill = {
  count: (connection, facts): DriverQuestion<Counts> => ({
    driver: 'mongo',
    login: driverLogin(connection),
    commands: eachScratch(connection, facts, { dbStats: 1 }),
    parse: (answers) => {
      const found = answers.map((answer) => readDocument(stats, answer));
      return {
        tables: found.reduce((sum, { collections }) => sum + collections, 0),
        rows: found.reduce((sum, { objects }) => sum + objects, 0),
      };
    },
  }),
  drop: (connection, facts): DriverQuestion<void> => ({
    driver: 'mongo',
    login: driverLogin(connection),
    commands: eachScratch(connection, facts, { dropDatabase: 1 }),
    parse: () => undefined,
  }),
} satisfies Drill;
