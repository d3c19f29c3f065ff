/** Writes what Kubernetes wants in another form than docs/monitoring has it: `node .ci/kubernetes.ts`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const docs = join(import.meta.dirname, '../docs');
const MARK = '# Made by `node .ci/kubernetes.ts` of';

const read = (path: string): string => readFileSync(join(docs, path), 'utf8');

/** From `groups:` on, without what is said to whom uses the file as it is. */
const rulesIn = (path: string): string => {
  const [, rules] = read(path).split(/^(?=groups:$)/m);
  if (rules === undefined) throw new Error(`${path} has no line "groups:"`);
  return rules;
};

/** Each file that is made, from docs/, with what it is to hold. */
export const renderFiles = (): Readonly<Record<string, string>> => ({
  'kubernetes/prometheus-rule.yaml': renderRule('dbstash', 'monitoring/alerts.yml', 'on daemons'),
  'kubernetes/prometheus-rule-cronjobs.yaml': renderRule(
    'dbstash-cronjobs',
    'monitoring/cronjobs.yml',
    'on CronJobs, which need kube-state-metrics',
  ),
  'kubernetes/chart/files/cronjobs.yml': `${MARK} docs/monitoring/cronjobs.yml.\n${rulesIn('monitoring/cronjobs.yml')}`,
});

const renderRule = (
  name: string,
  source: string,
  what: string,
): string => `# For the Prometheus operator: the alerts ${what}.
${MARK} docs/${source}.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: ${name}
  namespace: backups
  labels: { app.kubernetes.io/name: dbstash }
spec:
${rulesIn(source).replace(/^(?=.)/gm, '  ')}`;

if (process.argv[1] === import.meta.filename) {
  for (const [path, text] of Object.entries(renderFiles())) writeFileSync(join(docs, path), text);
}
