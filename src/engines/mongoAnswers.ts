import * as z from 'zod';
import type { DriverAnswer, DriverCommand } from '../core/command.ts';
import { DumpError } from '../core/errors.ts';

/** Databases of the server's own: never dumped by name, never emptied. */
const SYSTEM_DATABASES: readonly string[] = ['admin', 'config', 'local'];

export const isSystemDatabase = (name: string): boolean => SYSTEM_DATABASES.includes(name);

/** What the manifest carries. Every part may be missing in an older one. */
export const mongoFacts = z
  .object({
    /** The one that was dumped; null for the whole server. */
    database: z.string().nullable(),
    /** Of a whole server, but for its own. */
    databases: z.array(z.string()),
    /** Holds the operations that went on during the dump, to be replayed. */
    oplog: z.boolean(),
    /** Each file of a folder is compressed. */
    gzip: z.boolean(),
    /** Made with --dumpDbUsersAndRoles. */
    usersAndRoles: z.boolean(),
    /** Collections with a line break in their names. */
    brokenNames: z.array(z.string()),
  })
  .partial();
/** Its patterns do not match them, not even the one for all (seen with 100.6.1). */
export const NO_LINE_BREAKS = 'mongorestore leaves out, without a word, collections with a line break in their names';

export type MongoFacts = z.infer<typeof mongoFacts>;

/** What an engine's inspection tells its planning. */
export const mongoNotes = z
  .object({
    authSource: z.string(),
    isReplicaSet: z.boolean(),
    canReadOplog: z.boolean(),
    /** What a target holds: databases where it is a whole server, else collections. */
    databases: z.array(z.string()),
    collections: z.array(z.string()),
    /** Those that are picked, and in the target already. */
    held: z.array(z.object({ database: z.string(), name: z.string() })),
  })
  .partial();

/** The document of an answer. Throws `DumpError` where the server refused, or makes no sense. */
export function readDocument<T>(schema: z.ZodType<T>, answer: DriverAnswer | undefined): T {
  if (!answer || 'failure' in answer) throw new DumpError(`the server refuses: ${answer?.failure ?? 'no answer'}`);
  const parsed = schema.safeParse(answer.document);
  if (parsed.success) return parsed.data;
  const text = JSON.stringify(answer.document).slice(0, 200);
  throw new DumpError(`the server answers what makes no sense: ${text}`, { cause: parsed.error });
}

/** The same; undefined where it refused, or says something else. */
export function tryDocument<T>(schema: z.ZodType<T>, answer: DriverAnswer | undefined): T | undefined {
  return answer && 'document' in answer ? schema.safeParse(answer.document).data : undefined;
}

export const buildInfo = z.object({ version: z.string() });

/** On disk, and so compressed, where the server knows. */
export const databaseList = z.object({
  databases: z.array(z.object({ name: z.string(), sizeOnDisk: z.number().optional(), empty: z.boolean().optional() })),
});

/** Those of users. */
export const namesOf = ({ databases }: z.infer<typeof databaseList>): readonly string[] =>
  databases.map(({ name }) => name).filter((name) => !isSystemDatabase(name));

export const collectionList = z.object({
  cursor: z.object({ firstBatch: z.array(z.object({ name: z.string(), type: z.string().optional() })) }),
});

/** All names in one answer, where they are not more than 16 MB. */
export const listCollections = (database: string): DriverCommand => ({
  database,
  command: { listCollections: 1, nameOnly: true, cursor: { batchSize: 100_000 } },
});

/** Collections that belong to a view or a time series, or to the server. */
export const isInternal = (name: string): boolean => /^system\.(views$|buckets\.)/.test(name);
