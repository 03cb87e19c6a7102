#!/usr/bin/env bash
# asyncpg's own tests (a driver without libpq: binary formats, the extended protocol throughout), directly and through pgward; see README.md.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stage.sh"
. "$(dirname "$0")/python.sh"

release=${ASYNCPG:-0.32.0}
sdist asyncpg "$release"
virtualenv asyncpg "asyncpg==$release" uvloop distro pytest==9.2.0 pytest-timeout
# Beside the sources, Python would import their package, which is not compiled.
mkdir -p "$cache/asyncpg-tests"
cp -r "$source_tree/tests" "$cache/asyncpg-tests/"

prepare() { :; }
suite() {
    cd "$cache/asyncpg-tests"
    export PGHOST=127.0.0.1 PGPORT=$1 PGUSER=postgres PGDATABASE=postgres
    # shellcheck disable=SC2086 # several paths
    run_pytest -q --tb=short --import-mode=importlib ${TESTS:-tests}
}
# Two tests take for granted that this is the database that they are in.
compare_pytest asyncpg postgres prepare suite
