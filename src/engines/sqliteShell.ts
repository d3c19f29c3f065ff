import { type Command, type Question, SCRATCH } from '../core/command.ts';
import { DumpError } from '../core/errors.ts';

/** No prompt, and the first error ends it. To be followed by -init, without which ~/.sqliterc would be read. */
export const SHELL_ARGS = ['-batch', '-bail'];

/** Runs a script on a database, then what comes on standard input. With -cmd and -bail, 3.53 forgets the input and exits 0 (seen). */
export const withInit = (name: string, script: string, path: string): Command => ({
  file: 'sqlite3',
  args: [...SHELL_ARGS, '-init', `${SCRATCH}/${name}`, path],
  files: { [name]: script },
});

export const sqliteVersion: Question<string> = {
  command: { file: 'sqlite3', args: ['--version'] },
  parse: ({ stdout }) => {
    const version = /^(\d+\.\d+\.\d+)/.exec(stdout)?.[1];
    if (version === undefined) throw new DumpError(`sqlite3 --version answers ${JSON.stringify(stdout.slice(0, 100))}`);
    return `sqlite3 ${version}`;
  },
};

export const sqlText = (value: string): string => `'${value.replaceAll("'", "''")}'`;

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** An argument of one of the shell's own commands, which begin with a dot. */
export const dotText = (value: string): string => `"${value.replace(/[\\"\n\r\t]/g, (char) => ESCAPES[char] ?? char)}"`;

/**
 * Prints `-- quick_check: ok`, or fails with what the check found: as the complaint about a path in JSON, for want of
 * another way to raise an error whose text is not known before.
 */
export const printVerdict = (pragma: 'quick_check' | 'integrity_check', title: string): string =>
  `SELECT '-- ${pragma}: ' || iif(r = 'ok', r, json_extract('{}', ${sqlText(`${title}: `)} || r)) FROM (
    SELECT coalesce(replace(substr(group_concat(${pragma}, '; '), 1, 2000), char(10), ' '), 'no answer') AS r
    FROM pragma_${pragma})`;
