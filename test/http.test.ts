import { writeFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createState } from '../src/core/memory.ts';
import { createAnswers } from '../src/http/answers.ts';
import { startServer } from '../src/http/server.ts';
import type { Logger } from '../src/logger.ts';
import { type Endpoints, NEVER, openEndpoints, openStage, stop, waitForTimes } from './support/daemons.ts';
import { runDbstash, startDbstash } from './support/dbstash.ts';
import { createGates } from './support/gates.ts';
import { freePort, waitFor } from './support/scratch.ts';
import { createFacts } from './support/states.ts';

const TIMEOUT = { timeout: 120_000 };

async function openDaemon(more: Record<string, string> = {}) {
  await using opening = new AsyncDisposableStack();
  const stage = opening.use(await openStage('local', { BACKUP_SCHEDULE: NEVER }));
  const endpoints = await openEndpoints();
  const daemon = opening.use(startDbstash([], { ...stage.env, ...endpoints.env, ...more }, { timeoutMs: 120_000 }));
  await endpoints.get('/livez');
  const opened = opening.move();
  return { stage, endpoints, daemon, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** A client that says what it is told to, and keeps what it hears. */
function connect(port: number, text = ''): { socket: Socket; heard: () => string; closed: Promise<void> } {
  let heard = '';
  const socket = createConnection({ port, host: '127.0.0.1' });
  const closed = new Promise<void>((resolve) => void socket.once('close', () => resolve()));
  socket.on('error', () => {});
  socket.on('data', (part) => {
    heard += part.toString('latin1');
  });
  if (text !== '') socket.write(text);
  return { socket, heard: () => heard, closed };
}

const REQUEST = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n';

/** That it answers others, and soon. */
async function expectAlive({ get }: Endpoints): Promise<void> {
  const startedAt = performance.now();
  expect(await get('/healthz')).toMatchObject({ status: 200 });
  expect(performance.now() - startedAt).toBeLessThan(10_000);
}

describe.concurrent('the HTTP server', () => {
  it('answers what there is, to GET and HEAD alone, and lets nobody keep or frame it', TIMEOUT, async () => {
    await using opened = await openDaemon();
    const { get } = opened.endpoints;
    for (const path of ['/livez', '/healthz']) {
      const answer = await get(`${path}?probe=1`);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toBe('application/json');
      expect(JSON.parse(answer.text)).toMatchObject({ version: expect.any(String) });
    }
    const head = await get('/healthz', { method: 'HEAD' });
    expect(head).toMatchObject({ status: 200, text: '' });
    expect(Number(head.headers.get('content-length'))).toBeGreaterThan(10);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const refused = await get('/healthz', { method });
      expect(refused.status, method).toBe(405);
      expect(refused.headers.get('allow')).toBe('GET, HEAD');
    }
    for (const path of ['/health', '/healthz/', '/../etc/passwd', '/constructor', '/__proto__'])
      expect((await get(path)).status, path).toBe(404);
    const page = await get('/');
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'none';.*frame-ancestors 'none'/);
    expect((await get('/metrics')).headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    for (const path of ['/', '/metrics', '/healthz', '/nothing']) {
      const { headers } = await get(path);
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('server') ?? headers.get('x-powered-by')).toBeNull();
    }
    expect(await stop(opened.daemon)).toMatchObject({ exitCode: 0 });
  });

  it('ends with a sentence, before anything is done, where its port is taken', TIMEOUT, async () => {
    await using opened = await openDaemon();
    const { exitCode, stderr } = await runDbstash([], {
      ...opened.stage.env,
      ...opened.endpoints.env,
      BACKUP_ON_START: 'true',
    });
    expect(exitCode).toBe(2);
    expect(stderr.trim()).toBe(
      `dbstash: HEALTH_PORT: port ${opened.endpoints.port} is taken by another program; right is a free one, or 0 for no server`,
    );
    expect((await opened.stage.remote.list()).size).toBe(0);
  });

  it('is not there for a single run, whose port may be taken', TIMEOUT, async () => {
    await using opened = await openDaemon();
    const env = { ...opened.stage.env, ...opened.endpoints.env };
    expect(await runDbstash(['backup'], env)).toMatchObject({ exitCode: 0 });
    expect(await runDbstash([], { ...env, BACKUP_SCHEDULE: 'once' })).toMatchObject({ exitCode: 0 });
  });

  it('listens where HEALTH_HOST says, and says so where that is not here', TIMEOUT, async () => {
    await using opened = await openDaemon({ HEALTH_HOST: '127.0.0.1' });
    const other = createConnection({ port: opened.endpoints.port, host: '127.0.0.2' });
    const error = await new Promise<Error>((resolve) =>
      other.once('error', resolve).once('connect', () => resolve(new Error('it answers'))),
    );
    expect(error.message).toContain('ECONNREFUSED');
    const port = String(await freePort());
    const { exitCode, stderr } = await runDbstash([], {
      ...opened.stage.env,
      HEALTH_PORT: port,
      HEALTH_HOST: '192.0.2.1',
    });
    expect({ exitCode, stderr }).toEqual({
      exitCode: 2,
      stderr:
        'dbstash: HEALTH_HOST: 192.0.2.1 is no address of this machine; right is one that it has, 0.0.0.0 or ::\n',
    });
  });

  it('listens on 0.0.0.0 where there is no IPv6', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: NEVER });
    const endpoints = await openEndpoints();
    const preload = join(stage.home.path, 'preload.mjs');
    writeFileSync(
      preload,
      `import { Server } from 'node:net';
      const { listen } = Server.prototype;
      Server.prototype.listen = function (options, ...rest) {
        if (options.host !== '::') return listen.call(this, options, ...rest);
        const error = Object.assign(new Error('listen EAFNOSUPPORT'), { code: 'EAFNOSUPPORT' });
        process.nextTick(() => this.emit('error', error));
        return this;
      };`,
    );
    await using daemon = startDbstash([], { ...stage.env, ...endpoints.env, NODE_OPTIONS: `--import=${preload}` });
    expect((await endpoints.get('/livez')).status).toBe(200);
    expect(await stop(daemon)).toMatchObject({ exitCode: 0 });
  });

  it('ends at once with the daemon, whoever is connected', TIMEOUT, async () => {
    await using opened = await openDaemon();
    const clients = Array.from({ length: 20 }, () => connect(opened.endpoints.port, 'GET /healthz HTTP/1.1\r\nHost'));
    await waitFor(() => clients.every(({ socket }) => !socket.connecting));
    const startedAt = performance.now();
    expect(await stop(opened.daemon)).toMatchObject({ exitCode: 0 });
    expect(performance.now() - startedAt).toBeLessThan(7000);
    await Promise.all(clients.map(({ closed }) => closed));
  });
});

describe('F38: slow and hostile HTTP clients', () => {
  it('hold up neither others nor the backup that is being made, and are cut off', TIMEOUT, async () => {
    await using stage = await openStage('local', { BACKUP_SCHEDULE: NEVER, BACKUP_ON_START: 'true' });
    const endpoints = await openEndpoints();
    const gates = createGates(stage.home, { dump: stage.database, rclone: { call: 'rcat*.sql.partial*' } });
    await using daemon = startDbstash([], { ...stage.env, ...endpoints.env, PATH: gates.path }, { timeoutMs: 120_000 });
    await gates.arrived('call');
    const slow = Array.from({ length: 300 }, () =>
      connect(endpoints.port, 'GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: '),
    );
    const drip = () => {
      for (const { socket } of slow) if (socket.writable) socket.write('x');
    };
    const dripping = setInterval(drip, 500);
    try {
      await waitFor(() => slow.every(({ socket }) => !socket.connecting), { timeoutMs: 30_000 });
      for (let n = 0; n < 5; n++) await expectAlive(endpoints);
      gates.open('call');
      await waitForTimes(daemon, /^run succeeded/, 1);
      const gone = waitFor(() => slow.every(({ socket }) => socket.closed), {
        timeoutMs: 30_000,
        title: 'all are cut off',
      });
      await gone;
    } finally {
      clearInterval(dripping);
      for (const { socket } of slow) socket.destroy();
    }
    await expectAlive(endpoints);
    expect(await stop(daemon)).toMatchObject({ exitCode: 0 });
    await gates.drain();
  });

  it('get one answer to a connection, however much they ask, and nothing for garbage', TIMEOUT, async () => {
    await using opened = await openDaemon();
    const { port } = opened.endpoints;
    const say = async (text: string) => {
      const client = connect(port, text);
      await client.closed;
      return client.heard();
    };
    const many = await say(REQUEST.repeat(20_000));
    expect(many.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(1);
    expect(await say(`GET / HTTP/1.1\r\nHost: x\r\nX-Huge: ${'x'.repeat(100_000)}\r\n\r\n`)).toMatch(
      /^(HTTP\/1\.1 431 |$)/,
    );
    expect(await say('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not http\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
    expect(await say('GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n')).toMatch(/^HTTP\/1\.1 404 /);
    expect(await say('CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n')).not.toMatch(/ 200 /);
    expect(await say('GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')).toMatch(
      /^HTTP\/1\.1 /,
    );
    expect(
      await say('GET /livez HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n'),
    ).not.toContain('100 Continue');
    await expectAlive(opened.endpoints);
    expect(await stop(opened.daemon)).toMatchObject({ exitCode: 0 });
  });

  it('have no body read, and no answer kept for them', TIMEOUT, async () => {
    await using opened = await openDaemon();
    const { port } = opened.endpoints;
    const pushy = connect(port, 'POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\n');
    let sent = 0;
    const push = () => {
      while (pushy.socket.writable && pushy.socket.write('x'.repeat(64 * 1024))) sent += 64 * 1024;
    };
    pushy.socket.on('drain', push).once('connect', push);
    await pushy.closed;
    expect(sent).toBeLessThan(50 * 1024 * 1024);
    const deaf = Array.from({ length: 50 }, () => connect(port, REQUEST.replace('/healthz', '/')));
    for (const { socket } of deaf) socket.pause();
    await expectAlive(opened.endpoints);
    for (const { socket } of deaf) socket.destroy();
    expect(await stop(opened.daemon)).toMatchObject({ exitCode: 0 });
  });

  it('send the oldest connection away, and never the newest', TIMEOUT, async () => {
    await using opened = await openDaemon();
    const held = Array.from({ length: 150 }, () => connect(opened.endpoints.port));
    await waitFor(() => held.filter(({ socket }) => socket.closed).length >= 50, { timeoutMs: 4000 });
    expect(held.at(-1)?.socket.closed).toBe(false);
    await expectAlive(opened.endpoints);
    for (const { socket } of held) socket.destroy();
    await stop(opened.daemon);
  });
});

describe('answers', () => {
  const lines: string[] = [];
  const logger = { error: (line: string) => void lines.push(line), debug: () => {} } as unknown as Logger;
  const state = createState(createFacts(), ['/backup']);

  it('F38: are not even looked for where a connection has had its one', async () => {
    let asked = 0;
    const read = () => {
      asked += 1;
      return { state, now: new Date() };
    };
    const port = await freePort();
    const { signal } = new AbortController();
    await using _server = await startServer({ port, host: '127.0.0.1', logger, signal, read });
    const client = connect(port, REQUEST.replace('/healthz', '/livez').repeat(20_000));
    await client.closed;
    expect(client.heard()).toMatch(/^HTTP\/1\.1 200 OK/);
    expect(asked).toBe(1);
  });

  it('are 500 and a line in the log where something throws', async () => {
    const broken = {
      ...state,
      facts: {
        ...state.facts,
        previousDue: () => {
          throw new Error('a fault of ours');
        },
      },
    };
    const answer = createAnswers(() => ({ state: broken, now: new Date() }), logger);
    expect(await answer('GET', '/healthz')).toMatchObject({ status: 500 });
    expect(lines).toEqual(['/healthz could not be answered: a fault of ours']);
    expect((await answer('GET', '/livez')).status).toBe(200);
  });

  it('are made anew when something changed, or a second is over', async () => {
    let now = new Date('2026-02-01T13:00:00Z');
    let known = state;
    const answer = createAnswers(() => ({ state: known, now }), logger);
    const first = await answer('GET', '/healthz');
    expect(await answer('HEAD', '/healthz?x')).toBe(first);
    known = { ...state };
    const second = await answer('GET', '/healthz');
    expect(second).not.toBe(first);
    now = new Date('2026-02-01T13:00:01Z');
    const third = await answer('GET', '/healthz');
    expect(third).not.toBe(second);
    now = new Date('2026-02-01T12:00:00Z');
    expect(await answer('GET', '/healthz')).not.toBe(third);
  });
});
