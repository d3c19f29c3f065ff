import { type Command, SCRATCH } from '../core/command.ts';
import { ConfigError } from '../core/errors.ts';
import { DUMP, type RestorePlan, type RestoreRequest } from './engine.ts';
import { myloader } from './mydumper.ts';
import { mysqlAccount, mysqlClient, mysqlName } from './mysqlConnection.ts';
import type { Flavor } from './mysqlFlavor.ts';
import { type MysqlFacts, mysqlFacts } from './mysqlInspect.ts';
import { dropTables, keepFiles } from './mysqlPick.ts';

/**
 * Neither server can undo what creates a table: a restore that fails, or our own sudden death, which is an end of input,
 * leaves what was loaded until then. That is said, and the target is empty or was to be emptied.
 */
export const planMysqlRestore =
  (flavor: Flavor) =>
  (request: RestoreRequest): RestorePlan => {
    const facts = mysqlFacts.parse(request.facts);
    refuseNamedDatabase(request, facts);
    const plan =
      request.format === 'mydumper' ? planFolder(flavor, request, facts) : planScript(flavor, request, facts);
    const definers = missingDefiners(request);
    return {
      ...plan,
      prepare: [...(definers.length > 0 ? prepareDefiners(flavor, request, definers) : []), ...plan.prepare],
      isAtomic: false,
      finish: [],
    };
  };

function refuseNamedDatabase({ connection }: RestoreRequest, { createsDatabase }: MysqlFacts): void {
  if (createsDatabase === '*')
    throw new ConfigError(
      'this dump was made with --all-databases and restores over every database that it holds, wherever it is sent: give it to the client yourself',
    );
  if (createsDatabase === undefined || createsDatabase === connection.database) return;
  throw new ConfigError(
    `this dump was made with --databases and restores over the database ${JSON.stringify(createsDatabase)} wherever it is sent: it cannot be restored under another name`,
  );
}

type Steps = Pick<RestorePlan, 'prepare' | 'filters' | 'load'>;

/** What empties the target stands before the dump, so that it happens as late as possible. */
function planScript(flavor: Flavor, request: RestoreRequest, facts: MysqlFacts): Steps {
  const { connection, target, format, replace, mode } = request;
  if (format !== 'sql' || mode === 'directory' || mode === 'tar')
    throw new ConfigError(
      `a ${flavor.name} dump of the format ${format} in the mode ${mode} cannot be restored by this version`,
    );
  const bringsDatabase = facts.createsDatabase !== undefined;
  const empties = replace && target.exists;
  return {
    prepare: target.exists || bringsDatabase ? [] : [createDatabase(flavor, request, facts)],
    filters: [
      ...(target.notes?.knowsSandboxLine === false ? [WITHOUT_SANDBOX_LINE] : []),
      ...(facts.setsGtids ? [WITHOUT_GTIDS] : []),
      UNQUALIFIED,
      ...(request.isDrill ? [{ file: 'sed', args: ['--regexp-extended', ASLEEP], env: { LC_ALL: 'C' } }] : []),
      ...(empties ? [prepend(emptyDatabase(request, facts))] : []),
    ],
    load: mysqlClient(flavor, connection, [
      ...LOAD_ARGS,
      ...(bringsDatabase ? [] : [`--database=${connection.database}`]),
    ]),
  };
}

/** Clients of MariaDB from before 2024 take the \\- in it for a command, and stop. */
const WITHOUT_SANDBOX_LINE: Command = {
  file: 'sed',
  args: ['1{/^\\/\\*M!999999\\\\- enable the sandbox mode \\*\\/ *$/d;}'],
  env: { LC_ALL: 'C' },
};

/**
 * The list of transactions of the server that was dumped: another one refuses it where it has any of its own, and would not write to
 * its binary log, so that replicas miss what is restored. It stands in the head of a dump, and may have several lines.
 */
const WITHOUT_GTIDS: Command = {
  file: 'sed',
  args: [
    '1,500{/^SET @@SESSION\\.SQL_LOG_BIN *= *0;$/d;/^SET @@GLOBAL\\.GTID_PURGED=/,/;$/d;};/^SET @@SESSION\\.SQL_LOG_BIN *= *@MYSQLDUMP_TEMP_LOG_BIN;$/d',
  ],
  env: { LC_ALL: 'C' },
};

const NAME = '(`([^`]|``)*`|[^` .\\t\\n]+)';
const GAP = '[ \\t\\n]';

/**
 * A trigger that was made as `shop.t1 ... ON shop.t` stands so in a dump, and would be made in that database, wherever the rest
 * goes. It belongs to the one of its table in any case. Its head, up to FOR EACH ROW, may have several lines. `begin` is how
 * it begins, up to TRIGGER.
 */
const unqualify = (begin: string): string =>
  [
    `/${begin}TRIGGER/I{`,
    ':head',
    `/FOR${GAP}+EACH${GAP}+ROW/I!{`,
    'N',
    'b head',
    '}',
    `s/(${begin}TRIGGER${GAP}+(IF${GAP}+NOT${GAP}+EXISTS${GAP}+)?)${NAME}${GAP}*\\.${GAP}*/\\1/I`,
    `s/(${GAP}ON${GAP}+)${NAME}${GAP}*\\.${GAP}*(${NAME}${GAP}+FOR${GAP}+EACH${GAP}+ROW)/\\1\\4/I`,
    '}',
  ].join('\n');

const UNQUALIFIED: Command = {
  file: 'sed',
  args: ['--regexp-extended', unqualify('^\\/\\*!50003 CREATE\\*\\/ \\/\\*!50017 DEFINER=.*\\*\\/ \\/\\*!50003 ')],
  env: { LC_ALL: 'C' },
};

/** What makes an event in a dump begins with this, and stands in one line up to what it does. */
const ASLEEP = '/^\\/\\*!50106 CREATE\\*\\//s/ (ON COMPLETION (NOT )?PRESERVE) ENABLE/ \\1 DISABLE/';

/** As a file of the private folder, which stands before what comes on standard input. */
const prepend = (text: string): Command => ({
  file: 'cat',
  args: [`${SCRATCH}/before.sql`, '-'],
  files: { 'before.sql': text },
});

/**
 * In binary mode a carriage return or a NUL is what it is, and the client obeys nothing in a dump but DELIMITER: neither \\!
 * nor source. What a dump without its head does not say is said for it.
 */
const LOAD_ARGS: readonly string[] = [
  '--binary-mode',
  '--max-allowed-packet=1G',
  "--init-command=SET SESSION FOREIGN_KEY_CHECKS = 0, UNIQUE_CHECKS = 0, SQL_MODE = 'NO_AUTO_VALUE_ON_ZERO'",
];

function planFolder(flavor: Flavor, request: RestoreRequest, facts: MysqlFacts): Steps {
  const { connection, target, replace, isDrill, pick } = request;
  const empty: Command = pick
    ? { ...mysqlClient(flavor, connection, [`--database=${connection.database}`]), input: dropTables(target) }
    : { ...mysqlClient(flavor, connection), input: emptyDatabase(request, facts) };
  const before = [
    ...(pick ? [keepFiles(DUMP, pick)] : []),
    ...UNQUALIFY_TRIGGERS,
    ...(isDrill ? LET_EVENTS_SLEEP : []),
    ...(target.exists ? [] : [createDatabase(flavor, request, facts)]),
    ...(target.exists && replace ? [empty] : []),
  ];
  return { prepare: before, filters: [], load: myloader(flavor, connection, DUMP, facts.sourceDatabase) };
}

/** mydumper writes triggers, and events, in files of their own, compressed or not. */
const edit = (files: string, script: string): readonly Command[] => {
  const find = (extension: string, ...command: readonly string[]): Command => ({
    file: 'find',
    args: [DUMP, '-name', `*-schema-${files}.sql${extension}`, '-exec', ...command, '{}', '+'],
    env: { LC_ALL: 'C' },
  });
  return [
    find('.gz', 'gzip', '--decompress'),
    find('.zst', 'zstd', '--decompress', '--quiet', '--rm'),
    find('', 'sed', '--in-place', '--regexp-extended', script),
  ];
};

const LET_EVENTS_SLEEP = edit('post', 's/ (ON COMPLETION (NOT )?PRESERVE) ENABLE/ \\1 DISABLE/');
const UNQUALIFY_TRIGGERS = edit('triggers', unqualify('^CREATE .*'));

/** Characters of a name that no server has another meaning for. */
const SAFE = /^\w+$/;

const localeOf = ({ charset, collation }: MysqlFacts): string =>
  [
    charset !== undefined && SAFE.test(charset) ? ` CHARACTER SET ${charset}` : '',
    collation !== undefined && SAFE.test(collation) ? ` COLLATE ${collation}` : '',
  ].join('');

const createDatabase = (flavor: Flavor, { connection }: RestoreRequest, facts: MysqlFacts): Command => ({
  ...mysqlClient(flavor, connection),
  input: `CREATE DATABASE ${mysqlName(connection.database)}${localeOf(facts)};\n`,
});

/** The first statement changes nothing, and fails before anything is dropped where the server lacks the collation. */
function emptyDatabase({ connection }: RestoreRequest, facts: MysqlFacts): string {
  const name = mysqlName(connection.database);
  const create = (condition: string) => `CREATE DATABASE ${condition}${name}${localeOf(facts)};`;
  return [
    "SET SESSION sql_mode = '', lock_wait_timeout = 60;",
    create('IF NOT EXISTS '),
    `DROP DATABASE ${name};`,
    create(''),
    `USE ${name};`,
    "SET SESSION lock_wait_timeout = DEFAULT, sql_mode = 'NO_AUTO_VALUE_ON_ZERO';",
    '',
  ].join('\n');
}

function missingDefiners({ target }: RestoreRequest): readonly string[] {
  const noted = target.notes?.missingDefiners;
  return Array.isArray(noted) ? noted.filter((name) => typeof name === 'string') : [];
}

const prepareDefiners = (flavor: Flavor, request: RestoreRequest, definers: readonly string[]): Command[] => [
  ...(request.createRoles ? [createDefiners(flavor, request, definers)] : []),
  warnOfDefiners(request, definers),
];

/** Locked, without a password and without rights, which only the operator can know. */
const createDefiners = (flavor: Flavor, { connection }: RestoreRequest, definers: readonly string[]): Command => ({
  ...mysqlClient(flavor, connection),
  input: [
    "SET SESSION sql_mode = '';",
    ...definers.map((name) => `CREATE USER IF NOT EXISTS ${mysqlAccount(name)} ACCOUNT LOCK;`),
    '',
  ].join('\n'),
});

/** What a preparing command writes on standard error is a warning. */
function warnOfDefiners({ target, createRoles }: RestoreRequest, definers: readonly string[]): Command {
  const names = definers.map(mysqlAccount).join(', ');
  const what = createRoles ? `${names}, now created, have no rights` : `${target.title} has no ${names}`;
  return {
    file: 'sed',
    args: ['-n', 'w /dev/stderr'],
    input: `${what}, in whose name views, triggers, procedures or events of the backup run: those fail when they are used, until the accounts have the rights; best before the restore\n`,
  };
}
