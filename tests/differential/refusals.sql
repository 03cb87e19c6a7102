-- What can't be carried out exactly is refused, with the reason that docs/ERRORS.md explains. A refusal that disappears and one that
-- appears are both noticed here.

CREATE TABLE people (id int PRIMARY KEY, email text UNIQUE, name text, phone text, birth date, salary numeric(10,2), city text);

CREATE TABLE orders (id int PRIMARY KEY, person_id int, email text, card text);

INSERT INTO people VALUES (1, 'kim@example.com', 'Kim', '1', '1990-01-01', 10, 'Seoul');

-- refused: text-search
SELECT id FROM people WHERE email LIKE 'kim%';

-- refused: text-search
SELECT id FROM people WHERE name ILIKE '%kim%';

-- refused: text-search
SELECT id FROM people WHERE email ~ '^kim';

-- refused: text-search
SELECT id FROM people WHERE email NOT LIKE 'kim%';

-- refused: range
SELECT id FROM people WHERE birth > '1980-01-01';

-- refused: range
SELECT id FROM people WHERE birth BETWEEN '1980-01-01' AND '1999-12-31';

-- refused: range
SELECT id FROM people WHERE email < 'm';

-- refused: range
SELECT max(birth) FROM people;

-- refused: range
SELECT min(salary) FROM people;

-- refused: ordering
SELECT id FROM people ORDER BY email;

-- refused: ordering
SELECT email FROM people ORDER BY 1;

-- refused: ordering
SELECT id, row_number() OVER (ORDER BY name) FROM people;

-- refused: equality-not-enabled
SELECT id FROM people WHERE name = 'Kim';

-- refused: equality-not-enabled
SELECT DISTINCT name FROM people;

-- refused: equality-not-enabled
SELECT name, count(*) FROM people GROUP BY name;

-- refused: equality-not-enabled
SELECT name FROM people UNION SELECT name FROM people;

-- refused: equality-not-enabled
SELECT count(DISTINCT name) FROM people;

-- params: text:Kim
-- refused: equality-not-enabled
SELECT id FROM people WHERE name = $1;

-- refused: key-domain
SELECT p.id FROM people p JOIN orders o ON p.phone = o.email;

-- refused: key-domain
SELECT email FROM people UNION ALL SELECT phone FROM people;

-- refused: key-domain
INSERT INTO orders (id, email) SELECT id, phone FROM people;

-- refused: key-domain
UPDATE people SET name = email;

-- refused: expression
SELECT upper(email) FROM people;

-- refused: expression
SELECT email || 'x' FROM people;

-- refused: expression
SELECT salary * 2 FROM people;

-- refused: expression
SELECT email::bytea FROM people;

-- refused: expression
SELECT id FROM people WHERE lower(email) = 'kim@example.com';

-- refused: expression
SELECT coalesce(name, 'none') FROM people;

-- refused: expression
SELECT CASE WHEN id = 1 THEN name ELSE 'x' END FROM people;

-- refused: expression
SELECT sum(salary) FROM people;

-- refused: expression
SELECT array_agg(email) FROM people;

-- refused: expression
SELECT row_to_json(p) FROM people p;

-- refused: expression
SELECT p FROM people p;

-- refused: expression
UPDATE people SET salary = salary + 1;

-- refused: expression
UPDATE people SET city = name FROM (SELECT 'x' AS note) s WHERE false;

-- refused: expression
INSERT INTO people (id, name) VALUES (2, lower('KIM'));

-- refused: expression
SELECT id FROM people WHERE email = city;

-- refused: expression
SELECT extract(year FROM birth) FROM people;

-- refused: statement-kind
COPY people TO STDOUT;

-- refused: statement-kind
COPY (SELECT email FROM people) TO STDOUT;

-- refused: statement-kind
PREPARE s AS SELECT email FROM people;

-- refused: statement-kind
DECLARE c CURSOR FOR SELECT email FROM people;

-- refused: statement-kind
CREATE VIEW v AS SELECT email FROM people;

-- refused: statement-kind
CREATE TABLE copied AS SELECT email FROM people;

-- refused: statement-kind
SELECT email INTO copied FROM people;

-- refused: statement-kind
MERGE INTO people p USING orders o ON p.id = o.person_id WHEN MATCHED THEN DELETE;

-- refused: statement-kind
EXPLAIN ANALYZE SELECT email FROM people;

SELECT id, email, name FROM people;

SELECT pg_typeof(1), version() IS NOT NULL;
