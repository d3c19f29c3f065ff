import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { renderFiles } from '../.ci/kubernetes.ts';
import { variables } from '../src/config/variables.ts';
import { EXIT } from '../src/core/errors.ts';
import { CLUSTER_TOOLS, type Cluster, startCluster } from './support/cluster.ts';
import { runDbstash } from './support/dbstash.ts';
import type { CronJob, Job, Manifest, Pod, PodTemplate } from './support/kubernetes.ts';
import { endPod, isFinished, podsOf, templateOf } from './support/kubernetes.ts';
import { describeWith } from './support/need.ts';
import { scratchFolder, waitFor } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

const docs = join(import.meta.dirname, '../docs');
const folder = join(docs, 'kubernetes');
const files = globSync('*.yaml', { cwd: folder }).sort();
const read = (file: string): string => readFileSync(join(folder, file), 'utf8');

const manifestsIn = (file: string): Manifest[] =>
  parseAllDocuments(read(file), { version: '1.1' }).map((document) => {
    expect(document.errors, file).toEqual([]);
    return document.toJS();
  });
const manifests = files.flatMap((file) => manifestsIn(file).map((manifest) => ({ file, manifest })));
/** What runs Pods, by file. */
const templates = manifests.flatMap(({ file, manifest }): [string, PodTemplate][] => {
  const template = templateOf(manifest);
  return template ? [[file, template]] : [];
});
const containerOf = ({ spec }: PodTemplate) => spec.containers[0]!;

describe('the manifests of docs/kubernetes', () => {
  it.each(templates)('%s sets variables that exist, each from a value or a file that is mounted', (_, template) => {
    const { env, volumeMounts } = containerOf(template);
    for (const { name, value = '' } of env) {
      const plain = name.replace(/_FILE$/, '');
      expect(variables.map((one) => one.name).filter((known) => known === name || known === plain)).not.toEqual([]);
      if (name.endsWith('_FILE'))
        expect(volumeMounts.some(({ mountPath }) => value.startsWith(`${mountPath}/`))).toBe(true);
      else expect(variables.find((one) => one.name === name)?.secret, `${name} is a secret`).toBeUndefined();
      if (name !== plain) continue;
      expect(() => variables.find((one) => one.name === name)?.parse(value)).not.toThrow();
    }
  });

  it.each(templates)('%s runs an image that is built', (_, template) => {
    const [, tag] = /^ghcr\.io\/OWNER\/dbstash:(.+)$/.exec(containerOf(template).image) ?? [];
    expect(tag).toBeDefined();
    const versions = join(docs, '../docker/versions.json');
    if (existsSync(versions)) expect(readFileSync(versions, 'utf8')).toContain(`"${tag}"`);
  });

  it.each([
    ['cronjob.yaml', [EXIT.config, EXIT.locked]],
    ['verify-cronjob.yaml', [EXIT.config, EXIT.damaged]],
  ])('%s tries nothing again that would end the same', (file, codes) => {
    const [cronJob] = manifestsIn(file) as [CronJob];
    const { rules } = cronJob.spec.jobTemplate.spec.podFailurePolicy;
    const failing = rules.filter(({ action }) => action === 'FailJob');
    expect(failing.map(({ onExitCodes }) => onExitCodes)).toEqual([
      { containerName: 'dbstash', operator: 'In', values: codes },
    ]);
  });

  it('deployment.yaml asks the paths that docs/operations.md says, on the port that is the default', () => {
    const [deployment] = manifestsIn('deployment.yaml') as [Manifest];
    const { livenessProbe, readinessProbe, ports } = containerOf(templateOf(deployment)!);
    expect(livenessProbe?.httpGet).toEqual({ path: '/livez', port: 'http' });
    expect(readinessProbe?.httpGet).toEqual({ path: '/healthz', port: 'http' });
    const port = Number(variables.find(({ name }) => name === 'HEALTH_PORT')?.default);
    expect(ports).toEqual([{ name: 'http', containerPort: port }]);
    const told = readFileSync(join(docs, 'operations.md'), 'utf8');
    for (const [probe, path] of [
      ['livenessProbe', '/livez'],
      ['readinessProbe', '/healthz'],
    ]) {
      expect(told).toMatch(new RegExp(`${probe}: .*path: ${path},`));
    }
  });

  it.each(Object.entries(renderFiles()))(
    '%s is made of docs/monitoring (node .ci/kubernetes.ts makes it)',
    (path, text) => {
      expect(readFileSync(join(docs, path), 'utf8')).toBe(text);
    },
  );

  it('are all told of in docs/kubernetes.md, which names no file that is not there', () => {
    const page = readFileSync(join(docs, 'kubernetes.md'), 'utf8');
    const named = [...page.matchAll(/\b([a-z-]+\.yaml)\b/g)].map(([, name = '']) => name);
    expect([...new Set(named)].filter((name) => name !== 'values.yaml').sort()).toEqual(files);
  });
});

describeWith(['rclone', 'sqlite3', 'zstd'], 'dbstash with the variables and arguments of the manifests', () => {
  it('backs up, verifies and restores', async () => {
    await using scratch = scratchFolder();
    const { path } = scratch;
    const [source, copy] = [join(path, 'orders.db'), join(path, 'copy.db')];
    execFileSync(requireTool('sqlite3'), [source, 'CREATE TABLE t (a); INSERT INTO t VALUES (42);']);
    writeFileSync(join(path, 'uri'), `sqlite://${source}`);
    writeFileSync(join(path, 'rclone.conf'), `[s3]\ntype = alias\nremote = ${path}/remote\n`);
    const run = async (file: string, args?: readonly string[]) => {
      const container = containerOf(templateOf(manifestsIn(file)[0]!)!);
      const env = container.env.map(({ name, value = '' }) => [name, value.replace(/^\/run\/secrets\/\w+/, path)]);
      const { exitCode, stderr } = await runDbstash(args ?? container.args ?? [], Object.fromEntries(env), { scratch });
      expect(exitCode, stderr).toBe(0);
    };
    await run('cronjob.yaml');
    await run('verify-cronjob.yaml');
    const { args = [] } = containerOf(templateOf(manifestsIn('restore-job.yaml')[0]!)!);
    await run('restore-job.yaml', args.with(-1, copy));
    expect(execFileSync(requireTool('sqlite3'), [copy, 'SELECT a FROM t'], { encoding: 'utf8' })).toBe('42\n');
  });
});

describeWith(CLUSTER_TOOLS, 'a real API server', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster();
  }, 400_000);
  afterAll(() => cluster?.[Symbol.asyncDispose]());

  it.each(files)('takes %s without a warning', (file) => {
    // One with a generated name can only be created.
    const verb = read(file).includes('generateName:') ? 'create' : 'apply';
    const { exitCode, text } = cluster.kubectl([verb, '--dry-run=server', '-f', join(folder, file)]);
    expect(text).not.toMatch(/warning/i);
    expect(text).toMatch(/\((server )?dry run\)/);
    expect(exitCode, text).toBe(0);
  });

  it.each([
    ['a schedule that is none', 'cronjob.yaml', '"17 2 * * *"', '"77 2 * * *"', 'Invalid value: "77 2 * * *"'],
    ['a field that does not exist', 'service-monitor.yaml', 'interval:', 'intervall:', 'unknown field'],
    [
      'a volume that is not there',
      'deployment.yaml',
      'name: tmp, mountPath',
      'name: temp, mountPath',
      'Not found: "temp"',
    ],
  ])('refuses %s: it would have found fault', (_, file, good, bad, fault) => {
    const text = read(file);
    expect(text).toContain(good);
    const output = cluster.kubectl(['apply', '--dry-run=server', '-f', '-'], text.replace(good, bad));
    expect(output.exitCode).toBe(1);
    expect(output.text).toContain(fault);
  });

  const asPod = ({ metadata, spec }: PodTemplate): string =>
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...metadata, name: 'tried', namespace: 'backups' },
      spec,
    });

  it.each(templates)('%s: its Pod is let into a restricted namespace', (_, template) => {
    const { exitCode, text } = cluster.kubectl(['create', '--dry-run=server', '-f', '-'], asPod(template));
    expect(exitCode, text).toBe(0);
    const open = asPod(template).replace('"allowPrivilegeEscalation":false,', '');
    expect(cluster.kubectl(['create', '--dry-run=server', '-f', '-'], open).text).toContain(
      'violates PodSecurity "restricted',
    );
  });

  it('an apply of the whole folder never begins a restore', () => {
    const { text } = cluster.kubectl(['apply', '--dry-run=server', '-f', join(folder, 'restore-job.yaml')]);
    expect(text).toContain('cannot use generate name with apply');
  });

  it('what docs/kubernetes.md says to type works as it stands', async () => {
    await using scratch = scratchFolder();
    cpSync(folder, scratch.path, { recursive: true });
    writeFileSync(join(scratch.path, 'rclone.conf'), '[s3]\ntype = s3\n');
    const page = readFileSync(join(docs, 'kubernetes.md'), 'utf8');
    const lines = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].flatMap(([, block = '']) => block.split('\n'));
    // There is no Pod to look at, and the chart has tests of its own.
    const typed = lines.filter((line) => line !== '' && !/ logs | port-forward |^helm /.test(line));
    expect(typed.length).toBeGreaterThan(5);
    const { exitCode, text } = cluster.shell(typed.join('\n'), scratch.path);
    expect(exitCode, text).toBe(0);
    for (const made of [
      'cronjob.batch/dbstash-orders-backup created',
      'job.batch/first created',
      'dbstash-orders-restore-',
    ])
      expect(text).toContain(made);
    cluster.kubectl(['delete', 'cronjobs,jobs', '--all', '-n', 'backups']);
  });

  describe.concurrent('with its controllers', () => {
    const jobOf = (name: string) => cluster.get<Job>('job', name, '-n', 'backups');
    /** A Job of the CronJob, as `kubectl create job --from` makes it, with its first Pod. */
    async function startJob(name: string, cronJob: string): Promise<Pod> {
      const from = cluster.kubectl(['create', 'job', name, `--from=cronjob/${cronJob}`, '-n', 'backups']);
      expect(from.exitCode, from.text).toBe(0);
      return waitFor(() => podsOf(cluster, name)[0], { timeoutMs: 60_000, title: `a Pod of ${name}` });
    }

    beforeAll(() => {
      for (const file of ['cronjob.yaml', 'verify-cronjob.yaml']) {
        const { exitCode, text } = cluster.kubectl(['apply', '-f', join(folder, file)]);
        expect(exitCode, text).toBe(0);
      }
    });

    it('the CronJob makes its Job when it is due, and the Job its Pod', async () => {
      const everyMinute = read('cronjob.yaml')
        .replace('"17 2 * * *"', '"* * * * *"')
        .replace('name: dbstash-orders-backup', 'name: dbstash-often-backup');
      const { exitCode, text } = cluster.kubectl(['apply', '-f', '-'], everyMinute);
      expect(exitCode, text).toBe(0);
      const made = () =>
        cluster
          .get<{ items: Job[] }>('jobs', '-n', 'backups')
          .items.find(({ metadata }) => metadata.name?.startsWith('dbstash-often-backup-'));
      const job = await waitFor(made, { timeoutMs: 120_000, title: 'a Job of the CronJob' });
      const pod = await waitFor(() => podsOf(cluster, job.metadata.name ?? '')[0], { timeoutMs: 60_000 });
      expect(pod.spec.containers[0]?.image).toBe('ghcr.io/OWNER/dbstash:pg-17');
      // Nobody runs the first: the next one is not begun beside it.
      cluster.kubectl(['delete', 'cronjob', 'dbstash-often-backup', '-n', 'backups']);
    }, 240_000);

    it.each([
      ['dbstash-orders-backup', EXIT.config],
      ['dbstash-orders-backup', EXIT.locked],
      ['dbstash-orders-verify', EXIT.config],
      ['dbstash-orders-verify', EXIT.damaged],
    ])(
      '%s: exit code %i ends the Job at once',
      async (cronJob, code) => {
        const name = `${cronJob}-ends-${code}`;
        endPod(cluster, await startJob(name, cronJob), code);
        const job = await waitFor(() => isFinished(jobOf(name)), { timeoutMs: 60_000 });
        expect(job.status.conditions).toContainEqual(
          expect.objectContaining({ type: 'Failed', status: 'True', reason: 'PodFailurePolicy' }),
        );
        expect(podsOf(cluster, name)).toHaveLength(1);
      },
      120_000,
    );

    it.each([
      ['dbstash-orders-backup', EXIT.failed],
      ['dbstash-orders-backup', EXIT.remote],
      ['dbstash-orders-backup', EXIT.damaged],
      ['dbstash-orders-verify', EXIT.remote],
    ])(
      '%s: after exit code %i it is tried again',
      async (cronJob, code) => {
        const name = `${cronJob}-again-${code}`;
        endPod(cluster, await startJob(name, cronJob), code);
        await waitFor(() => podsOf(cluster, name).length === 2, { timeoutMs: 90_000, title: 'a second Pod' });
        expect(isFinished(jobOf(name))).toBeUndefined();
      },
      180_000,
    );

    it('a drained node is no failure: the Job goes on, without having lost a try', async () => {
      const name = 'dbstash-orders-drained';
      endPod(cluster, await startJob(name, 'dbstash-orders-backup'), EXIT.sigterm, 'DisruptionTarget');
      await waitFor(() => podsOf(cluster, name).length === 2, { timeoutMs: 90_000, title: 'a second Pod' });
      expect(jobOf(name).status.failed ?? 0).toBe(0);
    }, 180_000);

    it('a restore is tried once', async () => {
      const { exitCode, stdout, text } = cluster.kubectl([
        'create',
        '-f',
        join(folder, 'restore-job.yaml'),
        '-o',
        'name',
      ]);
      expect(exitCode, text).toBe(0);
      const name = basename(stdout.trim());
      endPod(cluster, await waitFor(() => podsOf(cluster, name)[0], { timeoutMs: 60_000 }), EXIT.failed);
      const job = await waitFor(() => isFinished(jobOf(name)), { timeoutMs: 60_000 });
      expect(job.status.conditions).toContainEqual(
        expect.objectContaining({ type: 'Failed', status: 'True', reason: 'BackoffLimitExceeded' }),
      );
      expect(podsOf(cluster, name)).toHaveLength(1);
    }, 120_000);
  });
});
