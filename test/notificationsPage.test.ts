import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { A_BACKUP, aFailure, aReport, openNotifier } from './support/notifier.ts';
import { startReceiver } from './support/receiver.ts';

const root = join(import.meta.dirname, '..');
const page = readFileSync(join(root, 'docs/notifications.md'), 'utf8');
const readme = readFileSync(join(root, 'README.md'), 'utf8');

/** What a web address is sent. */
async function payloadOf(tell: (notifier: ReturnType<typeof openNotifier>) => Promise<unknown>) {
  await using receiver = await startReceiver();
  await tell(openNotifier({ NOTIFY_WEBHOOK_URL: receiver.origin, NOTIFY_ON: 'always' }));
  return JSON.parse(receiver.received[0]!.body);
}

/** `a`, `b[].c`. */
const fieldsOf = (value: object, prefix = ''): string[] =>
  Object.entries(value).flatMap(([key, item]) => {
    const inner = Array.isArray(item) && typeof item[0] === 'object' ? fieldsOf(item[0], `${prefix}${key}[].`) : [];
    return [prefix + key, ...inner];
  });

/** First cells of the table that has this head. */
const rowsUnder = (text: string, head: string): string[] =>
  (text.split(`${head}\n`)[1] ?? '')
    .split('\n\n')[0]!
    .split('\n')
    .slice(1)
    .flatMap((line) => line.split('|')[1]?.match(/`[^`]+`/g) ?? [])
    .map((cell) => cell.replaceAll('`', ''));

it('the page shows the JSON that is sent', async () => {
  const example = JSON.parse(/```json\n(.*?)```/s.exec(page)?.[1] ?? '');
  const report = aReport({ backups: [{ ...A_BACKUP, remotes: ['s3:bucket/db'] }] });
  expect(await payloadOf((notifier) => notifier.ended(report))).toEqual(example);
});

it('the page tells every field of the JSON, and none that is not there', async () => {
  const failures = [{ database: 'stock', error: 'no' }];
  const sent = await payloadOf((notifier) => notifier.ended(aFailure('no', { failures, backups: [A_BACKUP] })));
  expect(rowsUnder(page, '| field | is |').sort()).toEqual(fieldsOf(sent).sort());
});

it('a test message has the same fields', async () => {
  const sent = await payloadOf((notifier) => notifier.test());
  const run = await payloadOf((notifier) => notifier.ended(aReport()));
  expect(Object.keys(sent)).toEqual(Object.keys(run));
  expect(sent).toMatchObject({ version: 1, event: 'test', outcome: null, run: null, startedAt: null, backups: [] });
});

it('page and README tell what hooks get', () => {
  const source = readFileSync(join(root, 'src/jobs/hooks.ts'), 'utf8');
  const given = [...new Set(source.match(/\bDBSTASH_[A-Z_]+(?=:)/g))]
    .filter((name) => name !== 'DBSTASH_HOOK_ID')
    .sort();
  expect(given).toHaveLength(9);
  expect(
    rowsUnder(page, '| variable | before | after |')
      .filter((name) => /^DBSTASH/.test(name))
      .sort(),
  ).toEqual(given);
  const told = rowsUnder(readme, '| variable | is | before the run |').filter((name) => /^DBSTASH/.test(name));
  expect(told.sort()).toEqual(given);
});

it('the page names an address of each format as the program knows it', () => {
  const addresses = [...page.matchAll(/NOTIFY_WEBHOOK_URL='?(https:[^\s']+)/g)].map(([, address]) => address!);
  const kinds = addresses.map((address) => Object.keys(openNotifier({ NOTIFY_WEBHOOK_URL: address }).failures()));
  expect(kinds).toEqual([['slack'], ['slack'], ['discord'], ['webhook'], ['webhook'], ['webhook', 'slack']]);
});
