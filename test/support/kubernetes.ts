import type { Cluster } from './cluster.ts';

interface Metadata {
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly unknown[];
}

interface Container {
  readonly image: string;
  readonly args?: readonly string[];
  readonly env: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly unknown[];
  readonly livenessProbe?: { readonly httpGet: unknown };
  readonly readinessProbe?: { readonly httpGet: unknown };
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
}

export interface PodTemplate {
  readonly metadata: Metadata;
  readonly spec: { readonly containers: readonly Container[]; readonly volumes: readonly unknown[] };
}

export interface Manifest {
  readonly kind: string;
  readonly metadata: Metadata;
  readonly spec: unknown;
}

export interface Pod extends Manifest {
  readonly spec: PodTemplate['spec'];
  readonly status: { readonly phase: string };
}

export interface Job extends Manifest {
  readonly spec: {
    readonly backoffLimit: number;
    readonly podFailurePolicy: {
      readonly rules: readonly { readonly action: string; readonly onExitCodes?: unknown }[];
    };
    readonly template: PodTemplate;
  };
  readonly status: {
    readonly failed?: number;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason?: string }[];
  };
}

export interface CronJob extends Manifest {
  readonly spec: {
    readonly schedule: string;
    readonly suspend?: boolean;
    readonly jobTemplate: { readonly spec: Job['spec'] };
  };
}

/** Of what runs Pods what they are made of. */
export function templateOf({ kind, spec }: Manifest): PodTemplate | undefined {
  if (kind === 'CronJob') return (spec as CronJob['spec']).jobTemplate.spec.template;
  return kind === 'Job' || kind === 'Deployment' ? (spec as Job['spec']).template : undefined;
}

/** The Pods of a Job, whatever became of them, oldest first. */
export const podsOf = (cluster: Cluster, job: string): readonly Pod[] =>
  cluster.get<{ items: Pod[] }>(
    'pods',
    '-n',
    'backups',
    '-l',
    `job-name=${job}`,
    '--sort-by=.metadata.creationTimestamp',
  ).items;

/** Says of a Pod, as its node would, that its program ended; with a condition, why it was made to. */
export function endPod(cluster: Cluster, { metadata }: Pod, exitCode: number, condition?: string): void {
  const name = 'dbstash';
  const status = {
    phase: exitCode === 0 ? 'Succeeded' : 'Failed',
    ...(condition && { conditions: [{ type: condition, status: 'True', reason: 'EvictionByEvictionAPI' }] }),
    containerStatuses: [
      {
        name,
        image: name,
        imageID: '',
        ready: false,
        restartCount: 0,
        state: { terminated: { exitCode, reason: 'Error' } },
      },
    ],
  };
  const patch = ['--type=merge', '--subresource=status', '-p', JSON.stringify({ status })];
  const { exitCode: code, text } = cluster.kubectl(['patch', 'pod', metadata.name ?? '', '-n', 'backups', ...patch]);
  if (code !== 0) throw new Error(text);
}

/** The Job where it succeeded or failed. */
export const isFinished = (job: Job): Job | undefined =>
  job.status.conditions?.some(({ type, status }) => ['Complete', 'Failed'].includes(type) && status === 'True')
    ? job
    : undefined;
