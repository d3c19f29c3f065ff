import type { Operation } from './call.ts';
import { type Handler, ok } from './context.ts';
import { S3Error } from './error.ts';
import { listObjects } from './listing.ts';
import { createBucket } from './store.ts';
import { element } from './xml.ts';

/** Operations on buckets, and listings. */
export const bucketsHandlers = {
  ListBuckets: ({ buckets }) => {
    const describe = (name: string) =>
      element('Bucket', element('Name', name), element('CreationDate', '2020-01-01T00:00:00.000Z'));
    return ok(element('ListAllMyBucketsResult', element('Buckets', ...[...buckets.keys()].map(describe))));
  },
  CreateBucket: ({ buckets, call }) => {
    if (buckets.has(call.bucket)) throw new S3Error(409, 'BucketAlreadyOwnedByYou', 'The bucket is yours already');
    buckets.set(call.bucket, createBucket());
    return { status: 200 };
  },
  HeadBucket: () => ({ status: 200 }),
  DeleteBucket: ({ bucket, buckets, call }) => {
    if (bucket.objects.size > 0) throw new S3Error(409, 'BucketNotEmpty', 'The bucket is not empty');
    buckets.delete(call.bucket);
    return { status: 204 };
  },
  GetBucketLocation: () => ok(element('LocationConstraint')),
  GetBucketVersioning: () => ok(element('VersioningConfiguration')),
  ListObjects: ({ bucket, call, listing }) => ok(listObjects(bucket, call, listing)),
  ListObjectsV2: ({ bucket, call, listing }) => ok(listObjects(bucket, call, listing)),
} satisfies Partial<Record<Operation, Handler>>;
