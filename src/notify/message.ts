import type { Config } from '../config/config.ts';
import { addressOf } from '../core/connection.ts';
import type { Redactor } from '../core/redact.ts';
import { type Outcome, pathsOf, type Report, type StoredBackup } from '../core/report.ts';
import { formatBytes, formatCount, formatDuration } from '../core/units.ts';
import { engines } from '../engines/index.ts';
import { plainLine, plainText } from './text.ts';

/** What is told, to all channels alike. Without secrets, and without characters that steer a terminal or a reader's eye. */
export interface Message {
  readonly event: 'run' | 'test';
  /** Null of a test. */
  readonly report: Report | null;
  readonly status: 'success' | 'failure';
  /** How many runs before this one did not go well, where it is the first that did; else 0. */
  readonly recoveredAfter: number;
  readonly place: Place;
  /** One line: outcome, engine, database. */
  readonly title: string;
  /** What matters most comes first. */
  readonly lines: readonly string[];
  /** Where to look. */
  readonly footer: string;
}

/** What is backed up, and who tells of it. */
interface Place {
  readonly engine: string;
  readonly engineTitle: string;
  readonly database: string;
  /** Without login. */
  readonly server: string;
  readonly series: string;
  readonly host: string;
  readonly version: string;
}

interface Origin {
  readonly config: Config;
  readonly redact: Redactor;
  readonly hostname: string;
  readonly version: string;
}

const JOBS: Readonly<Record<Report['job'], string>> = { backup: 'backup', verify: 'verification' };

const MAX_ERROR_LINES = 12;
const MAX_ERROR_LENGTH = 1500;
const MAX_NAMES = 10;

export function createMessage(origin: Origin, told: Report, recoveredAfter: number): Message {
  const report = redactStrings(told, origin.redact);
  const place = describePlace(origin);
  // Of one, names and logs have a label where the manifest has a path or a number.
  const isOne = origin.config.selection.kind === 'one';
  const nameBackup = ({ database }: StoredBackup) => (isOne ? place.database : database);
  const what = `${place.engineTitle} ${nameDatabase(origin, report)}`;
  return {
    event: 'run',
    report,
    status: isGood(report.outcome) ? 'success' : 'failure',
    recoveredAfter,
    place,
    title: plainLine(
      `dbstash: ${JOBS[report.job]} ${describeOutcome(report, recoveredAfter)}: ${what} (${place.server})`,
    ),
    lines: describeReport(report, recoveredAfter, nameBackup).flatMap((text) => plainText(text).split('\n')),
    footer: plainLine(`run ${report.run}; more in the log of dbstash on ${place.host}`),
  };
}

export function createTestMessage(origin: Origin): Message {
  const place = describePlace(origin);
  return {
    event: 'test',
    report: null,
    status: 'success',
    recoveredAfter: 0,
    place,
    title: plainLine(`dbstash: test message: ${place.engineTitle} ${place.database} (${place.server})`),
    lines: ['This is what dbstash notify-test sends. Nothing was backed up, and nothing failed.'],
    footer: plainLine(`dbstash ${place.version} on ${place.host}`),
  };
}

export const isGood = (outcome: Outcome): boolean => outcome === 'succeeded' || outcome === 'warning';

function describePlace({ config, redact, hostname, version }: Origin): Place {
  const { engine, hosts, database } = config.connection;
  const server = hosts.map(addressOf).join(',');
  return {
    engine,
    engineTitle: engines[engine].title,
    database: plainLine(redact(config.database)),
    server: plainLine(redact(server || database)),
    series: plainLine(redact(config.series)),
    host: plainLine(hostname),
    version,
  };
}

function nameDatabase({ config, redact }: Origin, { backups, failures }: Report): string {
  if (config.selection.kind === 'one') return redact(config.database);
  const count = backups.length + failures.length;
  return count > MAX_NAMES || config.selection.kind === 'all'
    ? `${count === 0 ? 'all' : count} databases`
    : redact(config.database);
}

function describeOutcome({ outcome, warnings }: Report, recoveredAfter: number): string {
  if (outcome === 'warning') return `succeeded with ${formatCount(warnings.length, 'warning')}`;
  return outcome === 'succeeded' && recoveredAfter > 0 ? 'succeeded again' : outcome;
}

function describeReport(report: Report, recoveredAfter: number, nameOf: (backup: StoredBackup) => string): string[] {
  const { error, failures, warnings, backups, removed, durationMs, outcome } = report;
  return [
    // Of several databases each failure has its own line.
    ...(error === undefined || failures.length > 0 ? [] : [shorten(error)]),
    ...failures.map(({ database, error: why }) => `${database}: ${outcome}: ${shorten(why)}`),
    ...warnings.map((warning) => `warning: ${shorten(warning)}`),
    ...(recoveredAfter > 0 ? [`the first good run after ${countRuns(recoveredAfter)}`] : []),
    ...backups.map((backup) => describeBackup(backup, nameOf(backup))),
    ...(removed.length === 0 ? [] : [`pruned: ${listNames(removed)}`]),
    `took ${formatDuration(durationMs)}`,
  ];
}

const countRuns = (count: number): string => (count === 1 ? 'one that was not' : `${count} that were not`);

function describeBackup(backup: StoredBackup, name: string): string {
  const { bytes, dumpBytes } = backup;
  const dumped = dumpBytes === bytes ? '' : ` (of a dump of ${formatBytes(dumpBytes)})`;
  return `${name}: ${formatBytes(bytes)}${dumped} at ${pathsOf(backup).join(' and ')}`;
}

function listNames(names: readonly string[]): string {
  const rest = names.length - MAX_NAMES;
  return names.slice(0, MAX_NAMES).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

/** Tools say the cause first, and then much more. */
function shorten(text: string): string {
  const lines = text.trim().split('\n');
  const short = lines.slice(0, MAX_ERROR_LINES).join('\n').slice(0, MAX_ERROR_LENGTH);
  return short.length < text.trim().length ? `${short} …` : short;
}

/** String by string: a mask across them could join what is apart. */
function redactStrings<T>(value: T, redact: Redactor): T {
  if (typeof value === 'string') return redact(value) as T;
  if (Array.isArray(value)) return value.map((item) => redactStrings(item, redact)) as T;
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, redactStrings(item, redact)])) as T;
}
