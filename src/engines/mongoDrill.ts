import * as z from 'zod';
import type { DriverQuestion } from '../core/command.ts';
import type { Counts, Drill } from './engine.ts';
import { readDocument } from './mongoAnswers.ts';
import { driverLogin } from './mongoConnection.ts';

const stats = z.object({ collections: z.number(), objects: z.number() });

export const mongoDrill: Drill = {
  count: (connection): DriverQuestion<Counts> => ({
    driver: 'mongo',
    login: driverLogin(connection),
    commands: [{ database: connection.database, command: { dbStats: 1 } }],
    parse: ([answer]) => {
      const { collections, objects } = readDocument(stats, answer);
      return { tables: collections, rows: objects };
    },
  }),
  drop: (connection): DriverQuestion<void> => ({
    driver: 'mongo',
    login: driverLogin(connection),
    commands: [{ database: connection.database, command: { dropDatabase: 1 } }],
    parse: () => undefined,
  }),
};
