import type { EngineName } from '../core/connection.ts';
import type { Engine } from './engine.ts';
import { mongo } from './mongo.ts';
import { mariadb, mysql } from './mysql.ts';
import { pg } from './pg.ts';
import { redis } from './redis.ts';
import { sqlite } from './sqlite.ts';

export const engines: Readonly<Record<EngineName, Engine>> = { pg, mysql, mariadb, mongo, redis, sqlite };

/** The engine of a URI that begins with `scheme://`; of several the first. */
export const findEngineByScheme = (scheme: string): Engine | undefined =>
  Object.values(engines).find(({ uriSchemes }) => uriSchemes.includes(scheme.toLowerCase()));
