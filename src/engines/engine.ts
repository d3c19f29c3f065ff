import { type AnyQuestion, type Command, type DriverQuestion, type Question, SCRATCH } from '../core/command.ts';
import type { Connection, EngineName, Host } from '../core/connection.ts';
import type { Mode } from '../core/mode.ts';
import type { Tables } from '../core/tables.ts';

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
  /** The one of them that means TLS. */
  readonly tlsScheme?: string;
  /** True where a dump is of the whole server: the database in a connection is a label, or a number that changes nothing. */
  readonly isWhole?: true;
  /** Those that its tools can do. */
  readonly modes: readonly Mode[];
  /** `TOOL --version` of the dump tool: "pg_dump 17.6". */
  readonly tool: Question<string>;
  /** What the tool's build can do that its version does not tell ("zstd"). Asked where `compress` is on. */
  readonly abilities?: Question<readonly string[]>;
  /** Asks the server; run before anything is uploaded. */
  inspect(connection: Connection): AnyQuestion<Server>;
  /** Asks for the names of the server's databases but for its own. Absent where a server has but one, or is dumped whole. */
  readonly discover?: (connection: Connection) => AnyQuestion<readonly string[]>;
  /** Where no database is named all of them are dumped as one. */
  readonly dumpsServer?: true;
  /** To connect to where none is named, as for `discover`. */
  readonly maintenanceDatabase?: string;
  /** A dump of what belongs to the server and to none of its databases, made beside those of several. */
  readonly planGlobals?: (request: DumpRequest) => DumpPlan;
  /** Throws `ConfigError` for what cannot work (an old client, options that contradict each other). */
  planDump(request: DumpRequest): DumpPlan;
  /**
   * How to list what tables a dump holds, for a restore of some. Throws `ConfigError`, with the way on, where none can be
   * taken out of it.
   */
  planContents(request: ContentsRequest): Question<Contents>;
  /** Asks where a restore would go to; of one of some tables about those. */
  inspectTarget(connection: Connection, facts: TargetFacts, pick?: TablePick): AnyQuestion<Target>;
  /** Throws `ConfigError` for a restore that cannot work, or that would end elsewhere than where it was sent. */
  planRestore(request: RestoreRequest): RestorePlan;
  /** How to look whether a dump that came back can be read, without a server. */
  planCheck(request: CheckRequest): CheckPlan;
  /** Absent where a restore is by way of a private server anyway. */
  readonly drill?: Drill;
  /** What a dump is that another tool's run left, by its first bytes (1 MiB at most, as latin1); undefined where it is none of this engine. */
  recognise(head: string): Recognised | undefined;
}

/** A dump that was not made by us. */
export interface Recognised extends CheckRequest {
  /** How one knows that it is whole, where `planCheck` does not. */
  readonly marks: Marks;
  /** "pg_dump 15.4", and of which server, as far as it says. */
  readonly tool: string | undefined;
  readonly server: string | undefined;
  /** What it is of; undefined where it does not say. */
  readonly databases: readonly string[] | undefined;
  /** Why a restore could not, or must not, take it. */
  readonly refusal?: string;
  /** The same where only all of it tells: what this finds is a refusal. */
  readonly examine?: () => Examination;
}

/** What a drill does besides a restore, with the database that was made for it. */
export interface Drill {
  count(connection: Connection, facts: TargetFacts): AnyQuestion<Counts>;
  /** Removes it, and what `planRestore` made beside it; nothing is to be done where it is a file in the scratch folder. */
  drop?(connection: Connection, facts: TargetFacts): AnyQuestion<void>;
}

/** Exact. `tables` are collections, `rows` documents, where they are so called. */
export interface Counts {
  readonly tables: number;
  readonly rows: number;
}

/** All from the manifest. */
export interface CheckRequest {
  readonly mode: Mode;
  readonly format: string;
  readonly facts: TargetFacts;
}

export interface ContentsRequest extends CheckRequest {
  /** What the backup is called, and the tables that are asked for: for the way on. */
  readonly path: string;
  readonly wanted: readonly string[];
  readonly connection: Connection;
}

/** What a dump holds. The command that finds out gets the dump's beginning as its input, or has it as a folder at `DUMP`. */
export interface Contents {
  readonly tables: readonly TableName[];
  /** What `planContents` tells the planning of the restore, and nobody else. */
  readonly notes?: TargetFacts;
}

/** `scope` is the schema or database; undefined where there is none. */
export interface TableName {
  readonly scope: string | undefined;
  readonly name: string;
}

/** Tables, or collections, to be restored out of a backup; the notes are those of its contents. */
export type TablePick = Contents;

export interface CheckPlan {
  readonly marks?: Marks;
  readonly examine?: () => Examination;
  /**
   * The first reads the dump on standard input, or as a folder at `DUMP`; the others follow it. Each exits 0 where the dump
   * is sound. None where marks, examination and hash are all that can be looked at.
   */
  readonly commands: readonly Command[];
  /** Bytes that `commands` write into the scratch folder are about those of the dump. */
  readonly needsRoom?: true;
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
  readonly unreadable?: {
    readonly names: readonly string[];
    readonly remedy: string;
    /** The dump goes on without them, and its warnings say so. */
    readonly isLeftOut?: true;
  };
  readonly warnings: readonly string[];
  /** What is there to be dumped, by name: who asks the next time can tell what is gone. Without what comes and goes by itself. */
  readonly tables?: Tables;
  /** What `inspect` tells the planning of a dump, and nobody else. */
  readonly notes?: TargetFacts;
}

export type TargetFacts = Readonly<Record<string, unknown>>;

export interface DumpRequest {
  readonly connection: Connection;
  readonly server: Server;
  /** What the `tool` question answered. */
  readonly tool: string;
  /** What the `abilities` question answered; none where it was not asked. */
  readonly abilities?: readonly string[];
  readonly mode: Mode;
  /** Parallel workers, where the tool has them. */
  readonly jobs: number;
  /** `BACKUP_COMPRESS=true`. */
  readonly compress: boolean;
  /** The user's further flags, split; they come last and win. */
  readonly extraArgs: readonly string[];
}

/** Where a dump that is no stream lies: a file, or a folder; also that of a restore. */
export const DUMP = `${SCRATCH}/dump`;

export interface DumpPlan {
  /** Run one after the other before the dump; each must exit 0. */
  readonly prepare: readonly Command[];
  /** Its standard output is the dump; or, in the modes that are no stream, it writes a file or a folder at `DUMP`. */
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
  /** Where the marks do not tell, or not all that the tool writes is the dump. Not for folders. */
  readonly examine?: () => Examination;
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

/** A look at the whole dump, as the tool writes it. Pure computing, fast enough for a stream. */
export interface Examination {
  add(chunk: Buffer): void;
  /** After the last byte. `excessBytes` at the end of what the tool wrote are not the dump's: 64 KiB at most. */
  end(): { readonly problem?: string; readonly excessBytes?: number };
}

/** Where a restore would go to. */
export interface Target {
  readonly exists: boolean;
  /** What it holds, for people ("12 tables, 3 functions"); empty if nothing. */
  readonly holds: string;
  /** A restore changes what it holds, and removes nothing of it. */
  readonly isAmended?: true;
  /** Roles that the dump names and the server lacks. */
  readonly missingRoles: readonly string[];
  /** Why tables that are picked cannot come into it: a sentence each. */
  readonly obstacles?: readonly string[];
  /** What depends on those that it holds, so that they cannot be replaced. */
  readonly keeps?: string;
  readonly title: string;
  readonly major: number | undefined;
  /** What `inspectTarget` tells `planRestore`, and nobody else. */
  readonly notes?: TargetFacts;
}

export interface RestoreRequest {
  readonly connection: Connection;
  readonly target: Target;
  readonly facts: TargetFacts;
  /** From the manifest. In the modes `directory` and `tar` the dump is a folder at `DUMP`. */
  readonly mode: Mode;
  /** From the manifest. */
  readonly format: string;
  /** Empty the target first. */
  readonly replace: boolean;
  readonly createRoles: boolean;
  /** What would act by itself, as events do, is to stay asleep. */
  readonly isDrill?: true;
  /** Only these tables; what stands under their names is all that `replace` removes. */
  readonly pick?: TablePick;
  /** A temporary file that becomes the target by a rename at the end (sqlite); unique for this restore. */
  readonly id: string;
}

export interface RestorePlan {
  /** Empties the target, where that goes through a driver. Asked first. */
  readonly empty?: DriverQuestion<void>;
  /** The filters read a file at `DUMP`, where the dump has to be brought first. */
  readonly needsFile?: true;
  /** Run one after the other before the first byte is read; each must exit 0. What they write on standard error is a warning. */
  readonly prepare: readonly Command[];
  /** Programs that turn the artifact into what `load` reads: pg_restore for pg's custom format. The first reads a folder, where the dump is one. */
  readonly filters: readonly Command[];
  /** Reads the dump on standard input (a folder where it lies, if there are no filters) and loads it; exit 0 means that all of it is in the target. */
  readonly load: Command;
  /** Written to `load` behind the dump once that proved whole; an input that ends without it changes nothing. */
  readonly commit?: string;
  /** True where a failed restore leaves the target as it was. */
  readonly isAtomic: boolean;
  /** Run where the load failed: takes back what `prepare` made anew, and nothing that was there before. */
  readonly undo?: readonly Command[];
  /** Run after the load; each must exit 0. What they write on standard error is a warning. */
  readonly finish: readonly Command[];
  /** A file that the load made, to be put in the place of the target, which may be there and in use. */
  readonly swap?: FileSwap;
  /** What will not be as it was, told before the first byte. */
  readonly warnings?: readonly string[];
  /** `load` only made the file `DUMP`, and touched no target: from there the keys go into it. */
  readonly copy?: KeyCopy;
}

/** Keys that go from a private server, which was started on the dump, into the target. */
export interface KeyCopy {
  readonly server: Command;
  /** Where it listens, with `SCRATCH`. */
  readonly socket: string;
  readonly target: RedisEndpoint;
  /** What made the dump: "Valkey 8.1.4". */
  readonly origin: string;
  /** Empty the target first. */
  readonly replace: boolean;
}

/** How a client library logs in. */
export interface RedisEndpoint {
  readonly place: Host | { readonly path: string };
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** Undefined where there is none. */
  readonly tls: RedisTls | undefined;
}

export interface RedisTls {
  /** Whether the server's certificate is looked at. */
  readonly verify: boolean;
  /** As PEM. */
  readonly ca: string | undefined;
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  readonly serverName: string | undefined;
}

export interface FileSwap {
  readonly from: string;
  readonly to: string;
  /** Files beside `to` that would spoil the new one, removed under the lock. */
  readonly remove: readonly string[];
  /** Takes an exclusive lock on an existing `to`, prints a line that begins with `locked`, and holds it until its input ends. */
  readonly lock: Command;
}
