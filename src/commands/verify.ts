import { ConfigError } from '../core/errors.ts';
import { describeCounts } from '../core/manifest.ts';
import { formatBytes, formatDuration } from '../core/units.ts';
import { formatRows } from '../jobs/list.ts';
import type { Session } from '../jobs/session.ts';
import { tellOfVerification } from '../jobs/verification.ts';
import { type Judged, type Verified, verify } from '../jobs/verify.ts';
import { type Call, printJson, printText } from './call.ts';

export async function runVerify(session: Session, { edge, options, args: [argument] }: Call): Promise<number> {
  const { dryRun, verifyLevel } = session.host.config;
  if (dryRun && verifyLevel === 'restore')
    throw new ConfigError(
      'DRY_RUN: a drill has no dry run, and nothing was restored; right is false, or --level content',
    );
  const results: Verified[] = [];
  const take = ({ verified }: Judged) => {
    results.push(verified);
    if (!options.json) printText(edge, `${formatRows([describe(verified)])}\n`);
  };
  const exitCode = await tellOfVerification(session.host, () => verify(session, { name: argument ?? 'latest' }, take));
  if (options.json) printJson(edge, results);
  return exitCode;
}

const describe = ({ outcome, level, artifact, remote, bytes, durationMs, reason, drill }: Verified): string[] => [
  outcome,
  level,
  `${artifact} on ${remote}`,
  `${formatBytes(bytes)} in ${formatDuration(durationMs)}`,
  reason ?? (drill ? describeCounts(drill) : ''),
];

/** `--level` is short for the flag of VERIFY_LEVEL. */
export function withLevel(call: Call): Call {
  const { level } = call.options;
  if (typeof level !== 'string') return call;
  return { ...call, source: { ...call.source, flags: { ...call.source.flags, VERIFY_LEVEL: level } } };
}
