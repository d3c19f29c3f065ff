import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { S3Error } from './error.ts';

/** Bytes of an object or a part. `chunks` is undefined where they were only counted. */
export interface Content {
  readonly bytes: number;
  /** Hex, of what the client sent. */
  readonly md5: string;
  readonly chunks: readonly Buffer[] | undefined;
}

export interface ReadOptions {
  /** Bodies of more bytes are counted and not kept; they need not even be hashed where the client sent their MD5. */
  readonly keepBytes: number;
}

/** Reads the body of a request, whatever its transfer: plain, chunked, or signed in chunks (`aws-chunked`). */
export async function readContent(request: IncomingMessage, { keepBytes }: ReadOptions): Promise<Content> {
  const claimed = claimedMd5(request);
  const kept = bodyBytes(request) <= keepBytes;
  const hash = kept || claimed === undefined ? createHash('md5') : undefined;
  const chunks: Buffer[] = [];
  let bytes = 0;
  await readData(request, (data) => {
    bytes += data.length;
    hash?.update(data);
    if (kept) chunks.push(data);
  });
  const md5 = hash?.digest('hex') ?? claimed ?? '';
  if (claimed !== undefined && md5 !== claimed) throw new S3Error(400, 'BadDigest', 'The Content-MD5 did not match');
  return { bytes, md5, chunks: kept ? chunks : undefined };
}

export async function readText(request: IncomingMessage): Promise<string> {
  const { chunks } = await readContent(request, { keepBytes: Number.POSITIVE_INFINITY });
  return Buffer.concat(chunks ?? []).toString();
}

export function contentOf(body: Buffer | string): Content {
  const buffer = Buffer.from(body);
  return { bytes: buffer.length, md5: createHash('md5').update(buffer).digest('hex'), chunks: [buffer] };
}

/** The same content with one byte in the middle changed; what the client was told (`md5`) stays. */
export function corruptContent(content: Content): Content {
  const whole = Buffer.concat(content.chunks ?? []);
  const middle = whole.length >> 1;
  if (whole.length > 0) whole[middle] = (whole[middle] ?? 0) ^ 1;
  return { ...content, chunks: [whole] };
}

/** The same content without its last byte. */
export function shortenContent(content: Content): Content {
  const whole = Buffer.concat(content.chunks ?? []).subarray(0, -1);
  return { ...content, bytes: whole.length, chunks: [whole] };
}

function bodyBytes(request: IncomingMessage): number {
  return Number(request.headers['x-amz-decoded-content-length'] ?? request.headers['content-length'] ?? 0);
}

function claimedMd5(request: IncomingMessage): string | undefined {
  const header = request.headers['content-md5'];
  return typeof header === 'string' ? Buffer.from(header, 'base64').toString('hex') : undefined;
}

/** Rejects when the client goes away before the end. */
function readData(request: IncomingMessage, take: (data: Buffer) => void): Promise<void> {
  const isChunked = String(request.headers['x-amz-content-sha256'] ?? '').startsWith('STREAMING-');
  const decoder = isChunked ? createDecoder(take) : { push: take, isComplete: () => true };
  return new Promise((resolve, reject) => {
    request.on('data', (data: Buffer) => {
      try {
        decoder.push(data);
      } catch (error) {
        reject(error);
      }
    });
    request.once('end', () => {
      if (decoder.isComplete()) resolve();
      else reject(new S3Error(400, 'IncompleteBody', 'The body ended before its last chunk'));
    });
    request.once('error', reject);
    request.once('close', () => reject(new Error('the client went away')));
  });
}

interface Decoder {
  readonly push: (input: Buffer) => void;
  /** The last chunk was there. */
  readonly isComplete: () => boolean;
}

/**
 * Of `aws-chunked`: SIZE;chunk-signature=... CRLF data CRLF, again and again, a chunk of size 0, then perhaps trailers.
 * Signatures and trailers are not checked.
 */
export function createDecoder(take: (data: Buffer) => void): Decoder {
  let state: 'size' | 'data' | 'gap' | 'trailer' = 'size';
  let left = 0;
  let line = '';
  const endLine = () => {
    if (state === 'gap') state = 'size';
    else if (state === 'size') {
      left = Number.parseInt(line, 16);
      if (!(left >= 0)) throw new S3Error(400, 'InvalidRequest', 'A chunk without a size');
      state = left === 0 ? 'trailer' : 'data';
    }
    line = '';
  };
  const push = (input: Buffer) => {
    for (let at = 0; at < input.length; ) {
      const lineEnd = state === 'data' ? 0 : input.indexOf(10, at) + 1 || input.length;
      const end = lineEnd || Math.min(input.length, at + left);
      const piece = input.subarray(at, end);
      at = end;
      if (lineEnd === 0) {
        take(piece);
        left -= piece.length;
        if (left === 0) state = 'gap';
      } else {
        line += piece.toString('latin1');
        if (line.endsWith('\n')) endLine();
      }
    }
  };
  return { push, isComplete: () => state === 'trailer' };
}
