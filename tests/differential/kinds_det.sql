-- Every logical type in mode deterministic, which numeric and float8 can't have (equal values in different forms).

-- refused: ddl
CREATE TABLE kinds_det (id int PRIMARY KEY, c_text numeric);

CREATE TABLE kinds_det (
    id int PRIMARY KEY,
    c_text text,
    c_varchar varchar(12),
    c_char char(6),
    c_int2 int2,
    c_int4 int4,
    c_int8 int8,
    c_date date,
    c_ts timestamp,
    c_ts3 timestamp(3),
    c_tstz timestamptz,
    c_uuid uuid,
    c_bytea bytea
);

INSERT INTO kinds_det (id, c_text, c_varchar, c_char, c_int2, c_int4, c_int8, c_date, c_ts, c_ts3, c_tstz, c_uuid, c_bytea)
VALUES (0, 'plain', 'twelve chars', 'six', '0', '0', '0', '2024-02-29', '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56.789612', '2024-02-29 12:34:56.789012+09', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\xdeadbeef');

INSERT INTO kinds_det (id, c_text, c_varchar, c_char, c_int2, c_int4, c_int8, c_date, c_ts, c_ts3, c_tstz, c_uuid, c_bytea)
VALUES (1, '', '', 'sixsix', '-32768', '-2147483648', '-9223372036854775808', '0001-01-01', '1970-01-01', '1970-01-01', '1970-01-01Z', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A12', '\x');

INSERT INTO kinds_det (id, c_text, c_varchar, c_char, c_int2, c_int4, c_int8, c_date, c_ts, c_ts3, c_tstz, c_uuid, c_bytea)
VALUES (2, '한글 이름 ✓', '열두 글자까지의 이름', '', '32767', '2147483647', '9223372036854775807', '4713-01-01 BC', 'infinity', '-infinity', 'infinity', '{a0eebc999c0b4ef8bb6d6bb9bd380a13}', 'abc');

INSERT INTO kinds_det (id, c_text, c_varchar, c_char, c_int2, c_int4, c_int8, c_date, c_ts, c_ts3, c_tstz, c_uuid, c_bytea)
VALUES (3, 'it''s \ "quoted"', 'a', '여섯', '7', '7', '7', 'infinity', '0044-03-15 12:00:00 BC', '1999-12-31 23:59:59.9996', '2024-07-01 00:00:00-03:30', '00000000-0000-0000-0000-000000000000', '\000\377');

INSERT INTO kinds_det (id, c_text, c_varchar, c_char, c_int2, c_int4, c_int8, c_date, c_ts, c_ts3, c_tstz, c_uuid, c_bytea)
VALUES (4, '  blanks  ', '', 'a b', ' 12 ', '-1', '1000000000000', '1999-12-31', '2000-01-01 00:00', '2000-01-01 00:00', '2000-01-01 00:00+00', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '\xFA00');

-- params: int4:10 | text:plain | varchar:twelve chars | bpchar:six | int2:0 | int4:0 | int8:0 | date:2024-02-29 | timestamp:2024-02-29 12:34:56.789012 | timestamp:2024-02-29 12:34:56.789612 | timestamptz:2024-02-29 12:34:56.789012+09 | uuid:a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 | bytea:\xdeadbeef
INSERT INTO kinds_det VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- params: int4:11 | text: | varchar: | bpchar:sixsix | int2:-32768 | int4:-2147483648 | int8:-9223372036854775808 | date:0001-01-01 | timestamp:1970-01-01 | timestamp:1970-01-01 | timestamptz:1970-01-01Z | uuid:A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A12 | bytea:\x
INSERT INTO kinds_det VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- params: int4:12 | text:한글 이름 ✓ | varchar:열두 글자까지의 이름 | bpchar: | int2:32767 | int4:2147483647 | int8:9223372036854775807 | date:4713-01-01 BC | timestamp:infinity | timestamp:-infinity | timestamptz:infinity | uuid:{a0eebc999c0b4ef8bb6d6bb9bd380a13} | bytea:abc
INSERT INTO kinds_det VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- params: int4:13 | text:it's \ "quoted" | varchar:a | bpchar:여섯 | int2:7 | int4:7 | int8:7 | date:infinity | timestamp:0044-03-15 12:00:00 BC | timestamp:1999-12-31 23:59:59.9996 | timestamptz:2024-07-01 00:00:00-03:30 | uuid:00000000-0000-0000-0000-000000000000 | bytea:\000\377
INSERT INTO kinds_det VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- params: int4:14 | text:  blanks   | varchar: | bpchar:a b | int2: 12  | int4:-1 | int8:1000000000000 | date:1999-12-31 | timestamp:2000-01-01 00:00 | timestamp:2000-01-01 00:00 | timestamptz:2000-01-01 00:00+00 | uuid:ffffffff-ffff-ffff-ffff-ffffffffffff | bytea:\xFA00
INSERT INTO kinds_det VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

INSERT INTO kinds_det (id) VALUES (20);

INSERT INTO kinds_det VALUES (21, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

SELECT * FROM kinds_det ORDER BY id;

SELECT id, c_text FROM kinds_det WHERE c_text IS NULL ORDER BY id;

-- params: text:한글 이름 ✓ | int4:1
UPDATE kinds_det SET c_text = $1 WHERE id = $2 RETURNING id, c_text;

SELECT id FROM kinds_det WHERE c_text = '한글 이름 ✓' ORDER BY id;

-- params: text:plain
SELECT id, c_text FROM kinds_det WHERE c_text = $1 ORDER BY id;

SELECT id FROM kinds_det WHERE c_text <> '한글 이름 ✓' ORDER BY id;

SELECT c_text, count(*) FROM kinds_det GROUP BY c_text;

SELECT count(DISTINCT c_text) FROM kinds_det;

SELECT a.id, b.id FROM kinds_det a JOIN kinds_det b USING (c_text) ORDER BY a.id, b.id;

SELECT id, c_varchar FROM kinds_det WHERE c_varchar IS NULL ORDER BY id;

-- params: varchar:열두 글자까지의 이름 | int4:1
UPDATE kinds_det SET c_varchar = $1 WHERE id = $2 RETURNING id, c_varchar;

SELECT id FROM kinds_det WHERE c_varchar = '열두 글자까지의 이름' ORDER BY id;

-- params: varchar:twelve chars
SELECT id, c_varchar FROM kinds_det WHERE c_varchar = $1 ORDER BY id;

SELECT id FROM kinds_det WHERE c_varchar <> '열두 글자까지의 이름' ORDER BY id;

SELECT c_varchar, count(*) FROM kinds_det GROUP BY c_varchar;

SELECT count(DISTINCT c_varchar) FROM kinds_det;

SELECT a.id, b.id FROM kinds_det a JOIN kinds_det b USING (c_varchar) ORDER BY a.id, b.id;

SELECT id, c_char FROM kinds_det WHERE c_char IS NULL ORDER BY id;

-- params: bpchar: | int4:1
UPDATE kinds_det SET c_char = $1 WHERE id = $2 RETURNING id, c_char;

SELECT id FROM kinds_det WHERE c_char = '' ORDER BY id;

-- params: bpchar:six
SELECT id, c_char FROM kinds_det WHERE c_char = $1 ORDER BY id;

SELECT id FROM kinds_det WHERE c_char <> '' ORDER BY id;

SELECT c_char, count(*) FROM kinds_det GROUP BY c_char;

SELECT count(DISTINCT c_char) FROM kinds_det;

SELECT a.id, b.id FROM kinds_det a JOIN kinds_det b USING (c_char) ORDER BY a.id, b.id;

SELECT id, c_int2 FROM kinds_det WHERE c_int2 IS NULL ORDER BY id;

-- params: int2:32767 | int4:1
UPDATE kinds_det SET c_int2 = $1 WHERE id = $2 RETURNING id, c_int2;

SELECT id FROM kinds_det WHERE c_int2 = '32767' ORDER BY id;

-- params: int2:0
SELECT id, c_int2 FROM kinds_det WHERE c_int2 = $1 ORDER BY id;

SELECT id FROM kinds_det WHERE c_int2 <> '32767' ORDER BY id;

SELECT c_int2, count(*) FROM kinds_det GROUP BY c_int2;

SELECT count(DISTINCT c_int2) FROM kinds_det;

SELECT a.id, b.id FROM kinds_det a JOIN kinds_det b USING (c_int2) ORDER BY a.id, b.id;

SELECT id, c_int4 FROM kinds_det WHERE c_int4 IS NULL ORDER BY id;

-- params: int4:2147483647 | int4:1
UPDATE kinds_det SET c_int4 = $1 WHERE id = $2 RETURNING id, c_int4;

SELECT id FROM kinds_det WHERE c_int4 = '2147483647' ORDER BY id;

-- params: int4:0
SELECT id, c_int4 FROM kinds_det WHERE c_int4 = $1 ORDER BY id;

SELECT id FROM kinds_det WHERE c_int4 <> '2147483647' ORDER BY id;

SELECT c_int4, count(*) FROM kinds_det GROUP BY c_int4;

SELECT count(DISTINCT c_int4) FROM kinds_det;

SELECT a.id, b.id FROM kinds_det a JOIN kinds_det b USING (c_int4) ORDER BY a.id, b.id;

SELECT id, c_int8 FROM kinds_det WHERE c_int8 IS NULL ORDER BY id;

-- params: int8:9223372036854775807 | int4:1
UPDATE kinds_det SET c_int8 = $1 WHERE id = $2 RETURNING id, c_int8;

SELECT id FROM kinds_det WHERE c_int8 = '9223372036854775807' ORDER BY id;

-- params: int8:0
SELECT id, c_int8 FROM kinds_det WHERE c_int8 = $1 ORDER BY id;

SELECT id FROM kinds_det WHERE c_int8 <> '9223372036854775807' ORDER BY id;

SELECT c_int8, count(*) FROM kinds_det GROUP BY c_int8;

SELECT count(DISTINCT c_int8) FROM kinds_det;

SELECT a.id, b.id FROM kinds_det a JOIN kinds_det b USING (c_int8) ORDER BY a.id, b.id;

SELECT id, c_date FROM kinds_det WHERE c_date IS NULL ORDER BY id;

-- params: date:4713-01-01 BC | int4:1
UPDATE kinds_det SET c_date = $1 WHERE id = $2 RETURNING id, c_date;

SELECT id FROM kinds_det WHERE c_date = '4713-01-01 BC' ORDER BY id;

-- params: date:2024-02-29
SELECT id, c_date FROM kinds_det WHERE c_date = $1 ORDER BY id;

SELECT id FROM kinds_det WHERE c_date <> '4713-01-01 BC' ORDER BY id;

SELECT c_date, count(*) FROM kinds_det GROUP BY c_date;

SELECT count(DISTINCT c_date) FROM kinds_det;

SELECT a.id, b.id FROM kinds_det a JOIN kinds_det b USING (c_date) ORDER BY a.id, b.id;

SELECT id, c_ts FROM kinds_det WHERE c_ts IS NULL ORDER BY id;

-- params: timestamp:infinity | int4:1
UPDATE kinds_det SET c_ts = $1 WHERE id = $2 RETURNING id, c_ts;

SELECT id FROM kinds_det WHERE c_ts = 'infinity' ORDER BY id;

-- params: timestamp:2024-02-29 12:34:56.789012
SELECT id, c_ts FROM kinds_det WHERE c_ts = $1 ORDER BY id;

SELECT id FROM kinds_det WHERE c_ts <> 'infinity' ORDER BY id;

SELECT c_ts, count(*) FROM kinds_det GROUP BY c_ts;

SELECT count(DISTINCT c_ts) FROM kinds_det;

SELECT a.id, b.id FROM kinds_det a JOIN kinds_det b USING (c_ts) ORDER BY a.id, b.id;

SELECT id, c_ts3 FROM kinds_det WHERE c_ts3 IS NULL ORDER BY id;

-- params: timestamp:-infinity | int4:1
UPDATE kinds_det SET c_ts3 = $1 WHERE id = $2 RETURNING id, c_ts3;

SELECT id FROM kinds_det WHERE c_ts3 = '-infinity' ORDER BY id;

-- params: timestamp:2024-02-29 12:34:56.789612
SELECT id, c_ts3 FROM kinds_det WHERE c_ts3 = $1 ORDER BY id;

SELECT id FROM kinds_det WHERE c_ts3 <> '-infinity' ORDER BY id;

SELECT c_ts3, count(*) FROM kinds_det GROUP BY c_ts3;

SELECT count(DISTINCT c_ts3) FROM kinds_det;

SELECT a.id, b.id FROM kinds_det a JOIN kinds_det b USING (c_ts3) ORDER BY a.id, b.id;

SELECT id, c_tstz FROM kinds_det WHERE c_tstz IS NULL ORDER BY id;

-- params: timestamptz:infinity | int4:1
UPDATE kinds_det SET c_tstz = $1 WHERE id = $2 RETURNING id, c_tstz;

SELECT id FROM kinds_det WHERE c_tstz = 'infinity' ORDER BY id;

-- params: timestamptz:2024-02-29 12:34:56.789012+09
SELECT id, c_tstz FROM kinds_det WHERE c_tstz = $1 ORDER BY id;

SELECT id FROM kinds_det WHERE c_tstz <> 'infinity' ORDER BY id;

SELECT c_tstz, count(*) FROM kinds_det GROUP BY c_tstz;

SELECT count(DISTINCT c_tstz) FROM kinds_det;

SELECT a.id, b.id FROM kinds_det a JOIN kinds_det b USING (c_tstz) ORDER BY a.id, b.id;

SELECT id, c_uuid FROM kinds_det WHERE c_uuid IS NULL ORDER BY id;

-- params: uuid:{a0eebc999c0b4ef8bb6d6bb9bd380a13} | int4:1
UPDATE kinds_det SET c_uuid = $1 WHERE id = $2 RETURNING id, c_uuid;

SELECT id FROM kinds_det WHERE c_uuid = '{a0eebc999c0b4ef8bb6d6bb9bd380a13}' ORDER BY id;

-- params: uuid:a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11
SELECT id, c_uuid FROM kinds_det WHERE c_uuid = $1 ORDER BY id;

SELECT id FROM kinds_det WHERE c_uuid <> '{a0eebc999c0b4ef8bb6d6bb9bd380a13}' ORDER BY id;

SELECT c_uuid, count(*) FROM kinds_det GROUP BY c_uuid;

SELECT count(DISTINCT c_uuid) FROM kinds_det;

SELECT a.id, b.id FROM kinds_det a JOIN kinds_det b USING (c_uuid) ORDER BY a.id, b.id;

SELECT id, c_bytea FROM kinds_det WHERE c_bytea IS NULL ORDER BY id;

-- params: bytea:abc | int4:1
UPDATE kinds_det SET c_bytea = $1 WHERE id = $2 RETURNING id, c_bytea;

SELECT id FROM kinds_det WHERE c_bytea = 'abc' ORDER BY id;

-- params: bytea:\xdeadbeef
SELECT id, c_bytea FROM kinds_det WHERE c_bytea = $1 ORDER BY id;

SELECT id FROM kinds_det WHERE c_bytea <> 'abc' ORDER BY id;

SELECT c_bytea, count(*) FROM kinds_det GROUP BY c_bytea;

SELECT count(DISTINCT c_bytea) FROM kinds_det;

SELECT a.id, b.id FROM kinds_det a JOIN kinds_det b USING (c_bytea) ORDER BY a.id, b.id;
