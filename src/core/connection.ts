export const ENGINE_NAMES = ['pg', 'mysql', 'mariadb', 'mongo', 'redis', 'sqlite'] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

export const TLS_MODES = ['disable', 'prefer', 'require', 'verify'] as const;
export type TlsMode = (typeof TLS_MODES)[number];

/**
 * Where a database is and how to log in, percent-decoded. `hosts` is empty for sqlite, whose `database` is an
 * absolute path. `database` is empty for the whole server, which only mongo knows. An IPv6 host has no brackets; a host that begins with `/` is the folder of a Unix socket.
 */
export interface Connection {
  readonly engine: EngineName;
  readonly hosts: readonly Host[];
  /** mongo: the host is a name in DNS whose SRV records name the servers, and its port means nothing. */
  readonly isSrv?: true;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string;
  /** Parameters of the URI, decoded, as the engine's client understands them. */
  readonly params: Readonly<Record<string, string>>;
  readonly tls: TlsMode | undefined;
  /** The CA's certificates as PEM. */
  readonly tlsCa: string | undefined;
}

export interface Host {
  readonly host: string;
  readonly port: number;
}

/** `host:port`, as in a URI. */
export const addressOf = ({ host, port }: Host): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;

/** How the database is called, to people and by them: `all` is the whole server. */
export const nameOf = ({ database }: Connection): string => (database === '' ? 'all' : database);
