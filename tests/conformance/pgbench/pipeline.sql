\set aid random(1, 100000 * :scale)
\set delta random(-5000, 5000)
\startpipeline
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
INSERT INTO pgbench_history (tid, bid, aid, delta) VALUES (1, 1, :aid, :delta);
END;
SELECT count(*) FROM pgbench_history WHERE aid = :aid;
\endpipeline
SELECT bid FROM pgbench_accounts WHERE aid = :aid \gset
\startpipeline
\endpipeline
