/** Writes the README's tables anew, from the variables and commands that the program itself uses: `node .ci/readme.ts`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commands, exitCodes } from '../src/cli.ts';
import type { CommandRow } from '../src/commands/call.ts';
import { GROUPS, type Variable, variables } from '../src/config/variables.ts';

const path = join(import.meta.dirname, '../README.md');

const PARTS: Readonly<Record<string, () => string>> = {
  variables: () => Object.keys(GROUPS).map(describeGroup).join('\n\n'),
  commands: () => [table(['command', 'does', 'exit codes'], commands.map(describeCommand)), EXIT_CODES].join('\n\n'),
};

/** The text with what stands between `<!-- NAME -->` and `<!-- /NAME -->` written anew. Throws where a mark is missing. */
export function renderReadme(text: string): string {
  return Object.entries(PARTS).reduce((readme, [name, render]) => {
    const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
    const [from, to] = [readme.indexOf(begin), readme.indexOf(end)];
    if (from < 0 || to < from) throw new Error(`README.md has no ${begin} with a ${end} behind it`);
    return `${readme.slice(0, from + begin.length)}\n${render()}\n${readme.slice(to)}`;
  }, text);
}

function describeGroup(group: string): string {
  const rows = variables.filter((variable) => variable.group === group).map(describeVariable);
  return `**${GROUPS[group as keyof typeof GROUPS]}**\n\n${table(['variable', 'default', 'meaning'], rows)}`;
}

function describeVariable({ name, help, default: fallback, defaultHelp }: Variable): string[] {
  return [`\`${name}\``, defaultHelp ?? (fallback ? `\`${fallback}\`` : ''), help];
}

function describeCommand({ name, args = [], options = [], summary, exitCodes: codes }: CommandRow): string[] {
  const flags = options.map(([flag]) => `\`${flag}\``).join(', ');
  return [`\`${[name, ...args].join(' ')}\``, summary + (flags ? ` (${flags})` : ''), codes];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

const EXIT_CODES = table(
  ['exit code', 'meaning'],
  exitCodes.map(([code, meaning]) => [String(code), meaning]),
);

if (process.argv[1] === import.meta.filename) writeFileSync(path, renderReadme(readFileSync(path, 'utf8')));
