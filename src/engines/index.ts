import type { EngineName } from '../core/connection.ts';
import type { Engine } from './engine.ts';
import { pg } from './pg.ts';
import { sqlite } from './sqlite.ts';

export const engines: Readonly<Record<EngineName, Engine>> = { pg, sqlite };

/** The engine of a URI that begins with `scheme://`. */
export const findEngineByScheme = (scheme: string): Engine | undefined =>
  Object.values(engines).find(({ uriSchemes }) => uriSchemes.includes(scheme.toLowerCase()));
