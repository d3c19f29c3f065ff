import { judgeHealth } from '../core/health.ts';
import { paceOf } from '../core/pace.ts';
import { isGood, sumOfBytes } from './copies.ts';
import {
  countStates,
  EPOCH,
  isLookedAt,
  listedSeries,
  moment,
  overdueSeries,
  perCopy,
  perDrill,
  perLevel,
  perNewest,
  type Read,
  seconds,
} from './samples.ts';

/** One metric: how it is told, and where its values come from. No samples: it is left out, for it is not known yet. */
export interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly labels: readonly string[];
  /** One sentence, without a full stop. */
  readonly help: string;
  readonly read: Read;
}

const OUTCOMES = ['succeeded', 'warning', 'failed', 'skipped', 'interrupted'] as const;

const SERIES_LABELS = ['series', 'database'] as const;
const COPY_LABELS = ['remote', ...SERIES_LABELS] as const;

/** Every metric of ours; docs/monitoring.md has this table. */
export const METRICS: readonly Metric[] = [
  {
    name: 'dbstash_build_info',
    type: 'gauge',
    labels: ['version'],
    help: 'Always 1; which dbstash this is',
    read: ({ facts }) => [{ labels: { version: facts.version }, value: 1 }],
  },
  {
    name: 'dbstash_job_info',
    type: 'gauge',
    labels: ['engine', 'database', 'server', 'mode', 'schedule'],
    help: 'Always 1; what is backed up, and how',
    read: ({ facts: { engine, database, server, mode, schedule } }) => [
      { labels: { engine, database, server, mode, schedule }, value: 1 },
    ],
  },
  {
    name: 'dbstash_ready',
    type: 'gauge',
    labels: [],
    help: '1 where all is well, as /readyz says, else 0',
    read: (state, now) => [{ value: Number(judgeHealth(state, now).unready.length === 0) }],
  },
  {
    name: 'dbstash_healthy',
    type: 'gauge',
    labels: [],
    help: '1 where this process has done its part, as /healthz says, else 0',
    read: (state, now) => [{ value: Number(judgeHealth(state, now).unhealthy.length === 0) }],
  },
  {
    name: 'dbstash_backup_overdue',
    type: 'gauge',
    labels: SERIES_LABELS,
    help: '1 where the series has no good backup since the latest due time whose grace (HEALTH_GRACE) has passed, else 0',
    read: overdueSeries,
  },
  {
    name: 'dbstash_last_success_timestamp_seconds',
    type: 'gauge',
    labels: SERIES_LABELS,
    help: 'When the newest good backup of the series, on any remote, was finished; 0 where there is none',
    read: (state, now) =>
      listedSeries(state, now).map(({ labels, newest }) => ({ labels, value: seconds(newest?.finishedAt ?? EPOCH) })),
  },
  {
    name: 'dbstash_newest_backup_timestamp_seconds',
    type: 'gauge',
    labels: COPY_LABELS,
    help: 'When the newest good backup there was begun: its age is the age of the data; 0 where there is none',
    read: perCopy(({ newestGood }) => seconds(newestGood?.startedAt ?? EPOCH)),
  },
  {
    name: 'dbstash_newest_backup_duration_seconds',
    type: 'gauge',
    labels: COPY_LABELS,
    help: 'How long the newest good backup there took',
    read: perNewest(({ startedAt, finishedAt }) => (finishedAt.getTime() - startedAt.getTime()) / 1000),
  },
  {
    name: 'dbstash_newest_backup_stored_bytes',
    type: 'gauge',
    labels: COPY_LABELS,
    help: 'Size of the newest good backup there, as it is stored',
    read: perNewest(({ bytes }) => bytes),
  },
  {
    name: 'dbstash_newest_backup_dump_bytes',
    type: 'gauge',
    labels: COPY_LABELS,
    help: 'Size of the newest good backup there, as the dump tool wrote it, before compression and encryption',
    read: perNewest(({ dumpBytes }) => dumpBytes),
  },
  {
    name: 'dbstash_newest_backup_is_good',
    type: 'gauge',
    labels: COPY_LABELS,
    help: '1 where the newest backup there is whole, 0 where it is missing or damaged',
    read: perCopy(({ backups: [newest] }) => newest && Number(isGood(newest))),
  },
  {
    name: 'dbstash_backups',
    type: 'gauge',
    labels: [...COPY_LABELS, 'state'],
    help: 'How many backups there are: good, missing or damaged',
    read: countStates,
  },
  {
    name: 'dbstash_stored_bytes',
    type: 'gauge',
    labels: COPY_LABELS,
    help: 'Size of all backups there that are not missing',
    read: perCopy(({ backups }) => sumOfBytes(backups)),
  },
  {
    name: 'dbstash_last_verification_timestamp_seconds',
    type: 'gauge',
    labels: [...COPY_LABELS, 'level'],
    help: 'When a backup there was last verified, by level: stored, content, restore',
    read: perLevel(({ at }) => Date.parse(at) / 1000),
  },
  {
    name: 'dbstash_last_verification_ok',
    type: 'gauge',
    labels: [...COPY_LABELS, 'level'],
    help: '1 where that verification found all well, else 0; of the level restore, 0 is a drill that failed of a backup that is as it was written',
    read: perLevel(({ ok }) => Number(ok)),
  },
  {
    name: 'dbstash_last_drill_duration_seconds',
    type: 'gauge',
    labels: COPY_LABELS,
    help: 'How long the last drill took to restore a backup from there: what a restore takes',
    read: perDrill(({ durationMs }) => durationMs / 1000),
  },
  {
    name: 'dbstash_last_drill_bytes_per_second',
    type: 'gauge',
    labels: COPY_LABELS,
    help: 'How fast that was, in bytes of the dump',
    read: perDrill(paceOf),
  },
  {
    name: 'dbstash_failed_drills',
    type: 'gauge',
    labels: COPY_LABELS,
    help: 'How many good backups there are whose last drill failed',
    read: perCopy(({ backups }) => backups.filter((one) => isGood(one) && one.verdict?.failedDrill).length),
  },
  {
    name: 'dbstash_last_drill_rows',
    type: 'gauge',
    labels: COPY_LABELS,
    help: 'Rows, documents or keys that it counted',
    read: perDrill(({ rows }) => rows),
  },
  {
    name: 'dbstash_remote_up',
    type: 'gauge',
    labels: ['remote'],
    help: '1 where the remote could be listed the last time, else 0',
    read: ({ remotes }) =>
      remotes.filter(isLookedAt).map(({ title, fault }) => ({ labels: { remote: title }, value: fault ? 0 : 1 })),
  },
  {
    name: 'dbstash_remote_listed_timestamp_seconds',
    type: 'gauge',
    labels: ['remote'],
    help: 'When the remote was last listed: what is said of its backups is of then',
    read: ({ remotes }) =>
      remotes.flatMap(({ title, listedAt }) =>
        listedAt ? [{ labels: { remote: title }, value: seconds(listedAt) }] : [],
      ),
  },
  {
    name: 'dbstash_remote_missed_runs',
    type: 'gauge',
    labels: ['remote'],
    help: 'How many runs in a row made backups, and none here',
    read: ({ remotes }) => remotes.map(({ title, missedRuns }) => ({ labels: { remote: title }, value: missedRuns })),
  },
  {
    name: 'dbstash_run_in_progress',
    type: 'gauge',
    labels: [],
    help: '1 while a run is going on, else 0',
    read: ({ running }) => [{ value: running ? 1 : 0 }],
  },
  {
    name: 'dbstash_run_started_timestamp_seconds',
    type: 'gauge',
    labels: [],
    help: 'When the run that is going on was begun',
    read: ({ running }) => moment(running?.startedAt),
  },
  {
    name: 'dbstash_last_run_timestamp_seconds',
    type: 'gauge',
    labels: [],
    help: 'When the last run of this process ended',
    read: ({ runs: [last] }) => moment(last && new Date(last.startedAt.getTime() + last.durationMs)),
  },
  {
    name: 'dbstash_last_run_outcome',
    type: 'gauge',
    labels: ['outcome'],
    help: "1 for the outcome of this process's last run, 0 for the others: succeeded, warning, failed, skipped, interrupted",
    read: ({ runs: [last] }) =>
      last ? OUTCOMES.map((outcome) => ({ labels: { outcome }, value: Number(outcome === last.outcome) })) : [],
  },
  {
    name: 'dbstash_last_run_duration_seconds',
    type: 'gauge',
    labels: [],
    help: "How long this process's last run took",
    read: ({ runs: [last] }) => (last ? [{ value: last.durationMs / 1000 }] : []),
  },
  {
    name: 'dbstash_last_run_stored_bytes',
    type: 'gauge',
    labels: [],
    help: "Size of what this process's last run stored, all its backups together",
    read: ({ runs: [last] }) => (last ? [{ value: last.bytes }] : []),
  },
  {
    name: 'dbstash_next_run_timestamp_seconds',
    type: 'gauge',
    labels: [],
    help: 'When the next run is due',
    read: ({ nextDue }) => moment(nextDue),
  },
  {
    name: 'dbstash_runs_total',
    type: 'counter',
    labels: ['outcome'],
    help: 'Runs since the process started, by outcome',
    read: ({ totals }) => OUTCOMES.map((outcome) => ({ labels: { outcome }, value: totals.runs[outcome] })),
  },
  {
    name: 'dbstash_skipped_ticks_total',
    type: 'counter',
    labels: [],
    help: 'Due times that passed while a run was going on',
    read: ({ totals }) => [{ value: totals.skippedTicks }],
  },
  {
    name: 'dbstash_backups_pruned_total',
    type: 'counter',
    labels: [],
    help: 'Backups that retention removed since the process started',
    read: ({ totals }) => [{ value: totals.pruned }],
  },
  {
    name: 'dbstash_notification_failures_total',
    type: 'counter',
    labels: ['channel'],
    help: 'Messages that did not arrive since the process started, by channel',
    read: ({ totals }) =>
      Object.entries(totals.notificationFailures).map(([channel, value]) => ({ labels: { channel }, value })),
  },
];
