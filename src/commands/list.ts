import { EXIT } from '../core/errors.ts';
import { isLeftOut, readCatalogs } from '../jobs/catalogs.ts';
import { formatCatalog, listCatalog } from '../jobs/list.ts';
import { at, type Session } from '../jobs/session.ts';
import { type Call, toJson } from './call.ts';

export async function runList(session: Session, { edge, options }: Call): Promise<number> {
  const found = await readCatalogs(session, session.host.signal);
  const all = options.all === true;
  // Unmasked: these names are what restore takes, and a manifest holds no secret.
  if (options.json)
    edge.print(toJson(found.flatMap(({ place, catalog }) => listCatalog(at(session, place), catalog, all))));
  else {
    const texts = found.map(({ place, catalog }) => {
      const title = session.places.length > 1 ? `${place.remote.title}:\n\n` : '';
      return title + formatCatalog(at(session, place), catalog, all);
    });
    edge.print(texts.join('\n'));
  }
  return isLeftOut(session, found) ? EXIT.remote : EXIT.ok;
}
