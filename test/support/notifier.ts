import { parseConfig, secretsOf } from '../../src/config/config.ts';
import { createRedactor } from '../../src/core/redact.ts';
import type { Report, StoredBackup } from '../../src/core/report.ts';
import { createLogger } from '../../src/logger.ts';
import { createNotifier } from '../../src/notify/index.ts';
import { systemClock } from '../../src/process/clock.ts';

const BASE = { DB_URI: 'postgres://app:canary-password@db.internal/orders', RCLONE_REMOTE: '/backup' };

/** A notifier of our own process, with its log. `stop` is the signal to end. */
export function openNotifier(more: Readonly<Record<string, string>>) {
  const env = { ...BASE, ...more };
  const config = parseConfig({ env, flags: {}, cwd: '/', parseSchedule: () => {} });
  const stopping = new AbortController();
  const log: { level: string; message: string }[] = [];
  const redact = createRedactor(secretsOf(config, env));
  const write = (line: string) => void log.push(JSON.parse(line));
  const logger = createLogger({ level: 'debug', format: 'json', write, redact, clock: systemClock });
  const around = { config, env, clock: systemClock, logger, redact, signal: stopping.signal };
  return {
    ...createNotifier({ ...around, hostname: 'box', version: '1.2.3' }),
    config,
    redact,
    warnings: () => log.filter(({ level }) => level === 'warn').map(({ message }) => message),
    stop: () => stopping.abort(new Error('SIGTERM')),
  };
}

export const A_BACKUP: StoredBackup = {
  dbstash: 1,
  id: '20260207T020000Z-a1b2c3',
  run: '20260207T020000Z-d4e5f6',
  series: 'pg://db.internal:5432/orders',
  serverId: null,
  engine: 'pg',
  database: 'orders',
  mode: 'stream',
  artifact: 'orders-2026-02-07-020000.sql',
  startedAt: '2026-02-07T02:00:00.000Z',
  finishedAt: '2026-02-07T02:10:00.000Z',
  bytes: 1536,
  sha256: '0'.repeat(64),
  dumpBytes: 1024 * 1024,
  format: 'plain',
  compression: null,
  encryption: null,
  tool: 'pg_dump 17.6',
  server: 'PostgreSQL 17.6',
  version: '1.2.3',
  target: {},
  remotes: ['s3:bucket/db', '/backup'],
};

export const aReport = (more: Partial<Report> = {}): Report => ({
  run: '20260207T020000Z-d4e5f6',
  job: 'backup',
  outcome: 'succeeded',
  exitCode: 0,
  startedAt: new Date('2026-02-07T02:00:00Z'),
  durationMs: 630_000,
  backups: [A_BACKUP],
  failures: [],
  removed: [],
  warnings: [],
  error: undefined,
  ...more,
});

export const aFailure = (error: string, more: Partial<Report> = {}): Report =>
  aReport({ outcome: 'failed', exitCode: 1, backups: [], error, ...more });
