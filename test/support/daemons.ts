import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { backupEnv } from './backups.ts';
import type { DbstashProcess } from './dbstash.ts';
import { type RemoteKind, startRemote, type TestRemote } from './remotes.ts';
import { freePort, type Scratch, scratchFolder, waitFor } from './scratch.ts';

/** What a daemon needs that backs up an SQLite database of one table. */
interface Stage extends AsyncDisposable {
  readonly home: Scratch;
  readonly remote: TestRemote;
  readonly database: string;
  readonly env: Record<string, string>;
}

export const NEVER = '0 0 1 1 *';

export async function openStage(kind: RemoteKind, more: Record<string, string> = {}): Promise<Stage> {
  await using opening = new AsyncDisposableStack();
  const home = opening.use(scratchFolder());
  const remote = opening.use(await startRemote(kind));
  const database = join(home.path, 'shop.db');
  execFileSync('sqlite3', [
    database,
    'PRAGMA journal_mode=WAL; CREATE TABLE orders(id); INSERT INTO orders VALUES (1)',
  ]);
  const env = backupEnv(`sqlite://${database}`, remote, home, { BACKUP_NAME_TEMPLATE: '{db}-{uuid}', ...more });
  const opened = opening.move();
  return { home, remote, database, env, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

export const said = (program: DbstashProcess, pattern: RegExp) =>
  program.lines().filter(({ message }) => pattern.test(message));

export const waitForTimes = (program: DbstashProcess, pattern: RegExp, times: number, timeoutMs = 60_000) =>
  waitFor(() => said(program, pattern).length >= times, {
    timeoutMs,
    title: () => `${times} x ${pattern}: ${program.stderr()}`,
  });

export async function stop(daemon: DbstashProcess) {
  daemon.kill('SIGTERM');
  return await daemon.exited;
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

export interface Endpoints {
  readonly env: { readonly HEALTH_PORT: string };
  readonly port: number;
  /** Asks until somebody answers. */
  get(path: string, init?: RequestInit): Promise<Answer>;
  /** The JSON of an answer with this status, as soon as there is one. */
  expectStatus(path: string, status: number, timeoutMs?: number): Promise<Record<string, unknown>>;
}

/** A free port for a daemon, and what it answers there. */
export async function openEndpoints(): Promise<Endpoints> {
  const port = await freePort();
  const ask = async (path: string, init?: RequestInit): Promise<Answer | undefined> => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      ...init,
      signal: AbortSignal.timeout(10_000),
    }).catch(() => undefined);
    return response && { status: response.status, headers: response.headers, text: await response.text() };
  };
  const get = (path: string, init?: RequestInit) =>
    waitFor(() => ask(path, init), { timeoutMs: 30_000, title: `${path} answers` });
  return {
    env: { HEALTH_PORT: String(port) },
    port,
    get,
    expectStatus: async (path, status, timeoutMs = 60_000) => {
      let last = '';
      const title = () => `${path} says ${status}: ${last}`;
      const found = await waitFor(
        async () => {
          const answer = await ask(path);
          last = answer?.text ?? 'nothing';
          return answer?.status === status && answer;
        },
        { timeoutMs, title },
      );
      return JSON.parse(found.text);
    },
  };
}
