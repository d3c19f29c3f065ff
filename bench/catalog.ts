import { mkdirSync, rmSync } from 'node:fs';
import { type RemoteKind, startRemote, type TestRemote } from '../test/support/remotes.ts';
import { hoursAgo, seedBackup } from '../test/support/seeds.ts';
import { findTool } from '../test/support/tools.ts';
import { type Contestant, PROGRAM } from './contestants.ts';
import { type Measurement, measure } from './measure.ts';
import { formatRounds } from './table.ts';

const BY_HAND = 'rclone lsf -R, rclone copy of the manifests';

/** What only looks: every round finds the same. */
const names: readonly Contestant[] = [
  {
    name: BY_HAND,
    script: `rclone lsf -R "$RCLONE_REMOTE" >/dev/null
rclone copy --include '*.manifest.json' "$RCLONE_REMOTE" "$TMPDIR/manifests"`,
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
      await seedBackup(remote, { artifact: `app-${hour}.sql`, startedAt: hoursAgo(hour + 1), serverId: 'one' });
    yield { title: `A catalog of ${bench.backups} backups on ${where}`, table: await compete(bench, remote) };
  }
}

async function compete({ rounds, path, folder, say }: CatalogBench, remote: TestRemote): Promise<string> {
  const results = new Map<string, Measurement[]>(names.map(({ name }) => [name, []]));
  const temporary = `${folder}/tmp-catalog`;
  for (let round = 1; round <= rounds; round++) {
    for (const { name, script, env: own } of names) {
      mkdirSync(temporary);
      const env = { DB_URI: 'sqlite:///data/app.db', BACKUP_SERIES: 'app', RCLONE_REMOTE: remote.remote };
      const folders = { HOME: temporary, BACKUP_TEMP_DIR: temporary, PATH: path };
      const result = await measure({ script, env: { ...remote.env, ...env, ...folders, ...own }, temporary });
      results.get(name)?.push(result);
      say(`round ${round}, ${name}: ${result.wallSeconds.toFixed(2)} s`);
      rmSync(temporary, { recursive: true });
    }
  }
  return formatRounds(results, BY_HAND);
}
