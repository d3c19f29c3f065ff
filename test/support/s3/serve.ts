import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Content, corruptContent, readContent, shortenContent } from './body.ts';
import { bucketsHandlers } from './buckets.ts';
import type { Call, Operation } from './call.ts';
import type { Answer, Context, Handler } from './context.ts';
import { noSuchBucket, S3Error } from './error.ts';
import type { Fate } from './faults.ts';
import { objectsHandlers } from './objects.ts';
import { type Bucket, createBucket, sliceChunks } from './store.ts';
import { uploadsHandlers } from './uploads.ts';
import { element, xmlDocument } from './xml.ts';

export interface Settings {
  readonly buckets: Map<string, Bucket>;
  readonly keepBytes: number;
  partLimit: number;
  forbidDelete: boolean;
  clockSkewMs: number;
}

const HANDLERS: Readonly<Record<Operation, Handler>> = { ...bucketsHandlers, ...objectsHandlers, ...uploadsHandlers };

/** Answers one request as its fate will have it. Rejects where the client went away. */
export async function serveCall(call: Call, fate: Fate, settings: Settings, response: ServerResponse): Promise<void> {
  await fate.holdBefore;
  if (fate.delayMs) await sleep(fate.delayMs);
  if (fate.stall || call.request.socket.destroyed) return;
  const refusal = refusalOf(fate);
  if (fate.reset && !fate.performed && call.operation !== 'GetObject') return await resetMidway(call.request, fate);
  const answer = refusal && !fate.performed ? await refuse(call.request, refusal) : await perform(call, fate, settings);
  await fate.holdAfter;
  if (fate.reset && answer.chunks === undefined) return void call.request.socket.resetAndDestroy();
  await send(response, refusal ? describeError(refusal) : answer, fate);
}

/** What S3 answers where a request fits no operation. */
export async function serveUnknown(request: IncomingMessage, response: ServerResponse): Promise<void> {
  await send(response, await refuse(request, new S3Error(501, 'NotImplemented', 'Not implemented')), {});
}

async function perform(
  call: Call,
  fate: Fate,
  { buckets, keepBytes, partLimit, forbidDelete, clockSkewMs }: Settings,
): Promise<Answer> {
  try {
    const bucket = buckets.get(call.bucket);
    if (!bucket && call.operation !== 'CreateBucket' && call.operation !== 'ListBuckets') throw noSuchBucket();
    const read = () => readContent(call.request, { keepBytes });
    const bend = (content: Content) => bendContent(content, fate);
    const { listing } = fate;
    const context: Context = {
      call,
      buckets,
      bucket: bucket ?? createBucket(),
      partLimit,
      forbidDelete,
      clockSkewMs,
      listing,
      read,
      bend,
    };
    return await HANDLERS[call.operation](context);
  } catch (error) {
    if (error instanceof S3Error) return await refuse(call.request, error);
    throw error;
  }
}

function bendContent(content: Content, { corrupt, shorten }: Fate): Content {
  const first = corrupt ? corruptContent(content) : content;
  return shorten ? shortenContent(first) : first;
}

/** What S3 calls a status when a fault does not say. */
const CODES: Readonly<Record<number, string>> = {
  403: 'AccessDenied',
  404: 'NoSuchKey',
  429: 'TooManyRequests',
  503: 'SlowDown',
};

function refusalOf({ status, code, performed }: Fate): S3Error | undefined {
  if (status === undefined && code === undefined) return undefined;
  const name = code ?? CODES[status ?? 500] ?? 'InternalError';
  return new S3Error(status ?? 500, name, performed ? 'Refused by a fault, but done' : 'Refused by a fault');
}

/** Reads what is left of the request, so that the client listens to the answer. */
async function refuse(request: IncomingMessage, error: S3Error): Promise<Answer> {
  request.removeAllListeners('data').resume();
  if (!request.readableEnded && !request.destroyed) await Promise.race([once(request, 'end'), once(request, 'close')]);
  return describeError(error);
}

function describeError({ status, code, message }: S3Error): Answer {
  return { status, xml: element('Error', element('Code', code), element('Message', message)) };
}

async function resetMidway(request: IncomingMessage, { afterBytes = 0 }: Partial<Fate>): Promise<void> {
  let bytes = 0;
  if (afterBytes > 0) {
    for await (const chunk of request) {
      bytes += chunk.length;
      if (bytes >= afterBytes) break;
    }
  }
  request.socket.resetAndDestroy();
}

async function send(response: ServerResponse, answer: Answer, fate: Partial<Fate>): Promise<void> {
  const body = bodyOf(answer, fate);
  const bytes = body.reduce((sum, chunk) => sum + chunk.length, 0);
  const type = answer.xml && { 'content-type': 'application/xml' };
  const headers = { 'x-amz-request-id': 'TEST', 'content-length': bytes, ...type, ...answer.headers };
  response.writeHead(answer.status, headers);
  if (response.req.method === 'HEAD') return void response.end();
  if (!fate.reset) return await pipeline(Readable.from(body), response);
  for (const chunk of sliceChunks(body, 0, fate.afterBytes ?? 0)) response.write(chunk);
  response.flushHeaders();
  await sleep(50); // what was written is on its way
  response.socket?.resetAndDestroy();
}

function bodyOf({ xml, chunks }: Answer, { corrupt, listing }: Partial<Fate>): readonly Buffer[] {
  if (chunks) return corrupt ? (corruptContent({ bytes: 0, md5: '', chunks }).chunks ?? []) : chunks;
  const text = xml ? xmlDocument(xml) : '';
  return [Buffer.from(listing === 'cut' ? text.slice(0, text.length >> 1) : text)];
}
