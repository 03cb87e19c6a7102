#!/usr/bin/env bash
# SQLAlchemy's tests of its PostgreSQL dialect, its engine, and what it demands of every dialect, directly and through pgward; see README.md.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stage.sh"
. "$(dirname "$0")/python.sh"

release=${SQLALCHEMY:-2.1.9}
sdist sqlalchemy "$release"
virtualenv sqlalchemy "sqlalchemy[asyncio]==$release" psycopg-binary==3.3.5 psycopg==3.3.5 psycopg2-binary==2.9.13 asyncpg==0.32.0 \
    pytest==9.2.0 pytest-timeout

# The suite has the schemas that it uses to itself: it compares all that is in them with what it made, and makes it anew.
probe=pgward_probe.customers
# As README.unittests.rst of the suite asks for it.
prepare() {
    sql "$1" "CREATE SCHEMA test_schema; CREATE SCHEMA test_schema_2; CREATE EXTENSION hstore; CREATE EXTENSION citext"
}
selection=${TESTS:-test/dialect/postgresql test/dialect/test_suite.py test/engine}
suite() {
    cd "$source_tree"
    # The installed package, not the one beside the tests, which is not compiled.
    export PYTHONNOUSERSITE=1
    # shellcheck disable=SC2086 # several paths
    run_pytest --dburi="postgresql+$driver://postgres:any@127.0.0.1:$1/test" --maxfail=0 --tb=short -q $selection
}
status=0
for driver in ${DRIVERS:-psycopg}; do
    compare_pytest "sqlalchemy-$driver" test prepare suite || status=$?
done
exit $status
