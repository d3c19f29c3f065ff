import type { Recognised } from './engine.ts';
import { SQL_MARKS } from './mysqlDump.ts';

const NAMES_DATABASES = /^(?:-- Current Database: |CREATE DATABASE |USE `)/m;

/** A script of mysqldump or mariadb-dump; of either, whichever of the two engines is asked. */
export function recogniseMysql(head: string): Recognised | undefined {
  if (!SQL_MARKS.begins!.test(head)) return undefined;
  const [, kind = ''] = /^-- (MySQL|MariaDB) dump/m.exec(head) ?? [];
  const version = /^-- M\w+ dump .*?(?:Distrib |from |\d-)(\d+\.\d[\w.-]*)/m.exec(head)?.[1];
  const database = /^-- Host: .*?\s+Database: (.+?)\s*$/m.exec(head)?.[1];
  const server = /^-- Server version\s+(\S+)/m.exec(head)?.[1];
  return {
    mode: 'stream',
    format: 'sql',
    facts: /^SET @@GLOBAL\.GTID_PURGED=/m.test(head) ? { setsGtids: true } : {},
    marks: SQL_MARKS,
    tool: version && `${kind === 'MySQL' ? 'mysqldump' : 'mariadb-dump'} ${version}`,
    server: server && `${/mariadb/i.test(server) ? 'MariaDB' : 'MySQL'} ${server}`,
    databases: database === undefined ? undefined : [database],
    ...(NAMES_DATABASES.test(head) && {
      refusal: 'it was made with --databases or --all-databases, and goes into those that it names',
    }),
  };
}
