-- Transactions, savepoints, errors inside them, refusals inside them.

CREATE TABLE people (id int PRIMARY KEY, email text UNIQUE, name text, phone text);

BEGIN;

INSERT INTO people VALUES (1, 'kim@example.com', 'Kim', '1');

SELECT name FROM people WHERE email = 'kim@example.com';

COMMIT;

START TRANSACTION ISOLATION LEVEL REPEATABLE READ;

UPDATE people SET name = 'gone' WHERE id = 1;

ROLLBACK;

SELECT name FROM people;

BEGIN;

INSERT INTO people VALUES (2, 'lee@example.com', 'Lee', NULL);

SAVEPOINT a;

-- error: 23505
INSERT INTO people VALUES (3, 'lee@example.com', 'Lee again', NULL);

-- error: 25P02
SELECT name FROM people;

ROLLBACK TO SAVEPOINT a;

SELECT name FROM people ORDER BY id;

RELEASE SAVEPOINT a;

COMMIT;

BEGIN;

INSERT INTO people VALUES (4, 'lost@example.com', 'Lost', NULL);

-- refused: text-search
SELECT id FROM people WHERE email LIKE '%example%';

-- error: 25P02
SELECT 1;

-- error: 25P02
SELECT name FROM people;

COMMIT;

SELECT count(*) FROM people;

BEGIN;

SAVEPOINT s;

-- refused: ordering
SELECT name FROM people ORDER BY name;

ROLLBACK TO s;

SELECT name FROM people WHERE id = 1;

END;

-- plain: BEGIN; SELECT 1/0
-- refused: range
BEGIN; INSERT INTO people VALUES (5, 'five@example.com', 'Five', NULL); SELECT id FROM people WHERE email > 'a'; COMMIT

ROLLBACK;

SELECT count(*) FROM people;

-- refused: text-search
INSERT INTO people VALUES (6, 'six@example.com', 'Six', NULL); SELECT id FROM people WHERE name ~ 'x'

SELECT count(*) FROM people;

BEGIN;

-- error: 22012
SELECT 1/0;

ROLLBACK;

BEGIN;

CREATE TABLE accounts (code text PRIMARY KEY, owner text);

INSERT INTO accounts VALUES ('A-1', 'Kim') RETURNING code, owner;

SELECT owner FROM accounts WHERE code = 'A-1';

ROLLBACK;

-- error: 42P01
SELECT owner FROM accounts;

CREATE TABLE accounts (code text PRIMARY KEY, owner text);

INSERT INTO accounts VALUES ('A-1', 'Kim') RETURNING code, owner;

SELECT * FROM accounts;

BEGIN; CREATE TABLE scratch (a int); INSERT INTO scratch VALUES (1); SELECT * FROM scratch; ROLLBACK

SET search_path = pg_catalog, public;

SELECT name FROM people WHERE id = 1;

SET search_path = pg_catalog;

-- error: 42P01
SELECT name FROM people WHERE id = 1;

SELECT name FROM public.people WHERE id = 1;

RESET search_path;

SELECT name FROM people WHERE id = 1;

BEGIN;

SET LOCAL search_path = pg_catalog;

-- error: 42P01
SELECT name FROM people WHERE id = 1;

ROLLBACK;

SELECT name FROM people WHERE id = 1;

CREATE TEMPORARY TABLE people (id int, email text);

INSERT INTO people VALUES (1, 'temporary');

SELECT upper(email) FROM people WHERE email LIKE 't%';

DROP TABLE pg_temp.people;

SELECT name FROM people WHERE id = 1;

SET standard_conforming_strings = off;

SELECT id FROM people WHERE email = 'kim\100example.com';

RESET standard_conforming_strings;

SET DateStyle = 'German, DMY';

SET TimeZone = 'Asia/Seoul';

SELECT name FROM people WHERE id = 1;

RESET ALL;
