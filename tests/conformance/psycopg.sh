#!/usr/bin/env bash
# psycopg 3's own tests, directly and through pgward; see README.md.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stage.sh"
. "$(dirname "$0")/python.sh"

# PyPI's source distributions leave the tests out; Debian's source package has them.
if [ -n "${PSYCOPG_SOURCE:-}" ]; then
    source_tree=$(cd "$PSYCOPG_SOURCE" && pwd)
else
    source_tree=$cache/psycopg-source
    if [ ! -e "$source_tree/.done" ]; then
        fetch_tarball psycopg3 "$cache/psycopg.tar" ||
            die "skipped: the source package psycopg3 can't be fetched from Debian; PSYCOPG_SOURCE=<directory> names a source tree that you have"
        rm -rf "$source_tree"
        mkdir -p "$source_tree"
        tar xf "$cache/psycopg.tar" -C "$source_tree" --strip-components=1
        touch "$source_tree/.done"
    fi
fi
# Where the version stands: up to 3.1, and since.
release=$(sed -nE 's/^(__version__|version) = "([0-9][^"]*)".*/\2/p' "$source_tree/psycopg/psycopg/version.py" "$source_tree/psycopg/pyproject.toml" 2>/dev/null | head -1 || true)
[ -n "$release" ] && [ -d "$source_tree/tests" ] || die "skipped: no source tree of psycopg 3 with its tests in $source_tree"
# Beside the sources, Python would import their package.
rm -rf "$cache/psycopg-tests"
mkdir -p "$cache/psycopg-tests"
cp -r "$source_tree/tests" "$cache/psycopg-tests/"
# What the tests of that time ran with.
case $release in
3.1.*) pins=("pytest<8" "anyio<4") ;;
*) pins=() ;;
esac
virtualenv "psycopg-$release" "psycopg[test,pool,binary]==$release" pytest-timeout ${pins[@]+"${pins[@]}"}

prepare() { sql "$1" "CREATE EXTENSION hstore"; }
suite() {
    cd "$cache/psycopg-tests"
    export PSYCOPG_IMPL=$implementation PSYCOPG_TEST_DSN="host=127.0.0.1 port=$1 user=postgres password=any dbname=psycopg_test"
    # Both runs in the order of the files.
    # shellcheck disable=SC2086 # several paths
    run_pytest -q --tb=short -p no:randomly ${TESTS:-tests}
}
status=0
# With the libpq that its wheel brings, and with the system's.
for implementation in ${IMPLEMENTATIONS:-binary python}; do
    compare_pytest "psycopg-$implementation" psycopg_test prepare suite || status=$?
done
exit $status
