# Suites of Python drivers under pytest, directly and through pgward. Sourced after lib.sh and stage.sh, not run. See README.md.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# A suite must see the server that it is told, whatever the caller's environment says.
for variable in "${!PG@}"; do case $variable in PGWARD*) ;; *) unset "$variable" ;; esac done

# sdist <project> <version>: unpacked in the cache. Sets $source_tree.
sdist() {
    source_tree=$cache/$1-$2
    [ -d "$source_tree" ] && return
    mkdir -p "$cache"
    say "Fetching $1 $2"
    rm -rf "$cache/unpack-$1"
    python3 "$here/sdist.py" "$1" "$2" "$cache/unpack-$1" >&2 || die "skipped: the source distribution of $1 $2 can't be fetched from PyPI"
    mv "$cache/unpack-$1/$1-$2" "$source_tree"
    rm -rf "$cache/unpack-$1"
}

# virtualenv <name> <requirement>...: Sets $python.
virtualenv() {
    local dir=$cache/venv-$1 wanted
    shift
    python=$dir/bin/python
    wanted=$(printf '%s\n' "$@" "$(python3 --version)")
    [ "$(cat "$dir/.done" 2>/dev/null)" = "$wanted" ] && return
    say "Installing $*"
    rm -rf "$dir"
    mkdir -p "$cache"
    python3 -m venv "$dir" || die "skipped: python3 makes no virtual environment (package python3-venv)"
    "$python" -m pip install -q --disable-pip-version-check "$@" >&2 || die "skipped: can't be installed from PyPI: $*"
    echo "$wanted" >"$dir/.done"
}

# run_pytest <argument>...: a suite that hangs is ended; what it has not run counts as missing.
run_pytest() {
    PYTHONPATH=$here timeout --signal=INT --kill-after=60 "${SUITE_SECONDS:-7200}" \
        "$python" -m pytest -p outcomes --timeout="${TEST_SECONDS:-120}" -p no:cacheprovider "$@"
}

# compare_pytest <suite> <database> <function that prepares the server> <function that runs the suite at the given port, with run_pytest>
#
# Tests whose outcome differs run again, alone, until it is known whether they are flaky, at most $RERUNS times each way.
compare_pytest() {
    local suite=$1 database=$2 prepare=$3 run=$4 results=$cache/$1-outcomes round way ways=${WAYS:-direct pgward} port
    mkdir -p "$results"
    unset ONLY_TESTS
    for round in $(seq 1 $((1 + ${RERUNS:-10}))); do
        if [ "$round" -gt 1 ]; then
            python3 "$here/outcomes_summary.py" undecided "$suite" "$results" "$here/expected_differences" >"$results/undecided"
            [ -s "$results/undecided" ] || break
            export ONLY_TESTS=$results/undecided
            ways="direct pgward"
            say "Running again: $(wc -l <"$results/undecided") tests"
        fi
        for way in $ways; do
            [ "$round" -gt 1 ] || rm -f "$results/$way".*
            start_stage "$cache/$suite-$way" "$database"
            "$prepare" "$database"
            port=$direct_port
            [ "$way" = direct ] || port=$pgward_port
            say "Running $suite ($way)"
            OUTCOMES=$results/$way.$round attend "$run" "$port" >"$results/$way.$round.log" 2>&1 || true
            end_stage
        done
    done
    python3 "$here/outcomes_summary.py" summary "$suite" "$results" "$here/expected_differences"
}
