import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Host } from '../src/core/connection.ts';
import { describeHostKey, judgeHostKey, knownTypes, parseKnownHosts } from '../src/core/knownHosts.ts';
import { describeWith } from './support/need.ts';
import { type Scratch, scratchFolder } from './support/scratch.ts';
import { makeKey } from './support/sshd.ts';
import { requireTool } from './support/tools.ts';

const blobOf = (publicKey: string): Buffer => Buffer.from(publicKey.split(' ')[1] ?? '', 'base64');

describeWith(['ssh-keygen'], 'known_hosts', () => {
  let scratch: Scratch;
  let ours: string;
  let other: string;
  let rsa: string;

  beforeAll(() => {
    scratch = scratchFolder();
    const make = (name: string, type: string) => {
      makeKey(join(scratch.path, name), type);
      return readFileSync(join(scratch.path, `${name}.pub`), 'utf8').trim();
    };
    [ours, other, rsa] = [make('ours', 'ed25519'), make('other', 'ed25519'), make('rsa', 'rsa')];
  });
  afterAll(() => scratch?.[Symbol.asyncDispose]());

  const judge = (text: string, host = 'db.example', port = 22) =>
    judgeHostKey(parseKnownHosts(text), { host, port }, blobOf(ours));

  it.each<[hosts: string, at: Host, verdict: string]>([
    ['db.example', { host: 'db.example', port: 22 }, 'known'],
    ['db.example', { host: 'DB.Example', port: 22 }, 'known'],
    ['db.example', { host: 'db.example', port: 2222 }, 'unknown'],
    ['[db.example]:2222', { host: 'db.example', port: 2222 }, 'known'],
    ['[db.example]:2222', { host: 'db.example', port: 22 }, 'unknown'],
    ['other,db.example,192.0.2.7', { host: '192.0.2.7', port: 22 }, 'known'],
    ['*.example', { host: 'db.example', port: 22 }, 'known'],
    ['*.example,!db.example', { host: 'db.example', port: 22 }, 'unknown'],
    ['db?example', { host: 'db.example', port: 22 }, 'known'],
    ['db.example', { host: 'dbxexample', port: 22 }, 'unknown'],
    ['db.example', { host: 'db.example.org', port: 22 }, 'unknown'],
    ['::1', { host: '::1', port: 22 }, 'known'],
    ['[::1]:2222', { host: '::1', port: 2222 }, 'known'],
    ['[::1]:*', { host: '::1', port: 2222 }, 'known'],
  ])('the line of %s is for %j: %s, which is what ssh-keygen -F says', (hosts, { host, port }, verdict) => {
    const text = `# comment\n\n${hosts} ${ours} a comment\r\n`;
    expect(judge(text, host, port)).toBe(verdict);
    const file = join(scratch.path, 'known');
    writeFileSync(file, text);
    const name = port === 22 ? host : `[${host}]:${port}`;
    const find = () =>
      execFileSync(requireTool('ssh-keygen'), ['-F', name.toLowerCase(), '-f', file], { stdio: 'pipe' });
    if (verdict === 'known') expect(find().length).toBeGreaterThan(0);
    else expect(find).toThrow();
  });

  it('a hashed name is found, and its own only', () => {
    const file = join(scratch.path, 'hashed');
    writeFileSync(file, `db.example ${ours}\n[db.example]:2222 ${other}\n`);
    execFileSync(requireTool('ssh-keygen'), ['-q', '-H', '-f', file], { stdio: 'pipe' });
    const text = readFileSync(file, 'utf8');
    expect(text).not.toContain('db.example');
    expect([judge(text), judge(text, 'db.example', 2222), judge(text, 'else.example')]).toEqual([
      'known',
      'other',
      'unknown',
    ]);
  });

  it('one of several keys is enough, another one is told apart from none, and a revoked one is never known', () => {
    expect(judge(`db.example ${rsa}\ndb.example ${other}\ndb.example ${ours}`)).toBe('known');
    expect(judge(`db.example ${rsa}\ndb.example ${other}`)).toBe('other');
    expect(judge(`db.example ${ours}\n@revoked * ${ours}`)).toBe('revoked');
    expect(judge(`@revoked db.example ${other}\ndb.example ${ours}`)).toBe('known');
    expect(judge(`@cert-authority * ${ours}`)).toBe('unknown');
    expect(
      knownTypes(parseKnownHosts(`db.example ${rsa}\n@revoked db.example ${ours}`), { host: 'db.example', port: 22 }),
    ).toEqual(['ssh-rsa']);
  });

  it('a fingerprint is what ssh-keygen -l shows', () => {
    const shown = execFileSync(requireTool('ssh-keygen'), ['-l', '-f', join(scratch.path, 'rsa.pub')], {
      encoding: 'utf8',
    });
    expect(describeHostKey(blobOf(rsa))).toBe(`ssh-rsa ${shown.split(' ')[1]}`);
  });
});

describe('what is no line of known_hosts', () => {
  it.each([
    '',
    '# only a comment',
    'word',
    'host ssh-ed25519',
    'host ssh-ed25519 short',
    '-----BEGIN KEY-----',
    '@revoked',
  ])('%j is left out', (text) => {
    expect(parseKnownHosts(text)).toEqual([]);
  });
});
