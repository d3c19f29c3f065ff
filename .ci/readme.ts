/** Writes the tables of the README and of docs/monitoring.md anew, from those that the program itself uses: `node .ci/readme.ts`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commands, exitCodes } from '../src/cli.ts';
import type { CommandRow } from '../src/commands/call.ts';
import { GROUPS, type Variable, variables } from '../src/config/variables.ts';
import { METRICS, type Metric } from '../src/http/metricTable.ts';

type Parts = Readonly<Record<string, () => string>>;

const README: Parts = {
  variables: () => Object.keys(GROUPS).map(describeGroup).join('\n\n'),
  commands: () => [table(['command', 'does', 'exit codes'], commands.map(describeCommand)), EXIT_CODES].join('\n\n'),
};

const MONITORING: Parts = {
  metrics: () => table(['metric', 'labels', 'says'], METRICS.map(describeMetric)),
};

/** What is written where, from the repository's root. */
const DOCUMENTS: Readonly<Record<string, Parts>> = { 'README.md': README, 'docs/monitoring.md': MONITORING };

export const renderReadme = (text: string): string => renderParts('README.md', text);
export const renderMonitoring = (text: string): string => renderParts('docs/monitoring.md', text);

/** The text with what stands between `<!-- NAME -->` and `<!-- /NAME -->` written anew. Throws where a mark is missing. */
function renderParts(document: string, text: string): string {
  return Object.entries(DOCUMENTS[document] ?? {}).reduce((whole, [name, render]) => {
    const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
    const [from, to] = [whole.indexOf(begin), whole.indexOf(end)];
    if (from < 0 || to < from) throw new Error(`${document} has no ${begin} with a ${end} behind it`);
    return `${whole.slice(0, from + begin.length)}\n${render()}\n${whole.slice(to)}`;
  }, text);
}

function describeGroup(group: string): string {
  const rows = variables.filter((variable) => variable.group === group).map(describeVariable);
  return `**${GROUPS[group as keyof typeof GROUPS]}**\n\n${table(['variable', 'default', 'meaning'], rows)}`;
}

function describeVariable({ name, help, default: fallback, defaultHelp }: Variable): string[] {
  return [`\`${name}\``, defaultHelp ?? (fallback ? `\`${fallback}\`` : ''), help];
}

function describeCommand({ name, argument, options = [], summary, exitCodes: codes }: CommandRow): string[] {
  const flags = options.map(([flag]) => `\`${flag}\``).join(', ');
  return [`\`${[name, argument].filter(Boolean).join(' ')}\``, summary + (flags ? ` (${flags})` : ''), codes];
}

const describeMetric = ({ name, labels, help }: Metric): string[] => [
  `\`${name}\``,
  labels.map((label) => `\`${label}\``).join(', '),
  help,
];

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

const EXIT_CODES = table(
  ['exit code', 'meaning'],
  exitCodes.map(([code, meaning]) => [String(code), meaning]),
);

if (process.argv[1] === import.meta.filename) {
  for (const document of Object.keys(DOCUMENTS)) {
    const path = join(import.meta.dirname, '..', document);
    writeFileSync(path, renderParts(document, readFileSync(path, 'utf8')));
  }
}
