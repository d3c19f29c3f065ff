export const PG_ROLES = `CREATE ROLE "app owner" LOGIN PASSWORD 'x'; CREATE ROLE "reader;""x"""; CREATE ROLE db_user;`;

/** Objects that a careless dump or restore loses. */
export const PG_SCHEMA = `
CREATE EXTENSION hstore; CREATE EXTENSION btree_gist SCHEMA pg_catalog; CREATE EXTENSION postgres_fdw;
CREATE SCHEMA "odd Schema" AUTHORIZATION "app owner";
GRANT CREATE ON SCHEMA public TO "app owner";
COMMENT ON SCHEMA "odd Schema" IS 'it''s "odd"; -- $(id)';
SET search_path = "odd Schema", public;
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'hap''py');
CREATE TYPE pair AS (a int, b text);
CREATE TYPE float_range AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TABLE parts (id bigint GENERATED ALWAYS AS IDENTITY (START 10 INCREMENT 5), at date NOT NULL, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE parts_old PARTITION OF parts FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
CREATE TABLE parts_new PARTITION OF parts FOR VALUES FROM ('2024-01-01') TO (MAXVALUE) PARTITION BY HASH (id);
CREATE TABLE parts_new_0 PARTITION OF parts_new FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts_new_1 PARTITION OF parts_new FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parts (at, note) SELECT '2023-12-01'::date + i, E'line\\n\\t\\\\.\\r' || i FROM generate_series(1, 90) i;
CREATE TABLE "ta;b""le $(x)" (
  "se lect" serial PRIMARY KEY, p positive DEFAULT 1, m mood[] DEFAULT '{ok}', r float_range, h hstore, c pair,
  doubled int GENERATED ALWAYS AS (p * 2) STORED, during tstzrange, room int, j jsonb, b bytea, f float8, x xml,
  CONSTRAINT "no overlap" EXCLUDE USING gist (room WITH =, during WITH &&) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "ta;b""le $(x)" (p, m, r, h, c, during, room, j, b, f, x) VALUES
  (1, '{sad,"hap''py"}', '[1,2)', 'a=>1, "b c"=>NULL', '(1,"x y")', '[2024-01-01,2024-01-02)', 1, '{"a": "\\u00e9"}', '\\x00ff', 'NaN', '<a/>'),
  (2, NULL, 'empty', NULL, NULL, NULL, 1, 'null', '', '-Infinity', NULL), (3, '{}', NULL, '', ROW(NULL, ''), NULL, NULL, NULL, NULL, 1e-307, NULL);
COMMENT ON COLUMN "ta;b""le $(x)".p IS E'multi\\nline';
CREATE TABLE parent (a int); CREATE TABLE child (CHECK (a > 0)) INHERITS (parent); INSERT INTO child VALUES (1);
CREATE UNLOGGED TABLE fast (a int) WITH (fillfactor = 50); INSERT INTO fast VALUES (7);
CREATE TABLE secrets (owner name DEFAULT current_user, v text); INSERT INTO secrets VALUES ('a', 'b');
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY; ALTER TABLE secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY "own rows" ON secrets AS RESTRICTIVE FOR SELECT TO "reader;""x""" USING (owner = current_user);
CREATE TABLE refs (id int PRIMARY KEY, up int REFERENCES refs DEFERRABLE); INSERT INTO refs VALUES (1, 2), (2, 1);
CREATE FUNCTION f(int, VARIADIC text[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = 'pg_catalog' AS $f$ BEGIN RETURN $1 || ' $$ '; END $f$;
CREATE FUNCTION std(a int) RETURNS int LANGUAGE sql IMMUTABLE RETURN a + 1;
CREATE PROCEDURE pr(INOUT a int) LANGUAGE sql AS 'SELECT a';
CREATE AGGREGATE product(float8) (SFUNC = float8mul, STYPE = float8, INITCOND = '1');
CREATE FUNCTION same(mood, mood) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1::text = $2::text';
CREATE OPERATOR === (LEFTARG = mood, RIGHTARG = mood, FUNCTION = same);
CREATE CAST (mood AS int) WITH INOUT AS ASSIGNMENT;
CREATE COLLATION "my C" FROM "C";
CREATE TEXT SEARCH CONFIGURATION conf (COPY = english);
CREATE INDEX ON "ta;b""le $(x)" USING gin (j jsonb_path_ops) WHERE p > 1;
CREATE INDEX partial ON refs ((up + 1) DESC NULLS LAST) INCLUDE (id);
CREATE STATISTICS stat (ndistinct, dependencies) ON id, up FROM refs; ALTER TABLE refs ALTER up SET STATISTICS 7;
CREATE VIEW v WITH (security_barrier) AS SELECT * FROM secrets WHERE v <> '' WITH CASCADED CHECK OPTION;
CREATE MATERIALIZED VIEW mv AS SELECT count(*) AS n FROM v; CREATE UNIQUE INDEX ON mv (n);
CREATE MATERIALIZED VIEW mv2 AS SELECT n + 1 AS n FROM mv; CREATE MATERIALIZED VIEW unfilled AS SELECT 1 AS one WITH NO DATA;
CREATE RULE redirect AS ON INSERT TO v DO INSTEAD INSERT INTO secrets VALUES (NEW.*);
CREATE FUNCTION trg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touch BEFORE UPDATE OF note ON parts FOR EACH ROW WHEN (OLD.note IS DISTINCT FROM NEW.note) EXECUTE FUNCTION trg();
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON refs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION trg(); ALTER TABLE refs DISABLE TRIGGER late;
CREATE FUNCTION evt() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END';
CREATE EVENT TRIGGER "on ddl" ON ddl_command_end WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION evt();
CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'localhost'); CREATE USER MAPPING FOR "app owner" SERVER other OPTIONS ("user" 'u');
CREATE FOREIGN TABLE remote (a int) SERVER other OPTIONS (table_name 'x');
CREATE PUBLICATION pub FOR TABLE refs, parts WITH (publish_via_partition_root); CREATE PUBLICATION everything FOR ALL TABLES;
CREATE SEQUENCE "odd seq" AS smallint MAXVALUE 100 CYCLE; SELECT setval('"odd seq"', 42, false);
ALTER DEFAULT PRIVILEGES FOR ROLE "app owner" IN SCHEMA "odd Schema" GRANT SELECT ON TABLES TO "reader;""x""";
ALTER DEFAULT PRIVILEGES FOR ROLE "app owner" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT SELECT (id), UPDATE ON refs TO "reader;""x""" WITH GRANT OPTION; REVOKE ALL ON FUNCTION f FROM PUBLIC;
ALTER TABLE parts OWNER TO "app owner"; ALTER TABLE "ta;b""le $(x)" OWNER TO "app owner";
SELECT lo_from_bytea(4242, decode(repeat('00ff10', 3000), 'hex')); COMMENT ON LARGE OBJECT 4242 IS 'large';
GRANT SELECT ON LARGE OBJECT 4242 TO "reader;""x"""; ALTER LARGE OBJECT 4242 OWNER TO "app owner";
SELECT lo_create(4243);
`;

export const PG_SETTINGS = `
ALTER DATABASE source SET search_path = "$user", "odd Schema", public;
ALTER DATABASE source SET default_transaction_read_only = on; ALTER DATABASE source SET work_mem = '5MB';
ALTER DATABASE source SET app.jwt_secret = 'hunter2';
ALTER ROLE "app owner" IN DATABASE source SET statement_timeout = '5s';
REVOKE CONNECT ON DATABASE source FROM PUBLIC; GRANT CONNECT ON DATABASE source TO db_user WITH GRANT OPTION;
ALTER DATABASE source OWNER TO "app owner";
`;

/** What a target may hold that must be gone, some of it in the way of dropping the rest. */
export const PG_MESS = `
CREATE EXTENSION citext; CREATE SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext; CREATE EXTENSION postgres_fdw;
CREATE TABLE t (a ext.hstore, c citext, s serial PRIMARY KEY); INSERT INTO t (c) VALUES ('x'); CREATE TABLE u (t int REFERENCES t);
CREATE SCHEMA "odd Schema"; CREATE TABLE "odd Schema".refs (clash text); CREATE VIEW "odd Schema".v AS SELECT * FROM t;
CREATE TYPE public.mood AS ENUM ('clash'); CREATE DOMAIN d AS int; CREATE TYPE rng AS RANGE (subtype = int); CREATE TYPE comp AS (a int);
CREATE FUNCTION f(public.mood) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE PROCEDURE pr() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE agg(float8) (SFUNC = float8mul, STYPE = float8, INITCOND = '1');
CREATE FUNCTION eq(public.mood, public.mood) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR ~~~ (LEFTARG = public.mood, RIGHTARG = public.mood, FUNCTION = eq);
CREATE CAST (public.mood AS int) WITH INOUT; CREATE CAST (int AS macaddr) WITH INOUT;
CREATE COLLATION coll FROM "C"; CREATE TEXT SEARCH CONFIGURATION conf (COPY = english); CREATE TEXT SEARCH DICTIONARY dict (TEMPLATE = simple);
CREATE STATISTICS st ON a, c FROM t; CREATE OPERATOR FAMILY fam USING btree; CREATE MATERIALIZED VIEW mv AS SELECT 1 AS a; CREATE SEQUENCE seq;
CREATE FUNCTION nope() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no drops''; END';
CREATE EVENT TRIGGER nope ON sql_drop EXECUTE FUNCTION nope();
CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw; CREATE USER MAPPING FOR postgres SERVER s; CREATE FOREIGN TABLE ft (a int) SERVER s;
CREATE FOREIGN DATA WRAPPER bare; CREATE SERVER s2 FOREIGN DATA WRAPPER bare;
CREATE PUBLICATION p FOR ALL TABLES; CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler; CREATE TABLE on_heap2 (a int) USING heap2;
CREATE FUNCTION lang_handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'; CREATE LANGUAGE pl2 HANDLER lang_handler;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC; ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM PUBLIC, postgres;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO "app owner"; ALTER DEFAULT PRIVILEGES FOR ROLE "reader;""x""" GRANT USAGE ON SCHEMAS TO "app owner";
GRANT CREATE ON SCHEMA public TO "reader;""x""" WITH GRANT OPTION; REVOKE USAGE ON SCHEMA public FROM PUBLIC; ALTER SCHEMA public OWNER TO "app owner"; COMMENT ON SCHEMA public IS 'mine';
SELECT lo_create(4242);
`;
