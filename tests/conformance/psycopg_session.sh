#!/usr/bin/env bash
# A long session with psycopg 3, directly and through pgward, compared line by line; see README.md.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stage.sh"
. "$(dirname "$0")/python.sh"

virtualenv psycopg-session "psycopg[binary]==${PSYCOPG:-3.3.5}"
suite=psycopg_session status=0
start_stage "$cache/$suite" "$suite"
# With the libpq that its wheel brings, and with the system's.
for implementation in ${IMPLEMENTATIONS:-binary python}; do
    out=$cache/$suite/$implementation
    for way in direct pgward; do
        port=$direct_port
        [ $way = direct ] || port=$pgward_port
        say "Running $suite with psycopg's $implementation ($way)"
        PSYCOPG_IMPL=$implementation attend timeout "${SUITE_SECONDS:-300}" "$python" "$here/psycopg_session.py" "$port" "$suite" >"$out.$way" 2>"$out.$way.errors" ||
            { echo "$suite, $implementation: ended early ($way): $(tail -1 "$out.$way.errors")" && status=1; }
    done
    echo "$suite, $implementation, $(head -1 "$out.direct"): $(wc -l <"$out.direct") lines directly, $(wc -l <"$out.pgward") through pgward"
    if diff "$out.direct" "$out.pgward" | cut -c1-400; then echo "  the same"; else status=1; fi
done
exit $status
