# Throw-away servers with pgward before them, and the comparison of two runs. Sourced, not run.

# The protected table, with its schema.
probe=public.pgward_probe_customers
stage_dirs=()
stage_pids=()
attended=
end_stage() {
    local pid dir
    # First what talks to pgward, which otherwise waits for the clients that it has.
    [ -z "$attended" ] || end_tree "$attended"
    for pid in ${stage_pids[@]+"${stage_pids[@]}"}; do end_process "$pid"; done
    for dir in ${stage_dirs[@]+"${stage_dirs[@]}"}; do as_server "$bindir/pg_ctl" -D "$dir" -m immediate -w stop >/dev/null 2>&1 || true; done
    attended='' stage_pids=() stage_dirs=()
}
# However the script ends, nothing that it started is left; only SIGKILL leaves something, which the next start of the same stage ends.
trap 'trap "" HUP INT TERM; end_stage' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# attend <command>: runs it so that a signal to the script is heard at once (a trap waits for what runs in the foreground), and so that all that the command
# started can be found and ended.
attend() {
    local status=0
    # A job of its own: without, it would ignore SIGINT, which some tests send.
    set -m
    "$@" </dev/null &
    attended=$!
    set +m
    wait "$attended" || status=$?
    attended=
    return $status
}

# The process and all below it.
tree() {
    local child
    echo "$1"
    for child in $(cat "/proc/$1/task"/*/children 2>/dev/null); do tree "$child"; done
}
end_tree() {
    # shellcheck disable=SC2046 # several processes
    kill -KILL $(tree "$1") 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# Ends a process of this shell, if need be without its consent.
end_process() {
    local tries=0
    kill "$1" 2>/dev/null || return 0
    while kill -0 "$1" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || kill -KILL "$1" 2>/dev/null || true
        sleep 0.1
    done
    wait "$1" 2>/dev/null || true
}

# Below those that outgoing connections take.
free_port() {
    python3 -c '
import random, socket
while True:
    port = random.randrange(12000, 30000)
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            continue
        print(port)
        break'
}

# start_stage <directory> <database>: a cluster with the database as pg_regress makes it, keys, a protected table, and pgward. Sets $direct_port, $pgward_port.
start_stage() {
    local dir=$1 database=$2 data=$1/data
    end_left_over "$dir"
    rm -rf "$dir"
    mkdir -p "$dir/pgward"
    [ "$(id -u)" != 0 ] || chown "$server_user" "$dir"
    direct_port=$(free_port)
    pgward_port=$(free_port)
    as_server "$bindir/initdb" -D "$data" -A trust -U postgres -E UTF8 --locale=C --no-sync >"$dir/initdb.log"
    # As pg_regress sets up its temporary server; what else differs is only speed.
    as_server tee -a "$data/postgresql.conf" >/dev/null <<CONF
port = $direct_port
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
max_prepared_transactions = 2
max_connections = 100
log_line_prefix = '%m %b[%p] %q%a '
CONF
    stage_dirs+=("$data")
    as_server "$bindir/pg_ctl" -D "$data" -l "$dir/server.log" -w start >/dev/null
    sql postgres "CREATE ROLE pgward LOGIN CREATEDB"
    [ "$database" = postgres ] || sql postgres "CREATE DATABASE $database TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
    sql "$database" "
        ALTER DATABASE $database SET lc_messages TO 'C';
        ALTER DATABASE $database SET lc_monetary TO 'C';
        ALTER DATABASE $database SET lc_numeric TO 'C';
        ALTER DATABASE $database SET lc_time TO 'C';
        ALTER DATABASE $database SET bytea_output TO 'hex';
        ALTER DATABASE $database SET timezone_abbreviations TO 'Default';
        GRANT CREATE ON DATABASE $database TO pgward"
    start_pgward "$dir/pgward" "$database"
    [ "${probe%%.*}" = public ] || psql_to "$pgward_port" "$database" "CREATE SCHEMA ${probe%%.*}"
    psql_to "$pgward_port" "$database" "CREATE TABLE $probe (id int PRIMARY KEY, email text, name text);
        INSERT INTO $probe VALUES (1, 'kim@example.com', 'Kim')"
}

# What a run that was killed has left in the directory.
end_left_over() {
    local pid
    [ ! -e "$1/data/postmaster.pid" ] || as_server "$bindir/pg_ctl" -D "$1/data" -m immediate -w stop >/dev/null 2>&1 || true
    pid=$(cat "$1/pgward/pid" 2>/dev/null) || return 0
    if tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "--config $1/pgward/pgward.toml "; then kill -KILL "$pid" 2>/dev/null || true; fi
}

# Some packages of PostgreSQL are the server only.
psql=$bindir/psql
[ -x "$psql" ] || psql=psql
psql_to() { as_server "$psql" -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$1" -U postgres -d "$2" -c "$3"; }
sql() { psql_to "$direct_port" "$@"; }

start_pgward() {
    local dir=$1 database=$2 tries=0
    cat >"$dir/pgward.toml" <<POLICY
version = "conformance"
[listen]
addresses = ["127.0.0.1:$pgward_port"]
${listen_also:-}
[upstream]
host = "127.0.0.1"
port = $direct_port
database = "$database"
tls = "disable"
[control]
user = "pgward"
[keys]
provider = "file"
path = "$dir/root.key"
[journal]
directory = "$dir/journal"
node = "conformance"
[admin]
address = "127.0.0.1:$(free_port)"
[limits]
catalog_poll_seconds = 1
[purposes.test]
description = "Conformance"
[groups.all]
[handlers.postgres]
kind = "service"
groups = ["all"]
purpose = "test"
[[table]]
name = "$probe"
subject = "id"
[table.columns]
email = { category = "email", mode = "eq" }
name = { category = "name" }
[[grant]]
group = "all"
purpose = "test"
columns = ["$probe.*"]
read = "clear"
search = true
write = true
POLICY
    "$pgward" init --config "$dir/pgward.toml" >"$dir/init.log" 2>&1 || die "pgward init failed: $(cat "$dir/init.log")"
    "$pgward" serve --config "$dir/pgward.toml" --log "${PGWARD_LOG:-info}" >"$dir/pgward.log" 2>&1 &
    stage_pids+=($!)
    echo $! >"$dir/pid"
    until (exec 3<>"/dev/tcp/127.0.0.1/$pgward_port") 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || die "pgward did not come up: $(cat "$dir/pgward.log")"
        sleep 0.1
    done
}

# compare <suite> <database> <function> [strict]: runs the function (output directory, port) directly, then through pgward, each on a fresh server; prints what
# differs. Strict: what a test wrote has to be the same even where it passed.
compare() {
    local suite=$1 database=$2 run=$3 way out
    for way in ${WAYS:-direct pgward}; do
        out=$cache/$suite-$way
        start_stage "$out" "$database"
        [ "$(id -u)" != 0 ] || { mkdir -p "$out/run" && chown "$server_user" "$out/run"; }
        mkdir -p "$out/run"
        local port=$direct_port
        [ $way = direct ] || port=$pgward_port
        say "Running $suite ($way)"
        attend "$run" "$out/run" "$port" >"$out/outcome" 2>"$out/errors" || true
        end_stage
    done
    python3 "$(dirname "${BASH_SOURCE[0]}")/summary.py" "$suite" "$cache/$suite-direct" "$cache/$suite-pgward" ${4:-}
}
