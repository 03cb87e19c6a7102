-- Several statements in one Query.
\set aid random(1, 100000 * :scale)
SELECT 1 AS one \; SELECT abalance AS two FROM pgbench_accounts WHERE aid = :aid \; SELECT 3 AS three \gset last_
SELECT 10 AS ten \; SELECT 20 AS twenty \; SELECT \aset all_
BEGIN \; UPDATE pgbench_accounts SET abalance = abalance + :all_ten + :all_twenty WHERE aid = :aid \; END;
INSERT INTO pgbench_history (tid, bid, aid, delta) VALUES (1, 1, :aid, :last_three);
