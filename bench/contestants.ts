import { join } from 'node:path';
import type { PostgresServer } from '../test/support/postgres.ts';

/** One way to get a dump to a remote, as a script for sh. */
export interface Contestant {
  readonly name: string;
  readonly script: string;
  /** Besides what all get. */
  readonly env?: Readonly<Record<string, string>>;
}

export const DBSTASH = 'dbstash backup';
export const PLAIN_PIPE = 'pg_dump \\| rclone rcat';
export const BARE_DUMP = 'pg_dump >/dev/null';

const bundle = join(import.meta.dirname, '../dist/dbstash.js');
/** To be followed by a command. */
export const PROGRAM = `'${process.execPath}' '${bundle}'`;
export const BACKUP = `${PROGRAM} backup`;

/** `$REMOTE` is where the artifact goes; pg_dump and rclone are told everything else by variables. */
export const contestants: readonly Contestant[] = [
  { name: PLAIN_PIPE, script: 'pg_dump | rclone rcat "$REMOTE/pipe.sql"' },
  { name: DBSTASH, script: BACKUP },
  {
    name: `${PLAIN_PIPE} --ignore-checksum`,
    script: 'pg_dump | rclone rcat --ignore-checksum "$REMOTE/pipe.sql"',
  },
  {
    name: 'pg_dump to a file, rclone copy',
    script: 'pg_dump >"$TMPDIR/file.sql" && rclone copy "$TMPDIR/file.sql" "$REMOTE" && rm "$TMPDIR/file.sql"',
  },
  { name: BARE_DUMP, script: 'pg_dump >/dev/null' },
];

export const ZSTD_PIPE = 'pg_dump \\| zstd \\| rclone rcat';
export const TAR_COPY = 'pg_dump to a folder, tar \\| rclone rcat';

/** With a filter, and by way of a folder. */
export const zstdContestants: readonly Contestant[] = [
  { name: ZSTD_PIPE, script: 'pg_dump | zstd -3 --quiet | rclone rcat "$REMOTE/pipe.sql.zst"' },
  { name: 'dbstash backup, BACKUP_COMPRESS=zstd', script: BACKUP, env: { BACKUP_COMPRESS: 'zstd' } },
];

export const tarContestants: readonly Contestant[] = [
  {
    name: TAR_COPY,
    script:
      'pg_dump --format=directory --compress=0 --file="$TMPDIR/d" && tar --create --file=- --directory="$TMPDIR/d" . | rclone rcat --ignore-checksum "$REMOTE/pipe.tar"',
  },
  { name: 'dbstash backup, BACKUP_MODE=tar', script: BACKUP, env: { BACKUP_MODE: 'tar' } },
];

export interface Place {
  readonly remote: string;
  readonly env: Readonly<Record<string, string>>;
}

/** What every contestant finds in its environment. */
export function environmentOf(
  server: PostgresServer,
  database: string,
  { remote, env }: Place,
  temporary: string,
): Record<string, string> {
  return {
    ...env,
    HOME: temporary,
    REMOTE: remote,
    PGHOST: server.host,
    PGPORT: String(server.port),
    PGUSER: server.user,
    PGPASSWORD: server.password,
    PGDATABASE: database,
    DB_URI: server.uri(database),
    RCLONE_REMOTE: remote,
    BACKUP_TEMP_DIR: temporary,
  };
}
