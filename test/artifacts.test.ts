import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { engines } from '../src/engines/index.ts';
import { runDbstash } from './support/dbstash.ts';
import { describeEngine, FIXTURES, type Fixture } from './support/fixtures.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';

/** What was made by each format of the manifest that there was (.ci/artifacts.ts): it must come back for ever. */
const folder = join(import.meta.dirname, 'artifacts');
const TIMEOUT = { timeout: 180_000 };

const made = readdirSync(folder).flatMap((format) =>
  readdirSync(join(folder, format), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => ({ format, name, engine: name.split('-')[0] ?? '' })),
);

for (const { name: engine, title } of Object.values(engines)) {
  const described = `${title} backed up by earlier releases`;
  describeEngine(engine, ['rclone', 'zstd', 'gzip', 'tar'], described, () => {
    let scratch: Scratch;
    let fixture: Fixture;
    beforeAll(async () => {
      scratch = scratchFolder();
      fixture = await FIXTURES[engine](scratch);
    }, 120_000);
    afterAll(async () => {
      await fixture?.[Symbol.asyncDispose]();
      await scratch?.[Symbol.asyncDispose]();
    });

    const cases = made.filter((one) => one.engine === engine);
    it('has artifacts of every format', () => {
      expect(new Set(cases.map(({ format }) => format))).toEqual(new Set(readdirSync(folder)));
    });

    it.each(cases)('comes back: format $format, $name', TIMEOUT, async ({ format, name }) => {
      const remote = join(scratch.path, name);
      cpSync(join(folder, format, name), remote, { recursive: true });
      const env = {
        ...fixture.env,
        RCLONE_REMOTE: remote,
        BACKUP_SERIES: 'source',
        BACKUP_TEMP_DIR: join(scratch.path, 'tmp'),
      };
      const verified = await runDbstash(['verify'], env);
      expect(verified, verified.stderr).toMatchObject({ exitCode: 0 });
      const target = `back_${name.replaceAll('-', '_')}`;
      const restored = await runDbstash(['restore', 'latest', ...fixture.target(target)], env, { timeoutMs: 120_000 });
      expect(restored, restored.stderr).toMatchObject({ exitCode: 0 });
      const before = JSON.parse(gunzipSync(readFileSync(join(folder, format, `${engine}.json.gz`))).toString());
      expect(JSON.parse(JSON.stringify(await fixture.content(target)))).toEqual(before);
    });
  });
}
