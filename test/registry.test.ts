import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { engines } from '../src/engines/index.ts';

const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** The text from a heading on, to the next of its kind. */
const section = (text: string, heading: string): string => text.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';

describe.each(Object.values(engines))('the engine $name', ({ name, title, modes, uriSchemes }) => {
  it('has a round trip against a real server', () => {
    const files = readdirSync(join(root, 'test')).filter((file) => file.endsWith('RoundTrip.test.ts'));
    const isOurs = (file: string) => file === `${name}RoundTrip.test.ts` || read(`test/${file}`).includes(`'${name}'`);
    const ours = files.filter(isOurs);
    expect(ours, `test/${name}RoundTrip.test.ts is missing`).toHaveLength(1);
    expect(read(`test/${ours[0]}`)).toMatch(/describeWith\(|describe\.skipIf\(/);
  });

  it('has its row in the README, which tells its modes and what a URI begins with', () => {
    const row = section(read('README.md'), 'Engines')
      .split('\n')
      .find((line) => line.startsWith(`| \`${name}\` |`));
    expect(row, `the table of engines lacks ${name}`).toBeDefined();
    for (const word of [title, ...modes, ...uriSchemes.map((scheme) => `${scheme}://`)]) expect(row).toContain(word);
  });

  it('says which rights it needs', () => {
    expect(section(read('docs/permissions.md'), 'Databases')).toContain(title);
  });

  if (!existsSync(join(root, 'docker'))) return;
  it('has a stage of its own for its images, and is in the list that the workflow builds', () => {
    const stages = readdirSync(join(root, 'docker')).map((file) => read(`docker/${file}`));
    expect(stages.some((text) => new RegExp(`^FROM .* AS ${name}$`, 'm').test(text))).toBe(true);
    const { images } = JSON.parse(read('docker/versions.json')) as { images: { tag: string; engine: string }[] };
    expect(images.filter(({ tag, engine }) => engine === name && tag.startsWith(`${name}-`))).not.toEqual([]);
    const workflows = readdirSync(join(root, '.github/workflows')).map((file) => read(`.github/workflows/${file}`));
    expect(workflows.some((text) => text.includes('docker/versions.json'))).toBe(true);
  });
});
