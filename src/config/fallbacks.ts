import type { EngineName } from '../core/connection.ts';
import type { Values, VariableName } from './variables.ts';

/** Variables that say a name, a user or a password, each as text. */
type TextVariable = { [N in VariableName]: Values[N] extends string | undefined ? N : never }[VariableName];

interface Names {
  readonly DB_USER: readonly TextVariable[];
  readonly DB_PASSWORD: readonly TextVariable[];
  readonly DB_NAME: readonly TextVariable[];
  /** Passwords of that user, which come first for it and mean nothing for others. */
  readonly passwordsOf?: Readonly<Record<string, readonly TextVariable[]>>;
}

/** As the databases' own images name them, understood where neither a URI nor the DB_* one is set. Of several the first. */
const FALLBACKS: Partial<Record<EngineName, Names>> = {
  pg: { DB_USER: ['POSTGRES_USER'], DB_PASSWORD: ['POSTGRES_PASSWORD'], DB_NAME: ['POSTGRES_DB'] },
  mysql: {
    DB_USER: ['MYSQL_USER'],
    DB_PASSWORD: ['MYSQL_PASSWORD'],
    DB_NAME: ['MYSQL_DATABASE'],
    passwordsOf: { root: ['MYSQL_ROOT_PASSWORD'] },
  },
  mongo: {
    DB_USER: ['MONGO_INITDB_ROOT_USERNAME'],
    DB_PASSWORD: ['MONGO_INITDB_ROOT_PASSWORD'],
    DB_NAME: ['MONGO_INITDB_DATABASE'],
  },
  // Its images take both.
  mariadb: {
    DB_USER: ['MARIADB_USER', 'MYSQL_USER'],
    DB_PASSWORD: ['MARIADB_PASSWORD', 'MYSQL_PASSWORD'],
    DB_NAME: ['MARIADB_DATABASE', 'MYSQL_DATABASE'],
    passwordsOf: { root: ['MARIADB_ROOT_PASSWORD', 'MYSQL_ROOT_PASSWORD'] },
  },
};

/** What may stand in for a variable, first to last. `user` is the one that logs in. */
export function fallbacksOf(
  engine: EngineName | undefined,
  name: VariableName,
  user: string | undefined,
): readonly TextVariable[] {
  const names = engine && FALLBACKS[engine];
  if (!names || (name !== 'DB_USER' && name !== 'DB_PASSWORD' && name !== 'DB_NAME')) return [];
  const own = name === 'DB_PASSWORD' && user !== undefined ? (names.passwordsOf?.[user] ?? []) : [];
  return [...own, ...names[name]];
}

export const readFallback = (
  values: Values,
  engine: EngineName | undefined,
  name: VariableName,
  user?: string,
): string | undefined => {
  const found = fallbacksOf(engine, name, user).find((fallback) => values[fallback] !== undefined);
  return found && values[found];
};
