import { chmodSync, chownSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  type Answer,
  type Container,
  createNetwork,
  docker,
  HARDENED,
  runContainer,
  startContainer,
  UID,
} from './support/containers.ts';
import { type BuiltImages, buildImages, describeWithImages } from './support/images.ts';
import { startReceiver } from './support/receiver.ts';
import { freePort, scratchFolder, waitFor } from './support/scratch.ts';

const POSTGRES = 'docker.io/library/postgres:17';
const PASSWORD = "p@ss'word $x";
const EVERY_SECOND = '* * * * * *';
const TIMEOUT = { timeout: 180_000 };
const MiB = 2 ** 20;

describeWithImages(['pg-17'], [], 'the image pg-17', () => {
  const stack = new AsyncDisposableStack();
  let images: BuiltImages;
  let network: string;
  let postgres: Container;
  const image = () => images.name('pg-17');

  beforeAll(async () => {
    images = stack.use(await buildImages(['pg-17']));
    network = stack.use(await createNetwork()).name;
    const env = { POSTGRES_PASSWORD: PASSWORD, POSTGRES_DB: 'shop' };
    postgres = stack.use(
      await startContainer({ image: POSTGRES, env, flags: [`--network=${network}`, '--network-alias=db'] }),
    );
    await waitFor(async () => (await sql('SELECT 1')).exitCode === 0, {
      timeoutMs: 120_000,
      title: 'PostgreSQL answers',
    });
    await sql('CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS note FROM generate_series(1, 1000) n');
  }, 900_000);
  afterAll(() => stack.disposeAsync(), 120_000);

  const sql = (text: string, database = 'shop'): Promise<Answer> =>
    runContainer({
      image: image(),
      env: { PGPASSWORD: PASSWORD },
      flags: [`--network=${network}`, '--entrypoint=psql'],
      args: [
        '--host=db',
        '--username=postgres',
        `--dbname=${database}`,
        '--tuples-only',
        '--no-align',
        `--command=${text}`,
      ],
    });

  /** A folder for backups and a secret, both of `uid`. */
  function openStage(uid = UID) {
    const scratch = scratchFolder();
    const [backups, secrets] = ['backup', 'secrets'].map((name) => join(scratch.path, name)) as [string, string];
    chmodSync(scratch.path, 0o755);
    for (const folder of [backups, secrets]) {
      mkdirSync(folder);
      chownSync(folder, uid, uid);
    }
    const secret = join(secrets, 'db-password');
    writeFileSync(secret, `${PASSWORD}\n`, { mode: 0o400 });
    chownSync(secret, uid, uid);
    const options = {
      image: image(),
      flags: [
        ...HARDENED,
        `--network=${network}`,
        `--volume=${backups}:/backup`,
        `--volume=${secrets}:/run/secrets:ro`,
      ],
      env: {
        DB_HOST: 'db',
        DB_NAME: 'shop',
        DB_PASSWORD_FILE: '/run/secrets/db-password',
        RCLONE_REMOTE: '/backup',
        BACKUP_NAME_TEMPLATE: '{db}-{uuid}',
      } as Record<string, string>,
    };
    return {
      backups,
      secret,
      options,
      with: (env: Record<string, string>, flags: readonly string[] = []) => ({
        ...options,
        env: { ...options.env, ...env },
        flags: [...options.flags, ...flags],
      }),
      manifests: () => readdirSync(backups).filter((name) => name.endsWith('.manifest.json')),
      [Symbol.asyncDispose]: scratch[Symbol.asyncDispose],
    };
  }

  it('holds what it needs and says so: programs, folders for any user, labels, a health check', TIMEOUT, async () => {
    const script = `
      node --version; rclone version | head -n 1; pg_dump --version
      for program in pg_restore psql pg_dumpall age zstd pigz gzip tar tini; do command -v $program || echo "no $program"; done
      TZ=Asia/Kolkata date +%z; test -s /etc/ssl/certs/ca-certificates.crt && echo certificates; echo "engine $ENGINE"
      for folder in /backup /config /tmp; do touch $folder/x && echo "can write $folder"; done`;
    const flags = [`--user=${UID}`, '--entrypoint=sh'];
    const { stdout } = await runContainer({ image: image(), flags, args: ['-c', script] });
    expect(stdout).toMatch(/^v24\./);
    const [, minor] = /^rclone v1\.(\d+)/m.exec(stdout) ?? [];
    expect(Number(minor)).toBeGreaterThanOrEqual(75);
    expect(stdout).toMatch(/^pg_dump \(PostgreSQL\) 17\./m);
    expect(stdout).not.toContain('no ');
    for (const line of [
      '+0530',
      'certificates',
      'engine pg',
      'can write /backup',
      'can write /config',
      'can write /tmp',
    ])
      expect(stdout.split('\n')).toContain(line);
    const { Config, Healthcheck } = JSON.parse((await docker(['image', 'inspect', image()])).stdout)[0];
    expect(Config).toMatchObject({ Entrypoint: ['/usr/bin/tini', '-s', '--', 'dbstash'] });
    expect(Config.User ?? '').toBe('');
    expect((Config.Healthcheck ?? Healthcheck).Test).toEqual(['CMD', 'dbstash', 'health']);
    expect(Config.Labels).toMatchObject({
      'org.opencontainers.image.title': 'dbstash',
      'org.opencontainers.image.licenses': 'MIT',
      'org.opencontainers.image.version': expect.stringMatching(/^\d+\.\d+\.\d+$/),
    });
  });

  it('F39: backs up on a schedule beside its database, as any user, read-only, without a right', TIMEOUT, async () => {
    await using stage = openStage();
    await using sidecar = await startContainer(stage.with({ BACKUP_SCHEDULE: '*/2 * * * * *' }));
    await sidecar.waitForLog(/run succeeded.*run succeeded/s);
    expect((await sidecar.checkHealth()).exitCode).toBe(0);
    const listed = JSON.parse((await sidecar.exec(['dbstash', 'list', '--json'])).stdout);
    expect(listed.length).toBeGreaterThanOrEqual(2);
    expect(new Set(listed.map(({ state }: { state: string }) => state))).toEqual(new Set(['good']));
    const { exitCode, durationMs } = await sidecar.stop();
    expect([0, 143]).toContain(exitCode);
    expect(durationMs).toBeLessThan(9500);
    expect(await sidecar.inspect('.State.OOMKilled')).toBe('false');
  });

  it('ends, where the schedule is once, with the exit code of the run', TIMEOUT, async () => {
    await using stage = openStage();
    const once = { BACKUP_SCHEDULE: 'once' };
    expect(await runContainer(stage.with(once))).toMatchObject({ exitCode: 0 });
    expect(stage.manifests()).toHaveLength(1);
    const ends = async (env: Record<string, string>) => (await runContainer(stage.with({ ...once, ...env }))).exitCode;
    expect(await ends({ DB_NAME: 'nothing' })).toBe(1);
    expect(await ends({ BACKUP_MODE: 'sideways' })).toBe(2);
    expect(await ends({ RCLONE_REMOTE: 'nowhere:bucket' })).toBe(3);
    expect(stage.manifests()).toHaveLength(1);
  });

  it(
    'F39: names the secret that it cannot read and the folder that it cannot write, and the remedy',
    TIMEOUT,
    async () => {
      await using stage = openStage();
      chownSync(stage.secret, 0, 0);
      const unreadable = await runContainer({ ...stage.options, args: ['backup'] });
      expect(unreadable.exitCode).toBe(2);
      expect(unreadable.stderr).toMatch(/DB_PASSWORD_FILE: .*\/run\/secrets\/db-password.*0400.*4242/s);
      chownSync(stage.secret, UID, UID);
      chownSync(stage.backups, 0, 0);
      const unwritable = await runContainer({ ...stage.options, args: ['backup'] });
      expect(unwritable.exitCode).not.toBe(0);
      expect(unwritable.stderr).toMatch(/\/backup.*(permission denied|not writable)/);
      chownSync(stage.backups, UID, UID);
      const noTemp = await runContainer({ ...stage.with({ BACKUP_TEMP_DIR: '/var/work' }), args: ['backup'] });
      expect(noTemp.exitCode).toBe(2);
      expect(noTemp.stderr).toMatch(/BACKUP_TEMP_DIR: .* is not writable by uid 4242: mount a volume or a tmpfs there/);
    },
  );

  it('F53: leaves nothing half-done when it is stopped in the middle of a run, and tells of it', TIMEOUT, async () => {
    await sql(
      'CREATE TABLE IF NOT EXISTS ballast AS SELECT repeat(md5(n::text), 300) AS text FROM generate_series(1, 3000) n',
    );
    await using stage = openStage();
    await using receiver = await startReceiver();
    const address = (
      await docker(['inspect', `--format={{(index .NetworkSettings.Networks "${network}").IPAddress}}`, postgres.id])
    ).stdout.trim();
    const slow = stage.with({
      DB_HOST: address,
      HEALTH_PORT: String(await freePort()),
      BACKUP_SCHEDULE: '0 0 1 1 *',
      BACKUP_ON_START: 'true',
      RCLONE_EXTRA_ARGS: '--bwlimit=256k',
      NOTIFY_WEBHOOK_URL: `${receiver.origin}/hook`,
    });
    const flags = [...slow.flags.filter((flag) => !flag.startsWith('--network')), '--network=host'];
    await using container = await startContainer({ ...slow, flags });
    await waitFor(() => readdirSync(stage.backups).some((name) => name.endsWith('.partial')), {
      timeoutMs: 60_000,
      title: 'an upload goes on',
    });
    const { exitCode, durationMs } = await container.stop();
    expect({ exitCode, logs: await container.logs() }).toMatchObject({ exitCode: 143 });
    expect(durationMs).toBeLessThan(10_000);
    expect(readdirSync(stage.backups)).toEqual([]);
    const [told] = await receiver.waitForRequests(1);
    expect(told!.body).toContain('interrupted');
    await sql('DROP TABLE ballast');
  });

  it('F20: turns unhealthy when its database is gone, and healthy when it is back', TIMEOUT, async () => {
    await using stage = openStage();
    await using sidecar = await startContainer(stage.with({ BACKUP_SCHEDULE: EVERY_SECOND, BACKUP_LOCK: 'false' }));
    await sidecar.waitForLog(/run succeeded/);
    const becomes = (isWell: boolean) =>
      waitFor(async () => ((await sidecar.checkHealth()).exitCode === 0) === isWell, {
        timeoutMs: 90_000,
        title: `healthy: ${isWell}`,
      });
    await becomes(true);
    await sql('ALTER DATABASE shop RENAME TO away', 'postgres');
    await becomes(false);
    // During a run it is well, whatever came of the one before.
    const reason = async () => /^unhealthy: .*/m.exec((await sidecar.exec(['dbstash', 'health'])).stdout)?.[0];
    expect(await waitFor(reason, { timeoutMs: 60_000 })).toContain('"shop" does not exist');
    await sql('ALTER DATABASE away RENAME TO shop', 'postgres');
    await becomes(true);
  });

  it('restores with docker exec beside the original, and with docker run over it', TIMEOUT, async () => {
    await using stage = openStage();
    await using sidecar = await startContainer(stage.with({ BACKUP_SCHEDULE: '0 0 1 1 *', BACKUP_ON_START: 'true' }));
    await sidecar.waitForLog(/run succeeded/);
    const beside = await sidecar.exec(['dbstash', 'restore', 'latest', '--database', 'shop_copy']);
    expect(beside, beside.stderr).toMatchObject({ exitCode: 0 });
    expect((await sql('SELECT count(*) FROM orders', 'shop_copy')).stdout).toBe('1000\n');
    await sql('DELETE FROM orders WHERE id > 10');
    const over = await runContainer({ ...stage.options, args: ['restore', 'latest', '--replace', '--yes', 'shop'] });
    expect(over, over.stderr).toMatchObject({ exitCode: 0 });
    expect((await sql('SELECT count(*) FROM orders')).stdout).toBe('1000\n');
    await sql('DROP DATABASE shop_copy', 'postgres');
  });

  it('F71: takes up what children of children leave behind', TIMEOUT, async () => {
    await using stage = openStage();
    await using sidecar = await startContainer(stage.with({ BACKUP_SCHEDULE: '0 0 1 1 *' }));
    await sidecar.waitForLog(/next backup at/);
    const states = "for file in /proc/[0-9]*/stat; do cut -d ' ' -f 2,3 $file; done";
    const processes = async () => (await sidecar.exec(['sh', '-c', states])).stdout;
    expect(await processes()).toMatch(/^\(tini\) S/m);
    // Each shell ends at once, so that its child is left to process 1.
    await sidecar.exec(['sh', '-c', 'for n in 1 2 3 4 5; do sh -c "sleep 1 & exit"; done']);
    expect(await processes()).toMatch(/^\(sleep\) S/m);
    await waitFor(async () => !/^\(sleep\)/m.test(await processes()), {
      timeoutMs: 30_000,
      title: 'all are gone, none as a zombie',
    });
  });

  it('F71: does so too where it is not process 1', TIMEOUT, async () => {
    const script = `
      trap '' TERM
      /usr/bin/tini -s -- sh -c 'sh -c "sleep 1 & exit"; sleep 2; grep -h ^State /proc/[0-9]*/status | sort -u'`;
    const { stdout, stderr } = await runContainer({
      image: image(),
      flags: ['--entrypoint=sh'],
      args: ['-c', `${script}; true`],
    });
    expect(stderr).toBe('');
    expect(stdout).not.toContain('zombie');
  });

  it('dumps 2 GiB within a memory limit of 256 MB', { timeout: 420_000 }, async () => {
    await sql('CREATE DATABASE large', 'postgres');
    const rows = Math.ceil((2050 * MiB) / 100_000);
    const filled = await sql(
      `CREATE TABLE big AS SELECT repeat('x', 100000) AS text FROM generate_series(1, ${rows})`,
      'large',
    );
    expect(filled, filled.stderr).toMatchObject({ exitCode: 0 });
    await using stage = openStage();
    const limited = stage.with({ DB_NAME: 'large', BACKUP_SCHEDULE: 'once' }, ['--memory=256m', '--memory-swap=256m']);
    await using container = await startContainer(limited);
    expect({ exitCode: await container.waitForEnd(400_000), logs: await container.logs() }).toMatchObject({
      exitCode: 0,
    });
    expect(await container.inspect('.State.OOMKilled')).toBe('false');
    expect(await container.inspect('.HostConfig.Memory')).toBe(String(256 * MiB));
    expect(stage.manifests()).toHaveLength(1);
    expect(JSON.parse(/^.*"message":"backed up .*$/m.exec(await container.logs())![0]).bytes).toBeGreaterThan(2 ** 31);
    await sql('DROP DATABASE large', 'postgres');
  });
});
