import { type Content, contentOf, readText } from './body.ts';
import type { Operation } from './call.ts';
import { type Context, describeCopy, findSource, type Handler, keptHeaders, ok, parseRange } from './context.ts';
import { noSuchUpload, S3Error } from './error.ts';
import { listUploads } from './listing.ts';
import { chunksOf, createUpload, joinParts, sliceChunks, type Upload } from './store.ts';
import { element, partsOf, textsOf } from './xml.ts';

/** Of all parts but the last. */
const MIN_PART_BYTES = 5 * 1024 * 1024;

/** Multipart uploads. */
export const uploadsHandlers = {
  ListMultipartUploads: ({ bucket, call }) => ok(listUploads(bucket, call)),
  ListParts: (context) => {
    const { key, id, parts } = findUpload(context);
    const describe = ([number, part]: [number, Content]) =>
      element('Part', element('PartNumber', number), element('ETag', `"${part.md5}"`), element('Size', part.bytes));
    const all = [...parts].sort(([a], [b]) => a - b).map(describe);
    return ok(element('ListPartsResult', element('Key', key), element('UploadId', id), ...all));
  },
  CreateMultipartUpload: ({ bucket, call }) => {
    const upload = createUpload(call.key, keptHeaders(call));
    bucket.uploads.set(upload.id, upload);
    const { bucket: name, key } = call;
    const ids = [element('Bucket', name), element('Key', key), element('UploadId', upload.id)];
    return ok(element('InitiateMultipartUploadResult', ...ids));
  },
  UploadPart: async (context) => {
    const { parts, number } = findPart(context);
    const part = context.bend(await context.read());
    parts.set(number, part);
    return { status: 200, headers: { etag: `"${part.md5}"` } };
  },
  UploadPartCopy: (context) => {
    const { parts, number } = findPart(context);
    const { content } = findSource(context);
    const header = context.call.request.headers['x-amz-copy-source-range'];
    const [start, end] = parseRange(String(header ?? ''), content.bytes) ?? [0, content.bytes];
    const part = contentOf(Buffer.concat(sliceChunks(chunksOf(content), start, end)));
    parts.set(number, part);
    return ok(element('CopyPartResult', ...describeCopy(part.md5, new Date())));
  },
  CompleteMultipartUpload: async (context) => {
    const { bucket, call } = context;
    const upload = findUpload(context);
    const { content, etag } = joinParts(chooseParts(upload, await readText(call.request)));
    bucket.objects.set(call.key, {
      content: context.bend(content),
      etag,
      headers: upload.headers,
      modified: new Date(),
    });
    bucket.uploads.delete(upload.id);
    return ok(element('CompleteMultipartUploadResult', element('Key', call.key), element('ETag', `"${etag}"`)));
  },
  AbortMultipartUpload: (context) => {
    context.bucket.uploads.delete(findUpload(context).id);
    return { status: 204 };
  },
} satisfies Partial<Record<Operation, Handler>>;

function findUpload({ bucket, call }: Context): Upload {
  const upload = bucket.uploads.get(call.query.get('uploadId') ?? '');
  if (upload?.key !== call.key) throw noSuchUpload();
  return upload;
}

function findPart(context: Context): { parts: Map<number, Content>; number: number } {
  const number = Number(context.call.query.get('partNumber'));
  const { partLimit } = context;
  if (!(number >= 1 && number <= partLimit)) {
    const message = `Part number must be an integer between 1 and ${partLimit}, inclusive`;
    throw new S3Error(400, 'InvalidArgument', message);
  }
  return { parts: findUpload(context).parts, number };
}

/** The parts that the client lists, in its order. */
function chooseParts({ parts }: Upload, xml: string): Content[] {
  const listed = partsOf(xml, 'Part').map((part) => {
    const found = parts.get(Number(textsOf(part, 'PartNumber')[0]));
    if (found && found.md5 === textsOf(part, 'ETag')[0]?.replaceAll('"', '')) return found;
    throw new S3Error(400, 'InvalidPart', 'One or more of the specified parts could not be found');
  });
  if (listed.length === 0) throw new S3Error(400, 'MalformedXML', 'You must specify at least one part');
  if (listed.slice(0, -1).some((part) => part.bytes < MIN_PART_BYTES)) {
    throw new S3Error(400, 'EntityTooSmall', 'Your proposed upload is smaller than the minimum allowed size');
  }
  return listed;
}
