import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { expect, it } from 'vitest';
import { startProgram } from './dbstash.ts';
import { fakeTools } from './fakeTool.ts';
import { scratchFolder } from './scratch.ts';

const SAYS_ITS_ENVIRONMENT = `
console.log(JSON.stringify({ level: 'info', message: 'environment', names: Object.keys(process.env).sort() }));
console.error('not JSON');
console.log('[{"level":"info","message":"an answer, not the log"}]');
process.exit(3);`;

const RUNS_UNTIL_SIGTERM = `
process.on('SIGTERM', () => { console.error(JSON.stringify({ level: 'warn', message: 'stopping' })); process.exit(143); });
console.error(JSON.stringify({ level: 'info', message: 'started' }));
setInterval(() => {}, 1000);`;

it('a program sees only what it was given, and its log lines are told from the rest', async () => {
  const run = await startProgram(['-e', SAYS_ITS_ENVIRONMENT], { GIVEN: 'yes', NOT: undefined }).exited;
  expect(run).toMatchObject({ exitCode: 3, signal: null, stderr: 'not JSON\n' });
  expect(run.lines).toEqual([{ level: 'info', message: 'environment', names: ['GIVEN', 'HOME', 'PATH', 'TMPDIR'] }]);
});

it('a program can be waited for, signalled, and is killed at the end', async () => {
  const program = startProgram(['-e', RUNS_UNTIL_SIGTERM], {});
  expect(await program.waitForLog(/started/)).toContain('"level":"info"');
  program.kill('SIGTERM');
  expect(await program.waitForLog(/stopping/)).toContain('"level":"warn"');
  expect(await program.exited).toMatchObject({ exitCode: 143 });
  await expect(program.waitForLog(/never said/)).rejects.toThrow('never said');

  const left = startProgram(['-e', RUNS_UNTIL_SIGTERM], {});
  await left.waitForLog(/started/);
  await left[Symbol.asyncDispose]();
  expect(await left.exited).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
});

it('a program that runs too long is killed and said to have', async () => {
  await expect(startProgram(['-e', RUNS_UNTIL_SIGTERM], {}, { timeoutMs: 300 }).exited).rejects.toThrow(
    'more than 300 ms',
  );
});

it('fake tools are found on PATH, and gone with their scratch folder', async () => {
  let folder = '';
  {
    await using scratch = scratchFolder();
    folder = fakeTools(scratch, { pg_dump: 'echo "fake $1"; exit 7', other: '#!/bin/cat\n' });
    const env = { PATH: `${folder}:${process.env.PATH}` };
    expect(execFileSync('sh', ['-c', 'pg_dump --version; echo $?; other'], { env }).toString()).toBe(
      'fake --version\n7\n#!/bin/cat\n',
    );
  }
  expect(existsSync(folder)).toBe(false);
});
