-- Two rows that everybody reads and writes: serialization failures, which pgbench tries again.
\set from random(1, 3)
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT sum(tbalance) AS total FROM pgbench_tellers WHERE tid <= 3 \gset
UPDATE pgbench_tellers SET tbalance = tbalance + 1 WHERE tid = :from;
END;
