#!/usr/bin/env bash
# libpq's pipeline tests with their message traces (src/test/modules/libpq_pipeline), directly and through pgward; see README.md.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stage.sh"

fetch
here=$source/src/test/modules/libpq_pipeline
compile libpq_pipeline -I"$source/src/include" "$here/libpq_pipeline.c" $(client_libraries)

# As t/001_libpq_pipeline.pl does it; a trace must be the expected one to the byte.
suite() {
    local out=$1 port=$2 test
    as_server mkdir -p "$out/results"
    for test in ${TESTS:-$("$built/libpq_pipeline" tests)}; do
        local log=$out/$test.log trace=$out/$test.trace expected=$here/traces/$test.trace outcome=ok
        as_server "$built/libpq_pipeline" -r 700 -t "$trace" "$test" "host=127.0.0.1 port=$port user=postgres dbname=pipeline" \
            > >(as_server tee "$log" >/dev/null) 2>&1 || outcome=FAILED
        if [ $outcome = ok ] && [ -e "$expected" ]; then
            diff "$expected" "$trace" | as_server tee "$out/results/$test.out" >/dev/null || outcome=FAILED
        fi
        echo "test $test ... $outcome"
    done
}
compare libpq_pipeline pipeline suite
