import type { Command, Question } from '../core/command.ts';
import type { Connection, EngineName } from '../core/connection.ts';

/**
 * What dbstash knows about a kind of database. An engine describes commands as data and reads their answers; it never
 * spawns, never touches a file, and imports nothing but `core/`.
 */
export interface Engine {
  readonly name: EngineName;
  /** For people: "PostgreSQL". */
  readonly title: string;
  readonly defaultPort: number | undefined;
  readonly defaultUser: string | undefined;
  readonly uriSchemes: readonly string[];
  /** `TOOL --version` of the dump tool: "pg_dump 17.6". */
  readonly tool: Question<string>;
  /** What the tool's build can do that its version does not tell ("zstd"). Asked where `compress` is on. */
  readonly abilities?: Question<readonly string[]>;
  /** Asks the server; run before anything is uploaded. */
  inspect(connection: Connection): Question<Server>;
  /** Throws `ConfigError` for what cannot work (an old client, options that contradict each other). */
  planDump(request: DumpRequest): DumpPlan;
  /** Asks where a restore would go to. */
  inspectTarget(connection: Connection, facts: TargetFacts): Question<Target>;
  /** Throws `ConfigError` for a restore that cannot work, or that would end elsewhere than where it was sent. */
  planRestore(request: RestoreRequest): RestorePlan;
}

export interface Server {
  /** "PostgreSQL 17.6". */
  readonly title: string;
  /** Tells two servers of one name apart; null where there is no such thing. */
  readonly serverId: string | null;
  /** Of the database on disk: a rough estimate of the dump. */
  readonly bytes: number;
  /** Goes into the manifest as `target`. */
  readonly target: TargetFacts;
  /** Major version for pg; undefined where it does not matter. */
  readonly major: number | undefined;
  /** True where a dump straight from the database would lock its writers out: dump from a quick copy instead. */
  readonly needsCopy: boolean;
  /** What the login may not read, which a dump will stop at, and the statement that would help; for `check`. */
  readonly unreadable?: { readonly names: readonly string[]; readonly remedy: string };
  readonly warnings: readonly string[];
}

export type TargetFacts = Readonly<Record<string, unknown>>;

export interface DumpRequest {
  readonly connection: Connection;
  readonly server: Server;
  /** What the `tool` question answered. */
  readonly tool: string;
  /** What the `abilities` question answered; none where it was not asked. */
  readonly abilities?: readonly string[];
  /** `BACKUP_COMPRESS=true`. */
  readonly compress: boolean;
  /** The user's further flags, split; they come last and win. */
  readonly extraArgs: readonly string[];
}

export interface DumpPlan {
  /** Run one after the other before the dump; each must exit 0. */
  readonly prepare: readonly Command[];
  /** Its standard output is the dump. */
  readonly dump: Command;
  /** For the manifest: "plain", "custom" ... */
  readonly format: string;
  /** Compression inside the format, done by the tool itself; for the manifest. Null if none. */
  readonly compression: string | null;
  /** Compression that the tool put around the whole dump ("gzip"), for a restore to undo; null where there is none. */
  readonly container: string | null;
  /** With the dot: ".sql". */
  readonly extension: string;
  readonly marks: Marks;
  /** What a restore must know of this dump; goes into the manifest's `target`, over the server's facts. */
  readonly facts?: TargetFacts;
  readonly warnings: readonly string[];
}

/**
 * How to know that a dump is whole. Both are tested on the decompressed bytes, as latin1 text: `begins` on the first
 * 64 KiB at most, `ends` on the last 64 KiB at most. An absent mark means that only exit code and container tell.
 */
export interface Marks {
  readonly begins?: RegExp;
  readonly ends?: RegExp;
  /** What is looked for, for people: "-- PostgreSQL database dump complete". */
  readonly title?: string;
}

/** Where a restore would go to. */
export interface Target {
  readonly exists: boolean;
  /** What it holds, for people ("12 tables, 3 functions"); empty if nothing. */
  readonly holds: string;
  /** Roles that the dump names and the server lacks. */
  readonly missingRoles: readonly string[];
  readonly title: string;
  readonly major: number | undefined;
  /** What `inspectTarget` tells `planRestore`, and nobody else. */
  readonly notes?: TargetFacts;
}

export interface RestoreRequest {
  readonly connection: Connection;
  readonly target: Target;
  readonly facts: TargetFacts;
  /** From the manifest. */
  readonly format: string;
  /** Empty the target first. */
  readonly replace: boolean;
  readonly createRoles: boolean;
  /** A temporary file that becomes the target by a rename at the end (sqlite); unique for this restore. */
  readonly id: string;
}

export interface RestorePlan {
  /** Run one after the other before the first byte is read; each must exit 0. What they write on standard error is a warning. */
  readonly prepare: readonly Command[];
  /** Programs that turn the artifact into what `load` reads: pg_restore for pg's custom format. */
  readonly filters: readonly Command[];
  /** Reads the dump on standard input and loads it; exit 0 means that all of it is in the target. */
  readonly load: Command;
  /** Written to `load` behind the dump once that proved whole; an input that ends without it changes nothing. */
  readonly commit?: string;
  /** True where a failed restore leaves the target as it was. */
  readonly isAtomic: boolean;
  /** Run after the load; each must exit 0. What they write on standard error is a warning. */
  readonly finish: readonly Command[];
  /** A file that the load made, to be put in the place of the target, which may be there and in use. */
  readonly swap?: FileSwap;
}

export interface FileSwap {
  readonly from: string;
  readonly to: string;
  /** Files beside `to` that would spoil the new one, removed under the lock. */
  readonly remove: readonly string[];
  /** Takes an exclusive lock on an existing `to`, prints a line that begins with `locked`, and holds it until its input ends. */
  readonly lock: Command;
}
