import type { Examination, Recognised } from './engine.ts';
import { SQL_MARKS } from './mysqlDump.ts';

const NAMES_DATABASES = /^(?:-- Current Database: |CREATE DATABASE |USE `)/m;
const NAME = '`((?:[^`\\n]|``)+)`';
const CREATES_DATABASE = new RegExp(`^CREATE DATABASE (?:/\\*!32312 IF NOT EXISTS\\*/ )?${NAME}`, 'm');
const USES_DATABASE = new RegExp(`\\nUSE ${NAME};(?=\\n)`, 'g');
/** Longer than a line of USE: a name has up to 64 characters. */
const CARRIED_CHARACTERS = 1024;

const REFUSAL = 'it was made with --databases or --all-databases, and goes into those that it names';

/** A script of mysqldump or mariadb-dump; of either, whichever of the two engines is asked. */
export function recogniseMysql(head: string): Recognised | undefined {
  if (!SQL_MARKS.begins!.test(head)) return undefined;
  const [, kind = ''] = /^-- (MySQL|MariaDB) dump/m.exec(head) ?? [];
  const version = /^-- M\w+ dump .*?(?:Distrib |from |\d-)(\d+\.\d[\w.-]*)/m.exec(head)?.[1];
  const database = /^-- Host: .*?\s+Database: (.+?)\s*$/m.exec(head)?.[1];
  const server = /^-- Server version\s+(\S+)/m.exec(head)?.[1];
  const created = readName(CREATES_DATABASE.exec(head)?.[1]);
  const named = database && Buffer.from(database, 'latin1').toString('utf8');
  // Of --all-databases the head names none.
  const isOne = created !== undefined && created === named;
  return {
    mode: 'stream',
    format: 'sql',
    facts: {
      ...(/^SET @@GLOBAL\.GTID_PURGED=/m.test(head) && { setsGtids: true }),
      ...(isOne && { createsDatabase: created }),
    },
    marks: SQL_MARKS,
    tool: version && `${kind === 'MySQL' ? 'mysqldump' : 'mariadb-dump'} ${version}`,
    server: server && `${/mariadb/i.test(server) ? 'MariaDB' : 'MySQL'} ${server}`,
    databases: named === undefined ? undefined : [named],
    ...(isOne && { examine: () => expectOnly(created) }),
    ...(!isOne && NAMES_DATABASES.test(head) && { refusal: REFUSAL }),
  };
}

/** As it stands between backticks, in latin1. */
const readName = (text: string | undefined): string | undefined =>
  text && Buffer.from(text.replaceAll('``', '`'), 'latin1').toString('utf8');

/** Of a dump with `--databases` only its end tells whether there was but one. In data a line break is escaped: no row begins a line. */
function expectOnly(database: string): Examination {
  const others = new Set<string>();
  let carried = '';
  return {
    add(chunk) {
      const text = carried + chunk.toString('latin1');
      for (const [, name] of text.matchAll(USES_DATABASE)) others.add(readName(name)!);
      carried = text.slice(-CARRIED_CHARACTERS);
    },
    end() {
      others.delete(database);
      return others.size === 0 ? {} : { problem: REFUSAL };
    },
  };
}
