-- Results into variables, and what depends on them.
\set aid random(1, 100000 * :scale)
SELECT abalance, bid FROM pgbench_accounts WHERE aid = :aid \gset
SELECT 20 AS twenty, 3 AS three \aset last_
\if :abalance > 0
UPDATE pgbench_accounts SET abalance = abalance - 10 WHERE aid = :aid;
\else
UPDATE pgbench_accounts SET abalance = abalance + :last_twenty + :last_three WHERE aid = :aid;
\endif
INSERT INTO pgbench_history (tid, bid, aid, delta) VALUES (:bid, :bid, :aid, :last_twenty);
