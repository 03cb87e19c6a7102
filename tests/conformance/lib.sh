# Shared by the conformance suites: fetches PostgreSQL's sources, builds what the packages leave out, starts throw-away servers and pgward.
# Sourced, not run. See README.md.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Where cargo builds; a relative directory is one of the repository's.
cargo_target=${CARGO_TARGET_DIR:-target}
case $cargo_target in /*) ;; *) cargo_target=$root/$cargo_target ;; esac
cache=${PGWARD_CONFORMANCE_DIR:-$cargo_target/conformance}
bindir=${PG_BINDIR:-$(pg_config --bindir 2>/dev/null || ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)}
[ -x "$bindir/initdb" ] || bindir=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
version=$("$bindir/postgres" --version | sed -E 's/^[^0-9]*([0-9]+\.[0-9]+).*/\1/')
major=${version%%.*}
source=$cache/postgresql-$version
built=$cache/built-$version
pgward=${PGWARD:-$cargo_target/debug/pgward}

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 2; }

[ -x "$pgward" ] || die "skipped: there is no $pgward; run cargo build"
need() { for tool in "$@"; do command -v "$tool" >/dev/null || die "skipped: $tool is not installed"; done; }
need python3
[ "$(id -u)" != 0 ] || need setpriv

# PostgreSQL refuses to run as root; server and test client are the same OS user, as in PostgreSQL's own `make check`.
if [ "$(id -u)" = 0 ]; then
    server_user=postgres
    as_server() { setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/tmp "$@"; }
else
    server_user=$(id -un)
    as_server() { "$@"; }
fi

# Runs apt-get with a configuration of its own: the system's source lists and caches stay as they are.
private_apt() {
    local apt=$cache/apt release keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    for kind in deb deb-src; do
        echo "$kind [signed-by=$keyring] http://deb.debian.org/debian $release main"
        echo "$kind [signed-by=$keyring] http://deb.debian.org/debian-security $release-security main"
    done >"$apt/sources.list"
    apt-get -qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=3 "$@" >&2
}

# The sources of the installed version, and the server's headers.
fetch() {
    need gcc bzip2
    mkdir -p "$cache"
    if [ ! -e "$cache/dev-$version/.done" ]; then
        local package
        package=$(dpkg-query -W -f '${Version}' "postgresql-$major") || die "skipped: PostgreSQL is not from a Debian package"
        say "Fetching the sources of PostgreSQL $package"
        private_apt update
        (
            cd "$cache"
            private_apt --download-only source "postgresql-$major=$package"
            private_apt download "postgresql-server-dev-$major=$package" "libpq-dev=$package"
            tar xf postgresql-"$major"_*.orig.tar.*
            mkdir -p "dev-$version"
            for deb in postgresql-server-dev-"$major"_*.deb libpq-dev_*.deb; do dpkg -x "$deb" "dev-$version"; done
            touch "dev-$version/.done"
        ) || die "skipped: the sources of PostgreSQL $package can't be fetched"
    fi
    [ -d "$source/src/test" ] || die "no sources in $source"
}

# compile <output> <further arguments of gcc>
compile() {
    local out=$1 dev=$cache/dev-$version
    shift
    [ -e "$built/$out" ] && return
    mkdir -p "$built"
    gcc -O1 -w -fPIC -D_GNU_SOURCE -I"$dev/usr/include/postgresql/$major/server" -I"$dev/usr/include/postgresql" \
        -I"$dev/usr/include/postgresql/internal" -o "$built/$out.part" "$@"
    mv "$built/$out.part" "$built/$out"
}

# libpq and the server's static libraries, for programs of the test suites.
client_libraries() { echo "-l:libpq.so.5 -L$cache/dev-$version/usr/lib/postgresql/$major/lib -lpgcommon -lpgport"; }
