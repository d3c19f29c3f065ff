import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findImage, images } from '../.ci/image.ts';
import { engines } from '../src/engines/index.ts';

const root = join(import.meta.dirname, '..');
const tags = images.map(({ tag }) => tag);

describe('the list of images', () => {
  it('has one latest of each engine, which is its newest, and no plain latest', () => {
    for (const engine of Object.keys(engines)) {
      const versions = images.filter((image) => image.engine === engine);
      expect(versions.filter(({ latest }) => latest)).toHaveLength(1);
      // Valkey's images are of the engine redis, and never what redis-latest means.
      const own = versions.filter(({ tag }) => tag.startsWith(`${engine}-`));
      const newest = own.toSorted((a, b) => a.tag.localeCompare(b.tag, 'en', { numeric: true })).at(-1);
      expect(findImage(`${engine}-latest`)).toBe(newest);
    }
    expect(new Set(tags).size).toBe(tags.length);
    expect(findImage('latest')).toBeUndefined();
  });

  it('names for each the image that its tools come from, in the version that the tag says', () => {
    for (const { tag, engine, source } of images) {
      const version = tag.slice(tag.indexOf('-') + 1);
      if (engine === 'mongo' || engine === 'sqlite') expect(source).toBeUndefined();
      else expect(source).toMatch(new RegExp(`^docker\\.io/(library|valkey)/\\w+:${version}(\\.\\d+)?$`));
    }
  });

  it('is said whole in the documentation', () => {
    const page = readFileSync(join(root, 'docs/images.md'), 'utf8');
    const ranges = { 'pg-15': 'pg-14', 'pg-16': 'pg-14', 'pg-17': 'pg-14' } as Readonly<Record<string, string>>;
    for (const tag of tags) expect(page).toContain(`\`${ranges[tag] ?? tag}\``);
  });

  it('is what `npm run image` answers to a name that is none', () => {
    const { status, stderr } = spawnSync(process.execPath, [join(root, '.ci/image.ts'), 'pg-1'], { encoding: 'utf8' });
    expect({ status, stderr }).toMatchObject({ status: 2, stderr: expect.stringContaining('there is no pg-1') });
    for (const tag of [...tags, 'pg-latest']) expect(stderr).toContain(tag);
  });

  it('goes with a Dockerfile that names no architecture', () => {
    const files = readdirSync(join(root, 'docker')).map((name) => readFileSync(join(root, 'docker', name), 'utf8'));
    expect(files.join('\n')).not.toMatch(/amd64|x86_64|arm64|aarch64/);
    // Debian has that folder on amd64 only.
    expect(readFileSync(join(root, 'docker/Dockerfile'), 'utf8')).not.toContain('lib64');
    expect(existsSync(join(root, '.dockerignore'))).toBe(true);
  });
});
