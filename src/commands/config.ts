import { describeConfig, inspectConfig } from '../config/config.ts';
import { EXIT } from '../core/errors.ts';
import { formatRows } from '../jobs/list.ts';
import { type Call, printJson, printText } from './call.ts';

/** Also of a configuration that has problems, which then follow. */
export async function runConfig({ edge, source, options }: Call): Promise<number> {
  const inspection = inspectConfig(source);
  const rows = describeConfig(inspection);
  const { problems, warnings } = inspection;
  if (options.json) printJson(edge, { variables: rows, problems, warnings });
  else {
    const lines = [...problems.map((text) => `problem: ${text}`), ...warnings.map((text) => `warning: ${text}`)];
    printText(edge, `${formatRows(rows.map(({ name, value, source: from }) => [name, value ?? '', from]))}\n`);
    printText(edge, lines.map((line) => `${line}\n`).join(''));
  }
  return problems.length === 0 ? EXIT.ok : EXIT.config;
}
