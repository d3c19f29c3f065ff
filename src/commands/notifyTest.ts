import { parseConfig } from '../config/config.ts';
import { ConfigError, EXIT } from '../core/errors.ts';
import { formatRows } from '../jobs/list.ts';
import { type Call, printJson, printText } from './call.ts';

/** Needs no database and no remote: they may be what is down when a message matters. */
export async function runNotifyTest({ edge, source, options }: Call): Promise<number> {
  const deliveries = await edge.createHost(parseConfig(source)).notifier.test();
  if (deliveries.length === 0)
    throw new ConfigError('nobody would be told: set NOTIFY_WEBHOOK_URL, NOTIFY_EMAIL_TO and SMTP_URL, or PING_URL');
  if (options.json) printJson(edge, deliveries);
  else printText(edge, `${formatRows(deliveries.map(({ state, title, detail }) => [state, title, detail]))}\n`);
  return deliveries.some(({ state }) => state === 'failed') ? EXIT.failed : EXIT.ok;
}
