import { pause } from '../core/clock.ts';
import { describeError, TimeoutError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import { engines } from '../engines/index.ts';
import { createScratch, type Scratch } from '../process/scratch.ts';
import { openTunnel } from '../ssh.ts';
import { ask, type Host } from './session.ts';

/** What clients say of a server that is not there yet, or not ready. A wrong password never mends itself. */
const STARTING =
  /connection refused|ECONNREFUSED|ECONNRESET|connection reset|starting up|shutting down|in recovery mode|not yet accepting|could not translate host name|name or service not known|no address associated|name resolution|ENOTFOUND|EAI_AGAIN|unknown (mysql |mariadb )?server host|can't connect to|lost connection|closed the connection|no route to host|unreachable|LOADING|did not answer|timed? ?out|timeout expired|on socket \S+ failed|could not connect|connect ENOENT/i;

const LONGEST_MS = 5 * 60_000;
const PAUSE_MS = 1000;
/** Of one question; packets to a machine that is not up yet are lost without a word. */
const ANSWER_MS = 30_000;

/**
 * Waits as long as the database seems to be starting, five minutes at most. Never rejects: what is wrong is then for the
 * run to say.
 */
export async function awaitDatabase(host: Host): Promise<void> {
  const { clock, logger, signal } = host;
  const until = clock.now().getTime() + LONGEST_MS;
  let isTold = false;
  while (!signal.aborted) {
    const fault = await findFault(host);
    if (signal.aborted || fault === undefined || !STARTING.test(fault)) return;
    if (clock.now().getTime() >= until) return;
    if (!isTold) logger.info(`waits for the database, ${formatDuration(LONGEST_MS)} at most: ${fault}`);
    isTold = true;
    await pause(host.clock, PAUSE_MS, host.signal);
  }
}

/** Undefined where the server answers. */
async function findFault(host: Host): Promise<string | undefined> {
  const over = new AbortController();
  const expire = () => over.abort(new TimeoutError(`it did not answer within ${formatDuration(ANSWER_MS)}`));
  const timer = host.clock.setTimeout(expire, ANSWER_MS);
  try {
    await using scratch = await createScratch(host.config.tempDir, `wait-${host.randomHex(4)}`);
    await inspect(host, scratch, AbortSignal.any([host.signal, over.signal]));
    return undefined;
  } catch (error) {
    return describeError(error);
  } finally {
    host.clock.clearTimeout(timer);
  }
}

async function inspect(host: Host, scratch: Scratch, signal: AbortSignal): Promise<void> {
  const { ssh, connection } = host.config;
  await using tunnel = await openTunnel(ssh, connection, signal);
  const question = engines[connection.engine].inspect(tunnel.reach(connection));
  await ask(host, scratch, question, AbortSignal.any([signal, tunnel.lost]));
}
