-- Statements that change the catalog under prepared statements, in each client's own temporary tables.
CREATE TEMP TABLE scratch (a int, b text);
INSERT INTO scratch VALUES (:client_id, 'x');
ALTER TABLE scratch ADD c int DEFAULT 7;
SELECT c FROM scratch \gset
DROP TABLE scratch;
INSERT INTO pgbench_history (tid, bid, aid, delta) VALUES (1, 1, 1, :c);
