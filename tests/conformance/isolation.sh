#!/usr/bin/env bash
# PostgreSQL's isolation suite (several sessions, step by step), directly and through pgward; see README.md.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stage.sh"

fetch
here=$source/src/test/isolation
# Made by src/port/Makefile; the values are those that the tests never use.
mkdir -p "$built"
printf '#define %s ""\n' PGBINDIR PGSHAREDIR LIBDIR PKGLIBDIR >"$built/pg_config_paths.h"
compile isolationtester "$here/isolationtester.c" "$here/specparse.c" $(client_libraries)
compile pg_isolation_regress -DFRONTEND -I"$built" -I"$source/src/test/regress" -DHOST_TUPLE='"unknown"' -DSHELLPROG='"/bin/sh"' \
    "$here/isolation_main.c" "$source/src/test/regress/pg_regress.c" $(client_libraries)

selection=${TESTS:---schedule=$here/isolation_schedule}
suite() {
    local out=$1 port=$2
    as_server "$built/pg_isolation_regress" --use-existing --host=127.0.0.1 --port="$port" --user=postgres --dbname=isolation_regression \
        --bindir="$bindir" --inputdir="$here" --outputdir="$out" $selection
}
compare isolation isolation_regression suite
