-- In an order that differs from client to client: deadlocks, which pgbench tries again.
\set first random(1, 2)
BEGIN;
UPDATE pgbench_branches SET bbalance = bbalance + 1 WHERE bid = :first;
UPDATE pgbench_branches SET bbalance = bbalance + 1 WHERE bid = 3 - :first;
END;
