import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { renderReadme } from '../.ci/readme.ts';
import { commands, exitCodes } from '../src/cli.ts';
import { variables } from '../src/config/variables.ts';
import { EXIT } from '../src/core/errors.ts';
import { runDbstash } from './support/dbstash.ts';
import { scratchFolder } from './support/scratch.ts';

const root = join(import.meta.dirname, '..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');

/** The rows of the tables between two marks, as cells. */
function rowsOf(part: string): string[][] {
  const text = readme.split(`<!-- ${part} -->`)[1]?.split(`<!-- /${part} -->`)[0] ?? '';
  const lines = text.split('\n').filter((line) => line.startsWith('| '));
  return lines.map((line) => line.slice(2, -2).split(' | '));
}

it('the tables of the README are those of the program (node .ci/readme.ts writes them)', () => {
  expect(readme).toBe(renderReadme(readme));
});

it('the README tells every variable once, with its default', () => {
  const rows = rowsOf('variables').filter(([name]) => name !== 'variable');
  expect(rows.map(([name]) => name).sort()).toEqual(variables.map(({ name }) => `\`${name}\``).sort());
  for (const { name, default: fallback, defaultHelp, help } of variables) {
    const shown = defaultHelp ?? (fallback ? `\`${fallback}\`` : '');
    expect(rows).toContainEqual([`\`${name}\``, shown, help.replaceAll('|', '\\|')]);
  }
});

it('the README tells every command and every exit code', () => {
  const rows = rowsOf('commands');
  for (const { name, summary, exitCodes: codes } of commands) {
    expect(rows.find(([cell]) => cell?.replaceAll('`', '').split(' ')[0] === name)?.join()).toContain(`${summary}`);
    expect(rows.map((row) => row.at(-1))).toContain(codes);
  }
  const told = rows.filter(([code]) => /^\d+$/.test(code ?? '')).map(([code]) => Number(code));
  expect(told).toEqual(exitCodes.map(([code]) => code));
  expect(new Set(told)).toEqual(new Set(Object.values(EXIT)));
});

it('the README without a mark is an error, not a README without its tables', () => {
  expect(() => renderReadme(readme.replace('<!-- /commands -->', ''))).toThrow('<!-- commands -->');
});

it('the stack in the README is a configuration as it stands', async () => {
  await using scratch = scratchFolder();
  const { services } = parse(/```yaml\n([\s\S]*?)```/.exec(readme)?.[1] ?? '');
  writeFileSync(join(scratch.path, 'db_uri'), 'postgres://backup:password@db/orders\n');
  writeFileSync(join(scratch.path, 'rclone_conf'), '[s3]\ntype = s3\n');
  const env = Object.entries(services.backup.environment as Record<string, unknown>).map(([name, value]) => [
    name,
    `${value}`.replace(/\$\{WEBHOOK_URL:-\}/, '').replace('/run/secrets', scratch.path),
  ]);
  const { exitCode, stdout, stderr } = await runDbstash(['config', '--json'], Object.fromEntries(env));
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  expect(stdout).toContain('s3:backups/orders');
});

/** Variables of the program, and of rclone. */
const isKnown = (word: string) =>
  variables.some(({ name }) => [name, `${name}_FILE`].includes(word)) || /^RCLONE_CONFIG_/.test(word);

it('no document speaks of a variable that does not exist', () => {
  const documents = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)];
  // Those of other tools, too: it has a test of its own.
  const isMixed = (name: string) => name === 'docs/migrating.md';
  for (const document of documents.filter((name) => name.endsWith('.md') && !isMixed(name))) {
    const text = readFileSync(join(root, document), 'utf8');
    const words =
      text.match(/\b(DB|BACKUP|RETENTION|LOG|RESTORE|DUMP|RCLONE|NOTIFY|HOOK|SMTP|PING)_[A-Z][A-Z_]*[A-Z]\b(?!_)/g) ??
      [];
    expect(
      words.filter((word) => !isKnown(word)),
      document,
    ).toEqual([]);
  }
});
