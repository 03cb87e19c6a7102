#!/usr/bin/env bash
# PostgreSQL's own regression suite, directly and through pgward; see README.md.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stage.sh"

fetch
# As src/test/regress/GNUmakefile compiles it: the expected output has its notices.
compile refint.so -shared -DREFINT_VERBOSE "$source/contrib/spi/refint.c"
compile autoinc.so -shared "$source/contrib/spi/autoinc.c"
compile regress.so -shared "$source/src/test/regress/regress.c"

pg_regress=$(ls -d "$bindir"/../lib/pgxs/src/test/regress/pg_regress)
selection=${TESTS:---schedule=$source/src/test/regress/parallel_schedule}
suite() {
    local out=$1 port=$2
    # Expected files and inputs are read from, results written to, directories that the server's user owns.
    as_server "$pg_regress" --use-existing --host=127.0.0.1 --port="$port" --user=postgres --dbname=regression --bindir="$bindir" \
        --inputdir="$source/src/test/regress" --outputdir="$out" --dlpath="$built" --max-concurrent-tests=20 \
        $selection
}
compare regress regression suite
