import type { Config } from '../config/config.ts';
import { type Command, SCRATCH } from '../core/command.ts';
import { ConfigError } from '../core/errors.ts';
import type { Manifest } from '../core/manifest.ts';
import { findProgram } from '../process/path.ts';

type FilterName = 'gzip' | 'zstd';

/** A program between dump and remote. */
interface Filter {
  readonly extension: string;
  readonly defaultLevel: number;
  /** Of several that write the same, the first that is on PATH is taken. */
  readonly programs: readonly [string, ...string[]];
  readonly args: (level: number) => readonly string[];
}

const FILTERS: Readonly<Record<FilterName, Filter>> = {
  gzip: {
    extension: '.gz',
    defaultLevel: 6,
    // The same format, made on all cores.
    programs: ['pigz', 'gzip'],
    args: (level) => ['--stdout', `-${level}`],
  },
  zstd: {
    extension: '.zst',
    defaultLevel: 3,
    programs: ['zstd'],
    args: (level) => ['--stdout', '--quiet', `-${level}`, ...(level > 19 ? ['--ultra'] : [])],
  },
};

/** What stands between the dump and the remote. */
export interface Encoding {
  /** In the order in which the bytes go through them. */
  readonly commands: readonly Command[];
  /** With the dots: ".zst.age". */
  readonly extension: string;
  /** As the manifest names them. */
  readonly compression: string | null;
  readonly encryption: string | null;
}

/** `path` is the PATH on which programs are looked for. */
export function planEncoding({ compress, encryptTo }: Pick<Config, 'compress' | 'encryptTo'>, path?: string): Encoding {
  const filter = compress.kind === 'filter' ? FILTERS[compress.filter] : undefined;
  const level = (compress.kind === 'filter' ? compress.level : undefined) ?? filter?.defaultLevel ?? 0;
  const isEncrypted = encryptTo.length > 0;
  return {
    commands: [
      ...(filter
        ? [{ file: findProgram(filter.programs, path) ?? filter.programs.at(-1)!, args: filter.args(level) }]
        : []),
      ...(isEncrypted ? [encrypt(encryptTo)] : []),
    ],
    extension: `${filter?.extension ?? ''}${isEncrypted ? '.age' : ''}`,
    compression: compress.kind === 'filter' ? compress.filter : null,
    encryption: isEncrypted ? 'age' : null,
  };
}

/** One argument each: of a file of recipients age would leave out, with a warning, those that it does not know. */
const encrypt = (recipients: readonly string[]): Command => ({
  file: 'age',
  args: ['--encrypt', ...recipients.flatMap((recipient) => ['--recipient', recipient])],
});

/** What undoes the compression of a whole artifact, and what its files begin with and are called. */
interface Decoder {
  readonly command: Command;
  readonly extension: string;
  readonly magic: Buffer;
}

const decoder = (file: string, extension: string, magic: string, more: readonly string[] = ['--quiet']): Decoder => ({
  command: { file, args: ['--decompress', '--stdout', ...more] },
  extension,
  magic: Buffer.from(magic, 'hex'),
});

/** By its name in the manifest; lz4 is some dump tools' own, xz and bzip2 are of adopted ones. */
const DECODERS: ReadonlyMap<string, Decoder> = new Map([
  ['gzip', decoder('gzip', '.gz', '1f8b', [])],
  ['zstd', decoder('zstd', '.zst', '28b52ffd', ['--quiet', '--long=31'])],
  ['lz4', decoder('lz4', '.lz4', '04224d18')],
  ['xz', decoder('xz', '.xz', 'fd377a585a00')],
  ['bzip2', decoder('bzip2', '.bz2', '425a68')],
]);

/** How what compressed something is called in a manifest; null where these first bytes are of none that can be undone. */
export const findCompression = (head: Buffer): string | null =>
  [...DECODERS].find(([, { magic }]) => startsWith(head, magic))?.[0] ?? null;

const AGE_MAGIC = Buffer.from('age-encryption.org/');

/** As above, of encryption. */
export const findEncryption = (head: Buffer): string | null => (startsWith(head, AGE_MAGIC) ? 'age' : null);

const startsWith = (head: Buffer, magic: Buffer): boolean => head.subarray(0, magic.length).equals(magic);

type Encoded = Pick<Manifest, 'compression' | 'encryption'>;

/**
 * The programs that make the dump out of the artifact, in order. `identity` are the texts of the files that age may decrypt
 * with. Throws `ConfigError`, which goes on from the artifact's name, for what is not known or cannot be decrypted.
 */
export function planDecoding({ compression, encryption }: Encoded, identity: readonly string[]): readonly Command[] {
  const decompress = compression === null ? undefined : DECODERS.get(compression)?.command;
  const unknown = [
    ...(compression !== null && !decompress ? [`compressed with ${JSON.stringify(compression)}`] : []),
    ...(encryption !== null && encryption !== 'age' ? [`encrypted with ${JSON.stringify(encryption)}`] : []),
  ];
  if (unknown.length > 0) throw new ConfigError(`is ${unknown.join(' and ')}, which this version cannot restore`);
  return [...(encryption === null ? [] : [planDecryption(identity)]), ...(decompress ? [decompress] : [])];
}

/** Throws `ConfigError`, as above. */
export function planDecryption(identity: readonly string[]): Command {
  if (identity.length === 0)
    throw new ConfigError(
      'is encrypted with age, and DECRYPT_IDENTITY is not set: it takes the identity (secret key) of one of the recipients, or DECRYPT_IDENTITY_FILE the path of its file',
    );
  const names = identity.map((_, index) => `identity-${index + 1}`);
  return {
    file: 'age',
    args: ['--decrypt', ...names.flatMap((name) => ['--identity', `${SCRATCH}/${name}`])],
    files: Object.fromEntries(names.map((name, index) => [name, identity[index]!])),
  };
}

/** What an artifact is called without what `planDecoding` undoes. */
export function decodedName(name: string, { compression, encryption }: Encoded): string {
  const clear = encryption === null ? name : name.replace(/\.age$/, '');
  const extension = DECODERS.get(compression ?? '')?.extension;
  return extension !== undefined && clear.endsWith(extension) ? clear.slice(0, -extension.length) : clear;
}
