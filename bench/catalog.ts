import { mkdirSync, rmSync } from 'node:fs';
import { INDEX_PATH } from '../src/remote/recordIndex.ts';
import { type RemoteKind, startRemote, type TestRemote } from '../test/support/remotes.ts';
import { hoursAgo, seedBackup } from '../test/support/seeds.ts';
import { findTool } from '../test/support/tools.ts';
import { type Contestant, PROGRAM } from './contestants.ts';
import { type Measurement, measure } from './measure.ts';
import { formatRounds } from './table.ts';

const BY_HAND = 'rclone lsf -R, rclone copy of the manifests';

/** Keeps all that there is. */
const KEEP = { RETENTION_KEEP_LAST: '1000000' };
const WITHOUT_INDEX = `rclone deletefile -q "$RCLONE_REMOTE/${INDEX_PATH}" 2>/dev/null`;

/** What finds the same every round. */
const names: readonly (Contestant & { readonly only?: RemoteKind })[] = [
  {
    name: BY_HAND,
    script: `rclone lsf -R "$RCLONE_REMOTE" >/dev/null
rclone copy --include '*.manifest.json' "$RCLONE_REMOTE" "$TMPDIR/manifests"`,
  },
  { name: 'dbstash list, without an index', script: `${WITHOUT_INDEX}; ${PROGRAM} list`, only: 'versitygw' },
  {
    name: 'dbstash prune, which writes the index',
    script: `${WITHOUT_INDEX}; ${PROGRAM} prune`,
    env: KEEP,
    only: 'versitygw',
  },
  { name: 'dbstash list', script: `${PROGRAM} list` },
  { name: 'dbstash list --json', script: `${PROGRAM} list --json` },
  { name: 'dbstash prune --dry-run', script: `${PROGRAM} prune --dry-run`, env: { RETENTION_KEEP_DAILY: '30' } },
];

interface CatalogBench {
  readonly backups: number;
  readonly rounds: number;
  readonly path: string;
  readonly folder: string;
  readonly say: (text: string) => void;
}

/** One series of so many backups on one remote, an hour between each two. Yields tables. */
export async function* compareCatalogs(bench: CatalogBench): AsyncGenerator<{ title: string; table: string }> {
  const kinds: readonly (readonly [RemoteKind, string])[] = [
    ['local', 'local disk'],
    ['versitygw', 'S3 (versitygw)'],
  ];
  for (const [kind, where] of kinds) {
    if (kind === 'versitygw' && !findTool('versitygw')) {
      bench.say('left out, since versitygw is missing');
      continue;
    }
    await using remote = await startRemote(kind);
    bench.say(`writing ${bench.backups} backups to ${where}`);
    for (let hour = 0; hour < bench.backups; hour++)
      await seedBackup(remote, {
        artifact: `app-${hour}.sql`,
        startedAt: hoursAgo(hour + 1),
        storedAt: hoursAgo(hour + 1),
        serverId: 'one',
      });
    const own = names.filter(({ only }) => only === undefined || only === kind);
    const title = `A catalog of ${bench.backups} backups on ${where}`;
    yield { title, table: await compete(bench, remote, own, BY_HAND) };
    // Once: it leaves nothing for another.
    const removal = { name: 'dbstash prune', script: `${PROGRAM} prune`, env: { RETENTION_KEEP_DAILY: '30' } };
    const table = await compete({ ...bench, rounds: 1 }, remote, [removal], removal.name);
    yield { title: `${title}, of which all but 30 are removed`, table };
  }
}

async function compete(
  { rounds, path, folder, say }: CatalogBench,
  remote: TestRemote,
  contestants: readonly Contestant[],
  base: string,
): Promise<string> {
  const results = new Map<string, Measurement[]>(contestants.map(({ name }) => [name, []]));
  const temporary = `${folder}/tmp-catalog`;
  for (let round = 1; round <= rounds; round++) {
    for (const { name, script, env: own } of contestants) {
      mkdirSync(temporary);
      const env = { DB_URI: 'sqlite:///data/app.db', BACKUP_SERIES: 'app', RCLONE_REMOTE: remote.remote };
      const folders = { HOME: temporary, BACKUP_TEMP_DIR: temporary, PATH: path };
      const result = await measure({ script, env: { ...remote.env, ...env, ...folders, ...own }, temporary });
      results.get(name)?.push(result);
      say(`round ${round}, ${name}: ${result.wallSeconds.toFixed(2)} s`);
      rmSync(temporary, { recursive: true });
    }
  }
  return formatRounds(results, base);
}
