import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import lockfile from 'proper-lockfile';
import { describe } from 'vitest';
import { buildArgs, findImage } from '../../.ci/image.ts';
import { containerEngine, docker, dockerOut, findContainerEngine, isImageThere } from './containers.ts';
import { scratchFolder } from './scratch.ts';
import { cachedFolder } from './tools.ts';

const root = join(import.meta.dirname, '../..');

/** What an image is made from, of what the Dockerfile names. */
const STAGES: Readonly<Record<string, readonly string[]>> = {
  mysql: ['oldstable'],
  mariadb: ['oldstable'],
  mongo: ['golang'],
};

function baseImages(tag: string): string[] {
  const dockerfile = readFileSync(join(root, 'docker/Dockerfile'), 'utf8');
  const { engine, source } = findImage(tag)!;
  const stages = ['debian', 'node', 'rclone', ...(STAGES[engine] ?? [])];
  const bases = stages.map((stage) => new RegExp(`^FROM (\\S+) AS ${stage}$`, 'm').exec(dockerfile)?.[1] ?? stage);
  return source === undefined ? bases : [...bases, source];
}

/** What is missing to build images, and of further ones that are to be there. */
export function missingFor(tags: readonly string[], more: readonly string[] = []): readonly string[] {
  if (!findContainerEngine()) return ['podman or docker'];
  if (process.getuid?.() !== 0) return ['root, who gives folders to the users of containers,'];
  return [...new Set([...tags.flatMap(baseImages), ...more])].filter((image) => !isImageThere(image));
}

/** A group of tests that builds images and runs them. Where they cannot be built here it is skipped, loudly. */
export function describeWithImages(tags: readonly string[], more: readonly string[], name: string, tests: () => void) {
  const missing = missingFor(tags, more);
  if (missing.length > 0)
    console.warn(`SKIPPED "${name}": ${missing.join(', ')} missing (docs/images.md says how tests get it)`);
  describe.skipIf(missing.length > 0)(name, tests);
}

export interface BuiltImages extends AsyncDisposable {
  /** Its name, of its tag. */
  name(tag: string): string;
}

/** One build after the other, on the whole machine: what they share is built once. */
async function lockBuilds(): Promise<() => Promise<void>> {
  mkdirSync(cachedFolder('.'), { recursive: true });
  return await lockfile.lock(cachedFolder('images'), {
    realpath: false,
    retries: { retries: 1200, minTimeout: 1000, maxTimeout: 1000 },
  });
}

/**
 * Builds images as `npm run image` does, by names of this process, which are gone when they are disposed of. What all have in
 * common stays behind, as `dbstash-test:system`: it is what takes long.
 */
export async function buildImages(tags: readonly string[]): Promise<BuiltImages> {
  const name = (tag: string) => `localhost/dbstash-test-${process.pid}:${tag}`;
  const { program } = containerEngine();
  const release = await lockBuilds();
  await using context = scratchFolder();
  try {
    cpSync(join(root, 'docker'), join(context.path, 'docker'), { recursive: true });
    execFileSync(process.execPath, [join(root, '.ci/build.ts'), join(context.path, 'dist')]);
    const system = { tag: 'system', engine: 'system' };
    const wanted = [
      [system, 'localhost/dbstash-test:system'] as const,
      ...tags.map((tag) => [findImage(tag)!, name(tag)] as const),
    ];
    for (const [image, name] of wanted)
      await dockerOut(buildArgs(program, { image, name, context: context.path, more: MORE }), 900_000);
  } finally {
    await release();
  }
  return {
    name,
    [Symbol.asyncDispose]: async () => {
      // Not beside a build: that may just have taken a layer of theirs.
      const release = await lockBuilds();
      for (const tag of tags) await docker(['rmi', name(tag)]);
      await release();
    },
  };
}

/** The newest release of the tools is not served everywhere; this commit is (it is 100.6.1). */
const MORE = ['--network=host', '--build-arg=MONGO_TOOLS=v0.0.0-20221102190735-6d9d341edd33'];
