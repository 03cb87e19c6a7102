-- Reading: joins, subqueries, CTEs, set operations, grouping.

CREATE TABLE people (
    id int PRIMARY KEY,
    email varchar(60) NOT NULL UNIQUE,
    name text,
    phone text,
    birth date,
    salary numeric(10,2),
    city text,
    note text
);

CREATE TABLE orders (id int PRIMARY KEY, person_id int, email text, amount numeric(8,2), card text);

CREATE TABLE plain_things (id int, label text);

INSERT INTO people (id, email, name, phone, birth, salary, city, note) VALUES
    (1, 'kim@example.com', '김민준', '010-1234-5678', '1990-05-17', 4200.50, 'Seoul', 'first'),
    (2, 'lee@example.com', '이서연', '010-2345-6789', '1985-11-02', 5100, 'Busan', NULL),
    (3, 'anna@example.org', 'Anna O''Neil', NULL, NULL, NULL, 'Dublin', ''),
    (4, 'park@example.com', '박지훈', '010-1234-5678', '2001-01-31', 3900.10, 'Seoul', 'shares a phone'),
    (5, 'zoë@example.net', 'Zoë', '', '1970-12-24', 0, NULL, 'x');

INSERT INTO orders VALUES (10, 1, 'kim@example.com', 19.90, '4111111111111111'), (11, 1, 'kim@example.com', 5, NULL),
    (12, 2, 'lee@example.com', 250.00, '5500000000000004'), (13, 9, 'nobody@example.com', 1, '340000000000009'), (14, 3, NULL, 7.5, 'x');

INSERT INTO plain_things VALUES (1, 'one'), (2, 'two');

SELECT * FROM people ORDER BY id;

SELECT people.* FROM people ORDER BY people.id;

SELECT p.*, o.* FROM people p JOIN orders o ON o.person_id = p.id ORDER BY p.id, o.id;

SELECT email, name FROM people WHERE id = 1;

SELECT email AS "E-Mail", p.name AS who FROM people AS p WHERE p.id <= 2 ORDER BY id DESC;

SELECT id FROM people WHERE email = 'kim@example.com';

SELECT id FROM people WHERE 'kim@example.com' = email;

SELECT id FROM public.people WHERE people.email = 'kim@example.com' AND city = 'Seoul';

SELECT id FROM people WHERE email = 'kim@example.com' OR phone = '010-2345-6789' ORDER BY id;

SELECT id FROM people WHERE NOT (email = 'kim@example.com') ORDER BY id;

SELECT id FROM people WHERE email <> 'kim@example.com' ORDER BY id;

SELECT id FROM people WHERE email != 'kim@example.com' ORDER BY id;

SELECT id FROM people WHERE email IN ('kim@example.com', 'lee@example.com', 'none@example.com') ORDER BY id;

SELECT id FROM people WHERE phone NOT IN ('010-1234-5678') ORDER BY id;

SELECT id FROM people WHERE phone NOT IN ('010-1234-5678', NULL) ORDER BY id;

SELECT id FROM people WHERE phone IS NULL;

SELECT id FROM people WHERE name IS NOT NULL AND birth IS NOT NULL ORDER BY id;

SELECT id FROM people WHERE phone IS DISTINCT FROM '010-1234-5678' ORDER BY id;

SELECT id FROM people WHERE phone IS NOT DISTINCT FROM '010-1234-5678' ORDER BY id;

SELECT id FROM people WHERE phone = '' ORDER BY id;

SELECT id FROM people WHERE email = E'kim\u0040example.com';

SELECT id FROM people WHERE email = U&'kim\0040example.com';

SELECT id FROM people WHERE email = $$kim@example.com$$;

SELECT id FROM people WHERE email = 'far longer than the column could ever hold, so that no row can have it, and no error comes of it';

-- params: text:kim@example.com
SELECT id, email, name FROM people WHERE email = $1;

-- params: text:kim@example.com | text:010-1234-5678
SELECT id FROM people WHERE email = $1 AND phone = $2;

-- params: text:kim@example.com | int4:1
SELECT id, email FROM people WHERE email = $1 AND id = $2;

-- params: int4:1 | text:kim@example.com
SELECT id, email FROM people WHERE id = $1 OR email = $2;

-- params: text[]:{kim@example.com,lee@example.com,NULL}
SELECT id FROM people WHERE phone = ANY($1) OR id < 2 ORDER BY id;

-- params: text:kim@example.com | text:lee@example.com
SELECT id FROM people WHERE email IN ($1, $2) ORDER BY id;

-- params: text:NULL
SELECT id FROM people WHERE phone = $1;

-- params: int8:3
SELECT id, email FROM people ORDER BY id LIMIT $1;

-- params: int8:2 | int8:1
SELECT id, name FROM people ORDER BY id LIMIT $1 OFFSET $2;

SELECT id FROM people WHERE phone = ANY('{010-1234-5678,x}') ORDER BY id;

SELECT id FROM people WHERE phone = ANY(ARRAY['010-1234-5678', 'x']) ORDER BY id;

SELECT p.name, o.amount FROM people p, orders o WHERE p.id = o.person_id ORDER BY o.id;

SELECT p.name, o.amount FROM people p JOIN orders o ON p.email = o.email ORDER BY o.id;

-- refused: key-domain
SELECT p.name, o.card FROM people p JOIN orders o USING (email) ORDER BY o.id;

SELECT p.name, o.card, o.email FROM people p LEFT JOIN orders o ON o.email = p.email ORDER BY p.id, o.id;

SELECT p.id, o.id, o.email FROM people p RIGHT JOIN orders o ON o.email = p.email ORDER BY o.id;

SELECT p.id, o.id FROM people p FULL JOIN orders o ON o.email = p.email ORDER BY p.id, o.id;

SELECT p.name, t.label FROM people p CROSS JOIN plain_things t ORDER BY p.id, t.id;

SELECT a.id, b.id FROM people a JOIN people b ON a.phone = b.phone WHERE a.id < b.id ORDER BY a.id;

SELECT name FROM people WHERE id IN (SELECT person_id FROM orders WHERE amount > 100);

SELECT name FROM people p WHERE EXISTS (SELECT 1 FROM orders o WHERE o.person_id = p.id) ORDER BY id;

SELECT name FROM people p WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.email = p.email) ORDER BY id;

SELECT id FROM people WHERE email IN (SELECT email FROM orders WHERE amount < 20) ORDER BY id;

SELECT (SELECT name FROM people WHERE id = 1);

SELECT o.id, (SELECT p.name FROM people p WHERE p.id = o.person_id) AS who FROM orders o ORDER BY o.id;

SELECT s.email, s.n FROM (SELECT email, id * 2 AS n FROM people) s WHERE s.n > 4 ORDER BY s.n;

SELECT * FROM (SELECT id, email, phone FROM people) AS s WHERE s.email = 'kim@example.com';

SELECT * FROM (SELECT id, email FROM people) AS s(a, b) WHERE b = 'kim@example.com';

WITH w AS (SELECT id, email, name FROM people WHERE id < 3) SELECT * FROM w ORDER BY id;

WITH w(a, b) AS (SELECT id, email FROM people), v AS (SELECT a FROM w WHERE b = 'lee@example.com') SELECT * FROM v;

WITH w AS MATERIALIZED (SELECT * FROM people) SELECT name, birth FROM w WHERE w.email = 'kim@example.com';

WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i, name FROM n JOIN people ON people.id = i ORDER BY i;

SELECT email FROM people WHERE id = 1 UNION ALL SELECT email FROM people WHERE id = 2;

-- refused: key-domain
SELECT email FROM people UNION ALL SELECT email FROM orders;

-- refused: key-domain
SELECT email FROM people UNION SELECT email FROM orders;

-- refused: key-domain
SELECT email FROM people EXCEPT SELECT email FROM orders;

-- refused: key-domain
SELECT email FROM people INTERSECT SELECT email FROM orders;

SELECT name FROM people WHERE id = 1 UNION ALL SELECT name FROM people WHERE id = 3;

SELECT DISTINCT phone FROM people;

SELECT DISTINCT email, city FROM people;

SELECT DISTINCT ON (city) city, email FROM people ORDER BY city, id;

SELECT phone, count(*) FROM people GROUP BY phone;

SELECT phone, city, max(id) FROM people GROUP BY phone, city HAVING count(*) > 0;

SELECT p.phone, count(*) FROM people p GROUP BY 1;

SELECT count(*) FROM people;

SELECT count(email), count(name), count(phone) FROM people;

SELECT count(DISTINCT phone), count(DISTINCT email) FROM people;

SELECT city, count(DISTINCT phone) FROM people GROUP BY city;

SELECT count(*) FROM people WHERE email = 'kim@example.com';

SELECT sum(amount) FROM orders WHERE email = 'kim@example.com';

SELECT upper(city), length(note) FROM people ORDER BY id;

SELECT id, name, city FROM people ORDER BY city NULLS FIRST, id;

SELECT id, row_number() OVER (ORDER BY id) AS n, email FROM people ORDER BY id;

SELECT name FROM people ORDER BY id FETCH FIRST 2 ROWS ONLY;

SELECT name FROM people ORDER BY id FOR UPDATE;

SELECT name FROM people WHERE id = 1 FOR SHARE SKIP LOCKED;

SELECT * FROM plain_things ORDER BY id;

SELECT email FROM people WHERE false;

SELECT city FROM people WHERE city LIKE 'S%' ORDER BY id;

SELECT upper(label) FROM plain_things ORDER BY id;

SELECT id, CASE WHEN email = 'kim@example.com' THEN 'kim' ELSE 'other' END FROM people ORDER BY id;

SELECT id, email = 'kim@example.com' AS is_kim FROM people ORDER BY id;

SELECT id, email IS NULL, phone IS NULL FROM people ORDER BY id;

SELECT l.id, s.card FROM people l, LATERAL (SELECT card FROM orders o WHERE o.person_id = l.id) s ORDER BY l.id, s.card IS NULL;

/* a comment 'with a quote */ SELECT id /* email */ FROM people -- a trailing one
WHERE email = 'kim@example.com' -- 'x'
;

SELECT "email", "people"."name" FROM "public"."people" WHERE "id" = 1;

-- refused: expression
SELECT id FROM people WHERE (email, id) = ('kim@example.com', 1);

TABLE plain_things;

VALUES (1, 'a'), (2, 'b');

SELECT id, email FROM people WHERE email = 'kim@example.com'; SELECT id, name FROM people WHERE id = 2; SELECT 1

-- error: 42703
SELECT no_such_column FROM people;

-- error: 42P01
SELECT email FROM no_such_table;

-- error: 42601
SELEC email FROM plain_things;

-- error: 42702
SELECT email FROM people, orders WHERE people.id = orders.person_id;
