import type { Connection, EngineName, Host } from './connection.ts';

/** Where the other end of a tunnel has to connect to, one place for each host of the connection. */
export function tunnelTargets({ hosts, params }: Connection): readonly Host[] {
  // libpq: the address in the place of the name, which then only says whose certificate it is.
  const addresses = params.hostaddr?.split(',') ?? [];
  return hosts.map(({ host, port }, index) => ({ host: addresses[index] || host, port }));
}

/**
 * The connection as the engine's client gets it where a tunnel is open: `local` are this end's places, one for each host,
 * undefined for one that cannot be reached: such a host is left out, since a client would take our end for it and go no further. Only for commands: names, series and manifests speak of the connection as it was given.
 */
export function throughTunnel(connection: Connection, local: readonly (Host | undefined)[]): Connection {
  const hosts = connection.hosts.filter((_, index) => local[index]);
  return (REWRITES[connection.engine] ?? replaceHosts)(
    { ...connection, hosts },
    local.filter((place) => place !== undefined),
  );
}

type Rewrite = (connection: Connection, local: readonly Host[]) => Connection;

/**
 * Engines whose client can be told the host's name and its address apart have a line here, so that a certificate is
 * checked against the real name. For the others DB_TLS=verify fails in a tunnel, loudly: the certificate is not of 127.0.0.1.
 */
const REWRITES: Partial<Readonly<Record<EngineName, Rewrite>>> = {
  pg: (connection, local) => ({
    ...connection,
    hosts: connection.hosts.map(({ host }, index) => ({ host, port: local[index]!.port })),
    params: { ...connection.params, hostaddr: local.map(({ host }) => host).join(',') },
  }),
  // Or it would go to the members that the one at the other end names.
  mongo: (connection, local) => ({
    ...connection,
    hosts: local,
    params: { ...connection.params, directConnection: 'true' },
  }),
};

const replaceHosts: Rewrite = (connection, local) => ({ ...connection, hosts: local });
