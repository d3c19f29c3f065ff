/** Objects that a careless dump or restore loses; for both kinds of server. To be run where the definers exist. */
export const MYSQL_SCHEMA = String.raw`
SET SESSION sql_mode = '';
CREATE TABLE [[ta.b"le 'x' -- $(id);]] (
  id int NOT NULL AUTO_INCREMENT PRIMARY KEY, [[se lect]] varchar(40) COLLATE utf8mb4_bin, n int DEFAULT 3, doubled int GENERATED ALWAYS AS (n * 2) STORED,
  virt varchar(50) GENERATED ALWAYS AS (CONCAT([[se lect]], '!')) VIRTUAL, bits BIT(10), place GEOMETRY, doc JSON,
  raw LONGBLOB, bin BINARY(4), day DATE, moment DATETIME(6), stamp TIMESTAMP NULL, amount DECIMAL(30,10), ratio DOUBLE, kind ENUM('a','b''c'), tags SET('x','y'),
  UNIQUE KEY odd ([[se lect]](5)), FULLTEXT KEY words ([[se lect]])
) DEFAULT CHARSET=utf8mb4 COMMENT='it''s "odd"; -- $(id)';
INSERT INTO [[ta.b"le 'x' -- $(id);]] (id, [[se lect]], bits, place, doc, raw, bin, day, moment, stamp, amount, ratio, kind, tags) VALUES
  (5, 'grin 😀 ünï', b'1000000001', ST_GeomFromText('POINT(1.5 2.5)'), '{"a": "\\"q\\" \\n 😀"}', x'00270a0d5c221a25', x'00ff0000', '0000-00-00', '2024-02-29 12:34:56.123456', '2024-01-01 00:00:01', 12345678901234567890.0123456789, 1e300, 'b''c', 'x,y'),
  (6, '-- not a comment; /* nor this */ \\ '' " [[', NULL, NULL, NULL, '', NULL, '2024-00-00', '0000-00-00 00:00:00', NULL, -0.5, -1e-300, 'a', ''),
  (7, 'line\r\nbreak\ttab\0nul\Z', b'0', ST_GeomFromText('POLYGON((0 0,0 1,1 1,0 0))'), '[]', REPEAT(x'00ff0d0a', 2000), 'ab', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE nokey (a int, b varchar(10)); INSERT INTO nokey VALUES (1, 'x'), (1, 'x'), (NULL, NULL);
CREATE TABLE old_engine (a int PRIMARY KEY AUTO_INCREMENT, b text) ENGINE=MyISAM DEFAULT CHARSET=latin1; INSERT INTO old_engine VALUES (3, 'café');
CREATE TABLE parts (id int NOT NULL, at date NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (YEAR(at)) (PARTITION old VALUES LESS THAN (2020), PARTITION new VALUES LESS THAN MAXVALUE);
INSERT INTO parts VALUES (1, '2019-01-01'), (2, '2024-01-01');
CREATE TABLE parent (id int PRIMARY KEY, up int, CONSTRAINT up FOREIGN KEY (up) REFERENCES parent (id) ON DELETE CASCADE, CONSTRAINT pos CHECK (id > 0));
SET FOREIGN_KEY_CHECKS = 0; INSERT INTO parent VALUES (1, 2), (2, 1); SET FOREIGN_KEY_CHECKS = 1;
CREATE TABLE a_child (p int, CONSTRAINT to_parent FOREIGN KEY (p) REFERENCES parent (id)); INSERT INTO a_child VALUES (2);
CREATE TABLE zero (id int NOT NULL AUTO_INCREMENT PRIMARY KEY); SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'; INSERT INTO zero VALUES (0), (9); SET sql_mode = '';
CREATE TABLE log (a int, b varchar(100));
CREATE DEFINER=[[gone user]]@[[%]] VIEW z_base AS SELECT id, [[se lect]] AS word FROM [[ta.b"le 'x' -- $(id);]] WHERE id > 4 WITH CASCADED CHECK OPTION;
CREATE VIEW a_on_view AS SELECT z.id, UPPER(z.word) AS word FROM z_base z;
CREATE SQL SECURITY INVOKER VIEW m_on_both AS SELECT a.word, n.b FROM a_on_view a JOIN nokey n ON n.a = 1;
DELIMITER $$
CREATE DEFINER=[[gone user]]@[[%]] TRIGGER nokey_bi BEFORE INSERT ON nokey FOR EACH ROW BEGIN
  -- a comment; with "quotes"
  INSERT INTO log VALUES (NEW.a, CONCAT(NEW.b, ';
'));
END$$
CREATE TRIGGER nokey_bi2 BEFORE INSERT ON nokey FOR EACH ROW FOLLOWS nokey_bi SET NEW.b = COALESCE(NEW.b, '$$')$$
CREATE DEFINER=[[gone user]]@[[%]] PROCEDURE [[pro.c "x"]](IN a int, OUT b text) COMMENT 'it''s' BEGIN
  IF a > 1 THEN SET b = 'x;y';
  ELSE SELECT [[se lect]] INTO b FROM [[ta.b"le 'x' -- $(id);]] LIMIT 1;
  END IF;
END$$
CREATE FUNCTION twice(a int) RETURNS int DETERMINISTIC NO SQL RETURN a * 2$$
CREATE EVENT [[e v]] ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DISABLE COMMENT 'later' DO BEGIN INSERT INTO log VALUES (1, 'e;'); END$$
DELIMITER ;
SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES';
CREATE FUNCTION slash() RETURNS text DETERMINISTIC NO SQL RETURN 'a\';
SET sql_mode = '';
`.replaceAll(/\[\[|\]\]/g, '`');

/** What a target may hold that must be gone. */
export const MYSQL_MESS = `
CREATE TABLE nokey (clash int); CREATE VIEW parts AS SELECT clash FROM nokey; CREATE TABLE z_base (a int); INSERT INTO z_base VALUES (1);
CREATE PROCEDURE twice() SELECT 1; CREATE FUNCTION other() RETURNS int DETERMINISTIC NO SQL RETURN 1;
CREATE EVENT stale ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1; CREATE TRIGGER nokey_bi BEFORE INSERT ON z_base FOR EACH ROW SET NEW.a = 2;
`;

/** To be there while the schema is made and while it is dumped: of a view without its definer no server tells the truth. */
export const MYSQL_DEFINERS = `CREATE USER IF NOT EXISTS 'gone user'@'%' IDENTIFIED BY 'x'; GRANT ALL ON *.* TO 'gone user'@'%';`;
export const MYSQL_NO_DEFINERS = `DROP USER IF EXISTS 'gone user'@'%'`;
