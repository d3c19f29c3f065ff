import { pathsOf } from '../core/report.ts';
import type { Format } from './channel.ts';
import type { Message } from './message.ts';

/** Of what is sent: it changes where a field goes or means something else, not where one comes. */
const VERSION = 1;

/** Whatever takes our JSON (docs/notifications.md tells each field). */
export const webhook: Format = { kind: 'webhook', fits: () => true, render };

function render({ event, status, recoveredAfter, place, title, lines, footer, report }: Message): unknown {
  const { engine, database, server, series, host, version } = place;
  return {
    version: VERSION,
    event,
    job: report?.job ?? null,
    outcome: report?.outcome ?? null,
    status,
    recovered: recoveredAfter > 0,
    title,
    message: [...lines, footer].join('\n'),
    run: report?.run ?? null,
    engine,
    database,
    server,
    series,
    startedAt: report?.startedAt.toISOString() ?? null,
    durationMs: report?.durationMs ?? null,
    error: report?.error ?? null,
    warnings: report?.warnings ?? [],
    backups: (report?.backups ?? []).map((backup) => ({
      id: backup.id,
      database: backup.database,
      series: backup.series,
      artifact: backup.artifact,
      paths: pathsOf(backup),
      bytes: backup.bytes,
      dumpBytes: backup.dumpBytes,
    })),
    failures: report?.failures ?? [],
    removed: report?.removed ?? [],
    host,
    dbstash: version,
  };
}
