import { check, exitCodeOfFindings } from '../jobs/check.ts';
import { formatRows } from '../jobs/list.ts';
import type { Session } from '../jobs/session.ts';
import { type Call, printJson, printText } from './call.ts';

export async function runCheck(session: Session, { edge, options }: Call): Promise<number> {
  const findings = await check(session);
  if (options.json)
    printJson(
      edge,
      findings.map(({ what, state, detail }) => ({ what, state, detail })),
    );
  else printText(edge, `${formatRows(findings.map(({ what, state, detail }) => [state, what, detail]))}\n`);
  return exitCodeOfFindings(findings);
}
