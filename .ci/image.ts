import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A line of docker/versions.json. */
export interface Image {
  readonly tag: string;
  readonly engine: string;
  /** The image that has the engine's client tools; absent where they come from elsewhere. */
  readonly source?: string;
  /** It is `<engine>-latest` too. */
  readonly latest?: boolean;
}

const root = join(import.meta.dirname, '..');
export const images: readonly Image[] = JSON.parse(readFileSync(join(root, 'docker/versions.json'), 'utf8')).images;

/** By its tag, `pg-17`, or by `pg-latest`. */
export function findImage(name: string): Image | undefined {
  return images.find(({ tag, engine, latest }) => tag === name || (latest === true && name === `${engine}-latest`));
}

interface Build {
  readonly image: Image;
  readonly name: string;
  /** The folder that holds dist/ and docker/. */
  readonly context: string;
  /** Further flags. */
  readonly more: readonly string[];
}

/** Arguments for `docker`, or for `podman`, which would leave the health check out of its own format. */
export function buildArgs(program: string, { image, name, context, more }: Build): string[] {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const args = { VERSION: version, ...(image.source !== undefined && { SOURCE: image.source }) };
  return [
    'build',
    ...(program === 'podman' ? ['--format=docker'] : []),
    `--file=${join(context, 'docker/Dockerfile')}`,
    `--target=${image.engine}`,
    ...Object.entries(args).map(([key, value]) => `--build-arg=${key}=${value}`),
    `--tag=${name}`,
    ...more,
    context,
  ];
}

/** The first of the two that answers. */
function findBuilder(): string | undefined {
  return ['docker', 'podman'].find(
    (program) => spawnSync(program, ['info'], { stdio: 'ignore', timeout: 30_000 }).status === 0,
  );
}

/** `node .ci/image.ts pg-17 [FLAGS]`: makes dist/ and then `dbstash:pg-17`. Flags go to the builder as they are. */
function main([name = '', ...more]: readonly string[]): number {
  const image = findImage(name);
  const builder = findBuilder();
  if (image === undefined) {
    const names = images.flatMap(({ tag, engine, latest }) => (latest ? [tag, `${engine}-latest`] : [tag]));
    process.stderr.write(`image: there is no ${name || 'name'}; right is one of ${names.join(', ')}\n`);
    return 2;
  }
  if (builder === undefined) {
    process.stderr.write('image: neither docker nor podman answers: is one installed, and its service running?\n');
    return 2;
  }
  execFileSync(process.execPath, [join(import.meta.dirname, 'build.ts')], { stdio: 'inherit' });
  const args = buildArgs(builder, { image, name: `dbstash:${name}`, context: root, more });
  return spawnSync(builder, args, { stdio: 'inherit' }).status ?? 1;
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
