import { createHash, randomUUID } from 'node:crypto';
import type { Content } from './body.ts';
import { S3Error } from './error.ts';

export interface StoredObject {
  readonly content: Content;
  readonly etag: string;
  /** Headers that come back with the object: x-amz-meta-*, content-type ... */
  readonly headers: Readonly<Record<string, string>>;
  readonly modified: Date;
}

export interface Upload {
  readonly id: string;
  readonly key: string;
  readonly initiated: Date;
  readonly headers: Readonly<Record<string, string>>;
  readonly parts: Map<number, Content>;
}

export interface Bucket {
  readonly objects: Map<string, StoredObject>;
  /** Open multipart uploads by their id. */
  readonly uploads: Map<string, Upload>;
}

export function createBucket(): Bucket {
  return { objects: new Map(), uploads: new Map() };
}

/** An object as tests look at it. */
export interface S3Object {
  readonly bytes: number;
  /** Throws where the server only counted the bytes (`discardBodies`). */
  readonly body: Buffer;
  readonly sha256: string;
  readonly etag: string;
  readonly modified: Date;
}

export function viewObject({ content, etag, modified }: StoredObject): S3Object {
  return {
    bytes: content.bytes,
    get body() {
      return Buffer.concat(chunksOf(content));
    },
    get sha256() {
      const hash = createHash('sha256');
      for (const chunk of chunksOf(content)) hash.update(chunk);
      return hash.digest('hex');
    },
    etag,
    modified,
  };
}

export function chunksOf(content: Content): readonly Buffer[] {
  if (!content.chunks) throw new S3Error(501, 'NotImplemented', 'The bytes of this object were counted, not kept');
  return content.chunks;
}

export function createUpload(key: string, headers: Upload['headers'], initiated = new Date()): Upload {
  return { id: randomUUID(), key, initiated, headers, parts: new Map() };
}

export function joinParts(parts: readonly Content[]): { content: Content; etag: string } {
  const hash = createHash('md5');
  for (const part of parts) hash.update(Buffer.from(part.md5, 'hex'));
  const md5 = hash.digest('hex');
  const isKept = parts.every((part) => part.chunks !== undefined);
  const chunks = isKept ? parts.flatMap((part) => part.chunks ?? []) : undefined;
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  return { content: { bytes, md5, chunks }, etag: `${md5}-${parts.length}` };
}

/** The bytes from `start` up to but not including `end`. */
export function sliceChunks(chunks: readonly Buffer[], start: number, end: number): Buffer[] {
  const slices: Buffer[] = [];
  let at = 0;
  for (const chunk of chunks) {
    const slice = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at));
    if (slice.length > 0) slices.push(slice);
    at += chunk.length;
  }
  return slices;
}
