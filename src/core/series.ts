import { posix } from 'node:path';
import type { Connection, Host } from './connection.ts';
import { encodeSegment } from './segment.ts';

/**
 * The name of the series that backups of this connection belong to: `pg://host:5432/orders`, `sqlite:///abs/path`,
 * `mongo://host:27017/` of a whole server.
 * `localhost` is another database behind each SSH server `via`: `pg+ssh://bastion:22/localhost:5432/orders`.
 * Says where the database is and never how to log in. Hosts keep their order, so that what the user wrote is what is read.
 */
export function defaultSeries(connection: Connection, via?: Host): string {
  const { engine, hosts, database } = connection;
  if (engine === 'sqlite') return `sqlite://${encodePath(posix.normalize(database))}`;
  const way = via ? `+ssh://${formatHost(via)}/` : '://';
  return `${engine}${way}${hosts.map(formatHost).join(',')}/${database === '' ? '' : encodeSegment(database)}`;
}

const encodePath = (path: string): string => path.split('/').map(encodeStep).join('/');

const encodeStep = (step: string): string => (step === '' ? '' : encodeSegment(step));

function formatHost({ host, port }: Host): string {
  return `${host.includes(':') ? formatIpv6(host) : formatName(host)}:${port}`;
}

/** With its zone, if it has one: `[fe80::1%25eth0]`. */
const formatIpv6 = (address: string): string => `[${address.toLowerCase().replaceAll('%', '%25')}]`;

/** A path to a socket keeps its case, a host name has none. */
const formatName = (host: string): string => encodeSegment(host.startsWith('/') ? host : host.toLowerCase());
