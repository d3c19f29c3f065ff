import { existsSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { describeWith } from './need.ts';
import { startPostgres } from './postgres.ts';
import { runRclone } from './rclone.ts';
import { REMOTE_TOOLS, type RemoteKind, startRemote } from './remotes.ts';
import { waitFor } from './scratch.ts';
import { isListening } from './server.ts';

describeWith(['postgres', 'initdb', 'psql'], 'a PostgreSQL server of its own', () => {
  it('has databases, answers SQL, checks passwords, and is gone at the end', async () => {
    const server = await startPostgres({ password: 'p@ss/wo:rd #1', settings: { max_connections: '17' } });
    await server.createDatabase('odd "name" äß=1');
    const login = { database: 'odd "name" äß=1' };
    await server.sql(`CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x|y'), (2, NULL)`, login);
    expect(await server.sql('SELECT * FROM t ORDER BY a', login)).toEqual(['1|x|y', '2|']);
    expect(await server.sql('SELECT current_setting($$max_connections$$)')).toEqual(['17']);
    expect(await server.sql('SELECT 1 WHERE false')).toEqual([]);
    await expect(server.sql('SELECT 1/0')).rejects.toThrow('division by zero');
    await expect(server.sql('SELECT 1', { password: 'wrong' })).rejects.toThrow('password authentication failed');
    expect(server.uri('a/b')).toBe(`postgresql://postgres:p%40ss%2Fwo%3Ard%20%231@127.0.0.1:${server.port}/a%2Fb`);
    expect(server.major).toBeGreaterThanOrEqual(13);
    expect(readdirSync(server.socketFolder)).toContain(`.s.PGSQL.${server.port}`);
    await server.stop();
    expect(await isListening(server.port)).toBe(false);
    expect(existsSync(server.socketFolder)).toBe(false);
  });

  it('is not the same server twice', async () => {
    await using one = await startPostgres();
    await using other = await startPostgres();
    const id = 'SELECT system_identifier FROM pg_control_system()';
    expect(await one.sql(id)).not.toEqual(await other.sql(id));
  });

  it('says why it did not start', async () => {
    await expect(startPostgres({ settings: { max_connections: 'many' } })).rejects.toThrow(
      'invalid value for parameter',
    );
  });
});

const kinds = Object.keys(REMOTE_TOOLS) as RemoteKind[];
for (const kind of kinds) {
  describeWith(['rclone', ...REMOTE_TOOLS[kind]], `a remote of kind ${kind}`, () => {
    it('shows what rclone wrote, and rclone sees what was put there', async () => {
      await using remote = await startRemote(kind);
      const rclone = (args: readonly string[], input = '') => runRclone(args, remote.env, { input });
      expect([...(await remote.list())]).toEqual([]);
      expect(await rclone(['rcat', `${remote.remote}/folder/a b.txt`], 'hello')).toMatchObject({ exitCode: 0 });
      const hello = { bytes: 5, sha256: '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824' };
      expect([...(await remote.list())]).toEqual([['folder/a b.txt', hello]]);
      expect((await remote.read('folder/a b.txt')).toString()).toBe('hello');
      await remote.write('other/b', 'written');
      expect((await rclone(['cat', `${remote.remote}/other/b`])).stdout.toString()).toBe('written');
      const listed = await rclone(['lsf', '-R', '--files-only', remote.remote]);
      expect(listed.stdout.toString().trim().split('\n').sort()).toEqual(['folder/a b.txt', 'other/b']);
      await remote.remove('other/b');
      await expect(remote.read('other/b')).rejects.toThrow();
      expect(await rclone(['moveto', `${remote.remote}/folder/a b.txt`, `${remote.remote}/c`])).toMatchObject({
        exitCode: 0,
      });
      expect(await rclone(['deletefile', `${remote.remote}/c`])).toMatchObject({ exitCode: 0 });
      expect([...(await remote.list())]).toEqual([]);
    });
  });
}

describe('waitFor', () => {
  it('gives the first answer, and says what it waited for in vain', async () => {
    let calls = 0;
    expect(await waitFor(() => (calls++ > 2 ? 'now' : undefined))).toBe('now');
    await expect(waitFor(() => false, { timeoutMs: 50, title: 'the moon' })).rejects.toThrow(
      'not within 50 ms: the moon',
    );
  });
});
