export const ENGINE_NAMES = ['pg', 'sqlite'] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

export const TLS_MODES = ['disable', 'prefer', 'require', 'verify'] as const;
export type TlsMode = (typeof TLS_MODES)[number];

/**
 * Where a database is and how to log in, percent-decoded. `hosts` is empty for sqlite, whose `database` is an
 * absolute path. An IPv6 host has no brackets; a host that begins with `/` is the folder of a Unix socket.
 */
export interface Connection {
  readonly engine: EngineName;
  readonly hosts: readonly Host[];
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
