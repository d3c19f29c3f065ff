import { ConfigError } from '../core/errors.ts';
import type { Mode } from '../core/mode.ts';
import { findOption, type ParsedOptions, parseOptions } from '../core/options.ts';

/** Options of mongodump 100.x. Those with an optional value, which has to be attached (`--archive=x`), have no `=` here. */
const OPTIONS = [
  'help version config= v|verbose quiet h|host= port= ssl sslCAFile= sslPEMKeyFile= sslPEMKeyPassword= sslCRLFile=',
  'sslFIPSMode sslAllowInvalidCertificates sslAllowInvalidHostnames tlsInsecure u|username= p|password=',
  'authenticationDatabase= authenticationMechanism= awsSessionToken= gssapiServiceName= gssapiHostName= d|db=',
  'c|collection= uri= q|query= queryFile= readPreference= forceTableScan o|out= gzip oplog archive',
  'dumpDbUsersAndRoles excludeCollection= excludeCollectionsWithPrefix= j|numParallelCollections= viewsAsCollections',
  'compressors= dialTimeout= socketTimeout= serverSelectionTimeout= TCPKeepAliveSeconds= numThreads=',
].flatMap((line) => line.split(' '));

/** Options that would make the dump speak of another server, login or database than its name, series and manifest. */
const CONNECTION_OPTIONS = [
  'uri config host port db username password authenticationDatabase authenticationMechanism awsSessionToken',
  'gssapiServiceName gssapiHostName sslPEMKeyPassword',
].flatMap((line) => line.split(' '));

/** Reads arguments as mongodump does. Throws `ConfigError` for those that would dump something else. */
export function parseMongoDumpArgs(args: readonly string[]): ParsedOptions {
  const parsed = parseOptions(args, OPTIONS);
  const named = parsed.options.find(({ name }) => CONNECTION_OPTIONS.includes(name));
  if (named) {
    throw new ConfigError(
      `DUMP_EXTRA_ARGS must not say where the database is or how to log in (--${named.name}): DB_URI, with its parameters, or DB_* do`,
    );
  }
  if (parsed.operands.length > 0) {
    throw new ConfigError(
      'DUMP_EXTRA_ARGS holds a word that belongs to no option; mongodump would take it for a connection string',
    );
  }
  return parsed;
}

/** What in stream mode sends the dump elsewhere. */
export function warnAboutOptions(options: ParsedOptions, mode: Mode): readonly string[] {
  if (mode !== 'stream') return [];
  const archive = findOption(options, 'archive');
  const rules: readonly [boolean, string][] = [
    [findOption(options, 'out') !== undefined && archive === undefined, '--out'],
    [archive?.value !== undefined && archive.value !== '-', `--archive=${archive?.value}`],
  ];
  return rules
    .filter(([applies]) => applies)
    .map(
      ([, name]) =>
        `DUMP_EXTRA_ARGS: ${name} sends the dump elsewhere: in stream mode it must come on standard output, as --archive`,
    );
}
