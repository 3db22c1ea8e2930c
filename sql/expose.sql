-- notify_expose and notify_conceal: what can be exposed, by whom, and under which name. test/t/140_calls.pl has the calls.

CREATE EXTENSION pg_notifyd;
CREATE SCHEMA app;
CREATE FUNCTION app.add(a int, b int DEFAULT 10) RETURNS int LANGUAGE sql STABLE AS 'SELECT a + b';
CREATE FUNCTION app.add(a text) RETURNS text LANGUAGE sql STABLE AS 'SELECT a';
CREATE FUNCTION app.rows() RETURNS TABLE (i int) LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION app.unknown_rows() RETURNS SETOF record LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION app.any(a anyelement) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION app.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE PROCEDURE app.proceed() LANGUAGE sql AS '';
CREATE AGGREGATE app.total(int) (sfunc = int4pl, stype = int);
CREATE TABLE app.notes (id int PRIMARY KEY, title text);
CREATE TABLE app.glass (id int PRIMARY KEY);
CREATE VIEW app.recent AS SELECT id FROM app.notes;
CREATE TABLE app."a path" (id int);
CREATE TABLE app.send (id int);
CREATE SEQUENCE app.numbers;

-- Functions: by their own name, or by another
SELECT notify_expose('app.add(int,int)');
SELECT notify_expose('app.add(text)'::regprocedure, 'com.example.echo');
SELECT notify_expose(function => 'app.rows()');
-- Tables and views: by their own name, or by another path, and what a row is called
SELECT notify_expose('app.notes');
SELECT notify_expose('app.recent'::regclass, path => 'latest', label => 'Entry');
SELECT notify_expose(relation => 'app.glass');
SELECT notify_expose('app."a path"', 'path');
SELECT * FROM notifyd.exposed ORDER BY name COLLATE "C";

-- The same object again takes the new name only
SELECT notify_expose('app.add(int,int)', 'sum');
SELECT notify_expose('app.notes', 'my-notes', 'Memo');
SELECT * FROM notifyd.exposed WHERE name IN ('add', 'sum', 'notes', 'my-notes') ORDER BY name COLLATE "C";
-- A function and a table may have the same name
SELECT notify_expose('app.add(int,int)', 'my-notes');
SELECT name, function, relation FROM notifyd.exposed WHERE name = 'my-notes' ORDER BY function;

-- A name belongs to one function, and a path to one table
SELECT notify_expose('app.add(int,int)', 'com.example.echo');
SELECT notify_expose('app.glass', 'my-notes');

-- What cannot be exposed
SELECT notify_expose('app.unknown_rows()');
SELECT notify_expose('app.any(anyelement)');
SELECT notify_expose('app.fires()');
SELECT notify_expose('app.proceed()');
SELECT notify_expose('app.total(int)');
SELECT notify_expose('app.numbers');
CREATE FUNCTION pg_temp.gone() RETURNS int LANGUAGE sql AS 'SELECT 1';
DO $$BEGIN PERFORM notify_expose('pg_temp.gone()', 'gone'); EXCEPTION WHEN wrong_object_type THEN RAISE NOTICE 'refused'; END $$;
CREATE TEMP VIEW gone AS SELECT 1 AS one;
SELECT notify_expose('pg_temp.gone');
SELECT notify_expose('app.nothing()');
SELECT notify_expose('app.nothing');
SELECT notify_expose(0::regprocedure);
SELECT notify_expose(0::regclass);
SELECT notify_expose('app.add(text)', '');
SELECT notify_expose('app.add(text)', 'a', 'a label');
SELECT notify_expose('app."a path"');
SELECT notify_expose('app.glass', repeat('x', 256));
SELECT notify_expose('app.glass', '');
SELECT notify_expose('app.glass', 'a/b');
SELECT notify_expose('app.glass', '.hidden');
SELECT notify_expose('app.send');
SELECT notify_expose(NULL::text);
SELECT notify_expose(function => NULL);
SELECT notify_expose(relation => NULL);
SELECT notify_conceal(NULL::text);
BEGIN READ ONLY;
SELECT notify_expose('app.add(text)');
ROLLBACK;
BEGIN;
SELECT notify_expose('app.add(text)', 'echo');
PREPARE TRANSACTION 'expose';
SELECT count(*) FROM notifyd.exposed WHERE name = 'echo';

-- Only the owner
CREATE ROLE regress_expose;
GRANT USAGE ON SCHEMA app TO regress_expose;
GRANT ALL ON ALL TABLES IN SCHEMA app TO regress_expose;
SET ROLE regress_expose;
SELECT notify_expose('app.add(int,int)');
SELECT notify_expose('app.notes');
SELECT notify_conceal('app.add(int,int)');
SELECT notify_conceal('app.notes');
SELECT count(*) FROM notifyd.exposed;
DELETE FROM notifyd.exposed_function;
INSERT INTO notifyd.exposed_relation VALUES ('mine', 'app.notes', 'Mine');
RESET ROLE;
ALTER FUNCTION app.rows() OWNER TO regress_expose;
ALTER TABLE app.glass OWNER TO regress_expose;
SET ROLE regress_expose;
SELECT notify_expose('app.rows()', 'my_rows');
SELECT notify_expose('app.glass', 'glasses');
SELECT * FROM notifyd.exposed WHERE function = 'app.rows()'::regprocedure OR relation = 'app.glass'::regclass ORDER BY name COLLATE "C";
SELECT notify_conceal('app.rows()'::regprocedure);
SELECT notify_conceal('app.glass'::regclass);
RESET ROLE;

-- Conceal
SELECT notify_conceal('app.add(int,int)');
SELECT notify_conceal('app.add(int,int)');
SELECT notify_conceal('app.notes');
SELECT notify_conceal('app.notes');
SELECT notify_conceal('app.nothing()');
SELECT notify_conceal('app.nothing');

-- A table keeps its path when it is renamed, moved or given away. What is dropped leaves its name to others.
CREATE FUNCTION stored() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT * FROM (SELECT name FROM notifyd.exposed_function UNION ALL SELECT path FROM notifyd.exposed_relation) AS s ORDER BY name COLLATE "C" $$;
SELECT notify_expose('app.notes');
SELECT stored();
ALTER TABLE app.notes RENAME TO memos;
ALTER TABLE app.memos SET SCHEMA public;
ALTER TABLE public.memos OWNER TO regress_expose;
DROP VIEW app.recent;
SELECT stored();
SELECT notify_expose('app.glass', 'latest');

-- A function that is renamed, moved or given away must be exposed again. A function of the old name is not exposed.
ALTER FUNCTION app.add(text) RENAME TO say;
SELECT stored();
CREATE FUNCTION app.add(a text) RETURNS text LANGUAGE sql STABLE AS 'SELECT a';
SELECT name FROM notifyd.exposed WHERE function IS NOT NULL;
SELECT notify_expose('app.say(text)'), notify_expose('app.add(text)', 'echo'), notify_expose('app.rows()');
ALTER FUNCTION app.say(text) STABLE;
CREATE OR REPLACE FUNCTION app.say(a text) RETURNS text LANGUAGE sql STABLE AS 'SELECT a || a';
SELECT stored();
ALTER FUNCTION app.say(text) SET SCHEMA public;
ALTER ROUTINE app.add(text) OWNER TO regress_expose;
SELECT notify_expose('public.say(text)');
ALTER SCHEMA app RENAME TO api;
ALTER SCHEMA api RENAME TO app;
SELECT stored();

-- Dropped in any way: the function of the same name that comes next is not exposed.
SELECT notify_expose('app.add(text)'), notify_expose('app.add(int,int)', 'sum');
DROP FUNCTION app.add(int,int);
CREATE FUNCTION app.add(a int, b int) RETURNS int LANGUAGE sql STABLE AS 'SELECT a + b';
SELECT stored();
SET client_min_messages = warning;
DROP OWNED BY regress_expose;
SELECT stored();
CREATE FUNCTION app.add(a text) RETURNS text LANGUAGE sql STABLE AS 'SELECT a';
CREATE FUNCTION app.rows() RETURNS TABLE (i int) LANGUAGE sql AS 'SELECT 1';
SELECT notify_expose('app.add(text)');
CREATE TYPE app.pair AS (a int);
CREATE FUNCTION public.pairs(app.pair) RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT notify_expose('public.pairs(app.pair)'), notify_expose('app.rows()');
DROP TYPE app.pair CASCADE;
SELECT stored();
BEGIN;
DROP SCHEMA app CASCADE;
SELECT stored();
ROLLBACK;
SELECT stored();
RESET client_min_messages;

-- Where event triggers do not run, the owner decides.
ALTER EVENT TRIGGER notifyd_exposure_alter DISABLE;
ALTER FUNCTION app.rows() OWNER TO regress_expose;
SELECT stored();
SELECT name FROM notifyd.exposed ORDER BY name COLLATE "C";
SELECT notify_expose('public.say(text)', 'rows');
SELECT stored();
DROP FUNCTION stored();

DROP EXTENSION pg_notifyd;
SET client_min_messages = warning;
DROP SCHEMA app CASCADE;
DROP ROLE regress_expose;
