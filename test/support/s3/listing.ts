import type { Call } from './call.ts';
import type { Bucket, StoredObject } from './store.ts';
import { element, type Markup } from './xml.ts';

/** How a fault bends a listing: its text ends in the middle, it is whole but half is not in it, or nothing is. */
export type BentListing = 'cut' | 'partial' | 'empty';

interface Page {
  readonly objects: readonly (readonly [string, StoredObject])[];
  readonly prefixes: readonly string[];
  /** The last key or prefix of a page that is not the last. */
  readonly next: string | undefined;
}

export function listObjects(bucket: Bucket, { query, bucket: name }: Call, bent: BentListing | undefined): Markup {
  const isV2 = query.has('list-type');
  const maxKeys = Math.min(Number(query.get('max-keys') ?? 1000), 1000);
  const after = (isV2 ? (query.get('continuation-token') ?? query.get('start-after')) : query.get('marker')) ?? '';
  const page = bendPage(
    findPage(bucket, query.get('prefix') ?? '', query.get('delimiter') ?? '', after, maxKeys),
    bent,
  );
  const encode = query.get('encoding-type') === 'url' ? encodeKey : (key: string) => key;
  const next =
    page.next === undefined
      ? []
      : [element(isV2 ? 'NextContinuationToken' : 'NextMarker', isV2 ? page.next : encode(page.next))];
  return element(
    'ListBucketResult',
    element('Name', name),
    element('Prefix', encode(query.get('prefix') ?? '')),
    element('MaxKeys', maxKeys),
    ...(isV2 ? [element('KeyCount', page.objects.length + page.prefixes.length)] : [element('Marker', encode(after))]),
    ...(query.has('delimiter') ? [element('Delimiter', encode(query.get('delimiter') ?? ''))] : []),
    ...(query.has('encoding-type') ? [element('EncodingType', 'url')] : []),
    element('IsTruncated', String(page.next !== undefined)),
    ...next,
    ...page.objects.map(([key, object]) => describeObject(encode(key), object)),
    ...page.prefixes.map((prefix) => element('CommonPrefixes', element('Prefix', encode(prefix)))),
  );
}

/** Keys and common prefixes after `after`, in the order of their bytes. */
function findPage(bucket: Bucket, prefix: string, delimiter: string, after: string, maxKeys: number): Page {
  const objects: [string, StoredObject][] = [];
  const prefixes = new Set<string>();
  let last: string | undefined;
  for (const [key, object] of sortByBytes(bucket.objects)) {
    if (!key.startsWith(prefix)) continue;
    const end = delimiter ? key.indexOf(delimiter, prefix.length) : -1;
    const group = end < 0 ? undefined : key.slice(0, end + delimiter.length);
    const isSeen =
      group === undefined
        ? compareBytes(key, after) <= 0
        : group === after || prefixes.has(group) || compareBytes(key, after) <= 0;
    if (isSeen) continue;
    if (objects.length + prefixes.size >= maxKeys) return { objects, prefixes: [...prefixes], next: last };
    if (group === undefined) objects.push([key, object]);
    else prefixes.add(group);
    last = group ?? key;
  }
  return { objects, prefixes: [...prefixes], next: undefined };
}

function bendPage(page: Page, bent: BentListing | undefined): Page {
  if (bent === 'empty') return { objects: [], prefixes: [], next: undefined };
  if (bent !== 'partial') return page;
  const half = <T>(items: readonly T[]) => items.slice(0, Math.floor(items.length / 2));
  return { objects: half(page.objects), prefixes: half(page.prefixes), next: undefined };
}

function describeObject(key: string, { content, etag, modified }: StoredObject): Markup {
  return element(
    'Contents',
    element('Key', key),
    element('LastModified', modified.toISOString()),
    element('ETag', `"${etag}"`),
    element('Size', content.bytes),
    element('StorageClass', 'STANDARD'),
  );
}

export function listUploads(bucket: Bucket, { query, bucket: name }: Call): Markup {
  const uploads = sortByBytes(new Map([...bucket.uploads.values()].map((upload) => [upload.key + upload.id, upload])));
  const prefix = query.get('prefix') ?? '';
  return element(
    'ListMultipartUploadsResult',
    element('Bucket', name),
    element('Prefix', prefix),
    element('MaxUploads', 1000),
    element('IsTruncated', 'false'),
    ...uploads
      .filter(([, upload]) => upload.key.startsWith(prefix))
      .map(([, { key, id, initiated }]) =>
        element('Upload', element('Key', key), element('UploadId', id), element('Initiated', initiated.toISOString())),
      ),
  );
}

function sortByBytes<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].sort(([a], [b]) => compareBytes(a, b));
}

const compareBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

const encodeKey = (key: string): string => encodeURIComponent(key).replaceAll('%2F', '/');
