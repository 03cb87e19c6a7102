#!/usr/bin/env bash
# pgbench in every query mode, and PostgreSQL's own tests of pgbench, directly and through pgward; see README.md.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stage.sh"

scripts=$(cd "$(dirname "$0")" && pwd)/pgbench
need perl
fetch
# What PostgreSQL's TAP tests need beside perl.
perl_tree=$cache/perl
if [ ! -e "$perl_tree/.done" ]; then
    (
        cd "$cache" && private_apt update && private_apt download libipc-run-perl libio-pty-perl &&
            for deb in libipc-run-perl_*.deb libio-pty-perl_*.deb; do dpkg -x "$deb" "$perl_tree" || exit 1; done &&
            touch "$perl_tree/.done"
    ) || die "skipped: perl's IPC::Run can't be fetched"
fi
perl_dirs=$(find "$perl_tree/usr" -type d \( -path '*/share/perl5' -o -path '*/perl5/[0-9]*' \) -prune | paste -sd:)

# What is not the same twice even without pgward: how long it took, and in which order several clients came.
steady() {
    sed -E -e "/^(latency|tps|initial connection|statement latencies|pgbench: client [0-9]+ )|^ - latency|tuples \(|^done in|number of transactions retried|total number of retries|average connection/d" \
        -e "s/^ +[0-9.]+ +([0-9]+ +)?/  /; s/, tps = [0-9.]+//"
}

number=0
# check <name> <status> <arguments>: pgbench ends with the status, writes the same, and leaves the same in the tables.
check() {
    local name=$1 expected=$2 status=0 word=ok sign=+
    shift 2
    [[ -z ${TESTS:-} || " $TESTS " == *" $name "* ]] || return 0
    number=$((number + 1))
    as_server timeout 300 env PGOPTIONS="-c deadlock_timeout=20ms" "$bindir/pgbench" -h 127.0.0.1 -p "$port" -U postgres "$@" pgbench >"$out/raw/$name.out" 2>"$out/raw/$name.err" || status=$?
    [ $status = "$expected" ] || { word="not ok" sign=-; }
    {
        echo "status $status"
        steady <"$out/raw/$name.out"
        steady <"$out/raw/$name.err"
        contents
    } >"$out/results/$name.out"
    echo "$word $number $sign $name"
}

# Everything that pgbench writes, but the time. Asked of the server itself.
contents() {
    local table
    for table in pgbench_branches pgbench_tellers pgbench_accounts pgbench_history; do
        as_server "$bindir/psql" -XAtq -h 127.0.0.1 -p "$direct_port" -U postgres -d pgbench 2>&1 <<SQL
SELECT '$table', count(*), md5(string_agg(r, ' ' ORDER BY r)) FROM (SELECT (to_jsonb(t) - 'mtime')::text AS r FROM $table t) t;
SELECT c.relkind, c.relpersistence, c.relname FROM pg_class c WHERE c.relname LIKE '$table%' ORDER BY c.relname;
SELECT conname, contype, confrelid::regclass FROM pg_constraint WHERE conrelid = '$table'::regclass ORDER BY 1;
SQL
    done
}

suite() {
    local out=$1 port=$2 mode client=(-n -c 1 -t 200 --random-seed=42)
    number=0
    mkdir -p "$out/results" "$out/raw"
    # First, as it wants a database without pgbench's tables.
    tap "$out" "$port"
    check init_client 0 -i -I dtgvpf -s 1
    check init_server 0 -i -I dtGvpf -s 1
    check init_foreign_keys 0 -i --foreign-keys -I dtgvpf -s 2
    check init_unlogged 0 -i --unlogged-tables --fillfactor=90 -q
    check init_range 0 -i --partitions=4 --partition-method=range -s 1
    check init_hash 0 -i --partitions=3 --partition-method=hash -s 1
    check partitioned 0 "${client[@]}" -M prepared -b tpcb-like
    check init_drop 0 -i -I d
    check no_tables 1 -S -t 1
    check init_again 0 -i -s 2
    for mode in simple extended prepared; do
        check "${mode}_tpcb" 0 "${client[@]}" -M $mode -b tpcb-like
        check "${mode}_simple_update" 0 "${client[@]}" -M $mode -N
        check "${mode}_select_only" 0 "${client[@]}" -M $mode -S
        check "${mode}_mixed" 0 "${client[@]}" -M $mode -b tpcb@1 -b select@5 -b simple@2
        check "${mode}_reconnect" 0 -n -c 1 -t 50 --random-seed=7 -M $mode -C -b tpcb-like
        check "${mode}_reconnect_clients" 0 -n -c 4 -j 2 -t 25 -M $mode -C -S
        check "${mode}_clients" 0 -n -c 8 -j 2 -t 50 -M $mode -S
        check "${mode}_report" 0 "${client[@]}" -M $mode -r -S
        check "${mode}_error" 2 "${client[@]}" -M $mode -f "$scripts/error.sql"
        check "${mode}_ddl" 0 -n -c 4 -j 2 -t 10 -M $mode -f "$scripts/ddl.sql"
        check "${mode}_gset" 0 "${client[@]}" -M $mode -f "$scripts/gset.sql"
        if [ $mode = simple ]; then
            check "${mode}_combined" 0 "${client[@]}" -M $mode -f "$scripts/combined.sql"
        else
            check "${mode}_pipeline" 0 "${client[@]}" -M $mode -f "$scripts/pipeline.sql"
            check "${mode}_pipeline_error" 2 "${client[@]}" -M $mode -f "$scripts/pipeline_error.sql"
        fi
        # Which transactions fail, and how often, is up to chance; that each is done in the end is not.
        check "${mode}_serializable" 0 -n -c 6 -j 2 -t 50 --random-seed=42 -M $mode --max-tries=1000 -f "$scripts/serializable.sql"
        check "${mode}_deadlock" 0 -n -c 4 -j 2 -t 10 --random-seed=42 -M $mode --max-tries=1000 -f "$scripts/deadlock.sql"
    done
}

# src/bin/pgbench/t/001_pgbench_with_server.pl, line for line.
tap() {
    local out=$1 port=$2
    [[ -z ${TESTS:-} || " $TESTS " == *" tap "* ]] || return 0
    mkdir -p "$out/tap"
    [ "$(id -u)" != 0 ] || chown "$server_user" "$out/tap"
    (
        cd "$out/tap"
        as_server env PATH="$bindir:$PATH" PERL5LIB="$perl_dirs:$source/src/test/perl:$scripts" TESTDIR="$out/tap" LC_ALL=C \
            CONFORMANCE_DIRECTORY="$(dirname "$out")" CONFORMANCE_PORT="$port" CONFORMANCE_DATABASE=pgbench PG_REGRESS=/bin/true \
            perl -MThrough "$source/src/bin/pgbench/t/001_pgbench_with_server.pl"
    ) >"$out/tap/outcome" 2>"$out/tap/errors" || true
    python3 - "$out/tap/outcome" <<'PYTHON'
import re, sys
number = 0
for line in open(sys.argv[1], errors="replace"):
    if match := re.match(r"(ok|not ok) (\d+)(?: - (.*?))?(?: # (TODO|skip).*)?$", line.rstrip("\n")):
        # What PostgreSQL itself marks as a test that may fail counts as passed, whichever status it got.
        todo = match[4] == "TODO"
        passed = match[1] == "ok" or todo
        # Without what differs from run to run: seeds, process ids, paths, counts of log lines.
        name = re.sub(r"\S*/tmp_check/\S*/|(?<=_log_\d\.)\d+|\b\d{5,}\b|(?<=seeded with )\d+| \(\d+\)$", "…", match[3] or "")
        if todo:
            name = re.sub(r"\(got \d+ vs", "(got … vs", name)
        name = re.sub(r"\s+", "_", name)
        number += 1
        print("ok" if passed else "not ok", number, "+" if passed else "-", f"tap/{match[2]}_{name}")
PYTHON
}

compare pgbench pgbench suite strict
