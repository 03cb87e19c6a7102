# Shared by the conformance suites: fetches PostgreSQL's sources, builds what the packages leave out, starts throw-away servers and pgward.
# Sourced, not run. See README.md.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Where cargo builds; a relative directory is one of the repository's.
cargo_target=${CARGO_TARGET_DIR:-target}
case $cargo_target in /*) ;; *) cargo_target=$root/$cargo_target ;; esac
# Absolute, as suites run in directories of their own.
cache=$(realpath -m "${PGWARD_CONFORMANCE_DIR:-$cargo_target/conformance}")
pgward=$(realpath -m "${PGWARD:-$cargo_target/debug/pgward}")

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 2; }

newest_bindir() { printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -1; }
bindir=${PG_BINDIR:-$(pg_config --bindir 2>/dev/null || newest_bindir)}
[ -n "${PG_BINDIR:-}" ] || [ -x "$bindir/initdb" ] || bindir=$(newest_bindir)
[ -x "$bindir/initdb" ] || die "skipped: there is no PostgreSQL server in $bindir (apt-get install -y postgresql)"
version=$("$bindir/postgres" --version | sed -E 's/^[^0-9]*([0-9]+\.[0-9]+).*/\1/')
major=${version%%.*}
source=$cache/postgresql-$version
built=$cache/built-$version

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
        # One && after the other: `set -e` counts for nothing before ||.
        (
            cd "$cache" && private_apt update &&
                private_apt --download-only source "postgresql-$major=$package" &&
                private_apt download "postgresql-server-dev-$major=$package" "libpq-dev=$package" &&
                tar xf postgresql-"$major"_"${package%-*}".orig.tar.* &&
                mkdir -p "dev-$version" &&
                for name in postgresql-server-dev-"$major" libpq-dev; do dpkg -x "$name"_"${package#*:}"_*.deb "dev-$version" || exit 1; done &&
                touch "dev-$version/.done"
        ) || die "skipped: the sources of PostgreSQL $package can't be fetched"
    fi
    [ -d "$source/src/test" ] || die "no sources in $source"
}

# fetch_tarball <source package> <file>: upstream's tarball from Debian. Mirrors keep an old release's only as long as they like, so that the
# distribution's own release is tried first, then newer ones.
fetch_tarball() {
    local release list lists uri name hash
    mkdir -p "$cache/apt"
    for release in $(. /etc/os-release && echo "$VERSION_CODENAME") stable testing unstable; do
        list=$cache/apt/$release.list lists=$cache/apt/$release
        mkdir -p "$lists/partial"
        echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $release main" >"$list"
        local options=(-o "Dir::Etc::sourcelist=$list" -o "Dir::State::lists=$lists")
        private_apt "${options[@]}" update || continue
        # private_apt sends what apt says to standard error.
        read -r uri name _ hash < <(private_apt "${options[@]}" --print-uris source "$1" 2>&1 | grep -F ".orig.tar." | tr -d "'") || continue
        say "Fetching $name"
        /usr/lib/apt/apt-helper -o APT::Sandbox::User="$(id -un)" download-file "$uri" "$2" "$hash" >&2 && return
    done
    return 1
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
