-- Writing: INSERT, ON CONFLICT, UPDATE, DELETE, RETURNING.

CREATE TABLE people (
    id serial PRIMARY KEY,
    email varchar(60) NOT NULL UNIQUE,
    name text DEFAULT 'nameless',
    phone text,
    birth date,
    salary numeric(10,2) DEFAULT 100,
    city text DEFAULT 'Seoul',
    note text
);

CREATE TABLE orders (id int PRIMARY KEY, person_id int, email text, amount numeric(8,2), card text);

CREATE TABLE staging (id int, mail text);

INSERT INTO people (email) VALUES ('kim@example.com');

INSERT INTO people (email, name, phone, birth) VALUES ('lee@example.com', '이서연', '010-2345-6789', '1985-11-02') RETURNING id, email, name;

INSERT INTO people (email, name) VALUES ('a@example.com', DEFAULT), ('b@example.com', NULL), ('c@example.com', 'C') RETURNING *;

INSERT INTO people VALUES (DEFAULT, 'd@example.com', 'D', '1', '2000-02-29', 12.345, 'Jeju', 'x') RETURNING *;

INSERT INTO people (email, birth) VALUES ('e@example.com', DATE '1999-01-01');

-- params: text:f@example.com | text:F | text:010 | date:1977-07-07 | numeric:1.005
INSERT INTO people (email, name, phone, birth, salary) VALUES ($1, $2, $3, $4, $5) RETURNING id, email, name, phone, birth, salary;

-- params: text:g@example.com | text:NULL
INSERT INTO people (email, name) VALUES ($1, $2);

-- params: text:h@example.com | text:i@example.com
INSERT INTO people (email, note) VALUES ($1, 'first'), ($2, 'second') RETURNING note;

-- params: text:same value twice
INSERT INTO people (email, name, note) VALUES ('twice@example.com', $1, $1) RETURNING name, note;

INSERT INTO people AS p (email, name) VALUES ('kim@example.com', 'again') ON CONFLICT (email) DO NOTHING;

INSERT INTO people (email, name) VALUES ('kim@example.com', 'again') ON CONFLICT (email) DO UPDATE SET name = EXCLUDED.name RETURNING id, email, name;

INSERT INTO people (email, name) VALUES ('kim@example.com', 'third') ON CONFLICT (email) DO UPDATE SET name = 'literal', phone = EXCLUDED.phone;

INSERT INTO people (email, name) VALUES ('kim@example.com', 'x') ON CONFLICT DO NOTHING RETURNING id;

INSERT INTO people (email, name) VALUES ('kim@example.com', 'x') ON CONFLICT ON CONSTRAINT people_email_key DO NOTHING;

-- params: text:kim@example.com | text:by parameter
INSERT INTO people (email, name) VALUES ($1, $2) ON CONFLICT (email) DO UPDATE SET name = EXCLUDED.name, note = 'upserted' RETURNING name, note;

-- error: 23505
INSERT INTO people (email) VALUES ('kim@example.com');

-- error: 23502
INSERT INTO people (name) VALUES ('no address');

-- error: 23502
INSERT INTO people (email) VALUES (NULL);

-- error: 22001
INSERT INTO people (email) VALUES ('an-address-that-is-far-too-long-for-the-column-it-should-go-into@example.com');

-- error: 42601
INSERT INTO people (email, name) VALUES ('only one');

SELECT id, email, name, phone, birth, salary, city, note FROM people ORDER BY id;

-- refused: key-domain
INSERT INTO orders (id, person_id, email, amount, card) SELECT 100 + id, id, email, 1, 'card' FROM people WHERE id < 4;

INSERT INTO orders (id, email) SELECT 200, 'literal@example.com';

SELECT * FROM orders ORDER BY id;

INSERT INTO staging VALUES (1, 'staged@example.com');

UPDATE people SET name = 'Kim' WHERE email = 'kim@example.com';

UPDATE people SET name = NULL, phone = '010-0000-0000', city = 'Busan' WHERE id = 2 RETURNING id, name, phone, city;

UPDATE people SET email = 'lee2@example.com' WHERE email = 'lee@example.com' RETURNING *;

UPDATE people p SET birth = '1990-01-01' WHERE p.phone = '010-0000-0000';

UPDATE people SET (name, phone) = ('both', '2') WHERE id = 1 RETURNING name, phone;

UPDATE people SET name = DEFAULT, salary = DEFAULT WHERE id = 3 RETURNING name, salary;

-- params: text:New Name | text:kim@example.com
UPDATE people SET name = $1 WHERE email = $2;

-- params: text:New Name | date:1960-06-06 | int4:1
UPDATE people SET name = $1, birth = $2 WHERE id = $3 RETURNING name, birth;

-- refused: key-domain
UPDATE people SET phone = o.card FROM orders o WHERE false AND o.person_id = people.id;

-- refused: key-domain
UPDATE orders SET email = p.email FROM people p WHERE p.id = orders.person_id RETURNING orders.id, orders.email;

UPDATE orders SET amount = 2 FROM people p WHERE p.email = orders.email AND p.city = 'Seoul' RETURNING orders.id;

UPDATE people SET note = 'n' WHERE email IN ('kim@example.com', 'a@example.com') RETURNING id;

UPDATE people SET note = email IS NULL WHERE false;

-- error: 23505
UPDATE people SET email = 'a@example.com' WHERE id = 1;

-- error: 23502
UPDATE people SET email = NULL WHERE id = 1;

-- error: 22001
UPDATE people SET email = 'an-address-that-is-far-too-long-for-the-column-it-should-go-into@example.com' WHERE id = 1;

-- error: 22007
UPDATE people SET birth = 'no date' WHERE id = 1;

DELETE FROM orders USING people p WHERE p.email = orders.email AND p.id = 1 RETURNING orders.id, orders.email;

DELETE FROM people WHERE email = 'c@example.com' RETURNING id, email, name;

-- params: text:a@example.com
DELETE FROM people WHERE email = $1;

DELETE FROM people WHERE phone IS NULL AND birth IS NULL RETURNING id;

WITH moved AS (DELETE FROM orders WHERE id = 200 RETURNING id, email) SELECT * FROM moved;

WITH made AS (INSERT INTO people (email, name) VALUES ('cte@example.com', 'CTE') RETURNING id, email, name) SELECT email, name FROM made;

SELECT id, email, name, phone, birth, salary, city, note FROM people ORDER BY id;

SELECT * FROM orders ORDER BY id;

INSERT INTO people (email) VALUES ('m1@example.com'); INSERT INTO people (email) VALUES ('m2@example.com') RETURNING email; UPDATE people SET name = 'M' WHERE email = 'm1@example.com'; SELECT name FROM people WHERE email = 'm1@example.com'

-- error: 23505
INSERT INTO people (email) VALUES ('m3@example.com'); INSERT INTO people (email) VALUES ('m1@example.com'); SELECT 1

SELECT count(*) FROM people WHERE email = 'm3@example.com';

TRUNCATE orders;

SELECT count(*) FROM orders;
