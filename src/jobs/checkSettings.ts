import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { split } from 'shlex';
import { isRetentionOff } from '../core/retention.ts';
import { formatBytes, formatDuration } from '../core/units.ts';
import type { Remote } from '../remote/remote.ts';
import { describeSchedule, listDueTimes, parseSchedule } from '../schedule.ts';
import { describeChannels } from './channels.ts';
import type { Host, Session } from './session.ts';

/** What a look at one thing found. */
export interface Answer {
  readonly detail: string;
  readonly warnings?: readonly string[];
  /** Nothing is wrong, and one should know. */
  readonly isNote?: boolean;
}

/** What can be said without the database and the remotes. */
export const SETTINGS: readonly (readonly [what: string, look: (session: Session) => Answer | Promise<Answer>])[] = [
  ['schedule', checkSchedule],
  ['memory', checkMemory],
  ['temporary folder', checkRoom],
  ['retention', checkRetention],
  ['notifications', checkChannels],
  ['hooks', checkHooks],
];

function checkSchedule({ host: { config, clock } }: Session): Answer {
  const schedule = parseSchedule(config.schedule, config.timeZone);
  const due = listDueTimes(schedule, clock.now(), 3).map((date) => date.toISOString());
  const next = due.length > 0 ? `, next ${due.join(', ')}` : '';
  const words = describeSchedule(config.schedule, config.timeZone);
  return { detail: words + next, ...(config.dryRun && { warnings: ['DRY_RUN is set: nothing will be backed up'] }) };
}

const RCLONE_BYTES = 60 * 1024 * 1024;

/** What the uploads may hold at once, against the machine's or the container's limit. */
function checkMemory({ host, places }: Session): Answer {
  const wanted = places.map(({ remote: { backend } }) => {
    const { chunkBytes = 0, concurrency = 0 } = backend.parts ?? {};
    return RCLONE_BYTES + chunkBytes * concurrency;
  });
  const needed = wanted.reduce((sum, bytes) => sum + bytes, 0);
  const available = host.availableBytes();
  const rule = places.map(({ remote }) => remote.backend.parts).find((parts) => parts !== undefined);
  const advice = rule ? `, or make ${rule.variable} or ${rule.concurrencyVariable} smaller` : '';
  return {
    detail: `${formatBytes(available)} can be had, rclone takes up to ${formatBytes(needed)}`,
    warnings:
      needed > available
        ? [`rclone may be killed for want of memory: give ${formatBytes(needed - available)} more${advice}`]
        : [],
  };
}

/** Whether the dump fits is said of the database. */
async function checkRoom({ host: { config, env }, scratch, places }: Session): Promise<Answer> {
  const free = await scratch.freeBytes();
  const spools = places.filter(({ remote }) => !remote.backend.canStream).map(({ remote }) => remote.title);
  return {
    detail: `${formatBytes(free)} free in ${config.tempDir}${config.mode === 'stream' ? ', little of which a stream needs' : ''}`,
    warnings: spools.map((title) => `${title} takes no streams: each dump goes through ${env.TMPDIR ?? '/tmp'} first`),
  };
}

function checkRetention({ host: { config } }: Session): Answer {
  const { retention } = config;
  if (isRetentionOff(retention))
    return { detail: 'off: nothing is ever pruned, backups grow without end', isNote: true };
  const rules = Object.entries(retention).filter(([name, value]) => value > 0 && name !== 'minKeep');
  return { detail: rules.map(([name, value]) => `${name} ${value}`).join(', ') };
}

function checkChannels({ host: { config } }: Session): Answer {
  const channels = describeChannels(config);
  if (channels.length > 0) return { detail: `${channels.join('; ')} (not tried)` };
  return {
    detail: 'none: nobody is told of a failure; right is NOTIFY_WEBHOOK_URL, SMTP_URL or PING_URL',
    isNote: true,
  };
}

async function checkHooks({ host: { config } }: Session): Promise<Answer> {
  const { pre, post } = config.hooks;
  const set = [
    ['HOOK_PRE_BACKUP', pre],
    ['HOOK_POST_BACKUP', post],
  ].filter((entry): entry is [string, string] => entry[1] !== undefined);
  const missing = await Promise.all(set.map(([name, command]) => findMissing(name, command)));
  return {
    detail: set.length === 0 ? 'none' : `${set.map(([name]) => name).join(', ')} (not run)`,
    warnings: missing.flat(),
  };
}

/** A program that is named by its path can be looked for. */
async function findMissing(name: string, command: string): Promise<readonly string[]> {
  const file = firstWord(command);
  if (!file.startsWith('/')) return [];
  return await access(file, constants.X_OK).then(
    () => [],
    () => [`${name}: ${file} is not there, or may not be run`],
  );
}

function firstWord(command: string): string {
  try {
    return split(command)[0] ?? '';
  } catch {
    return '';
  }
}

/** Further apart, and names, due times and retention are of another day; S3 refuses us at fifteen minutes. */
const MAX_SKEW_MS = 3 * 60_000;

/** Our clock against that of the storage, which has just stored `path`, after `before`. */
export async function compareClocks(
  { clock, signal }: Host,
  before: Date,
  remote: Remote,
  path: string,
): Promise<readonly string[]> {
  const after = clock.now();
  const stored = await remote.storedAt(path, signal).catch(() => undefined);
  if (stored === undefined) return [];
  const [early, late] = [before.getTime() - stored.getTime(), stored.getTime() - after.getTime()];
  if (Math.max(early, late) <= MAX_SKEW_MS) return [];
  const [by, word] = early > late ? [early, 'ahead of'] : [late, 'behind'];
  return [`the clock of this machine is ${formatDuration(by)} ${word} that of ${remote.title}: set it right`];
}
