import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { backupEnv } from './backups.ts';
import { startDbstash } from './dbstash.ts';
import { startRemote } from './remotes.ts';
import { freePort, scratchFolder } from './scratch.ts';
import { createSqlite } from './seeds.ts';

/** What the daemon holds between two runs. */
export interface SoakSample {
  readonly seconds: number;
  /** Of runs that have ended, whatever came of them. */
  readonly runs: number;
  readonly failed: number;
  readonly residentBytes: number;
  readonly descriptors: number;
  /** Of the daemon; a living one is left over from a run. */
  readonly children: number;
  readonly zombies: number;
  /** In its temporary folder, but for its session's own. */
  readonly temporary: number;
  /** Objects on the remote. */
  readonly objects: number;
}

export interface SoakOptions {
  readonly seconds: number;
  readonly sampleEverySeconds: number;
  readonly onSample?: (sample: SoakSample) => void;
}

/** How often the storage fails for a moment. */
const TROUBLE_EVERY_MS = 20_000;

/**
 * Runs the daemon, a run every two seconds, against a storage that fails now and then, with a web client that asks again and
 * again. Samples are of moments in which no run is going on.
 */
export async function soak({ seconds, sampleEverySeconds, onSample }: SoakOptions): Promise<readonly SoakSample[]> {
  await using home = scratchFolder();
  await using remote = await startRemote('s3');
  const port = await freePort();
  const env = backupEnv(createSqlite(home), remote, home, {
    BACKUP_SCHEDULE: '*/2 * * * * *',
    RETENTION_MAX_FILES: '5',
    RCLONE_EXTRA_ARGS: '--retries=1 --low-level-retries=1',
    BACKUP_NAME_TEMPLATE: '{db}-{uuid}',
    HEALTH_PORT: String(port),
    HEALTH_HOST: '127.0.0.1',
  });
  const tempDir = join(home.path, 'tmp');
  await using daemon = startDbstash(['start'], env, { timeoutMs: (seconds + 120) * 1000 });
  const start = performance.now();
  const elapsed = () => (performance.now() - start) / 1000;
  const samples: SoakSample[] = [];
  let troubleAt = TROUBLE_EVERY_MS;
  while (elapsed() < seconds) {
    const nextAt = elapsed() + sampleEverySeconds;
    while (elapsed() < nextAt) {
      if (elapsed() * 1000 > troubleAt) {
        remote.s3?.fault({ operation: 'PutObject', status: 500, times: 1 });
        troubleAt += TROUBLE_EVERY_MS;
      }
      await fetch(`http://127.0.0.1:${port}/metrics`)
        .then((answer) => answer.text())
        .catch(() => {});
      await sleep(500);
    }
    const ended = () => daemon.lines().filter(({ message }) => /^run (succeeded|failed)/.test(message));
    await waitForIdle(daemon.pid, tempDir);
    const objects = remote.s3?.objects().size ?? 0;
    const failed = ended().filter(({ message }) => message.startsWith('run failed')).length;
    const sample = { seconds: elapsed(), runs: ended().length, failed, objects, ...lookAt(daemon.pid, tempDir) };
    samples.push(sample);
    onSample?.(sample);
  }
  daemon.kill('SIGTERM');
  await daemon.exited;
  return samples;
}

/** Half a minute at most: what is there then is left over. */
async function waitForIdle(pid: number, tempDir: string): Promise<void> {
  for (let tries = 0; tries < 3000; tries++) {
    const { children, temporary } = lookAt(pid, tempDir);
    if (children === 0 && temporary === 0) return;
    await sleep(10);
  }
}

function lookAt(pid: number, tempDir: string) {
  const states = childrenOf(pid).map((child) => /^State:\s+(\w)/m.exec(read(`/proc/${child}/status`))?.[1]);
  const resident = /^VmRSS:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1];
  return {
    residentBytes: Number(resident ?? 0) * 1024,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    children: states.filter((state) => state !== undefined && state !== 'Z').length,
    zombies: states.filter((state) => state === 'Z').length,
    temporary: readdirSync(tempDir).filter((name) => /^work-/.test(name) && !/^work-session-/.test(name)).length,
  };
}

const childrenOf = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    read(`/proc/${pid}/task/${task}/children`).split(' ').filter(Boolean),
  );

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
