import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { variables } from '../src/config/variables.ts';
import { fakePath } from './support/backups.ts';
import { type Canary, canaryOf, createCanary, findCanaries, obscureText } from './support/canaries.ts';
import { readCommandLines } from './support/commandLines.ts';
import { type DbstashProcess, startDbstash } from './support/dbstash.ts';
import { type MailServer, startMailServer } from './support/mailServer.ts';
import { describeWith } from './support/need.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { type S3Server, startS3 } from './support/s3.ts';
import { freePort, type Scratch, scratchFolder } from './support/scratch.ts';
import { requireTool } from './support/tools.ts';

type Env = Record<string, string>;

const TIMEOUT = { timeout: 400_000 };
const TOOLS = ['initdb', 'postgres', 'psql', 'pg_dump', 'age-keygen', 'ssh-keygen', 'rclone'];

/** Variables that are secret, or may hold one. Of public lines there is nothing to hide. */
const SENSITIVE = variables.filter(({ secret, mask }) => secret || (mask !== undefined && mask !== 'lines'));

/** What a tool may do that fails: it prints all that it was given, in whatever form. */
const TELL_ALL = `tell() { env; for word in "$@"; do echo "$word"; done; cat "$PGPASSFILE" "$RCLONE_CONFIG" 2>/dev/null; }
previous= ; for word in "$@"; do [ "$previous" = --config ] && RCLONE_CONFIG=$word; previous=$word; done
{ tell "$@"; tell "$@" | base64 -w0; echo; tell "$@" | sed 's/%/%25/g; s/ /%20/g; s/"/%22/g'; tell "$@" | sed 's/[\\\\"]/\\\\&/g'; } >&2`;

describeWith(TOOLS, 'F32, F33: no secret', () => {
  let home: Scratch;
  let postgres: PostgresServer;
  let s3: S3Server;
  let receiver: Receiver;
  let mail: MailServer;
  let port: number;
  const canaries: Record<string, Canary> = {};
  /** By the name of the variable. */
  const values: Record<string, string> = {};
  const add = (name: string, canary: Canary, value = canary.text) => {
    canaries[name] = canary;
    values[name] = value;
    return canary;
  };

  beforeAll(async () => {
    home = scratchFolder();
    s3 = await startS3();
    receiver = await startReceiver();
    port = await freePort();
    const login = add('DB_URI', createCanary());
    postgres = await startPostgres({ password: login.text });
    await postgres.createDatabase('shop');
    await postgres.sql('CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 50000) i', {
      database: 'shop',
    });
    values.DB_URI = postgres.uri('shop');
    for (const { name, secret } of SENSITIVE) if (secret) add(name, createCanary());
    const inUrl = (name: string, make: (text: string) => string) =>
      add(name, canaries[name] ?? createCanary(), make(encodeURIComponent((canaries[name] ?? createCanary()).text)));
    inUrl('RESTORE_DB_URI', (text) => `postgres://app:${text}@127.0.0.1:1/shop`);
    inUrl('VERIFY_DB_URI', (text) => `postgres://app:${text}@127.0.0.1:1/postgres`);
    inUrl('PING_URL', (text) => `${receiver.origin}/ping/${text}`);
    inUrl('NOTIFY_WEBHOOK_URL', (text) => `${receiver.origin}/hook/${text}?token=${text},http://127.0.0.1:1/${text}`);
    mail = await startMailServer({ password: canaries.SMTP_URL!.text });
    inUrl('SMTP_URL', (text) => `smtp://me:${text}@127.0.0.1:${mail.port}`);
    for (const index of ['', '_2', '_3', '_4', '_5', '_6', '_7', '_8', '_9']) {
      const name = `RCLONE_REMOTE${index}`;
      const { text } = add(name, createCanary());
      values[name] =
        `:s3,provider=Other,endpoint="${s3.endpoint}",access_key_id=key,secret_access_key="${text.replaceAll('"', '""')}",region=us-east-1,force_path_style=true:bucket/backups${index}`;
    }
    const inFile = canaries.RCLONE_CONFIG!;
    const obscured = add('RCLONE_CONFIG (obscured)', createCanary());
    values.RCLONE_CONFIG = Buffer.from(
      `[far]\ntype = s3\nsecret_access_key = ${inFile.text}\n[hidden]\ntype = crypt\nremote = far:x\npassword = ${obscureText(obscured.text)}\n`,
    ).toString('base64');
    const hidden = add('RCLONE_CONFIG_NEAR_PASS', createCanary());
    values.RCLONE_CONFIG_NEAR_PASS = obscureText(hidden.text);
    add('AWS_SECRET_ACCESS_KEY', createCanary());
    add('PGSSLPASSWORD', createCanary());
    add('RCLONE_EXTRA_ARGS', createCanary('%/+ü='), `--s3-secret-access-key=${'x'}`);
    values.RCLONE_EXTRA_ARGS = `--s3-secret-access-key='${canaries.RCLONE_EXTRA_ARGS!.text}'`;
    add('DUMP_EXTRA_ARGS', createCanary('%/+ü='));
    values.DUMP_EXTRA_ARGS = `--dbname='postgres://u:${canaries.DUMP_EXTRA_ARGS!.text}@h/d' --password=${canaries.DUMP_EXTRA_ARGS!.text}`;
    add('DECRYPT_IDENTITY', canaryOf(execFileSync(requireTool('age-keygen'), { stdio: 'pipe' }).toString()));
    canaries.DECRYPT_IDENTITY = canaryOf(values.DECRYPT_IDENTITY!.match(/AGE-SECRET-KEY-\w+/)![0]);
    const key = join(home.path, 'key');
    const words = ['-q', '-t', 'ed25519', '-N', canaries.SSH_KEY_PASSPHRASE!.text, '-f', key];
    execFileSync(requireTool('ssh-keygen'), words);
    add('SSH_KEY', canaryOf(readFileSync(key, 'utf8')));
  }, 120_000);

  afterAll(async () => {
    await postgres?.stop();
    await s3?.stop();
    await receiver?.[Symbol.asyncDispose]();
    await mail?.[Symbol.asyncDispose]();
    await home?.[Symbol.asyncDispose]();
  });

  const pick = (...names: string[]): Env => Object.fromEntries(names.map((name) => [name, values[name]!]));
  const SPECIAL = /^(SSH_KEY|SSH_KEY_PASSPHRASE|.*_EXTRA_ARGS|RCLONE_REMOTE_[3-9]|RCLONE_CONFIG \(.*)$/;
  /** All that go together in a run that succeeds. */
  const common = (): Env => ({
    ...pick(...Object.keys(values).filter((name) => !SPECIAL.test(name))),
    NOTIFY_EMAIL_TO: 'ops@example.com',
    NOTIFY_EMAIL_FROM: 'robot@example.com',
    NOTIFY_ON: 'always',
    LOG_LEVEL: 'debug',
    HEALTH_PORT: '0',
    BACKUP_TEMP_DIR: join(home.path, 'tmp'),
    BACKUP_SCHEDULE: '0 0 1 1 *',
    BACKUP_SERIES: 'shop',
  });
  const tunnel = (): Env => ({
    ...pick('SSH_KEY', 'SSH_KEY_PASSPHRASE'),
    SSH_HOST: '127.0.0.1',
    SSH_PORT: '1',
    SSH_USER: 'app',
    SSH_KNOWN_HOSTS: `127.0.0.1 ${readFileSync(join(home.path, 'key.pub'), 'utf8')}`,
  });

  interface Scenario {
    readonly title: string;
    readonly args: readonly string[];
    readonly more?: () => Env;
    /** That it went as it was meant to. */
    readonly exitCode: number;
    readonly drive?: (program: DbstashProcess, seen: Seen) => Promise<void>;
  }

  const stopAfter = (pattern: RegExp) => async (program: DbstashProcess) => {
    await program.waitForLog(pattern, 60_000);
    program.kill('SIGTERM');
  };

  const SCENARIOS: readonly Scenario[] = [
    { title: 'backup', args: ['backup', '--json'], exitCode: 0 },
    { title: 'backup, as text', args: ['backup'], more: () => ({ LOG_FORMAT: 'text' }), exitCode: 0 },
    {
      title: 'backup to all remotes',
      args: ['backup', '--json'],
      more: () => pick(...Object.keys(values).filter((name) => /^RCLONE_REMOTE_[3-9]$/.test(name))),
      exitCode: 0,
    },
    {
      title: 'a dump that tells all and fails',
      args: ['backup', '--json'],
      more: () =>
        fakePath(home, { pg_dump: `[ "$1" = --version ] && exec ${requireTool('pg_dump')} "$@"\n${TELL_ALL}\nexit 1` }),
      exitCode: 1,
    },
    {
      title: 'an rclone that tells all and fails',
      args: ['backup', '--json'],
      more: () =>
        fakePath(home, { rclone: `case "$1" in rcat) ${TELL_ALL}\nexit 1;; esac; exec ${requireTool('rclone')} "$@"` }),
      exitCode: 3,
    },
    {
      title: 'a hook that tells all and fails',
      args: ['backup', '--json'],
      more: () => ({ HOOK_PRE_BACKUP: 'env; env | base64 -w0; echo; env | sed "s/%/%25/g; s/ /%20/g" >&2; exit 1' }),
      exitCode: 1,
    },
    {
      title: 'a wrong password',
      args: ['backup', '--json'],
      more: () => ({
        DB_URI: values.DB_URI!.replace(/:[^:@]*@/, `:${encodeURIComponent(canaries.DB_PASSWORD!.text)}@`),
      }),
      exitCode: 1,
    },
    { title: 'a tunnel that is not there', args: ['backup', '--json'], more: tunnel, exitCode: 1 },
    {
      title: 'a wrong configuration',
      args: ['backup'],
      more: () => pick('RCLONE_EXTRA_ARGS', 'DUMP_EXTRA_ARGS'),
      exitCode: 2,
    },
    { title: 'list', args: ['list', '--json', '--all'], exitCode: 0 },
    { title: 'list, as text', args: ['list', '--all'], exitCode: 0 },
    { title: 'check', args: ['check'], exitCode: 0 },
    { title: 'check --json', args: ['check', '--json'], exitCode: 0 },
    { title: 'config', args: ['config'], more: tunnel, exitCode: 0 },
    {
      title: 'config --json',
      args: ['config', '--json'],
      more: () => pick('RCLONE_EXTRA_ARGS', 'DUMP_EXTRA_ARGS'),
      exitCode: 2,
    },
    { title: 'dry run', args: ['backup', '--dry-run'], exitCode: 0 },
    { title: 'dry run --json', args: ['backup', '--dry-run', '--json'], exitCode: 0 },
    { title: 'prune', args: ['prune', '--dry-run', '--json'], exitCode: 0 },
    { title: 'a drill that fails', args: ['verify', '--level', 'restore'], exitCode: 1 },
    { title: 'a test of all channels', args: ['notify-test'], exitCode: 1 },
    { title: 'a restore that fails', args: ['restore', 'latest'], exitCode: 1 },
    {
      title: 'start',
      args: ['start'],
      more: () => ({ BACKUP_ON_START: 'true', LOG_FORMAT: 'text' }),
      exitCode: 0,
      drive: stopAfter(/run succeeded/),
    },
    {
      title: 'the endpoints of a daemon whose run failed',
      args: ['start'],
      more: () => ({
        BACKUP_ON_START: 'true',
        HEALTH_PORT: `${port}`,
        ...fakePath(home, {
          pg_dump: `[ "$1" = --version ] && exec ${requireTool('pg_dump')} "$@"\n${TELL_ALL}\nexit 1`,
        }),
      }),
      exitCode: 0,
      drive: async (program, seen) => {
        await program.waitForLog(/run failed/, 60_000);
        for (const path of ['/', '/metrics', '/healthz', '/readyz', '/livez']) {
          const answer = await fetch(`http://127.0.0.1:${port}${path}`);
          seen.endpoints.set(path, await answer.text());
        }
        program.kill('SIGTERM');
      },
    },
  ];

  /** All that can be read of one scenario, by name. What else the program says to somebody is one more line. */
  const OUTPUTS: readonly (readonly [name: string, read: (seen: Seen) => string | readonly string[]])[] = [
    ['standard output', ({ stdout }) => stdout],
    ['the log', ({ stderr }) => stderr],
    ['command lines', ({ commandLines }) => [...commandLines]],
    ['records on the remotes', ({ records }) => [...records.values()]],
    ['names on the remotes', ({ records }) => [...records.keys()]],
    ['files that others can read', ({ exposed }) => [...exposed.values()]],
    ['endpoints', ({ endpoints }) => [...endpoints.values()]],
    // Where they go to is what may be secret; what they say is not.
    ['messages', () => receiver.received.map(({ body, headers }) => `${JSON.stringify(headers)} ${body}`)],
    ['mails', () => mail.mails.map(({ text }) => text)],
  ];

  interface Seen {
    stdout: string;
    stderr: string;
    readonly commandLines: Set<string>;
    readonly records: Map<string, string>;
    readonly exposed: Map<string, string>;
    readonly endpoints: Map<string, string>;
    /** Private files in which a secret stood, as it should. */
    readonly kept: Set<string>;
  }

  function look(folder: string, seen: Seen): void {
    for (const line of readCommandLines()) seen.commandLines.add(line);
    for (const [key, { body }] of s3.objects()) if (/\.json$/.test(key)) seen.records.set(key, body.toString());
    for (const path of filesBelow(folder)) {
      try {
        const { mode, size } = statSync(path);
        const text = size < 100_000 ? readFileSync(path, 'latin1') : '';
        const isPrivate = (mode & 0o077) === 0 && /\/work-[^/]+\//.test(path);
        if (!isPrivate) seen.exposed.set(path, text);
        else if (findCanaries(text, canaries).length > 0) seen.kept.add(path);
      } catch {
        // gone again
      }
    }
  }

  async function watch({ args, more, drive, exitCode }: Scenario): Promise<Seen> {
    const env = { ...common(), ...more?.() };
    const seen: Seen = {
      stdout: '',
      stderr: '',
      commandLines: new Set(),
      records: new Map(),
      exposed: new Map(),
      endpoints: new Map(),
      kept: new Set(),
    };
    await using program = startDbstash(args, env, { timeoutMs: 120_000 });
    let isOver = false;
    const over = program.exited.finally(() => {
      isOver = true;
    });
    const driving = drive?.(program, seen);
    while (!isOver) {
      look(env.BACKUP_TEMP_DIR!, seen);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await driving;
    const run = await over;
    expect(run.exitCode, run.stderr).toBe(exitCode);
    return Object.assign(seen, { stdout: run.stdout, stderr: run.stderr });
  }

  it('is in any variable without a canary', () => {
    const names = SENSITIVE.map(({ name }) => name);
    expect(names.filter((name) => canaries[name] === undefined)).toEqual([]);
    const used = new Set(SCENARIOS.flatMap(({ more }) => Object.keys({ ...common(), ...more?.() })));
    expect(names.filter((name) => !used.has(name))).toEqual([]);
    for (const name of names)
      expect(findCanaries(decodeText(values[name]!), { it: canaries[name]! }), name).toEqual(['it']);
  });

  it('is hidden from the search: every form of each is found', () => {
    for (const [name, canary] of Object.entries(canaries)) {
      const { text } = canary;
      const wrapped = Buffer.from(`ab${text}cd`).toString('base64');
      const forms = [
        text,
        wrapped,
        Buffer.from(wrapped).toString('base64'),
        encodeURIComponent(text),
        JSON.stringify(text),
      ];
      for (const form of [...forms, obscureText(text)])
        expect(findCanaries(`x ${form} y`, { [name]: canary }), `${name}: ${form}`).toEqual([name]);
    }
  });

  for (const [index, scenario] of SCENARIOS.entries()) {
    it(`leaves the program by way of: ${scenario.title}`, TIMEOUT, async () => {
      const seen = await watch(scenario);
      for (const [name, read] of OUTPUTS) {
        const text = [read(seen)].flat().join('\n');
        const found = findCanaries(text, canaries);
        expect(
          found,
          `${scenario.title}: ${name}: ${found.length > 0 ? excerpt(text, canaries[found[0]!]!) : ''}`,
        ).toEqual([]);
      }
      if (scenario.title.startsWith('the endpoints')) expect(seen.endpoints.get('/')).toContain('PostgreSQL');
      if (index > 0) return;
      expect(receiver.received.map(({ path }) => path.split('/')[1])).toEqual(expect.arrayContaining(['ping', 'hook']));
      expect(mail.mails).toHaveLength(1);
      expect([...seen.records.keys()].some((key) => key.endsWith('.pending.json'))).toBe(true);
      expect([...seen.records.keys()].some((key) => key.endsWith('.manifest.json'))).toBe(true);
      for (const tool of ['psql', 'pg_dump', 'rcat'])
        expect(
          [...seen.commandLines].some((line) => line.includes(tool)),
          tool,
        ).toBe(true);
      expect(seen.kept.size).toBeGreaterThan(0);
    });
  }
});

/** What stands around the first part that is found, plain. */
function excerpt(text: string, { parts }: Canary): string {
  const at = Math.max(0, ...parts.map((part) => text.indexOf(part)));
  return text.slice(Math.max(0, at - 200), at + 200);
}

const decodeText = (text: string): string => `${text}\n${Buffer.from(text, 'base64').toString()}`;

const filesBelow = (folder: string): string[] => {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  } catch {
    return [];
  }
};
