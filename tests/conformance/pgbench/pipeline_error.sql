\set aid random(1, 100000 * :scale)
\startpipeline
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;
SELECT 1 / (:aid - :aid);
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
\endpipeline
