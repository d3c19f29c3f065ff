import type { Manifest, Verdict } from '../core/manifest.ts';
import { describePace } from '../core/pace.ts';
import { formatAge, formatBytes, formatDuration } from '../core/units.ts';
import type { Catalog, State } from '../remote/catalog.ts';
import type { Session } from './session.ts';
import { ownsSeries } from './sources.ts';

/** A line of `list --json`: a manifest, where it is and whether it is good. */
export type ListedBackup = Manifest & {
  readonly remote: string;
  readonly state: State;
  readonly reason: string | null;
  readonly verified: Verdict | null;
};

/** What `--all` adds. `left` are the objects of an orphan. */
export interface ListedOther {
  readonly remote: string;
  readonly state: 'orphan' | 'foreign';
  readonly path: string;
  readonly left?: readonly string[];
}

/** The catalog as `list --json` prints it: backups newest first, then, with `all`, what is none. */
export function listCatalog(session: Session, catalog: Catalog, all: boolean): readonly (ListedBackup | ListedOther)[] {
  const remote = session.remote.title;
  const backups = catalog.backups.map(({ manifest, path, state, reason, verdict }): ListedBackup => {
    return { ...manifest, artifact: path, remote, state, reason: reason ?? null, verified: verdict ?? null };
  });
  if (!all) return backups;
  const orphans = catalog.orphans.map(({ recordPath, objects }): ListedOther => {
    return { remote, state: 'orphan', path: recordPath, left: objects };
  });
  const foreign = catalog.foreign.map((path): ListedOther => ({ remote, state: 'foreign', path }));
  return [...backups, ...orphans, ...foreign];
}

/** The catalog for people, a series at a time; the configuration's own first. */
export function formatCatalog(session: Session, catalog: Catalog, all: boolean): string {
  const { remote, host } = session;
  const isOwn = (name: string) => ownsSeries(host.config, name);
  const groups = Map.groupBy(catalog.backups, ({ manifest }) => manifest.series);
  const names = [...groups.keys()].sort((a, b) => Number(isOwn(b)) - Number(isOwn(a)) || a.localeCompare(b));
  const blocks = names.map((name) => {
    const rows = (groups.get(name) ?? []).map(({ manifest, path, state, reason, verdict }) => [
      state,
      manifest.startedAt.slice(0, 19).replace('T', ' '),
      formatAge(host.clock.now().getTime() - Date.parse(manifest.startedAt)),
      formatBytes(manifest.bytes),
      path +
        (reason ? `  (${reason})` : '') +
        (state === 'good' ? describeProof(verdict, manifest, host.clock.now()) : ''),
    ]);
    const note = isOwn(name) ? '' : '  (not of this configuration)';
    return `${printable(name)}${note}\n${formatRows(rows)}`;
  });
  if (blocks.length === 0) blocks.push(`${remote.title} holds no backup.`);
  if (all) blocks.push(...formatOthers(catalog));
  return `${blocks.join('\n\n')}\n`;
}

/** What the last look at its content found, where that was good, and what drills did. */
function describeProof(verdict: Verdict | undefined, { dumpBytes }: Manifest, now: Date): string {
  if (!verdict) return '';
  const ageOf = (at: string) => formatAge(now.getTime() - Date.parse(at));
  const { ok, level, at, reason, drill, failedDrill } = verdict;
  const speed = drill && `restored in ${formatDuration(drill.durationMs)} at ${describePace(drill, dumpBytes)}`;
  const details = [reason, speed].flatMap((text) => (text ? `: ${text}` : [])).join('');
  const failure = failedDrill ? `  (its drill failed ${ageOf(failedDrill.at)} ago: ${failedDrill.reason})` : '';
  return (ok ? `  (${level} verified ${ageOf(at)} ago${details})` : '') + failure;
}

function formatOthers({ orphans, foreign }: Catalog): readonly string[] {
  const left = orphans.flatMap(({ recordPath, objects }) => [recordPath, ...objects]);
  const list = (paths: readonly string[]) => formatRows(paths.map((path) => [path]));
  return [
    ...(left.length === 0 ? [] : [`orphans (left by runs that died or are still going on)\n${list(left)}`]),
    ...(foreign.length === 0 ? [] : [`foreign (not written by dbstash, never touched)\n${list(foreign)}`]),
  ];
}

/** A line each, columns as wide as their widest cell, two spaces apart. */
export function formatRows(texts: readonly (readonly string[])[]): string {
  const rows = texts.map((row) => row.map(printable));
  const widths = rows.reduce<number[]>((found, row) => row.map((cell, i) => Math.max(found[i] ?? 0, cell.length)), []);
  return rows.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')}`.trimEnd()).join('\n');
}

/** What lies on a remote, or a tool said, must neither break a table nor command the terminal. */
const printable = (text: string): string =>
  text
    .trim()
    .replace(/\s*[\r\n\u2028\u2029]+\s*/g, ' | ')
    .replace(/[\p{Cc}\p{Cf}]/gu, (c) => `\\u{${c.codePointAt(0)?.toString(16)}}`);
