import { describeError } from '../core/errors.ts';
import type { State } from '../core/state.ts';
import type { Logger } from '../logger.ts';
import { describeHealth, describeLife, describeReadiness, type Verdict } from './health.ts';
import { METRICS_TYPE, renderMetrics } from './metrics.ts';
import { PAGE_CSP, renderPage } from './page.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** What is known now: all answers come from it, and none from a remote. */
export interface Knowledge {
  readonly state: State;
  readonly now: Date;
}

type Route = (state: State, now: Date) => Answer | Promise<Answer>;

const answer = (status: number, type: string, text: string, headers: Answer['headers'] = {}): Answer => ({
  status,
  headers: { 'Content-Type': type, ...headers },
  body: Buffer.from(text),
});

const plain = (status: number, text: string, headers?: Answer['headers']): Answer =>
  answer(status, 'text/plain; charset=utf-8', `${text}\n`, headers);

const json =
  (judge: (state: State, now: Date) => Verdict): Route =>
  (state, now) => {
    const { status, body } = judge(state, now);
    return answer(status, 'application/json', `${JSON.stringify(body)}\n`);
  };

const ROUTES: Readonly<Record<string, Route>> = {
  '/': (state, now) =>
    answer(200, 'text/html; charset=utf-8', renderPage(state, now), { 'Content-Security-Policy': PAGE_CSP }),
  '/healthz': json(describeHealth),
  '/readyz': json(describeReadiness),
  '/livez': json(describeLife),
  '/metrics': async (state, now) => answer(200, METRICS_TYPE, await renderMetrics(state, now)),
};

/** What is asked again within so long, while nothing has changed, is answered as before: a flood makes us render nothing. */
const FRESH_MS = 1000;

/** Answers one request. Never rejects: what a renderer throws is a line in the log, and a 500. */
export function createAnswers(read: () => Knowledge, logger: Logger) {
  const given = new Map<string, Knowledge & { readonly answer: Promise<Answer> }>();
  const render = async (path: string, route: Route, { state, now }: Knowledge): Promise<Answer> => {
    try {
      return await route(state, now);
    } catch (error) {
      logger.error(`${path} could not be answered: ${describeError(error)}`);
      return plain(500, 'an internal error, which the log tells of');
    }
  };
  return async (method: string, url: string): Promise<Answer> => {
    const path = url.split('?', 1)[0] ?? '';
    const route = Object.hasOwn(ROUTES, path) ? ROUTES[path] : undefined;
    if (!route) return plain(404, `there is no such page; there are ${Object.keys(ROUTES).join(' ')}`);
    if (method !== 'GET' && method !== 'HEAD') return plain(405, 'only GET and HEAD', { Allow: 'GET, HEAD' });
    const { state, now } = read();
    const before = given.get(path);
    const ageMs = now.getTime() - (before?.now.getTime() ?? 0);
    if (before?.state === state && ageMs >= 0 && ageMs < FRESH_MS) return await before.answer;
    const fresh = { state, now, answer: render(path, route, { state, now }) };
    given.set(path, fresh);
    return await fresh.answer;
  };
}
