import type { Notes } from '../config/notes.ts';
import { readValues, type Surroundings } from '../config/settings.ts';
import { EXIT } from '../core/errors.ts';
import { askServer } from '../http/ask.ts';

/**
 * Asks the daemon of this container how it is. Reads no variable but its own, and no secret: it runs twice a minute, and
 * not always as the daemon's user. Returns 0 or 1, which are all that Docker knows.
 */
export async function runHealth(
  source: Surroundings,
  isReady: boolean,
  print: (text: string) => void,
): Promise<number> {
  const notes: Notes = { problems: [], warnings: [] };
  const values = readValues(['HEALTH_PORT', 'HEALTH_HOST', 'BACKUP_SCHEDULE'], source, notes);
  const { HEALTH_PORT: port, HEALTH_HOST: host } = values;
  const say = (well: boolean, lines: readonly string[]) => {
    print(`${lines.join('\n')}\n`);
    return well ? EXIT.ok : EXIT.failed;
  };
  if (notes.problems.length > 0) return say(false, notes.problems);
  if (port === 0) return say(true, ['HEALTH_PORT is 0: there is no server to ask']);
  if (/^[\s;]*once[\s;]*$/i.test(values.BACKUP_SCHEDULE))
    return say(true, ['BACKUP_SCHEDULE is once: there is no server to ask']);
  const { isWell, reasons } = await askServer(host, port, isReady ? '/readyz' : '/healthz');
  const [good, bad] = isReady ? ['ready', 'not ready'] : ['healthy', 'unhealthy'];
  return say(isWell, isWell ? [good] : reasons.map((reason) => `${bad}: ${reason}`));
}
