import { readText } from './body.ts';
import type { Operation } from './call.ts';
import { describeCopy, findObject, findSource, type Handler, keptHeaders, ok, parseRange } from './context.ts';
import { accessDenied } from './error.ts';
import { chunksOf, type StoredObject, sliceChunks } from './store.ts';
import { element, partsOf, textsOf } from './xml.ts';

/** Operations on whole objects. */
export const objectsHandlers = {
  GetObject: (context) => {
    const object = findObject(context.bucket, context.call.key);
    const { bytes } = object.content;
    const range = parseRange(context.call.request.headers.range, bytes);
    const [start, end] = range ?? [0, bytes];
    const headers = { ...headersOf(object), 'content-length': String(end - start) };
    const chunks = sliceChunks(chunksOf(object.content), start, end);
    if (!range) return { status: 200, headers, chunks };
    return { status: 206, headers: { ...headers, 'content-range': `bytes ${start}-${end - 1}/${bytes}` }, chunks };
  },
  HeadObject: ({ bucket, call }) => ({ status: 200, headers: headersOf(findObject(bucket, call.key)) }),
  PutObject: async ({ bucket, call, read, bend, clockSkewMs }) => {
    const content = bend(await read());
    const modified = new Date(Date.now() + clockSkewMs);
    bucket.objects.set(call.key, { content, etag: content.md5, headers: keptHeaders(call), modified });
    return { status: 200, headers: { etag: `"${content.md5}"` } };
  },
  CopyObject: (context) => {
    const { bucket, call } = context;
    const source = findSource(context);
    const isReplaced = call.request.headers['x-amz-metadata-directive'] === 'REPLACE';
    const headers = isReplaced ? keptHeaders(call) : source.headers;
    const copy = { ...source, content: context.bend(source.content), headers, modified: new Date() };
    bucket.objects.set(call.key, copy);
    return ok(element('CopyObjectResult', ...describeCopy(copy.etag, copy.modified)));
  },
  DeleteObject: ({ bucket, call, forbidDelete }) => {
    if (forbidDelete) throw accessDenied();
    bucket.objects.delete(call.key);
    return { status: 204 };
  },
  DeleteObjects: async ({ bucket, call, forbidDelete }) => {
    const keys = partsOf(await readText(call.request), 'Object').flatMap((object) => textsOf(object, 'Key'));
    const remove = (key: string) => {
      if (forbidDelete) return element('Error', element('Key', key), element('Code', 'AccessDenied'));
      bucket.objects.delete(key);
      return element('Deleted', element('Key', key));
    };
    return ok(element('DeleteResult', ...keys.map(remove)));
  },
} satisfies Partial<Record<Operation, Handler>>;

function headersOf({ content, etag, headers, modified }: StoredObject): Record<string, string> {
  return {
    'accept-ranges': 'bytes',
    ...headers,
    'content-length': String(content.bytes),
    etag: `"${etag}"`,
    'last-modified': modified.toUTCString(),
  };
}
