import type { IncomingMessage } from 'node:http';

/** One request, understood. `key` is empty where the operation has none. */
export interface Call {
  readonly operation: Operation;
  readonly bucket: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly request: IncomingMessage;
}

/** Method, scope, and what the query or the headers must hold; the first that fits is it. */
const OPERATIONS = [
  ['ListBuckets', 'GET', 'service', ''],
  ['CreateBucket', 'PUT', 'bucket', ''],
  ['HeadBucket', 'HEAD', 'bucket', ''],
  ['DeleteBucket', 'DELETE', 'bucket', ''],
  ['DeleteObjects', 'POST', 'bucket', 'delete'],
  ['GetBucketLocation', 'GET', 'bucket', 'location'],
  ['GetBucketVersioning', 'GET', 'bucket', 'versioning'],
  ['ListMultipartUploads', 'GET', 'bucket', 'uploads'],
  ['ListObjectsV2', 'GET', 'bucket', 'list-type'],
  ['ListObjects', 'GET', 'bucket', ''],
  ['ListParts', 'GET', 'key', 'uploadId'],
  ['GetObject', 'GET', 'key', ''],
  ['HeadObject', 'HEAD', 'key', ''],
  ['UploadPartCopy', 'PUT', 'key', 'partNumber x-amz-copy-source'],
  ['UploadPart', 'PUT', 'key', 'partNumber'],
  ['CopyObject', 'PUT', 'key', 'x-amz-copy-source'],
  ['PutObject', 'PUT', 'key', ''],
  ['AbortMultipartUpload', 'DELETE', 'key', 'uploadId'],
  ['DeleteObject', 'DELETE', 'key', ''],
  ['CreateMultipartUpload', 'POST', 'key', 'uploads'],
  ['CompleteMultipartUpload', 'POST', 'key', 'uploadId'],
] as const;

export type Operation = (typeof OPERATIONS)[number][0];

/** Sub-resources that are not served: they must not be taken for the object or the bucket itself. */
const UNSERVED = ['acl', 'tagging', 'versions', 'policy', 'lifecycle', 'retention', 'legal-hold', 'cors', 'encryption'];

/** Undefined where no operation fits. */
export function parseCall(request: IncomingMessage): Call | undefined {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const [, bucket = '', ...rest] = url.pathname.split('/');
  const key = decodeURIComponent(rest.join('/'));
  const query = url.searchParams;
  if (UNSERVED.some((name) => query.has(name))) return undefined;
  const scope = bucket === '' ? 'service' : key === '' ? 'bucket' : 'key';
  const has = (name: string) => name === '' || query.has(name) || request.headers[name] !== undefined;
  const found = OPERATIONS.find((row) => row[1] === request.method && row[2] === scope && row[3].split(' ').every(has));
  return found && { operation: found[0], bucket: decodeURIComponent(bucket), key, query, request };
}
