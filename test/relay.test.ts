import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { DumpError, InterruptedError, RemoteError } from '../src/core/errors.ts';
import { createDigest } from '../src/pipeline/digest.ts';
import { type Producer, relay, relayToAll, type Stage } from '../src/pipeline/relay.ts';
import { type Child, spawnChild } from '../src/process/child.ts';
import { systemClock } from '../src/process/clock.ts';
import { scratchFolder, waitFor } from './support/scratch.ts';

const shell = (script: string): Child =>
  spawnChild({ file: 'sh', args: ['-c', script] }, { env: { PATH: process.env.PATH ?? '' } });

function dump(script: string, more: Partial<Producer> = {}): Producer {
  const child = shell(script);
  child.stdin.end();
  return { child, fail: (message) => new DumpError(message), ...more };
}

const filter = (script: string): Producer => ({ child: shell(script), fail: (message) => new DumpError(message) });
const upload = (script: string): Stage => ({ child: shell(script), fail: (message) => new RemoteError(message) });
const never = new AbortController().signal;

/** Stores what it gets and, as rclone does, commits it at end-of-input, whatever made the input end. */
const store = (folder: string): Stage =>
  upload(`cd '${folder}' && trap 'touch told; exit 143' TERM
    exec 3<&0; cat <&3 >partial & wait $! && mv partial committed`);
const isCommitted = (folder: string) => existsSync(`${folder}/committed`);
const isTold = (folder: string) => existsSync(`${folder}/told`);

/** Is a process whose command line holds the text still there? */
function isRunning(text: string): boolean {
  const { execFileSync } = process.getBuiltinModule('node:child_process');
  return execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })
    .split('\n')
    .some((line) => line.includes(text) && !line.includes('ps -eo'));
}

describe('the relay', () => {
  it('moves every byte through the filters, and counts and hashes them', async () => {
    await using scratch = scratchFolder();
    const digest = createDigest();
    const source = dump('seq 1 2000000', { tap: digest.add });
    await relay([source, filter('gzip -1'), filter('gzip -d')], store(scratch.path), never);
    const stored = readFileSync(`${scratch.path}/committed`);
    expect(stored.length).toBe(14_888_896);
    expect(digest.bytes).toBe(stored.length);
    expect(digest.sha256()).toBe(createHash('sha256').update(stored).digest('hex'));
  });

  it.each(['seq 1 1000', 'true'])(
    'commits nothing of a source that was done before it was read: %s',
    async (script) => {
      await using scratch = scratchFolder();
      const source = dump(script);
      await source.child.exit;
      await waitFor(() => source.child.stdout.readableEnded);
      const moving = relay([source, filter('cat')], store(scratch.path), never);
      await expect(moving).rejects.toThrow(/^sh was done before anybody read what it wrote/);
      expect(isCommitted(scratch.path)).toBe(false);
    },
  );

  it('leaves nothing behind on a signal that lives as long as the process', async () => {
    const whole = new AbortController();
    const move = async () => {
      const source = dump('head -c 200000 /dev/zero');
      await relay([source], upload('cat >/dev/null'), AbortSignal.any([whole.signal, new AbortController().signal]));
      return new WeakRef(source.child);
    };
    const left = await move();
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    const isGone = () => {
      collect();
      return left.deref() === undefined;
    };
    await waitFor(isGone, { timeoutMs: 20_000, title: 'what a relay held is forgotten' });
    expect(whole.signal.aborted).toBe(false);
  });

  it('F01: never ends the input of the upload when the dump exits non-zero midway, and tells the tail of its stderr', async () => {
    await using scratch = scratchFolder();
    const source = dump('seq 1 100000; echo "connection lost to table orders" >&2; exit 3');
    await expect(relay([source], store(scratch.path), never)).rejects.toThrow(
      /exited with 3: connection lost to table orders/,
    );
    expect(isCommitted(scratch.path)).toBe(false);
    expect(isTold(scratch.path)).toBe(true);
  });

  it('F01: also when the dump fails before its first byte', async () => {
    await using scratch = scratchFolder();
    await expect(relay([dump('exit 1')], store(scratch.path), never)).rejects.toThrow(/exited with 1/);
    expect(isCommitted(scratch.path)).toBe(false);
  });

  it('F02: never ends the input of the upload when the dump is killed', async () => {
    await using scratch = scratchFolder();
    const failed = relay([dump('seq 1 100000; kill -9 $$')], store(scratch.path), never);
    await expect(failed).rejects.toThrow(/killed by SIGKILL/);
    expect(isCommitted(scratch.path)).toBe(false);
  });

  it('F04: never ends the input of the upload when the dump exits 0 but is not approved', async () => {
    await using scratch = scratchFolder();
    const approve = () => Promise.reject(new DumpError('no end mark'));
    await expect(relay([dump('seq 1 10', { approve })], store(scratch.path), never)).rejects.toThrow('no end mark');
    expect(isCommitted(scratch.path)).toBe(false);
  });

  it('F05: never ends the input of the upload when a filter fails, though the dump is fine', async () => {
    await using scratch = scratchFolder();
    const failed = relay(
      [dump('seq 1 1000000'), filter('head -c 100000; echo "no memory" >&2; exit 4')],
      store(scratch.path),
      never,
    );
    await expect(failed).rejects.toThrow(/exited with 4: no memory/);
    expect(isCommitted(scratch.path)).toBe(false);
  });

  it('F05: also when a filter stops early and exits 0', async () => {
    await using scratch = scratchFolder();
    const failed = relay([dump('seq 1 1000000'), filter('head -c 100000')], store(scratch.path), never);
    await expect(failed).rejects.toThrow(/before the end of its input/);
    expect(isCommitted(scratch.path)).toBe(false);
  });

  it('kills a dump that would go on for ever when the upload fails, and reports the upload', async () => {
    const failed = relay(
      [dump('while :; do echo dump-that-never-ends; done')],
      upload('head -c 10; echo "quota" >&2; exit 7'),
      never,
    );
    await expect(failed).rejects.toThrow(RemoteError);
    await expect(failed).rejects.toThrow(/exited with 7: quota/);
    await waitFor(() => !isRunning('dump-that-never-ends'));
  });

  it('takes an upload that exits 0 before the end of the dump for a failure', async () => {
    const failed = relay([dump('seq 1 10000000')], upload('head -c 10 >/dev/null'), never);
    await expect(failed).rejects.toThrow(/before the end of its input/);
  });

  it('F05: takes nothing for whole that comes from a filter which exited 0 before the end of the dump', async () => {
    let isApproved = false;
    const early: Producer = {
      ...filter('head -c 300000'),
      approve: () => {
        isApproved = true;
      },
    };
    const failed = relay([dump('seq 1 10000000'), early], upload('cat >/dev/null'), never);
    await expect(failed).rejects.toThrow(/exited before the end of its input/);
    expect(isApproved).toBe(false);
  });

  it('reports the first cause, also when a signal comes while the upload is being stopped', async () => {
    const controller = new AbortController();
    const slow = upload("trap 'sleep 1; exit 143' TERM; while :; do sleep 0.1; done");
    const failed = relay([dump('sleep 0.3; exit 9')], slow, controller.signal);
    setTimeout(() => controller.abort(new InterruptedError('SIGTERM')), 800);
    await expect(failed).rejects.toThrow(/exited with 9/);
    expect(controller.signal.aborted).toBe(true);
  });

  it('stops the upload before its input ends when it is interrupted, and kills whole process groups', async () => {
    await using scratch = scratchFolder();
    const controller = new AbortController();
    let seen = 0;
    const source = dump('sh -c "while :; do echo grandchild-of-the-dump; sleep 0.01; done"', {
      tap: (chunk) => {
        seen += chunk.length;
      },
    });
    const failed = relay([source], store(scratch.path), controller.signal);
    failed.catch(() => {});
    await waitFor(() => seen > 0);
    controller.abort(new InterruptedError('SIGTERM'));
    await expect(failed).rejects.toThrow('interrupted by SIGTERM');
    expect(isCommitted(scratch.path)).toBe(false);
    expect(isTold(scratch.path)).toBe(true);
    await waitFor(() => !isRunning('grandchild-of-the-dump'));
  });

  it('kills an upload that does not heed SIGTERM, after three seconds', async () => {
    await using scratch = scratchFolder();
    const ready = `${scratch.path}/ready`;
    const source = dump(`until [ -e '${ready}' ]; do sleep 0.05; done; exit 1`);
    const deaf = upload(`trap '' TERM; touch '${ready}'; while :; do sleep 0.1; done`);
    const failed = relay([source], deaf, never);
    failed.catch(() => {});
    await waitFor(() => existsSync(ready));
    const started = performance.now();
    await expect(failed).rejects.toThrow(/exited with 1/);
    expect(performance.now() - started).toBeGreaterThan(2900);
  });

  it('keeps back the end of a stream until it is approved', async () => {
    await using scratch = scratchFolder();
    const seen = `${scratch.path}/seen`;
    let before = -1;
    const source = dump('head -c 300000 /dev/zero', {
      approve: async () => {
        await waitFor(() => existsSync(seen) && readFileSync(seen).length >= 1);
        await new Promise((resolve) => setTimeout(resolve, 300));
        before = readFileSync(seen).length;
      },
    });
    await relay([source], upload(`cat > '${seen}'`), never);
    expect(before).toBeLessThanOrEqual(300_000 - 65_536);
    expect(readFileSync(seen).length).toBe(300_000);
  });

  it('lets a stage exit as soon as it has its last byte, as pg_restore does', async () => {
    for (let count = 0; count < 20; count += 1) {
      const early = filter('exec head -c 200000');
      await relay([dump('exec head -c 200000 /dev/zero'), early], upload('exec cat >/dev/null'), never);
    }
  });

  it('leaves out what is not to go on at the end, and counts and hashes what goes on', async () => {
    await using scratch = scratchFolder();
    const digest = createDigest();
    const source = dump('head -c 300000 /dev/zero; printf "%040d" 7', { sent: digest.add, approve: () => 40 });
    await relay([source], store(scratch.path), never);
    const stored = readFileSync(`${scratch.path}/committed`);
    expect(stored.equals(Buffer.alloc(300_000))).toBe(true);
    expect(digest.bytes).toBe(300_000);
    expect(digest.sha256()).toBe(createHash('sha256').update(stored).digest('hex'));
  });

  it('says of a tool that is not installed that it is not', async () => {
    const child = spawnChild({ file: 'no-such-dump', args: [] }, { env: {} });
    const failed = relay([{ child, fail: (message) => new DumpError(message) }], upload('cat >/dev/null'), never);
    await expect(failed).rejects.toThrow('no-such-dump could not be started: it is not installed, or not on PATH');
  });

  it('reads no faster than the upload takes', async () => {
    let seen = 0;
    const controller = new AbortController();
    const source = dump('cat /dev/zero', {
      tap: (chunk) => {
        seen += chunk.length;
      },
    });
    const failed = relay([source], upload('sleep 30'), controller.signal);
    failed.catch(() => {});
    await waitFor(() => seen > 1024 * 1024);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(seen).toBeLessThan(4 * 1024 * 1024);
    controller.abort(new Error('enough'));
    await expect(failed).rejects.toThrow('enough');
  });
});

describe('the relay into several uploads', () => {
  const patience = { clock: systemClock, ms: 0 };

  it('gives every byte to each', async () => {
    await using one = scratchFolder();
    await using two = scratchFolder();
    const digest = createDigest();
    const source = dump('seq 1 1000000', { sent: digest.add });
    const failures = await relayToAll([source], [store(one.path), store(two.path)], never, patience);
    expect(failures).toEqual([undefined, undefined]);
    const [first, second] = [one, two].map(({ path }) => readFileSync(`${path}/committed`));
    expect(first?.length).toBe(6_888_896);
    expect(second?.equals(first!)).toBe(true);
    expect(digest.sha256()).toBe(createHash('sha256').update(first!).digest('hex'));
  });

  it.each([
    'head -c 10; echo "quota" >&2; exit 7',
    'exec 0<&-; sleep 0.5; echo "quota" >&2; exit 7',
    'echo "quota" >&2; exit 7',
    'cat >/dev/null; echo "quota" >&2; exit 7',
  ])('goes on with the others when one fails: %s', async (script) => {
    await using scratch = scratchFolder();
    const failing = upload(script);
    const failures = await relayToAll([dump('seq 1 1000000')], [failing, store(scratch.path)], never, patience);
    expect(failures).toEqual([expect.any(RemoteError), undefined]);
    expect(failures[0]?.message).toMatch(/exited with 7: quota/);
    expect(readFileSync(`${scratch.path}/committed`).length).toBe(6_888_896);
  });

  it('fails with the first failure when all fail, and kills the dump', async () => {
    const failed = relayToAll(
      [dump('while :; do echo dump-for-nobody; done')],
      [upload('sleep 0.5; echo second >&2; exit 8'), upload('echo first >&2; exit 7')],
      never,
      patience,
    );
    await expect(failed).rejects.toThrow(/exited with 7: first/);
    await waitFor(() => !isRunning('dump-for-nobody'));
  });

  it('F01: ends the input of none when the dump fails', async () => {
    await using one = scratchFolder();
    await using two = scratchFolder();
    const stores = [store(one.path), store(two.path)];
    const failed = relayToAll([dump('seq 1 100000; exit 3')], stores, never, patience);
    await expect(failed).rejects.toThrow(/exited with 3/);
    for (const { path } of [one, two]) {
      expect(isTold(path)).toBe(true);
      expect(isCommitted(path)).toBe(false);
    }
  });

  it('F60: cuts off the one that alone takes nothing any more, and no other', async () => {
    await using scratch = scratchFolder();
    const deaf = upload('sleep 60');
    const stores = [store(scratch.path), deaf];
    const failures = await relayToAll([dump('seq 1 1000000')], stores, never, { clock: systemClock, ms: 1000 });
    expect(failures).toEqual([undefined, expect.any(RemoteError)]);
    expect(failures[1]?.message).toContain('the others waited for it');
    expect(readFileSync(`${scratch.path}/committed`).length).toBe(6_888_896);
  });

  it('F60: cuts off the one that does not end long after the others, unless it is alive', async () => {
    await using scratch = scratchFolder();
    const stuck = upload('cat >/dev/null; sleep 60');
    const lag = { clock: systemClock, ms: 1000 };
    const failures = await relayToAll([dump('seq 1 1000')], [stuck, store(scratch.path)], never, lag);
    expect(failures).toEqual([expect.any(RemoteError), undefined]);
    expect(isCommitted(scratch.path)).toBe(true);
    await using again = scratchFolder();
    let beats = 0;
    const alive: Stage = { ...upload('cat >/dev/null; sleep 3'), progress: () => ++beats };
    expect(await relayToAll([dump('seq 1 1000')], [alive, store(again.path)], never, lag)).toEqual([
      undefined,
      undefined,
    ]);
  });

  it('waits for a dump that is slow, whoever takes it', async () => {
    await using scratch = scratchFolder();
    const slow = dump('seq 1 10; sleep 3; seq 1 10');
    const lag = { clock: systemClock, ms: 500 };
    const failures = await relayToAll([slow], [store(scratch.path), upload('cat >/dev/null')], never, lag);
    expect(failures).toEqual([undefined, undefined]);
  });
});
