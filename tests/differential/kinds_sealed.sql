-- Every logical type in mode sealed: literals, parameters, NULL, and what the type does to a value on assignment.

CREATE TABLE kinds_sealed (
    id int PRIMARY KEY,
    c_text text,
    c_varchar varchar(12),
    c_char char(6),
    c_int2 int2,
    c_int4 int4,
    c_int8 int8,
    c_numeric numeric,
    c_money numeric(8,2),
    c_float8 float8,
    c_bool bool,
    c_date date,
    c_ts timestamp,
    c_ts3 timestamp(3),
    c_tstz timestamptz,
    c_uuid uuid,
    c_bytea bytea,
    c_json json,
    c_jsonb jsonb
);

-- literals, row 0
INSERT INTO kinds_sealed (id, c_text, c_varchar, c_char, c_int2, c_int4, c_int8, c_numeric, c_money, c_float8, c_bool, c_date, c_ts, c_ts3, c_tstz, c_uuid, c_bytea, c_json, c_jsonb)
VALUES (0, 'plain', 'twelve chars', 'six', '0', '0', '0', '0', '0', '0', 't', '2024-02-29', '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56.789612', '2024-02-29 12:34:56.789012+09', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\xdeadbeef', '{"a": 1,  "b":[1,2]}', '{"b": [1,2],  "a":1}');

-- literals, row 1
INSERT INTO kinds_sealed (id, c_text, c_varchar, c_char, c_int2, c_int4, c_int8, c_numeric, c_money, c_float8, c_bool, c_date, c_ts, c_ts3, c_tstz, c_uuid, c_bytea, c_json, c_jsonb)
VALUES (1, '', '', 'sixsix', '-32768', '-2147483648', '-9223372036854775808', '-0.000', '999999.99', '-1.5e300', 'false', '0001-01-01', '1970-01-01', '1970-01-01', '1970-01-01Z', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A12', '\x', 'null', 'null');

-- literals, row 2
INSERT INTO kinds_sealed (id, c_text, c_varchar, c_char, c_int2, c_int4, c_int8, c_numeric, c_money, c_float8, c_bool, c_date, c_ts, c_ts3, c_tstz, c_uuid, c_bytea, c_json, c_jsonb)
VALUES (2, '한글 이름 ✓', '열두 글자까지의 이름', '', '32767', '2147483647', '9223372036854775807', '12345678901234567890.123456789', '-12.5', '0.1', 'yes', '4713-01-01 BC', 'infinity', '-infinity', 'infinity', '{a0eebc999c0b4ef8bb6d6bb9bd380a13}', 'abc', '"text"', '"text"');

-- literals, row 3
INSERT INTO kinds_sealed (id, c_text, c_varchar, c_char, c_int2, c_int4, c_int8, c_numeric, c_money, c_float8, c_bool, c_date, c_ts, c_ts3, c_tstz, c_uuid, c_bytea, c_json, c_jsonb)
VALUES (3, 'it''s \ "quoted"', 'a', '여섯', '7', '7', '7', 'NaN', '0.005', 'NaN', 'off', 'infinity', '0044-03-15 12:00:00 BC', '1999-12-31 23:59:59.9996', '2024-07-01 00:00:00-03:30', '00000000-0000-0000-0000-000000000000', '\000\377', '[]', '[]');

-- literals, row 4
INSERT INTO kinds_sealed (id, c_text, c_varchar, c_char, c_int2, c_int4, c_int8, c_numeric, c_money, c_float8, c_bool, c_date, c_ts, c_ts3, c_tstz, c_uuid, c_bytea, c_json, c_jsonb)
VALUES (4, '  blanks  ', '', 'a b', ' 12 ', '-1', '1000000000000', '1e10', '1.10', '-Infinity', '1', '1999-12-31', '2000-01-01 00:00', '2000-01-01 00:00', '2000-01-01 00:00+00', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '\xFA00', '{"a":1,"a":2}', '{"a":1,"a":2}');

-- params: int4:10 | text:plain | varchar:twelve chars | bpchar:six | int2:0 | int4:0 | int8:0 | numeric:0 | numeric:0 | float8:0 | bool:t | date:2024-02-29 | timestamp:2024-02-29 12:34:56.789012 | timestamp:2024-02-29 12:34:56.789612 | timestamptz:2024-02-29 12:34:56.789012+09 | uuid:a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 | bytea:\xdeadbeef | json:{"a": 1,  "b":[1,2]} | jsonb:{"b": [1,2],  "a":1}
INSERT INTO kinds_sealed VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);

-- params: int4:11 | text: | varchar: | bpchar:sixsix | int2:-32768 | int4:-2147483648 | int8:-9223372036854775808 | numeric:-0.000 | numeric:999999.99 | float8:-1.5e300 | bool:false | date:0001-01-01 | timestamp:1970-01-01 | timestamp:1970-01-01 | timestamptz:1970-01-01Z | uuid:A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A12 | bytea:\x | json:null | jsonb:null
INSERT INTO kinds_sealed VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);

-- params: int4:12 | text:한글 이름 ✓ | varchar:열두 글자까지의 이름 | bpchar: | int2:32767 | int4:2147483647 | int8:9223372036854775807 | numeric:12345678901234567890.123456789 | numeric:-12.5 | float8:0.1 | bool:yes | date:4713-01-01 BC | timestamp:infinity | timestamp:-infinity | timestamptz:infinity | uuid:{a0eebc999c0b4ef8bb6d6bb9bd380a13} | bytea:abc | json:"text" | jsonb:"text"
INSERT INTO kinds_sealed VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);

-- params: int4:13 | text:it's \ "quoted" | varchar:a | bpchar:여섯 | int2:7 | int4:7 | int8:7 | numeric:NaN | numeric:0.005 | float8:NaN | bool:off | date:infinity | timestamp:0044-03-15 12:00:00 BC | timestamp:1999-12-31 23:59:59.9996 | timestamptz:2024-07-01 00:00:00-03:30 | uuid:00000000-0000-0000-0000-000000000000 | bytea:\000\377 | json:[] | jsonb:[]
INSERT INTO kinds_sealed VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);

-- params: int4:14 | text:  blanks   | varchar: | bpchar:a b | int2: 12  | int4:-1 | int8:1000000000000 | numeric:1e10 | numeric:1.10 | float8:-Infinity | bool:1 | date:1999-12-31 | timestamp:2000-01-01 00:00 | timestamp:2000-01-01 00:00 | timestamptz:2000-01-01 00:00+00 | uuid:ffffffff-ffff-ffff-ffff-ffffffffffff | bytea:\xFA00 | json:{"a":1,"a":2} | jsonb:{"a":1,"a":2}
INSERT INTO kinds_sealed VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);

INSERT INTO kinds_sealed (id) VALUES (20);

INSERT INTO kinds_sealed VALUES (21, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

-- unquoted numbers and keywords
INSERT INTO kinds_sealed (id, c_int2, c_int4, c_int8, c_numeric, c_money, c_float8) VALUES (22, -7, 8, 9000000000, 10.50, 1.005, -2.5);

SELECT * FROM kinds_sealed ORDER BY id;

SELECT id, c_text FROM kinds_sealed WHERE c_text IS NULL ORDER BY id;

SELECT c_text FROM kinds_sealed WHERE id = 1;

-- params: text:한글 이름 ✓ | int4:1
UPDATE kinds_sealed SET c_text = $1 WHERE id = $2 RETURNING id, c_text;

SELECT id, c_varchar FROM kinds_sealed WHERE c_varchar IS NULL ORDER BY id;

SELECT c_varchar FROM kinds_sealed WHERE id = 1;

-- params: varchar:열두 글자까지의 이름 | int4:1
UPDATE kinds_sealed SET c_varchar = $1 WHERE id = $2 RETURNING id, c_varchar;

SELECT id, c_char FROM kinds_sealed WHERE c_char IS NULL ORDER BY id;

SELECT c_char FROM kinds_sealed WHERE id = 1;

-- params: bpchar: | int4:1
UPDATE kinds_sealed SET c_char = $1 WHERE id = $2 RETURNING id, c_char;

SELECT id, c_int2 FROM kinds_sealed WHERE c_int2 IS NULL ORDER BY id;

SELECT c_int2 FROM kinds_sealed WHERE id = 1;

-- params: int2:32767 | int4:1
UPDATE kinds_sealed SET c_int2 = $1 WHERE id = $2 RETURNING id, c_int2;

SELECT id, c_int4 FROM kinds_sealed WHERE c_int4 IS NULL ORDER BY id;

SELECT c_int4 FROM kinds_sealed WHERE id = 1;

-- params: int4:2147483647 | int4:1
UPDATE kinds_sealed SET c_int4 = $1 WHERE id = $2 RETURNING id, c_int4;

SELECT id, c_int8 FROM kinds_sealed WHERE c_int8 IS NULL ORDER BY id;

SELECT c_int8 FROM kinds_sealed WHERE id = 1;

-- params: int8:9223372036854775807 | int4:1
UPDATE kinds_sealed SET c_int8 = $1 WHERE id = $2 RETURNING id, c_int8;

SELECT id, c_numeric FROM kinds_sealed WHERE c_numeric IS NULL ORDER BY id;

SELECT c_numeric FROM kinds_sealed WHERE id = 1;

-- params: numeric:12345678901234567890.123456789 | int4:1
UPDATE kinds_sealed SET c_numeric = $1 WHERE id = $2 RETURNING id, c_numeric;

SELECT id, c_money FROM kinds_sealed WHERE c_money IS NULL ORDER BY id;

SELECT c_money FROM kinds_sealed WHERE id = 1;

-- params: numeric:-12.5 | int4:1
UPDATE kinds_sealed SET c_money = $1 WHERE id = $2 RETURNING id, c_money;

SELECT id, c_float8 FROM kinds_sealed WHERE c_float8 IS NULL ORDER BY id;

SELECT c_float8 FROM kinds_sealed WHERE id = 1;

-- params: float8:0.1 | int4:1
UPDATE kinds_sealed SET c_float8 = $1 WHERE id = $2 RETURNING id, c_float8;

SELECT id, c_bool FROM kinds_sealed WHERE c_bool IS NULL ORDER BY id;

SELECT c_bool FROM kinds_sealed WHERE id = 1;

-- params: bool:yes | int4:1
UPDATE kinds_sealed SET c_bool = $1 WHERE id = $2 RETURNING id, c_bool;

SELECT id, c_date FROM kinds_sealed WHERE c_date IS NULL ORDER BY id;

SELECT c_date FROM kinds_sealed WHERE id = 1;

-- params: date:4713-01-01 BC | int4:1
UPDATE kinds_sealed SET c_date = $1 WHERE id = $2 RETURNING id, c_date;

SELECT id, c_ts FROM kinds_sealed WHERE c_ts IS NULL ORDER BY id;

SELECT c_ts FROM kinds_sealed WHERE id = 1;

-- params: timestamp:infinity | int4:1
UPDATE kinds_sealed SET c_ts = $1 WHERE id = $2 RETURNING id, c_ts;

SELECT id, c_ts3 FROM kinds_sealed WHERE c_ts3 IS NULL ORDER BY id;

SELECT c_ts3 FROM kinds_sealed WHERE id = 1;

-- params: timestamp:-infinity | int4:1
UPDATE kinds_sealed SET c_ts3 = $1 WHERE id = $2 RETURNING id, c_ts3;

SELECT id, c_tstz FROM kinds_sealed WHERE c_tstz IS NULL ORDER BY id;

SELECT c_tstz FROM kinds_sealed WHERE id = 1;

-- params: timestamptz:infinity | int4:1
UPDATE kinds_sealed SET c_tstz = $1 WHERE id = $2 RETURNING id, c_tstz;

SELECT id, c_uuid FROM kinds_sealed WHERE c_uuid IS NULL ORDER BY id;

SELECT c_uuid FROM kinds_sealed WHERE id = 1;

-- params: uuid:{a0eebc999c0b4ef8bb6d6bb9bd380a13} | int4:1
UPDATE kinds_sealed SET c_uuid = $1 WHERE id = $2 RETURNING id, c_uuid;

SELECT id, c_bytea FROM kinds_sealed WHERE c_bytea IS NULL ORDER BY id;

SELECT c_bytea FROM kinds_sealed WHERE id = 1;

-- params: bytea:abc | int4:1
UPDATE kinds_sealed SET c_bytea = $1 WHERE id = $2 RETURNING id, c_bytea;

SELECT id, c_json FROM kinds_sealed WHERE c_json IS NULL ORDER BY id;

SELECT c_json FROM kinds_sealed WHERE id = 1;

-- params: json:"text" | int4:1
UPDATE kinds_sealed SET c_json = $1 WHERE id = $2 RETURNING id, c_json;

SELECT id, c_jsonb FROM kinds_sealed WHERE c_jsonb IS NULL ORDER BY id;

SELECT c_jsonb FROM kinds_sealed WHERE id = 1;

-- params: jsonb:"text" | int4:1
UPDATE kinds_sealed SET c_jsonb = $1 WHERE id = $2 RETURNING id, c_jsonb;

-- error: 22001
INSERT INTO kinds_sealed (id, c_varchar) VALUES (100, 'thirteen chars') RETURNING c_varchar;

INSERT INTO kinds_sealed (id, c_varchar) VALUES (101, 'twelve chars   ') RETURNING c_varchar;

-- error: 22001
INSERT INTO kinds_sealed (id, c_char) VALUES (102, 'seven77') RETURNING c_char;

-- error: 22003
INSERT INTO kinds_sealed (id, c_int2) VALUES (103, '32768') RETURNING c_int2;

-- error: 22003
INSERT INTO kinds_sealed (id, c_int2) VALUES (104, 70000) RETURNING c_int2;

-- error: 22P02
INSERT INTO kinds_sealed (id, c_int4) VALUES (105, 'x') RETURNING c_int4;

-- error: 22003
INSERT INTO kinds_sealed (id, c_int4) VALUES (106, 2147483648) RETURNING c_int4;

-- error: 22003
INSERT INTO kinds_sealed (id, c_int8) VALUES (107, '9223372036854775808') RETURNING c_int8;

-- error: 22P02
INSERT INTO kinds_sealed (id, c_numeric) VALUES (108, '1.2.3') RETURNING c_numeric;

-- error: 22003
INSERT INTO kinds_sealed (id, c_money) VALUES (109, 1000000) RETURNING c_money;

-- error: 22003
INSERT INTO kinds_sealed (id, c_float8) VALUES (110, '1e400') RETURNING c_float8;

-- error: 22008
INSERT INTO kinds_sealed (id, c_date) VALUES (111, '2023-02-29') RETURNING c_date;

-- error: 22007
INSERT INTO kinds_sealed (id, c_date) VALUES (112, 'not a date') RETURNING c_date;

-- error: 22008
INSERT INTO kinds_sealed (id, c_ts) VALUES (113, '2024-13-01') RETURNING c_ts;

-- error: 22P02
INSERT INTO kinds_sealed (id, c_uuid) VALUES (114, 'not-a-uuid') RETURNING c_uuid;

-- error: 22023
INSERT INTO kinds_sealed (id, c_bytea) VALUES (115, '\xzz') RETURNING c_bytea;

-- error: 22P02
INSERT INTO kinds_sealed (id, c_bool) VALUES (116, 'maybe') RETURNING c_bool;

-- error: 22P02
INSERT INTO kinds_sealed (id, c_json) VALUES (117, '{') RETURNING c_json;

-- error: 22P02
INSERT INTO kinds_sealed (id, c_jsonb) VALUES (118, '{"a"}') RETURNING c_jsonb;
