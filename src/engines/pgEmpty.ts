import { FIRST_USER_OID } from './pgInspect.ts';

/** Catalogs of objects that live in no schema, in the order in which they can be dropped. */
const SCHEMALESS = [
  'pg_event_trigger',
  'pg_publication',
  'pg_namespace',
  'pg_foreign_server',
  'pg_foreign_data_wrapper',
  'pg_cast',
  'pg_language',
  'pg_am',
];

const rank = `array_position(ARRAY[${SCHEMALESS.map((name) => `'${name}'`).join(', ')}]::regclass[]::oid[], classid)`;

/** True where the object comes and goes with another: a member of an extension, a constructor of a range type. */
const isPart = (catalog: string, oid: string): string =>
  `EXISTS (SELECT FROM pg_depend m WHERE m.classid = ${catalog} AND m.objid = ${oid} AND m.deptype IN ('e', 'i'))`;

/**
 * What a database holds that template0 does not, but for extensions and their members, large objects and subscriptions:
 * classid, objid and place in the order of dropping. What lives in other schemas than public goes with its schema.
 */
export const userObjects = (schemas: string): string => `
  SELECT classid, objid, 100 AS place FROM pg_depend d JOIN pg_namespace n ON n.oid = refobjid
  WHERE refclassid = 'pg_namespace'::regclass AND deptype = 'n' AND (${schemas}) AND classid <> 'pg_extension'::regclass
    AND NOT ${isPart('d.classid', 'd.objid')}
  UNION SELECT classid, oid, ${rank} FROM (
    ${SCHEMALESS.map((name) => `SELECT '${name}'::regclass::oid AS classid, oid FROM ${name}`).join('\n    UNION ALL ')}
  ) s WHERE oid >= ${FIRST_USER_OID} AND NOT ${isPart('s.classid', 's.oid')}
    AND NOT (classid = 'pg_namespace'::regclass AND (SELECT nspname ~ '^pg_(toast_)?temp_|^public$' FROM pg_namespace n WHERE n.oid = s.oid))`;

/**
 * Makes a database as good as new, in whatever transaction it runs: drops all that its login owns, and sets the schema
 * public and the default privileges back. Stops at what it must not or may not drop. An extension that belongs to
 * somebody else stays (a platform's own), and so does what the database itself is: owner, privileges, settings.
 */
export const EMPTY_DATABASE = `
SET search_path = '';
SET client_min_messages = warning;
SET lock_timeout = '60s';
DO $empty$
DECLARE
  o record;
  major int := current_setting('server_version_num')::int / 10000;
BEGIN
  IF EXISTS (SELECT FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid WHERE datname = current_database()) THEN
    RAISE EXCEPTION 'the target has subscriptions, each with a slot on another server: drop them first';
  END IF;

  FOR o IN SELECT evtname FROM pg_event_trigger e WHERE NOT ${isPart("'pg_event_trigger'::regclass", 'e.oid')} LOOP
    EXECUTE format('DROP EVENT TRIGGER %I', o.evtname);
  END LOOP;
  FOR o IN SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' AND pg_has_role(extowner, 'USAGE') LOOP
    EXECUTE format('DROP EXTENSION IF EXISTS %I CASCADE', o.extname);
  END LOOP;
  FOR o IN
    SELECT i.type, i.identity FROM (${userObjects("nspname = 'public'")}) u, pg_identify_object(classid, objid, 0) i
    WHERE i.type IS NOT NULL ORDER BY place
  LOOP
    EXECUTE format('DROP %s IF EXISTS %s CASCADE', CASE o.type
      WHEN 'foreign-data wrapper' THEN 'FOREIGN DATA WRAPPER'
      WHEN 'statistics object' THEN 'STATISTICS'
      WHEN 'function' THEN 'ROUTINE' WHEN 'procedure' THEN 'ROUTINE' WHEN 'aggregate' THEN 'ROUTINE'
      ELSE o.type END, o.identity);
  END LOOP;
  PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;

  FOR o IN
    SELECT a.oid, defaclrole::regrole::text AS owner, CASE WHEN nspname IS NULL THEN '' ELSE format('IN SCHEMA %I', nspname) END AS place,
      (ARRAY['TABLES', 'SEQUENCES', 'ROUTINES', 'TYPES', 'SCHEMAS', 'LARGE OBJECTS'])[strpos('rSfTnL', defaclobjtype::text)] AS kind,
      ARRAY(SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END FROM aclexplode(defaclacl)) AS grantees
    FROM pg_default_acl a LEFT JOIN pg_namespace n ON n.oid = defaclnamespace
    WHERE pg_has_role(defaclrole, 'USAGE')
  LOOP
    FOR i IN 1..coalesce(array_length(o.grantees, 1), 0) LOOP
      EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %s %s REVOKE ALL ON %s FROM %s CASCADE', o.owner, o.place, o.kind, o.grantees[i]);
    END LOOP;
    IF o.place = '' THEN
      EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %s GRANT ALL ON %s TO %s', o.owner, o.kind, o.owner);
      IF o.kind IN ('ROUTINES', 'TYPES') THEN
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %s GRANT ALL ON %s TO PUBLIC', o.owner, o.kind);
      END IF;
    END IF;
  END LOOP;

  CREATE SCHEMA IF NOT EXISTS public;
  IF (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'public') THEN
    IF major >= 15 THEN
      ALTER SCHEMA public OWNER TO pg_database_owner;
    ELSIF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
      EXECUTE format('ALTER SCHEMA public OWNER TO %s', 10::regrole);
    END IF;
    FOR o IN
      SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee
      FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'public' AND grantee <> nspowner
    LOOP
      EXECUTE format('REVOKE ALL ON SCHEMA public FROM %s CASCADE', o.grantee);
    END LOOP;
    EXECUTE (SELECT format('GRANT ALL ON SCHEMA public TO %s', nspowner::regrole) FROM pg_namespace WHERE nspname = 'public');
    EXECUTE format('GRANT %s ON SCHEMA public TO PUBLIC', CASE WHEN major >= 15 THEN 'USAGE' ELSE 'ALL' END);
    COMMENT ON SCHEMA public IS 'standard public schema';
  END IF;
END
$empty$;
`;
