#!/usr/bin/env bash
# pg_dump, pg_restore and pg_dumpall of the database that PostgreSQL's regression suite leaves, directly and through pgward; see README.md.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stage.sh"

fetch
compile refint.so -shared -DREFINT_VERBOSE "$source/contrib/spi/refint.c"
compile autoinc.so -shared "$source/contrib/spi/autoinc.c"
compile regress.so -shared "$source/src/test/regress/regress.c"
database=regression
stage=$cache/dump-stage
selection=${TESTS:---schedule=$source/src/test/regress/parallel_schedule}

# The database: one for both ways, as what the suite writes differs from run to run. It goes directly to the server.
furnish() {
    mkdir -p "$stage/run"
    [ "$(id -u)" != 0 ] || chown "$server_user" "$stage/run"
    say "Making the database of the regression suite"
    attend as_server "$(ls -d "$bindir"/../lib/pgxs/src/test/regress/pg_regress)" --use-existing --host=127.0.0.1 --port="$direct_port" --user=postgres \
        --dbname=$database --bindir="$bindir" --inputdir="$source/src/test/regress" --outputdir="$stage/run" --dlpath="$built" \
        --max-concurrent-tests=20 $selection >"$stage/regress.log" 2>&1 || true
}

# client <program> <arguments>: through $port.
client() { as_server timeout 600 "$bindir/$1" -h 127.0.0.1 -p "$port" -U postgres "${@:2}"; }
# Not in the dumps: the table that the policy protects, as pgward refuses COPY of it; and the schema of pgward's own, which a fresh database has already.
exclude="-T public.pgward_probe_customers -N pgward"
dump() { client pg_dump $exclude "$@" $database; }

number=0
# check <name> <function> <arguments>: what the function writes, and its status.
check() {
    local name=$1 status=0
    shift
    attend "$@" >"$out/run/results/$name.out" 2>"$out/run/results/$name.err" || status=$?
    # A key made anew for each dump, against a server that puts psql commands into it.
    sed -i -E '/^\\(un)?restrict [A-Za-z0-9]+$/d' "$out/run/results/$name.out"
    # Names of files and ports differ; what a program complains of must not.
    sed -E "s,$out,,g; s/port $port/port/" "$out/run/results/$name.err" >>"$out/run/results/$name.out"
    number=$((number + 1))
    if [ $status = 0 ]; then echo "ok $number + $name"; else echo "not ok $number - $name"; fi >>"$out/outcome"
}

archive() { dump "${@:2}" -f "$out/archive/$1" && listed "$1"; }
# The archive as SQL, and its contents without the time of the dump.
listed() { "$bindir/pg_restore" -f - "$out/archive/$1" && "$bindir/pg_restore" -l "$out/archive/$1" | grep -v '^; *Archive created at'; }
# The files with the tables' rows, byte for byte.
rows() { (cd "$out/archive/$1" && for file in *.dat.gz; do echo "$file $(zcat "$file" | sha256sum)"; done); }
snapshot() {
    client psql -XAtq -d $database <<SQL
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_export_snapshot() AS snapshot \\gset
\\setenv SNAPSHOT :snapshot
\\! "$bindir/pg_dump" -h 127.0.0.1 -p $port -U postgres $exclude --snapshot="\$SNAPSHOT" $database
SQL
}

dumps() {
    local out=$1 port=$2
    rm -rf "$out"
    mkdir -p "$out/run/results" "$out/archive"
    [ "$(id -u)" != 0 ] || chown "$server_user" "$out/archive"
    number=0
    check plain dump
    check plain_inserts dump --inserts
    check plain_column_inserts dump --column-inserts --rows-per-insert=10 --on-conflict-do-nothing
    check plain_serializable_deferrable dump --serializable-deferrable
    check plain_snapshot snapshot
    check plain_schema_only dump --schema-only --create --clean --if-exists
    check plain_data_only dump --data-only --disable-triggers
    check plain_partition_root dump --load-via-partition-root --enable-row-security --quote-all-identifiers
    check custom archive custom -Fc
    check directory archive directory -Fd -j 2
    check directory_rows rows directory
    check tar archive tar -Ft
    check globals client pg_dumpall --globals-only
    check roles client pg_dumpall --roles-only --no-role-passwords
    check databases client psql -l
}

# Each restore goes into the database of a fresh server, and is then dumped directly. That dump is held against the one that came of the other way, not
# against the original: pg_dump changes the order of inherited columns, with or without pgward.
restores() {
    local out=$1 way=$2 how port status
    for how in plain custom parallel; do
        start_stage "$cache/dump-restore" $database
        port=$direct_port
        [ "$way" = direct ] || port=$pgward_port
        client psql -Xq -d postgres -c "ALTER SYSTEM SET allow_in_place_tablespaces = on" -c "SELECT pg_reload_conf()" >/dev/null
        check "restore_${how}_globals" client psql -Xq -d postgres -f "$out/run/results/globals.out"
        case $how in
        plain) check restore_plain client psql -Xq -d $database -f "$out/run/results/plain.out" ;;
        custom) check restore_custom client pg_restore -d $database "$out/archive/custom" ;;
        parallel) check restore_parallel client pg_restore -j 2 -d $database "$out/archive/directory" ;;
        esac
        port=$direct_port
        check "restored_$how" dump
        end_stage
    done
}

start_stage "$stage" $database
furnish
for way in direct pgward; do
    port=$direct_port
    [ $way = direct ] || port=$pgward_port
    say "Running dump ($way)"
    dumps "$cache/dump-$way" "$port"
done
end_stage
for way in direct pgward; do
    say "Running restore ($way)"
    restores "$cache/dump-$way" $way
done
python3 "$(dirname "$0")/summary.py" dump "$cache/dump-direct" "$cache/dump-pgward" strict
