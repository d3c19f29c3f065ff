import type { Content } from './body.ts';
import type { Call } from './call.ts';
import { noSuchBucket, noSuchKey, S3Error } from './error.ts';
import type { BentListing } from './listing.ts';
import type { Bucket, StoredObject } from './store.ts';
import { element, type Markup } from './xml.ts';

/** What a handler works on. */
export interface Context {
  readonly call: Call;
  readonly buckets: Map<string, Bucket>;
  /** Of the call. */
  readonly bucket: Bucket;
  readonly partLimit: number;
  readonly forbidDelete: boolean;
  readonly clockSkewMs: number;
  readonly listing: BentListing | undefined;
  /** Reads the body of the request. */
  readonly read: () => Promise<Content>;
  /** What is stored in place of what was sent. */
  readonly bend: (content: Content) => Content;
}

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly xml?: Markup;
  readonly chunks?: readonly Buffer[];
}

export type Handler = (context: Context) => Answer | Promise<Answer>;

export function ok(xml: Markup): Answer {
  return { status: 200, xml };
}

export function findObject(bucket: Bucket, key: string): StoredObject {
  const object = bucket.objects.get(key);
  if (!object) throw noSuchKey();
  return object;
}

export function findSource({ buckets, call }: Context): StoredObject {
  const [name = '', ...rest] = decodeURIComponent(String(call.request.headers['x-amz-copy-source']))
    .replace(/^\//, '')
    .split('/');
  const bucket = buckets.get(name);
  if (!bucket) throw noSuchBucket();
  return findObject(bucket, rest.join('/'));
}

/** `[start, end)`; undefined without a range. */
export function parseRange(header: string | undefined, bytes: number): [number, number] | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match) return undefined;
  const [, first = '', last = ''] = match;
  const start = first === '' ? Math.max(0, bytes - Number(last)) : Number(first);
  const end = first === '' || last === '' ? bytes : Math.min(bytes, Number(last) + 1);
  if (start >= bytes || start >= end) throw new S3Error(416, 'InvalidRange', 'The requested range is not satisfiable');
  return [start, end];
}

export function keptHeaders({ request }: Call): Record<string, string> {
  const kept = Object.entries(request.headers).filter(
    ([name]) => name.startsWith('x-amz-meta-') || name === 'content-type',
  );
  return Object.fromEntries(kept.map(([name, value]) => [name, String(value)]));
}

export function describeCopy(etag: string, modified: Date): Markup[] {
  return [element('LastModified', modified.toISOString()), element('ETag', `"${etag}"`)];
}
