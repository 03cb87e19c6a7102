#!/usr/bin/env bash
# psycopg2's own tests, directly and through pgward; see README.md.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stage.sh"
. "$(dirname "$0")/python.sh"

release=${PSYCOPG2:-2.9.13}
sdist psycopg2 "$release"
virtualenv psycopg2 "psycopg2-binary==$release" pytest==9.2.0 pytest-timeout

prepare() { sql "$1" "CREATE EXTENSION hstore"; }
suite() {
    cd "$source_tree"
    # The replication tests run only where a DSN is given; empty means the same as all.
    export PSYCOPG2_TESTDB=psycopg2_test PSYCOPG2_TESTDB_HOST=127.0.0.1 PSYCOPG2_TESTDB_PORT=$1 PSYCOPG2_TESTDB_USER=postgres PSYCOPG2_TEST_REPL_DSN=
    # shellcheck disable=SC2086 # several paths
    run_pytest -q --tb=short ${TESTS:-tests}
}
compare_pytest psycopg2 psycopg2_test prepare suite
