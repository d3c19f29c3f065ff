/** Measures `dbstash backup` against what one would type at a shell, in turns, and prints Markdown. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { type PostgresServer, startPostgres } from '../test/support/postgres.ts';
import { scratchFolder } from '../test/support/scratch.ts';
import { compareCatalogs } from './catalog.ts';
import {
  BARE_DUMP,
  type Contestant,
  contestants,
  DBSTASH,
  environmentOf,
  PLAIN_PIPE,
  type Place,
  TAR_COPY,
  tarContestants,
  ZSTD_PIPE,
  zstdContestants,
} from './contestants.ts';
import { createDatabase } from './database.ts';
import { eachEngine } from './engines.ts';
import { type Measurement, measure } from './measure.ts';
import { type Options, type Part, parseOptions, toolFolders, USAGE } from './options.ts';
import { compareRelay } from './relay.ts';
import { startS3Process } from './s3.ts';
import { formatRounds, formatTable, median, type Rounds } from './table.ts';

/** Where everything of one call of this program lies. */
interface Bench {
  readonly options: Options;
  readonly folder: string;
  readonly path: string;
  readonly postgres: PostgresServer;
}

const EMPTY_ROUNDS = 7;
const print = (text: string) => void process.stdout.write(`${text}\n`);
const say = (text: string) => void process.stderr.write(`bench: ${text}\n`);

function readOptions(): Options {
  try {
    return parseOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n${USAGE}\n`);
    process.exit(2);
  }
}

/** A folder with the rclone that was chosen, first on PATH. */
function choosePath(folder: string, rclone: string): string {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  symlinkSync(rclone, join(bin, 'rclone'));
  return [bin, ...toolFolders()].join(':');
}

/** Each contestant once a round, so that what else the machine does falls on all of them. */
async function compete(
  bench: Bench,
  names: readonly Contestant[],
  database: string,
  rounds: number,
  place: Place,
): Promise<Rounds> {
  const results = new Map<string, Measurement[]>(names.map(({ name }) => [name, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const [index, { name, script, env: own }] of names.entries()) {
      const temporary = join(bench.folder, 'tmp');
      mkdirSync(temporary);
      // A folder for each: what one left must not lengthen the listing of the next.
      const remote = `${place.remote}/${round}-${index}`;
      if (remote.startsWith('/')) mkdirSync(remote, { recursive: true });
      const env = environmentOf(bench.postgres, database, { remote, env: place.env }, temporary);
      const result = await measure({ script, env: { ...env, PATH: bench.path, ...own }, temporary });
      results.get(name)?.push(result);
      say(`round ${round}, ${name}: ${result.wallSeconds.toFixed(2)} s`);
      rmSync(temporary, { recursive: true });
      if (remote.startsWith('/')) rmSync(remote, { recursive: true });
      execFileSync('sync');
    }
  }
  return results;
}

async function compareLarge(bench: Bench, title: string, place: Place): Promise<void> {
  const { rounds } = bench.options;
  const results = await compete(bench, contestants, 'large', rounds, place);
  print(`### ${title}\n\n${formatRounds(results, PLAIN_PIPE)}`);
}

async function compareWith(
  bench: Bench,
  title: string,
  names: readonly Contestant[],
  base: string,
  place: Place,
): Promise<void> {
  const results = await compete(bench, names, 'large', bench.options.rounds, place);
  print(`### ${title}\n\n${formatRounds(results, base)}`);
}

/** How much longer a backup of next to nothing takes than the dump tool alone. */
async function compareEmpty(bench: Bench, places: Readonly<Record<string, Place>>): Promise<void> {
  await createDatabase(bench.postgres, 'empty', 1);
  const names = contestants.filter(({ name }) => name === DBSTASH || name === BARE_DUMP);
  const rows = [];
  for (const [title, place] of Object.entries(places)) {
    const results = await compete(bench, names, 'empty', EMPTY_ROUNDS, place);
    const [backup, dump] = [DBSTASH, BARE_DUMP].map((name) =>
      median((results.get(name) ?? []).map((m) => m.wallSeconds)),
    );
    rows.push([title, `${dump!.toFixed(2)} s`, `${backup!.toFixed(2)} s`, `${(backup! - dump!).toFixed(2)} s`]);
  }
  print(`### An almost empty database\n\n${formatTable(['', BARE_DUMP, DBSTASH, 'more'], rows)}`);
}

/** Makes the large database and reads it once, so that nobody has to wait for the disk. Returns the bytes of its dump. */
async function prepareLarge({ postgres, options, folder, path }: Bench): Promise<number> {
  say('filling the database');
  await createDatabase(postgres, 'large', options.bytes);
  const env = { ...environmentOf(postgres, 'large', { remote: '', env: {} }, folder), PATH: path };
  const count = execFileSync('sh', ['-c', 'pg_dump | wc -c'], { env, encoding: 'utf8' });
  return Number(count);
}

function describeMachine({ path, postgres }: Bench): string {
  const env = { PATH: path };
  const version = (file: string, ...args: string[]) =>
    execFileSync(file, args, { env, encoding: 'utf8' }).split('\n')[0];
  const cores = cpus();
  return [
    `${cores.length} cores (${cores[0]?.model}), load ${loadavg()[0]?.toFixed(1)} before`,
    `node ${process.versions.node}, ${version('rclone', 'version', '--config=/notfound')}, ${version('pg_dump', '--version')}, server ${postgres.major}`,
  ].join('; ');
}

async function run(options: Options): Promise<void> {
  await using scratch = scratchFolder();
  await using postgres = await startPostgres({ settings: { autovacuum: 'off' } });
  await using s3 = await startS3Process();
  const bench: Bench = { options, folder: scratch.path, path: choosePath(scratch.path, options.rclone), postgres };
  const local: Place = { remote: join(scratch.path, 'remote'), env: {} };
  const has = (part: Part) => options.parts.includes(part);
  print(`${describeMachine(bench)}\n`);
  if (has('local') || has('s3') || has('zstd') || has('tar')) {
    const size = `${((await prepareLarge(bench)) / 1e9).toFixed(2)} GB of plain dump`;
    if (has('local')) await compareLarge(bench, `${size} to local disk`, local);
    if (has('s3')) await compareLarge(bench, `${size} to S3`, s3);
    if (has('zstd')) await compareWith(bench, `${size}, compressed, to local disk`, zstdContestants, ZSTD_PIPE, local);
    if (has('tar')) await compareWith(bench, `${size}, as a tar, to local disk`, tarContestants, TAR_COPY, local);
  }
  if (has('engines')) {
    for await (const { title, names, base } of eachEngine(say)) await compareWith(bench, title, names, base, local);
  }
  if (has('empty')) await compareEmpty(bench, { 'local disk': local, S3: s3 });
  if (has('catalog')) {
    const { backups, rounds } = options;
    const catalogs = compareCatalogs({ backups, rounds, path: bench.path, folder: bench.folder, say });
    for await (const { title, table } of catalogs) print(`### ${title}\n\n${table}`);
  }
  if (has('relay')) print(`### The relay alone\n\n${await compareRelay(options.bytes, options.rounds)}`);
}

await run(readOptions());
