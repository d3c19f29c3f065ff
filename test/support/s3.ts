import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { contentOf } from './s3/body.ts';
import { type Operation, parseCall } from './s3/call.ts';
import { type ActiveFault, createFaults, type Fault, type Hold, type HoldOptions, type Match } from './s3/faults.ts';
import { type Settings, serveCall, serveUnknown } from './s3/serve.ts';
import { createBucket, createUpload, type S3Object, viewObject } from './s3/store.ts';

export interface S3Options {
  /** Made at the start; the one that the inspection looks at. */
  readonly bucket?: string;
  /** Part numbers above are refused. */
  readonly partLimit?: number;
  /** Bodies over 1 MiB are counted, not kept: for measurements. */
  readonly discardBodies?: boolean;
}

interface S3Request {
  readonly operation: Operation;
  readonly bucket: string;
  readonly key: string;
  readonly at: Date;
}

interface OpenUpload {
  readonly id: string;
  readonly key: string;
  readonly initiated: Date;
  readonly parts: number;
}

/** An S3 server in this process, in memory, that fails on demand. Paths are `/bucket/key`; signatures are not checked. */
export interface S3Server extends AsyncDisposable {
  readonly endpoint: string;
  readonly bucket: string;
  /** Every request that fits an operation, in order of arrival. */
  readonly requests: S3Request[];
  partLimit: number;
  /** DeleteObject and DeleteObjects are refused (403). */
  forbidDelete: boolean;
  /** How far its clock is ahead of ours. */
  clockSkewMs: number;
  fault(fault: Fault): ActiveFault;
  hold(operation: Match['operation'], key?: RegExp, options?: HoldOptions): Hold;
  clearFaults(): void;
  objects(): Map<string, S3Object>;
  put(key: string, body: Buffer | string, modified?: Date): void;
  delete(key: string): void;
  /** Open multipart uploads. */
  uploads(): OpenUpload[];
  addUpload(key: string, initiated: Date): string;
  /** The variables that make it the rclone remote `name`. */
  rcloneEnv(name: string): Record<string, string>;
  stop(): Promise<void>;
}

const KEPT_WHEN_DISCARDING = 1024 * 1024;

export async function startS3(options: S3Options = {}): Promise<S3Server> {
  const { bucket: name = 'bucket', partLimit = 10_000, discardBodies = false } = options;
  const bucket = createBucket();
  const keepBytes = discardBodies ? KEPT_WHEN_DISCARDING : Number.POSITIVE_INFINITY;
  const settings: Settings = {
    buckets: new Map([[name, bucket]]),
    keepBytes,
    partLimit,
    forbidDelete: false,
    clockSkewMs: 0,
  };
  const faults = createFaults();
  const requests: S3Request[] = [];
  const { endpoint, stop } = await listen(async (request, response) => {
    const call = parseCall(request);
    if (!call) return await serveUnknown(request, response);
    requests.push({ operation: call.operation, bucket: call.bucket, key: call.key, at: new Date() });
    await serveCall(call, faults.decide(call), settings, response);
  });
  return Object.assign(settings, {
    endpoint,
    bucket: name,
    requests,
    fault: faults.fault,
    hold: faults.hold,
    clearFaults: faults.clear,
    objects: () => new Map([...bucket.objects].map(([key, object]) => [key, viewObject(object)])),
    put(key: string, body: Buffer | string, modified = new Date()) {
      const content = contentOf(body);
      bucket.objects.set(key, { content, etag: content.md5, headers: {}, modified });
    },
    delete: (key: string) => void bucket.objects.delete(key),
    uploads: () =>
      [...bucket.uploads.values()].map(({ id, key, initiated, parts }) => ({ id, key, initiated, parts: parts.size })),
    addUpload(key: string, initiated: Date) {
      const upload = createUpload(key, {}, initiated);
      bucket.uploads.set(upload.id, upload);
      return upload.id;
    },
    rcloneEnv: (remote: string) => rcloneS3Env(remote, endpoint, 'test-access-key', 'test-secret-key'),
    stop,
    [Symbol.asyncDispose]: stop,
  });
}

export function rcloneS3Env(
  remote: string,
  endpoint: string,
  accessKey: string,
  secretKey: string,
): Record<string, string> {
  const prefix = `RCLONE_CONFIG_${remote.toUpperCase()}`;
  return {
    [`${prefix}_TYPE`]: 's3',
    [`${prefix}_PROVIDER`]: 'Other',
    [`${prefix}_ENDPOINT`]: endpoint,
    [`${prefix}_ACCESS_KEY_ID`]: accessKey,
    [`${prefix}_SECRET_ACCESS_KEY`]: secretKey,
    [`${prefix}_REGION`]: 'us-east-1',
    [`${prefix}_FORCE_PATH_STYLE`]: 'true',
  };
}

type Serve = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

async function listen(serve: Serve): Promise<{ endpoint: string; stop: () => Promise<void> }> {
  const server = createServer({ highWaterMark: 1024 * 1024, requestTimeout: 0, keepAliveTimeout: 600_000 });
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    serve(request, response).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const stop = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { endpoint: `http://127.0.0.1:${port}`, stop };
}
