import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CronExpressionParser } from 'cron-parser';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { variables } from '../src/config/variables.ts';
import { EXIT } from '../src/core/errors.ts';
import { CLUSTER_TOOLS, type Cluster, startCluster } from './support/cluster.ts';
import { type CronJob, endPod, type Job, type Manifest, podsOf, templateOf } from './support/kubernetes.ts';
import { describeWith } from './support/need.ts';
import { scratchFolder, waitFor } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

const root = join(import.meta.dirname, '..');
const chart = join(root, 'docs/kubernetes/chart');
const read = (path: string): string => readFileSync(join(chart, path), 'utf8');

const BASE = {
  image: { repository: 'registry.example.com/dbstash' },
  defaults: { tag: 'pg-17', env: { RCLONE_REMOTE: 's3:backups/{name}' } },
};
/** All that a chart can make. */
const FULL = {
  ...BASE,
  defaults: { ...BASE.defaults, suspend: true },
  databases: [
    { name: 'orders' },
    {
      name: 'customers',
      tag: 'mysql-9',
      schedule: 'H 23 * * *',
      timeZone: 'Europe/Berlin',
      suspend: false,
      env: { BACKUP_COMPRESS: 'gzip', DB_HOST: 'db', DB_PORT: 10_000_000, BACKUP_LOCK: false },
      extraEnv: [{ name: 'AWS_REGION', valueFrom: { configMapKeyRef: { name: 'cloud', key: 'region' } } }],
      secrets: {
        database: { existingSecret: 'login', keys: { DB_URI: null, DB_USER: 'user', DB_PASSWORD: 'password' } },
        notify: { existingSecret: 'chat', keys: { NOTIFY_WEBHOOK_URL: 'url' } },
      },
      job: { activeDeadlineSeconds: 7200, backoffLimit: 0 },
      temp: { sizeLimit: '20Gi', storageClassName: 'fast' },
      serviceAccountName: 'backup',
      podLabels: { team: 'shop' },
      podAnnotations: { note: 'x' },
      nodeSelector: { disk: 'ssd' },
      tolerations: [{ key: 'backup', operator: 'Exists' }],
      affinity: { nodeAffinity: {} },
      priorityClassName: 'system-node-critical',
      extraVolumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }],
      extraVolumeMounts: [{ name: 'data', mountPath: '/data' }],
    },
    {
      name: 'inline',
      verify: { enabled: false },
      secrets: { database: { values: { DB_URI: 'postgres://a:b@c/d' } } },
    },
  ],
  maxPods: 5,
  networkPolicy: { enabled: true, egress: [{ ports: [{ protocol: 'TCP', port: 5432 }] }] },
  prometheusRule: { enabled: true, labels: { release: 'prometheus' } },
};

/** With several values files, as objects; the later wins. */
function helm(args: readonly string[], ...values: readonly object[]) {
  const all = values.flatMap((_, index) => ['--values', `values${index}.json`]);
  return withFiles(values, (cwd) => {
    const env = { PATH: process.env.PATH, HOME: cwd };
    const { status, stdout, stderr } = spawnSync(requireTool('helm'), [...args, ...all], {
      cwd,
      env,
      encoding: 'utf8',
      maxBuffer: 1e9,
    });
    return { exitCode: status, stdout, text: stdout + stderr };
  });
}

async function withFiles<T>(values: readonly object[], use: (folder: string) => T): Promise<T> {
  await using scratch = scratchFolder();
  for (const [index, one] of values.entries())
    writeFileSync(join(scratch.path, `values${index}.json`), JSON.stringify(one));
  return use(scratch.path);
}

const TEMPLATE = ['template', 'fleet', chart, '--namespace', 'backups', '--kube-version', '1.36.0'];
async function render(...values: readonly object[]): Promise<Manifest[]> {
  const { exitCode, stdout, text } = await helm(TEMPLATE, ...values);
  expect(exitCode, text).toBe(0);
  const documents = parseAllDocuments(stdout, { version: '1.1' });
  if (!Array.isArray(documents)) return [];
  return documents.map((one) => one.toJS()).filter((one) => one !== null);
}
const cronJobsOf = (manifests: readonly Manifest[]) => manifests.filter(({ kind }) => kind === 'CronJob') as CronJob[];
const named = (manifests: readonly Manifest[], name: string): CronJob =>
  cronJobsOf(manifests).find(({ metadata }) => metadata.name === name)!;
const containerOf = (manifest: Manifest) => templateOf(manifest)!.spec.containers[0]!;

describe('the chart', () => {
  it('is of the version of dbstash', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    expect(parse(read('Chart.yaml'))).toMatchObject({ version, appVersion: version });
  });

  it('knows each variable that is a secret', () => {
    const [, list = ''] = /\$secret := splitList " " "([^"]*)"/.exec(read('templates/_check.tpl')) ?? [];
    expect(list.split(' ').sort()).toEqual(variables.flatMap(({ name, secret }) => (secret ? name : [])).sort());
  });
});

describeWith(['helm'], 'helm', () => {
  it('finds no fault with the chart', async () => {
    const { exitCode, text } = await helm(['lint', '--strict', chart], FULL);
    expect(text).not.toMatch(/\[(WARNING|ERROR)\]/);
    expect(exitCode, text).toBe(0);
  });

  it('takes the values that docs/kubernetes.md shows', async () => {
    const page = readFileSync(join(root, 'docs/kubernetes.md'), 'utf8');
    const [, shown = ''] = /^```yaml\n(# values\.yaml\n[\s\S]*?)^```$/m.exec(page) ?? [];
    const customers = named(await render(parse(shown)), 'dbstash-customers-backup');
    expect(customers.spec.schedule).toMatch(/^\d+ 23 \* \* \*$/);
    expect(containerOf(customers).env).toContainEqual({ name: 'DB_URI_FILE', value: '/run/secrets/database/url' });
  });

  it('makes two CronJobs of each database, with what holds for all and what it says itself', async () => {
    const manifests = await render(FULL);
    expect(
      cronJobsOf(manifests)
        .map(({ metadata }) => metadata.name)
        .sort(),
    ).toEqual([
      'dbstash-customers-backup',
      'dbstash-customers-verify',
      'dbstash-inline-backup',
      'dbstash-orders-backup',
      'dbstash-orders-verify',
    ]);
    const orders = named(manifests, 'dbstash-orders-backup');
    const customers = named(manifests, 'dbstash-customers-backup');
    expect(orders.spec).toMatchObject({ suspend: true, timeZone: 'Etc/UTC', concurrencyPolicy: 'Forbid' });
    expect(customers.spec).toMatchObject({ suspend: false, timeZone: 'Europe/Berlin' });
    expect(containerOf(orders)).toMatchObject({ image: 'registry.example.com/dbstash:pg-17', args: ['backup'] });
    expect(containerOf(customers).image).toBe('registry.example.com/dbstash:mysql-9');
    expect(containerOf(orders).env).toEqual([
      { name: 'BACKUP_SCHEDULE', value: 'once' },
      { name: 'RCLONE_REMOTE', value: 's3:backups/orders' },
      { name: 'TZ', value: 'Etc/UTC' },
      { name: 'DB_URI_FILE', value: '/run/secrets/database/uri' },
      { name: 'RCLONE_CONFIG_FILE', value: '/run/secrets/storage/rclone.conf' },
    ]);
    expect(containerOf(customers).env).toEqual([
      { name: 'BACKUP_COMPRESS', value: 'gzip' },
      { name: 'BACKUP_LOCK', value: 'false' },
      { name: 'BACKUP_SCHEDULE', value: 'once' },
      { name: 'DB_HOST', value: 'db' },
      { name: 'DB_PORT', value: '10000000' },
      { name: 'RCLONE_REMOTE', value: 's3:backups/customers' },
      { name: 'TZ', value: 'Europe/Berlin' },
      { name: 'DB_PASSWORD_FILE', value: '/run/secrets/database/password' },
      { name: 'DB_USER_FILE', value: '/run/secrets/database/user' },
      { name: 'NOTIFY_WEBHOOK_URL_FILE', value: '/run/secrets/notify/url' },
      { name: 'RCLONE_CONFIG_FILE', value: '/run/secrets/storage/rclone.conf' },
      { name: 'AWS_REGION', valueFrom: { configMapKeyRef: { name: 'cloud', key: 'region' } } },
    ]);
    const volumes = templateOf(customers)!.spec.volumes;
    expect(volumes[0]).toEqual({ name: 'database', secret: { secretName: 'login', defaultMode: 0o440 } });
    expect(templateOf(orders)!.spec.volumes[0]).toMatchObject({ secret: { secretName: 'orders-db' } });
    expect(templateOf(named(manifests, 'dbstash-inline-backup'))!.spec.volumes[0]).toMatchObject({
      secret: { secretName: 'dbstash-inline-database' },
    });
  });

  it('verifies with the level that is asked for, and gives up where another look would find the same', async () => {
    const values = { databases: [{ name: 'orders', verify: { level: 'stored' } }] };
    const verify = named(await render(BASE, values), 'dbstash-orders-verify');
    expect(containerOf(verify)).toMatchObject({ args: ['verify', 'latest'] });
    expect(containerOf(verify).env).toContainEqual({ name: 'VERIFY_LEVEL', value: 'stored' });
    const [, { onExitCodes }] = verify.spec.jobTemplate.spec.podFailurePolicy.rules as [
      unknown,
      { onExitCodes: object },
    ];
    expect(onExitCodes).toMatchObject({ values: [EXIT.config, EXIT.damaged] });
    const none = await render(BASE, { databases: [{ name: 'orders', verify: { enabled: false } }] });
    expect(cronJobsOf(none)).toHaveLength(1);
  });

  it('spreads a thousand databases over the hours, each always at the same minute', async () => {
    const names = Array.from({ length: 1000 }, (_, index) => ({ name: `tenant-${index}` }));
    // Read as lines: as YAML so much takes many seconds.
    const schedulesOf = async (databases: readonly object[]) => {
      const { stdout } = await helm(TEMPLATE, { ...BASE, databases });
      const found = [...stdout.matchAll(/^ {2}name: (dbstash-\S+)$[\s\S]*?^ {2}schedule: "(.*)"$/gm)];
      expect(found).toHaveLength(2 * databases.length);
      return new Map(found.map(([, name = '', schedule = '']) => [name, schedule]));
    };
    const all = await schedulesOf(names);
    const backups = [...all].filter(([name]) => name.endsWith('-backup')).map(([, schedule]) => schedule);
    const perMinute = Map.groupBy(backups, (schedule) => schedule);
    // 1000 in 240 minutes are four a minute.
    expect(Math.max(...[...perMinute.values()].map((one) => one.length))).toBeLessThan(20);
    expect(perMinute.size).toBeGreaterThan(200);
    for (const schedule of backups) expect(schedule).toMatch(/^([0-9]|[1-5][0-9]) [1-4] \* \* \*$/);
    const days = Map.groupBy(
      [...all.values()].filter((one) => !one.endsWith('*')),
      (one) => one.split(' ')[4],
    );
    expect([...days.keys()].sort()).toEqual(['0', '1', '2', '3', '4', '5', '6']);
    // One that comes or goes moves no other.
    const others = await schedulesOf([{ name: 'new' }, ...names.slice(500)]);
    for (const [name, schedule] of others) if (!name.startsWith('dbstash-new-')) expect(all.get(name)).toBe(schedule);
  });

  it.each([
    ['H H * * *', /^\d+ \d+ \* \* \*$/],
    ['H(10-12) 5 H H 1-5', /^1[0-2] 5 \d+ \d+ 1-5$/],
    ['*/15 8-18 * * MON,FRI', /^\*\/15 8-18 \* \* MON,FRI$/],
    ['@daily', /^@daily$/],
  ])('takes the schedule %s', async (schedule, made) => {
    const [cronJob] = cronJobsOf(await render(BASE, { databases: [{ name: 'orders', schedule }] }));
    expect(cronJob?.spec.schedule).toMatch(made);
    expect(() => CronExpressionParser.parse(cronJob?.spec.schedule ?? '')).not.toThrow();
  });

  const one = (more: object) => ({ databases: [{ name: 'orders', ...more }] });
  it.each([
    [
      { image: { repository: '' } },
      'image.repository is not set; right is where the images are, as ghcr.io/OWNER/dbstash',
    ],
    [{ databases: 'orders' }, "at '/databases': got string, want array"],
    [{ databases: [{ nam: 'orders' }] }, "at '/databases/0': missing property 'name'"],
    [one({ shedule: 'x' }), "at '/databases/0': additional properties 'shedule' not allowed"],
    [one({ suspend: 'yes' }), "at '/databases/0/suspend': got string, want boolean"],
    [one({ verify: { level: 'deep' } }), "value must be one of 'stored', 'content', 'restore'"],
    [
      one({ name: 'Orders' }),
      'databases[0]: "Orders" is no name for a CronJob; right are at most 37 lower-case letters',
    ],
    [one({ name: 'o'.repeat(38) }), 'is no name for a CronJob'],
    [{ databases: [{ name: 'a' }, { name: 'a' }] }, 'databases[1]: a is there already; give each a name of its own'],
    [one({ tag: '' }), 'orders: tag is not set; right is that of the image for its engine and version, as pg-17'],
    [one({ schedule: 'every night' }), 'orders: schedule: "every night" is no schedule; right are five fields of cron'],
    [one({ schedule: 'H 25-x * *' }), 'is no schedule'],
    [
      one({ schedule: 'H H(4-1) * * *' }),
      'orders: schedule: H(4-1) is no range of field 2; right is H(FIRST-LAST) with LAST at most 23',
    ],
    [one({ verify: { schedule: 'H H(0-24) * * *' } }), 'orders: verify.schedule: H(0-24) is no range'],
    [
      one({ env: { DB_PASSWORD: 'x' } }),
      'orders: env.DB_PASSWORD would stand in the CronJob for all to read; right is a Secret',
    ],
    [one({ env: { DB_URI: 'postgres://a:b@c/d' } }), 'orders: env.DB_URI would stand in the CronJob for all to read'],
    [
      one({ env: { BACKUP_SCHEDULE: '0 1 * * *' } }),
      'orders: env.BACKUP_SCHEDULE is for the daemon; right is schedule',
    ],
    [one({ env: { RCLONE_REMOTE: null } }), 'orders: RCLONE_REMOTE is not set; right is where the backups go'],
    [
      one({ secrets: { database: { keys: { DB_URI: null } } } }),
      'orders: nothing says where the database is; right is DB_URI',
    ],
    [
      one({ secrets: { storage: { existingSecret: '' } } }),
      'orders: secrets.storage has neither existingSecret nor values',
    ],
  ])('refuses %j with one sentence', async (values, sentence) => {
    const { exitCode, stdout, text } = await helm(TEMPLATE, BASE, values);
    expect(text).toContain(sentence);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
  });

  it('takes null for what is not to be', async () => {
    const values = one({ secrets: { storage: null }, podSecurityContext: { runAsUser: null } });
    const [cronJob] = cronJobsOf(await render(BASE, values));
    expect(containerOf(cronJob!).env.map(({ name }) => name)).not.toContain('RCLONE_CONFIG_FILE');
    expect(templateOf(cronJob!)?.spec).toMatchObject({ securityContext: { runAsNonRoot: true, runAsGroup: 1000 } });
    expect(JSON.stringify(cronJob)).not.toContain('runAsUser');
  });
});

describeWith([...CLUSTER_TOOLS, 'helm'], 'helm and a real API server', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster();
  }, 400_000);
  afterAll(() => cluster?.[Symbol.asyncDispose]());

  const install = (verb: string, values: object) =>
    withFiles([values], (folder) =>
      cluster.helm([verb, 'fleet', chart, '--namespace', 'backups', '--values', join(folder, 'values0.json')]),
    );

  it('takes all that the chart can make, without a warning', async () => {
    const { stdout } = await helm(TEMPLATE, FULL);
    const { exitCode, text } = cluster.kubectl(['apply', '--dry-run=server', '-f', '-'], stdout);
    expect(text).not.toMatch(/warning/i);
    expect(exitCode, text).toBe(0);
    for (const kind of ['cronjob', 'secret', 'resourcequota', 'networkpolicy', 'prometheusrule'])
      expect(text).toMatch(new RegExp(`^${kind}\\S*/\\S+ created \\(server dry run\\)`, 'm'));
  });

  it('installs, says how to restore, and that works as it is said', async () => {
    const first = await install('install', { ...BASE, databases: [{ name: 'orders-eu' }, { name: 'customers' }] });
    expect(first.exitCode, first.text).toBe(0);
    expect(cluster.get<{ items: unknown[] }>('cronjobs', '-n', 'backups').items).toHaveLength(4);
    const [command = ''] =
      /^ +kubectl -n backups create job restore-[\s\S]*?kubectl create -f -$/m.exec(first.text) ?? [];
    const done = cluster.shell(command);
    expect(done.exitCode, done.text).toBe(0);
    const job = cluster.get<Job>('job', 'restore-orders-eu', '-n', 'backups');
    expect(job.metadata.ownerReferences).toBeUndefined();
    expect(job.spec.backoffLimit).toBe(0);
    expect(job.spec.template.spec.containers[0]?.args).toEqual(['restore', 'latest', '--database', 'orders_eu_copy']);
    const other = first.text.match(/\{"op": "replace", "path": "(\S*secretName)"/)?.[1] ?? '';
    expect(
      other
        .split('/')
        .slice(1)
        .reduce((part: unknown, key) => (part as never)[key], job),
    ).toBe('orders-eu-db');
    await waitFor(() => podsOf(cluster, 'restore-orders-eu').length === 1, { timeoutMs: 60_000, title: 'its Pod' });
    for (const what of ['jobs', 'pods']) cluster.kubectl(['delete', what, '--all', '-n', 'backups']);
  }, 120_000);

  it('upgrades: a database that is gone from the list loses its CronJobs, and no other changes', async () => {
    const before = cluster.get<CronJob>('cronjob', 'dbstash-orders-eu-backup', '-n', 'backups');
    const next = await install('upgrade', { ...BASE, databases: [{ name: 'orders-eu' }], maxPods: 1 });
    expect(next.exitCode, next.text).toBe(0);
    const names = cluster
      .get<{ items: Manifest[] }>('cronjobs', '-n', 'backups')
      .items.map(({ metadata }) => metadata.name);
    expect(names).toEqual(['dbstash-orders-eu-backup', 'dbstash-orders-eu-verify']);
    const after = cluster.get<CronJob>('cronjob', 'dbstash-orders-eu-backup', '-n', 'backups');
    expect(after.spec).toEqual(before.spec);
  });

  it('lets no more Pods run than maxPods says: the next one comes when one has ended', async () => {
    const quota = () =>
      cluster.get<{ status?: { hard?: { pods?: string } } }>('resourcequota', 'dbstash', '-n', 'backups');
    await waitFor(() => quota().status?.hard?.pods === '1', { timeoutMs: 60_000, title: 'the quota holds' });
    for (const name of ['one', 'two'])
      cluster.kubectl(['create', 'job', name, '--from=cronjob/dbstash-orders-eu-backup', '-n', 'backups']);
    const pods = () => ['one', 'two'].flatMap((name) => podsOf(cluster, name));
    const [first] = await waitFor(() => pods().length === 1 && pods(), { timeoutMs: 60_000, title: 'a first Pod' });
    const refused = () => cluster.kubectl(['get', 'events', '-n', 'backups']).text.includes('exceeded quota');
    await waitFor(refused, { timeoutMs: 60_000, title: 'the second is refused' });
    expect(pods()).toHaveLength(1);
    endPod(cluster, first!, EXIT.ok);
    await waitFor(() => pods().length === 2, { timeoutMs: 240_000, title: 'the second comes' });
  }, 400_000);
});
