import * as z from 'zod';
import type { DriverAnswer } from '../core/command.ts';
import { tryDocument } from './mongoAnswers.ts';

const status = z.object({
  authInfo: z.object({
    authenticatedUserPrivileges: z.array(
      z.object({
        resource: z.object({
          db: z.string().optional(),
          collection: z.string().optional(),
          anyResource: z.boolean().optional(),
        }),
        actions: z.array(z.string()),
      }),
    ),
  }),
});

/**
 * Which of `names` (collections of `database`, or databases where that is empty) the login may not read, by what
 * `connectionStatus` says of it. None where that says nothing, as on a server without logins.
 */
export function findUnreadable(
  answer: DriverAnswer | undefined,
  database: string,
  names: readonly string[],
): readonly string[] {
  const privileges = tryDocument(status, answer)?.authInfo.authenticatedUserPrivileges ?? [];
  if (privileges.length === 0) return [];
  const found = privileges.filter(({ actions }) => actions.includes('find') || actions.includes('anyAction'));
  const isReadable = (db: string, collection: string) =>
    found.some(
      ({ resource }) =>
        resource.anyResource === true ||
        (['', db].includes(resource.db ?? '-') && ['', collection].includes(resource.collection ?? '-')),
    );
  // Of a server it is enough to see that no database is closed as a whole.
  return names.filter((name) => !(database === '' ? isReadable(name, '') : isReadable(database, name)));
}
