import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DumpError } from '../src/core/errors.ts';
import { createRedactor } from '../src/core/redact.ts';
import { createLogger, type Logger, type LoggerOptions } from '../src/logger.ts';

const NOW = new Date('2026-02-07T02:00:00.123Z');

function logLines(log: (logger: Logger) => void, options: Partial<LoggerOptions> = {}): string[] {
  const lines: string[] = [];
  log(
    createLogger({
      level: 'info',
      format: 'json',
      write: (line) => void lines.push(line),
      redact: (text) => text,
      clock: { now: () => NOW },
      ...options,
    }),
  );
  return lines;
}

const logJson = (log: (logger: Logger) => void, options: Partial<LoggerOptions> = {}): unknown[] =>
  logLines(log, options).map((line) => JSON.parse(line));

describe('JSON lines', () => {
  test('carry timestamp, level as a word, message and fields, and nothing else', () => {
    expect(logJson((logger) => logger.warn('disk is filling', { bytes: 12 }))).toEqual([
      { timestamp: '2026-02-07T02:00:00.123Z', level: 'warn', message: 'disk is filling', bytes: 12 },
    ]);
  });

  test('carry the fields of the loggers above them, the nearest winning', () => {
    const lines = logJson((logger) => {
      const run = logger.child({ run: 'r1', engine: 'pg' });
      run.child({ engine: 'sqlite', backup_id: 'b1' }).info('done', { duration: 1.5 });
      run.info('still here');
    });
    expect(lines).toMatchObject([
      { run: 'r1', engine: 'sqlite', backup_id: 'b1', duration: 1.5 },
      { run: 'r1', engine: 'pg', message: 'still here' },
    ]);
    expect(lines[1]).not.toHaveProperty('backup_id');
  });

  test('are left out below the level', () => {
    const all = (logger: Logger) => {
      logger.debug('d');
      logger.info('i');
      logger.warn('w');
      logger.error('e');
    };
    expect(logJson(all, { level: 'warn' })).toMatchObject([{ level: 'warn' }, { level: 'error' }]);
    expect(logJson(all, { level: 'debug' })).toHaveLength(4);
  });

  test('say an error with its causes', () => {
    const error = new DumpError('dump failed', { cause: new Error('pg_dump exited 1') });
    expect(logJson((logger) => logger.error('no backup', { error }))).toMatchObject([
      { error: 'dump failed: pg_dump exited 1' },
    ]);
  });

  test('give back any message and value as they were: percent signs are no format', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.jsonValue(), (message, value) => {
        const lines = logJson((logger) => logger.info(`%s %d ${message}`, { value }));
        expect(lines).toEqual([
          expect.objectContaining({ message: `%s %d ${message}`, value: JSON.parse(JSON.stringify(value)) }),
        ]);
      }),
    );
  });
});

describe('text lines', () => {
  const logText = (log: (logger: Logger) => void) => logLines(log, { format: 'text' });

  test('are made to be read', () => {
    expect(
      logText((logger) => logger.child({ engine: 'pg' }).info('committed', { database: 'my db', bytes: 5 })),
    ).toEqual(['2026-02-07 02:00:00Z INFO  committed  engine=pg  database="my db"  bytes=5\n']);
    expect(logText((logger) => logger.error('no backup'))).toEqual(['2026-02-07 02:00:00Z ERROR no backup\n']);
  });

  test('are one line each and hold nothing that a terminal obeys', () => {
    expect(logText((logger) => logger.warn('a\r\n  b\u001b[31mred\n', { x: 'c\nd\u009b' }))).toEqual([
      '2026-02-07 02:00:00Z WARN  a | b\\u{1b}[31mred  x="c\\nd\\u{9b}"\n',
    ]);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (message, x) => {
        const [line] = logText((logger) => logger.info(message, { x }));
        expect(line).toMatch(/^[^\p{Cc}\u2028\u2029]*\n$/u);
      }),
    );
  });
});

describe.each(['json', 'text'] as const)('%s lines', (format) => {
  test('F33: hold no secret, in message, fields, children or errors', () => {
    const secret = 'canary "1"/\\';
    const redact = createRedactor([secret]);
    const lines = logLines(
      (logger) => {
        const child = logger.child({ database: secret });
        child.info(`login with ${secret} failed`, { list: [secret, { deep: `x${secret}y` }] });
        child.error('failed', { error: new DumpError(`why ${secret}`, { cause: new Error(secret) }) });
        child.warn(`base64 ${Buffer.from(secret).toString('base64')} uri ${encodeURIComponent(secret)}`);
      },
      { format, redact },
    );
    expect(lines).toHaveLength(3);
    expect(lines.join('')).not.toMatch(/canary|Y2FuYXJ5/);
    if (format === 'json') for (const line of lines) expect(() => JSON.parse(line)).not.toThrow();
  });
});

test('a secret that looks like JSON leaves the lines JSON', () => {
  const redact = createRedactor(['","message":"', '"}\n', 'level']);
  expect(logJson((logger) => logger.info('x","message":"y level'), { redact })).toMatchObject([
    { level: 'info', message: 'x***y ***' },
  ]);
});

/** A process that logs to its standard error. */
const loggingScript = (body: string): string => `
  const { createLogger, openStderr } = await import(${JSON.stringify(new URL('../src/logger.ts', import.meta.url).href)});
  const clock = { now: () => new Date(0) };
  const logger = createLogger({ level: 'info', format: 'text', write: openStderr(), redact: (text) => text, clock });
  ${body}`;

test('everything is written to standard error before the process exits, and nothing to standard output', () => {
  const script = loggingScript("for (let i = 0; i < 5000; i++) logger.info('line ' + i); process.exit(7);");
  const options = { encoding: 'utf8', maxBuffer: 10_000_000 } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], options);
  expect({ status, stdout }).toEqual({ status: 7, stdout: '' });
  expect(stderr.split('\n')).toHaveLength(5001);
});

test('a reader of standard error that went away ends the log, not the process', async () => {
  const script = loggingScript(`
    for (let i = 0; i < 50; i++) {
      logger.info('x'.repeat(10_000));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    console.log('alive');`);
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stderr.once('data', () => child.stderr.destroy());
  const [stdout, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  expect({ stdout, code }).toEqual({ stdout: 'alive\n', code: 0 });
});
