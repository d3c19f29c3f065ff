import type { PostgresServer } from '../test/support/postgres.ts';

/** Of a row in the plain dump, about. */
const BYTES_PER_ORDER = 128;
const BYTES_PER_EVENT = 315;
const BYTES_PER_MESSAGE = 878;

/** Makes a database whose plain dump has about so many bytes: a third short rows, a third JSON, a third longer texts. */
export async function createDatabase(server: PostgresServer, name: string, bytes: number): Promise<void> {
  await server.createDatabase(name);
  const [orders, events, messages] = [BYTES_PER_ORDER, BYTES_PER_EVENT, BYTES_PER_MESSAGE].map((size) =>
    Math.max(1, Math.round(bytes / 3 / size)),
  );
  await server.sql(fillTables(orders!, events!, messages!), { database: name });
}

/** Tables made and filled in one transaction need no log. Frozen, so that no first reader has to write. */
const fillTables = (orders: number, events: number, messages: number): string => `
SET client_min_messages = warning;
BEGIN;
CREATE TABLE orders AS SELECT
  i AS id, 1 + i * 7919 % 100000 AS customer, 'epoch'::timestamptz + i * interval '37 seconds' AS at,
  (i % 99991)::numeric / 100 AS amount, (ARRAY['new', 'paid', 'sent', 'returned'])[1 + i % 4] AS state,
  md5(i::text) || ' ' || md5((i * 3)::text) AS note
FROM generate_series(1::bigint, ${orders}) i;
CREATE TABLE events AS SELECT
  i AS id, 'epoch'::timestamptz + i * interval '11 seconds' AS at,
  jsonb_build_object('kind', 'page-view', 'path', '/products/' || i % 5000, 'session', md5(i::text),
    'agent', 'Mozilla/5.0 (X11; Linux x86_64) ' || md5((i * 5)::text), 'ms', i % 777, 'tags', ARRAY['a' || i % 10, 'b' || i % 13],
    'referrer', 'https://www.example.com/search?q=' || md5((i * 7)::text)) AS data
FROM generate_series(1::bigint, ${events}) i;
CREATE TABLE messages AS SELECT
  i AS id, 'epoch'::timestamptz + i * interval '23 seconds' AS at, 1 + i * 7919 % 100000 AS author,
  md5(i::text) || repeat(' lorem ipsum ' || md5((i * 11)::text), 18) AS body
FROM generate_series(1::bigint, ${messages}) i;
COMMIT;
VACUUM (FREEZE, ANALYZE) orders;
VACUUM (FREEZE, ANALYZE) events;
VACUUM (FREEZE, ANALYZE) messages;
CHECKPOINT;
`;
